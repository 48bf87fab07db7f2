"""Who is told what: from outcomes to notices, from notices to messages in the queue (RFC 3461 sections 4.1, 5.2, 6).

Owns the decisions. A message from the null path never leads to another one (RFC 5321 section 4.5.5): a report that cannot
be delivered ends here, with a line in the log.
"""

from collections.abc import Sequence

from ..formats.headers import decode_words, find_field, split_header
from .dsn import Report, ReportedRecipient, render_report
from .outcome import Verdict
from .queue_store import Notice, Queued
from .spool import Envelope, MessageSource, SpoolRecipient

_HEADER = 1_048_576  # octets looked through for the header's end

_WANTED = {"failed": "FAILURE", "delayed": "DELAY", "success": "SUCCESS"}
_ACTIONS = {
    Verdict.DELIVERED: "delivered",
    Verdict.RELAYED: "relayed",
    Verdict.EXPANDED: "expanded",
    Verdict.FAILED: "failed",
    Verdict.DEFERRED: "delayed",
}


def is_wanted(envelope: Envelope, recipient: Queued, kind: str) -> bool:
    """Whether the sender is told. Without NOTIFY: of failures and delays, not of success (RFC 3461 section 4.1)."""
    if not envelope.reverse_path or "NEVER" in recipient.notify:
        return False
    return _WANTED[kind] in recipient.notify if recipient.notify else kind != "success"


def header_of(source: MessageSource) -> bytes:
    """The header of a message with its empty line, at most a mebibyte of it. Raise Unavailable."""
    head = b""
    while len(head) < min(source.size, _HEADER):
        head += source.read(len(head), 65_536)
        block, end = split_header(head)
        if end < len(head) or block.endswith(b"\n\r\n"):
            return block
    return head[:_HEADER]


def bounce(
    notice: Notice,
    envelope: Envelope,
    source: MessageSource | None,
    *,
    hostname: str,
    now: int,
    give_up_after: int,
    most: int,
) -> tuple[bytes, Envelope]:
    """The report and its envelope. `most`: octets of the original that are returned. Raise Unavailable.

    The whole message comes back when its sender wants it (RET=FULL, or nothing said) and it is small enough; reports of
    success and delay return the header alone (RFC 3461 section 4.3).
    """
    original, whole = None, False
    message_id = title = ""
    if source is not None:
        header = header_of(source)
        whole = notice.kind == "failed" and envelope.ret != "HDRS" and source.size <= most
        original = source.read() if whole else _cut(header, most)
        message_id = (find_field(header, b"message-id") or b"").decode("ascii", "replace").strip()
        title = decode_words(find_field(header, b"subject") or b"")
    report = Report(
        notice.kind,
        notice.id,
        envelope.reverse_path,
        hostname,
        now,
        envelope.received,
        [_reported(each, envelope.received + give_up_after) for each in notice.recipients],
        original,
        whole,
        envelope.envid,
        message_id,
        title,
    )
    message, utf8 = render_report(report)
    recipient = SpoolRecipient(envelope.reverse_path, frozenset({"NEVER"}))
    body = "7BIT" if message.isascii() else "8BITMIME"
    return message, Envelope("", (recipient,), now, len(message), body, utf8)


def _cut(header: bytes, most: int) -> bytes:
    if len(header) <= most:
        return header
    return header[: header.rfind(b"\n", 0, most) + 1]


def _reported(one: Queued, retry_until: int) -> ReportedRecipient:
    action = _ACTIONS.get(Verdict(one.verdict), "failed")
    return ReportedRecipient(
        one.address, action, one.status, one.reply, one.host, one.orcpt, one.tried_at, retry_until if action == "delayed" else 0
    )


def kinds(changed: Sequence[tuple[Queued, str]], envelope: Envelope) -> dict[str, list[Queued]]:
    """Recipients to report, by kind, from (row, kind) of what changed."""
    wanted: dict[str, list[Queued]] = {}
    for one, kind in changed:
        if kind and is_wanted(envelope, one, kind):
            wanted.setdefault(kind, []).append(one)
    return wanted
