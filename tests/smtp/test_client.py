import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from preau.smtp.client import (
    DataEncoder,
    InvalidPath,
    InvalidReply,
    PeerReply,
    ReplyParser,
    offered_size,
    parse_extensions,
    render_command,
    render_orcpt,
    render_path,
    render_xtext,
    to_ascii_domain,
)
from preau.smtp.commands import Mail, Rcpt, parse_command
from preau.smtp.data import BareNewlines, DataStream


def fed(data: bytes, step: int) -> list[PeerReply]:
    parser = ReplyParser()
    replies: list[PeerReply] = []
    for begin in range(0, len(data), step):
        replies += parser.feed(data[begin : begin + step])
    assert not parser.pending
    return replies


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        pytest.param(b"220 mx ready\r\n", [PeerReply(220, "2.0.0", "mx ready")], id="greeting"),
        pytest.param(b"250\r\n", [PeerReply(250, "2.0.0", "")], id="code alone"),
        pytest.param(b"250 2.1.0 ok\r\n", [PeerReply(250, "2.1.0", "ok", True)], id="enhanced"),
        pytest.param(b"550 5.1.1\r\n", [PeerReply(550, "5.1.1", "", True)], id="enhanced alone"),
        pytest.param(b"550 4.1.1 odd\r\n", [PeerReply(550, "5.0.0", "4.1.1 odd")], id="enhanced of another class"),
        pytest.param(
            b"550-5.7.1 no\r\n550-5.7.1 really\r\n550 5.7.1 no\r\n",
            [PeerReply(550, "5.7.1", "no\nreally\nno", True)],
            id="lines",
        ),
        pytest.param(b"250-mx\r\n250-SIZE 10\r\n250 DSN\r\n", [PeerReply(250, "2.0.0", "mx\nSIZE 10\nDSN")], id="ehlo"),
        pytest.param(b"250 a\n250 b\r\n", [PeerReply(250, "2.0.0", "a"), PeerReply(250, "2.0.0", "b")], id="bare lf"),
        pytest.param(b"451 a\x00\x1b[2J\xff\r\n", [PeerReply(451, "4.0.0", "a [2J\ufffd")], id="controls"),
    ],
)
def test_replies_whole_byte_by_byte_and_with_more_behind(data: bytes, expected: list[PeerReply]) -> None:
    assert fed(data, len(data)) == expected
    assert fed(data, 1) == expected
    assert fed(data + b"221 bye\r\n", 4096) == [*expected, PeerReply(221, "2.0.0", "bye")]


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"\r\n", id="empty"),
        pytest.param(b"hello\r\n", id="text"),
        pytest.param(b"25 ok\r\n", id="two digits"),
        pytest.param(b"650 ok\r\n", id="no such class"),
        pytest.param(b"2500 ok\r\n", id="four digits"),
        pytest.param(b"250-a\r\n550 b\r\n", id="two codes"),
        pytest.param(b"250 " + b"x" * 3000, id="no end"),
        pytest.param(b"250 " + b"x" * 3000 + b"\r\n", id="too long"),
        pytest.param(b"250-x\r\n" * 300, id="too many lines"),
    ],
)
def test_what_is_no_reply(data: bytes) -> None:
    for step in (len(data), 1):
        with pytest.raises(InvalidReply):
            fed(data, step)


@settings(max_examples=100)
@given(st.lists(st.binary(max_size=30) | st.sampled_from([b"250 ok\r\n", b"250-x\r\n", b"354 go\n"]), max_size=6))
def test_only_the_documented_exception_comes_out(pieces: list[bytes]) -> None:
    parser = ReplyParser()
    try:
        for piece in pieces:
            for reply in parser.feed(piece):
                assert "\n" not in str(reply)
                assert re.match(r"[245]\.", reply.enhanced) or reply.code // 100 == 3
    except InvalidReply:
        pass


