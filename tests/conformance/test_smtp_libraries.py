"""Unchanged SMTP libraries against an instance, each with an app password, over TLS, with the private CA alone as trust."""

import asyncio
from typing import TYPE_CHECKING

import aiosmtplib
import pytest

from people import Person, a_letter

if TYPE_CHECKING:
    from aiosmtplib import SMTP

pytestmark = pytest.mark.conformance


@pytest.mark.parametrize("way", ["submissions", "submission"])
def test_aiosmtplib(way: str, person: Person, another: Person) -> None:
    subject = f"Sortie par {way}"
    message = a_letter(person.address, another.address, subject=subject, text="Rendez-vous à huit heures.\n.\n..\n")
    message.add_attachment(bytes(range(256)) * 1_000, maintype="application", subtype="octet-stream", filename="été.bin")
    port = person.instance.submissions if way == "submissions" else person.instance.submission

    def client() -> "SMTP":
        made: SMTP = aiosmtplib.SMTP(
            hostname="localhost",
            port=port,
            use_tls=way == "submissions",
            start_tls=way == "submission",
            tls_context=person.instance.trusting(),
            timeout=30,
        )
        return made

    async def converse() -> None:
        async with client() as session:
            await session.login(person.address, person.password)
            assert session.supports_extension("size")
            refused, _ = await session.send_message(message, recipients=[another.address, "nobody@ecole.example"])
            assert {address: reply[0] for address, reply in refused.items()} == {"nobody@ecole.example": 550}
            with pytest.raises(aiosmtplib.SMTPRecipientsRefused):
                await session.send_message(message, recipients=["nobody@ecole.example"])
            with pytest.raises(aiosmtplib.SMTPSenderRefused) as foreign:
                await session.sendmail(another.address, [another.address], message.as_bytes())
            assert foreign.value.code == 550
            await session.sendmail(person.address, [another.address], a_letter(person.address, subject="encore").as_bytes())
        async with client() as session:
            with pytest.raises(aiosmtplib.SMTPAuthenticationError) as wrong:
                await session.login(person.address, "wrong")
            assert wrong.value.code == 535

    asyncio.run(converse())
    letter = another.awaited(subject)
    (attachment,) = letter.iter_attachments()
    assert (attachment.get_filename(), attachment.get_content()) == ("été.bin", bytes(range(256)) * 1_000)
    body = letter.get_body()
    assert body is not None
    assert body.get_content().splitlines() == ["Rendez-vous à huit heures.", ".", ".."]
    another.awaited("encore")
