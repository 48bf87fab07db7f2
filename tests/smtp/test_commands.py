import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from preau.smtp.commands import MAX_LINE, Address, Auth, Bdat, Command, Hello, Mail, Rcpt, Simple, parse_command
from preau.smtp.reply import Refused

ANNE = Address("anne", "example.com")


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        pytest.param(b"LHLO client.example", Hello("LHLO", "client.example"), id="lhlo"),
        pytest.param(b"ehlo [192.0.2.1]", Hello("EHLO", "[192.0.2.1]"), id="address literal"),
        pytest.param(b"EHLO [IPv6:2001:db8::1]", Hello("EHLO", "[IPv6:2001:db8::1]"), id="ipv6 literal"),
        pytest.param(b"HELO my_laptop", Hello("HELO", "my_laptop"), id="underscore"),
        pytest.param(b"DATA", Simple("DATA"), id="data"),
        pytest.param(b"rset  ", Simple("RSET"), id="trailing space is tolerated"),
        pytest.param(b"NOOP whatever", Simple("NOOP"), id="noop with text"),
        pytest.param(b"VRFY anne", Simple("VRFY"), id="vrfy"),
        pytest.param(b"BDAT 0", Bdat(0, False), id="bdat"),
        pytest.param(b"BDAT 86 last", Bdat(86, True), id="bdat last"),
        pytest.param(b"AUTH plain", Auth("PLAIN"), id="auth"),
        pytest.param(b"AUTH PLAIN AGEAYg==", Auth("PLAIN", b"AGEAYg=="), id="auth with initial response"),
        pytest.param(b"AUTH PLAIN =", Auth("PLAIN", b"="), id="auth with empty initial response"),
        pytest.param(b"MAIL FROM:<>", Mail(None), id="null reverse-path"),
        pytest.param(b"mail from:<anne@example.com>", Mail(ANNE), id="lower case"),
        pytest.param(
            b"MAIL FROM:<anne@example.com> SIZE=1000 BODY=8bitmime SMTPUTF8 RET=hdrs ENVID=QQ+2B1",
            Mail(ANNE, 1000, "8BITMIME", True, "HDRS", "QQ+1", None, frozenset({"SIZE", "BODY", "SMTPUTF8", "RET", "ENVID"})),
            id="every parameter",
        ),
        pytest.param(b"MAIL FROM:<> AUTH=<>", Mail(None, auth="<>", parameters=frozenset({"AUTH"})), id="nobody's mail"),
        pytest.param(
            b"MAIL FROM:<anne@example.com> AUTH=anne+40example.com",
            Mail(ANNE, auth="anne@example.com", parameters=frozenset({"AUTH"})),
            id="auth",
        ),
        pytest.param(b'RCPT TO:<"a b"@example.com>', Rcpt(Address("a b", "example.com")), id="quoted"),
        pytest.param(b'RCPT TO:<"a\\"\\\\"@example.com>', Rcpt(Address('a"\\', "example.com")), id="quoted pairs"),
        pytest.param(b'RCPT TO:<"anne"@example.com>', Rcpt(ANNE), id="quoted without need"),
        pytest.param(b"RCPT TO:<anne@[192.0.2.1]>", Rcpt(Address("anne", "[192.0.2.1]")), id="literal"),
        pytest.param(b"RCPT TO:<@a.example,@b.example:anne@example.com>", Rcpt(ANNE), id="source route is ignored"),
        pytest.param(b"RCPT TO:<PostMaster>", Rcpt(Address("PostMaster", "")), id="postmaster"),
        pytest.param("RCPT TO:<élève@école.example>".encode(), Rcpt(Address("élève", "école.example")), id="utf-8"),
        pytest.param(
            b"RCPT TO:<anne@example.com> NOTIFY=success,delay ORCPT=rfc822;Bob+2B@example.com",
            Rcpt(
                ANNE,
                frozenset({"SUCCESS", "DELAY"}),
                ("rfc822", "Bob+@example.com"),
                frozenset({"NOTIFY", "ORCPT"}),
            ),
            id="dsn",
        ),
    ],
)
def test_parse_command(line: bytes, expected: Command) -> None:
    assert parse_command(line) == expected