def test_extensions() -> None:
    reply = fed(b"250-mx.example hello\r\n250-size 1000\r\n250-8BITMIME\r\n250-AUTH PLAIN\r\n250-\r\n250 DSN\r\n", 999)[0]
    extensions = parse_extensions(reply)
    assert extensions == {"SIZE": "1000", "8BITMIME": "", "AUTH": "PLAIN", "DSN": ""}
    assert offered_size(extensions) == 1000
    assert [offered_size({"SIZE": each}) for each in ("", "0", "x", "-1", "9" * 30)] == [None] * 5
    assert offered_size({}) is None


@pytest.mark.parametrize("address", ["a@b", '"a b"@example.org', '"a\\"b"@example.org', "é@ü.example", "", "a@[IPv6:::1]"])
def test_paths(address: str) -> None:
    assert render_path(address) == f"<{address}>".encode()


@pytest.mark.parametrize(
    "address", ["a b@c", "a@b> SIZE=1", "a\r\nRSET@b", "<a@b", 'a"b@c', '"a"b c"@d', "x" * 2000, "a@b\x00", "\ud800@x"]
)
def test_what_cannot_stand_in_a_path(address: str) -> None:
    with pytest.raises(InvalidPath):
        render_path(address)


def test_parameters_come_back_as_they_were() -> None:
    line = render_command("MAIL FROM", b"<a@b>", {"SIZE": "5", "RET": "HDRS", "ENVID": render_xtext("a+b=c é"), "SMTPUTF8": ""})
    mail = parse_command(line[:-2])
    assert isinstance(mail, Mail)
    assert (mail.size, mail.ret, mail.envid, mail.smtputf8) == (5, "HDRS", "a+b=c é", True)
    for orcpt in ("rfc822;Anne+x@Example.Com", "rfc822;a b@c"):
        rcpt = parse_command(render_command("RCPT TO", b"<a@b>", {"ORCPT": render_orcpt(orcpt, utf8=False)})[:-2])
        assert isinstance(rcpt, Rcpt)
        assert rcpt.orcpt is not None
        assert ";".join(rcpt.orcpt) == orcpt
    assert render_orcpt("utf-8;é@x", utf8=True) == "utf-8;é@x"
    assert render_orcpt("utf-8;é@x", utf8=False) == "utf-8;\\x{E9}@x"
    assert render_orcpt("nothing", utf8=True) == ""
    assert render_orcpt("a b;c", utf8=True) == ""


@pytest.mark.parametrize(
    ("address", "expected"),
    [("a@bücher.example", "a@xn--bcher-kva.example"), ("é@bücher.example", "é@bücher.example"), ("a@b", "a@b"), ("a", "a")],
)
def test_domains_in_ascii(address: str, expected: str) -> None:
    assert to_ascii_domain(address) == expected


MESSAGES = st.lists(st.sampled_from([b".", b"\r", b"\n", b"\r\n", b"x", b"..", b"\r\n.\r\n", b"\n.\n", b"\r.\r"]), max_size=12)


@settings(max_examples=300)
@given(MESSAGES)
def test_a_message_ends_where_it_ends_and_nowhere_else(pieces: list[bytes]) -> None:
    encoder = DataEncoder()
    encoded = b"".join(encoder.feed(piece) for piece in pieces) + encoder.finish()
    whole = DataEncoder()
    assert whole.feed(b"".join(pieces)) + whole.finish() == encoded
    # No end that any host could see before ours: strict, lenient, or taking a bare CR for a line end.
    assert not re.search(rb"(?<!\r)\n|\r(?!\n)", encoded)
    assert encoded.endswith(b"\r\n.\r\n") or encoded == b".\r\n"
    assert b"\r\n.\r\n" not in encoded[:-1]
    stream = DataStream(10**6, BareNewlines.REFUSE)
    decoded = stream.feed(encoded)
    assert stream.done
    assert not stream.rest
    message = re.sub(rb"\r\n|\r|\n", b"\r\n", b"".join(pieces))
    assert decoded == (message if message.endswith(b"\r\n") or not message else message + b"\r\n")
