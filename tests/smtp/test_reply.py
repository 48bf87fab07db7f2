import pytest

from preau.auth.api import AuthUnavailable
from preau.smtp import reply as replies
from preau.smtp.reply import Refused, Reply, incident, reply_for
from preau.storage import api


@pytest.mark.parametrize(
    ("reply", "wire"),
    [
        (Reply(250, "2.0.0", "ok"), b"250 2.0.0 ok\r\n"),
        (Reply(354, "", "go"), b"354 go\r\n"),
        (Reply(250, "", "host\nSIZE 5\n8BITMIME"), b"250-host\r\n250-SIZE 5\r\n250 8BITMIME\r\n"),
        (Reply(550, "5.1.1", "é\r250 2.0.0 forged"), b"550 5.1.1 ? 250 2.0.0 forged\r\n"),
    ],
)
def test_render(reply: Reply, wire: bytes) -> None:
    assert reply.render() == wire


@pytest.mark.parametrize(
    "reply", [each for each in vars(replies).values() if isinstance(each, Reply)], ids=lambda r: r.text[:20]
)
def test_every_reply_fits_the_protocol(reply: Reply) -> None:
    # RFC 5321 section 4.5.3.1.5, RFC 3463 section 2: the class of both codes is the same.
    assert len(reply.render()) <= 512
    assert reply.text.isascii()
    assert not reply.enhanced or reply.enhanced[0] == str(reply.code)[0]
    assert reply.positive == (reply.code < 400)


def _errors(base: type[Exception]) -> list[type[Exception]]:
    return [base, *(each for sub in base.__subclasses__() if sub.__module__ == api.__name__ for each in _errors(sub))]


@pytest.mark.parametrize("error", _errors(api.StoreError))
def test_every_error_of_the_store_has_an_answer(error: type[Exception]) -> None:
    reply = reply_for(error("a path, a key: nothing of this is told"))
    assert reply is not None
    assert not reply.positive
    assert "path" not in reply.text


def test_what_may_pass_is_never_told_as_permanent() -> None:
    for error in (api.Unavailable(), AuthUnavailable(), api.StoreError()):
        reply = reply_for(error)
        assert reply is not None
        assert 400 <= reply.code < 500


def test_a_full_mailbox_is_told_as_the_settings_say() -> None:
    assert reply_for(api.OverQuota()) is replies.OVER_QUOTA
    assert reply_for(api.OverQuota(), over_quota_passes=True) is replies.OVER_QUOTA_FOR_NOW


def test_others() -> None:
    assert reply_for(Refused(replies.MAIL_LOOP)) is replies.MAIL_LOOP
    assert reply_for(ZeroDivisionError()) is None
    assert b"ab12" in incident("ab12").render()