@pytest.mark.parametrize(
    ("line", "code"),
    [
        pytest.param(b"", 500, id="empty"),
        pytest.param(b"FROB", 500, id="unknown"),
        pytest.param(b"\x00\xff\x16\x03\x01", 500, id="junk"),
        pytest.param(b"GET / HTTP/1.1", 500, id="http"),
        pytest.param(b"NOOP " + b"x" * MAX_LINE, 500, id="too long"),
        pytest.param(b"LHLO", 501, id="no name"),
        pytest.param(b"LHLO a b", 501, id="two names"),
        pytest.param(b"LHLO a\rb", 501, id="bare cr"),
        pytest.param(b"LHLO (injected)", 501, id="comment"),
        pytest.param(b"DATA now", 501, id="argument"),
        pytest.param(b"MAIL FROM: <anne@example.com>", 501, id="space before path"),
        pytest.param(b"MAIL FROM:anne@example.com", 501, id="no brackets"),
        pytest.param(b"MAIL FROM:<anne>", 501, id="no domain"),
        pytest.param(b"MAIL FROM:<@example.com>", 501, id="no local part"),
        pytest.param(b"MAIL FROM:<a..b@example.com>", 501, id="two dots"),
        pytest.param(b"MAIL FROM:<a b@example.com>", 501, id="space in it"),
        pytest.param(b"MAIL FROM:<a\x00@example.com>", 501, id="nul"),
        pytest.param(b'MAIL FROM:<"a\r\nb"@example.com>', 501, id="line end in quotes"),
        pytest.param(b"MAIL FROM:<a@-example.com>", 501, id="hyphen first"),
        pytest.param(b"MAIL FROM:<a@example.com>SIZE=1", 501, id="no space before parameters"),
        pytest.param(b"MAIL FROM:<a@\xff\xfe>", 501, id="not utf-8"),
        pytest.param(b"MAIL FROM:<" + b"a" * 257 + b"@example.com>", 501, id="local part too long"),
        pytest.param(b"MAIL FROM:<a@" + b"a." * 128 + b"example>", 501, id="domain too long"),
        pytest.param(b"MAIL FROM:<> SIZE=-1", 501, id="negative size"),
        pytest.param(b"MAIL FROM:<> SIZE=" + b"9" * 21, 501, id="size too long"),
        pytest.param(b"MAIL FROM:<> SIZE", 501, id="no size"),
        pytest.param(b"MAIL FROM:<> SIZE=1 SIZE=2", 501, id="twice"),
        pytest.param(b"MAIL FROM:<> BODY=9BIT", 501, id="unknown body"),
        pytest.param(b"MAIL FROM:<> SMTPUTF8=yes", 501, id="value where there is none"),
        pytest.param(b"MAIL FROM:<> ENVID=a+2", 501, id="half xtext"),
        pytest.param(b"MAIL FROM:<> ENVID=+FF", 501, id="xtext that is not utf-8"),
        pytest.param(b"MAIL FROM:<> ENVID=a+0D+0Ab", 501, id="a line end in xtext"),
        pytest.param(b"MAIL FROM:<a\xc2\x85@example.com>", 501, id="a control character of Unicode"),
        pytest.param(b"MAIL FROM:<a@example\xe2\x80\xa8.com>", 501, id="a line separator of Unicode"),
        pytest.param(b"MAIL FROM:<> X-OTHER=1", 555, id="unknown parameter"),
        pytest.param(b"MAIL FROM:<> =1", 501, id="no keyword"),
        pytest.param(b"RCPT TO:<>", 501, id="null forward-path"),
        pytest.param(b"RCPT TO:<a@example.com> NOTIFY=NEVER,DELAY", 501, id="never and something"),
        pytest.param(b"RCPT TO:<a@example.com> NOTIFY=", 501, id="notify nothing"),
        pytest.param(b"RCPT TO:<a@example.com> ORCPT=anne", 501, id="orcpt without type"),
        pytest.param(b"RCPT TO:<a@example.com> SIZE=1", 555, id="parameter of another verb"),
        pytest.param(b"BDAT", 501, id="bdat without size"),
        pytest.param(b"BDAT 1 FIRST", 501, id="bdat with another word"),
        pytest.param(b"BDAT -1 LAST", 501, id="bdat negative"),
        pytest.param(b"AUTH", 501, id="auth without mechanism"),
        pytest.param(b"AUTH PLAIN a b", 501, id="auth with two"),
    ],
)
def test_what_is_wrong_has_its_code(line: bytes, code: int) -> None:
    with pytest.raises(Refused) as refused:
        parse_command(line)
    assert refused.value.reply.code == code
    refused.value.reply.render().decode("ascii")


def test_the_initial_response_is_not_shown() -> None:
    assert "AGEAYg" not in repr(parse_command(b"AUTH PLAIN AGEAYg=="))


@given(st.binary(max_size=200) | st.binary(max_size=60).map(lambda tail: b"MAIL FROM:<" + tail) | st.text().map(str.encode))
@settings(max_examples=300)
def test_only_refused_comes_out(line: bytes) -> None:
    try:
        parse_command(line)
    except Refused:
        pass


@given(
    st.text(st.characters(exclude_categories=["Cc", "Cs"]), min_size=1, max_size=60),
    st.from_regex(r"[a-z0-9]([a-z0-9-]{0,10}[a-z0-9])?(\.[a-z0-9]{1,10}){0,3}", fullmatch=True),
)
@settings(max_examples=200)
def test_an_address_comes_back_from_its_path(local: str, domain: str) -> None:
    address = Address(local, domain)
    assert parse_command(f"RCPT TO:<{address}>".encode()) == Rcpt(address)
