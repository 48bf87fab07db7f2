"""Delivery status notifications as messages (RFC 3461 section 6, RFC 3464, RFC 6522, RFC 6533).

Owns the three parts: what people read, French first, then English, saying what to do next; what programs read; the message
or its header. Pure: the time and the boundary come in.

Everything that came from elsewhere (addresses, replies, host names) is cut and freed of control characters before it
enters a header or a status field, so no reply can write a field of its own.
"""

import binascii
import re
from collections.abc import Sequence
from dataclasses import dataclass

from .dsn_text import advice_for, introduction, subject
from .policy import render_date

_CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+")
_MESSAGE_ID = re.compile(r"<[!-;=?-~]{1,250}>\Z")


@dataclass(frozen=True, slots=True)
class ReportedRecipient:
    """One recipient of a report. `action`: failed, delayed, delivered, relayed or expanded (RFC 3464 section 2.3.3).

    `diagnostic`: the reply of `host`, or our own words when `host` is empty.  `retry_until`: for delayed ones.
    """

    address: str
    action: str
    status: str
    diagnostic: str
    host: str = ""
    orcpt: str = ""
    tried_at: int = 0
    retry_until: int = 0


@dataclass(frozen=True, slots=True)
class Report:
    """Everything about a notification. `original`: octets of the message or of its header; None when it is gone.

    `kind`: failed, delayed or success.  `whole`: `original` is the message, not its header alone.
    """

    kind: str
    identifier: str
    sender: str  # whom the report goes to
    hostname: str
    now: int
    received: int
    recipients: Sequence[ReportedRecipient]
    original: bytes | None
    whole: bool = False
    envid: str = ""
    message_id: str = ""  # of the original
    original_subject: str = ""


def render_report(report: Report) -> tuple[bytes, bool]:
    """The message, and whether it needs SMTPUTF8."""
    utf8 = not all(each.address.isascii() and each.orcpt.isascii() for each in report.recipients)
    utf8 = utf8 or not report.sender.isascii()
    if report.original is not None:
        header_end = report.original.find(b"\r\n\r\n") if report.whole else len(report.original)
        utf8 = utf8 or not report.original[: header_end if header_end >= 0 else None].isascii()
    boundary = f"=_{report.identifier}"
    parts = [
        b"Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n"
        + _quoted_printable(_text(report)),
        _status(report, utf8=utf8),
    ]
    if report.original is not None:
        parts.append(_returned(report, utf8=utf8))
    opening = f"--{boundary}\r\n".encode("ascii")
    body = b"".join(opening + part.removesuffix(b"\r\n") + b"\r\n" for part in parts) + f"--{boundary}--\r\n".encode("ascii")
    return _header(report, boundary, eight_bit=not body.isascii()) + body, utf8


def _header(report: Report, boundary: str, *, eight_bit: bool) -> bytes:
    lines = [
        f"Date: {render_date(report.now)}",
        f"From: Mail Delivery System <MAILER-DAEMON@{_clean(report.hostname)}>",
        f"To: <{_clean(report.sender)}>",
        f"Subject: {subject(report.kind)}",
        f"Message-ID: <{report.identifier}@{_clean(report.hostname)}>",
    ]
    if _MESSAGE_ID.match(report.message_id):
        lines += [f"In-Reply-To: {report.message_id}", f"References: {report.message_id}"]
    lines += [
        "Auto-Submitted: auto-replied",
        "MIME-Version: 1.0",
        f'Content-Type: multipart/report; report-type=delivery-status;\r\n\tboundary="{boundary}"',
        *(["Content-Transfer-Encoding: 8bit"] if eight_bit else []),
        "",
        "",
    ]
    return "\r\n".join(lines).encode()


def _text(report: Report) -> str:
    what = _clean(report.original_subject, 200)
    sections = []
    for language in ("fr", "en"):
        lines = [*introduction(report.kind, language, _clean(report.hostname)), ""]
        if what:
            lines += [("Objet" if language == "fr" else "Subject") + f": {what}", ""]
        for each in report.recipients[:100]:
            lines.append(f"    {_clean(each.address)}")
            lines += [f"      {sentence}" for sentence in advice_for(report.kind, each.action, each.status, language)]
            if each.diagnostic and report.kind != "success":
                said = f"{_clean(each.host)}: " if each.host else ""
                lines.append(f"      ({said}{_clean(each.diagnostic, 400)})")
            lines.append("")
        if len(report.recipients) > 100:
            lines += ["    ...", ""]
        sections.append("\r\n".join(lines))
    return "\r\n---\r\n\r\n".join(sections)


def _status(report: Report, *, utf8: bool) -> bytes:
    kind = "message/global-delivery-status" if utf8 else "message/delivery-status"
    lines = [f"Content-Type: {kind}", *(["Content-Transfer-Encoding: 8bit"] if utf8 else []), ""]
    if report.envid:
        lines.append(f"Original-Envelope-Id: {_ascii(report.envid)}")
    lines += [f"Reporting-MTA: dns; {_ascii(report.hostname)}", f"Arrival-Date: {render_date(report.received)}"]
    for each in report.recipients:
        lines.append("")
        kind, found, address = each.orcpt.partition(";")
        if found:
            original = _clean(address) if utf8 else _ascii(address)
            lines.append(f"Original-Recipient: {_ascii(kind)}; {original}")
        final = _clean(each.address)
        lines.append(f"Final-Recipient: {'rfc822' if final.isascii() else 'utf-8'}; {final}")
        lines += [f"Action: {each.action}", f"Status: {each.status}"]
        if each.host:
            lines.append(f"Remote-MTA: dns; {_ascii(each.host)}")
        if each.diagnostic:
            # RFC 3464 section 2.3.6: what is no SMTP reply has a type of its own.
            kind = "smtp" if each.host and each.diagnostic[:3].isdigit() else "x-preau"
            lines.append(f"Diagnostic-Code: {kind}; {_ascii(each.diagnostic, 800)}")
        if each.tried_at:
            lines.append(f"Last-Attempt-Date: {render_date(each.tried_at)}")
        if each.retry_until and each.action == "delayed":
            lines.append(f"Will-Retry-Until: {render_date(each.retry_until)}")
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def _returned(report: Report, *, utf8: bool) -> bytes:
    original = report.original or b""
    if report.whole:
        kind = "message/global" if utf8 else "message/rfc822"
    else:
        kind = "message/global-headers" if utf8 else "text/rfc822-headers"
        # The empty line ends the header; RFC 6522 section 4 leaves it out of the part.
        original = original.removesuffix(b"\r\n\r\n") + b"\r\n" if original.endswith(b"\r\n\r\n") else original
    encoding = "" if original.isascii() else "Content-Transfer-Encoding: 8bit\r\n"
    return f"Content-Type: {kind}\r\n{encoding}\r\n".encode("ascii") + original + b"\r\n"


def _clean(text: str, limit: int = 320) -> str:
    cleaned = _CONTROLS.sub(" ", text).strip()
    cleaned = cleaned if len(cleaned) <= limit else cleaned[:limit] + "..."
    return cleaned.encode("utf-8", "replace").decode("utf-8")


def _ascii(text: str, limit: int = 320) -> str:
    return _clean(text, limit).encode("ascii", "replace").decode("ascii")


def _quoted_printable(text: str) -> bytes:
    lines = (binascii.b2a_qp(line.encode(), istext=False) for line in text.split("\r\n"))
    return b"\r\n".join(line.replace(b"=\n", b"=\r\n") for line in lines) + b"\r\n"
