"""What reads octets from outside, each as a function of octets out of which only its documented exceptions may come.

A target swallows those; whatever else comes out of it is a find. `SEEDS` are well-formed inputs to begin from.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from xml.etree.ElementTree import Element

from preau.auth import addresses, app_passwords, passwords, sasl, scram
from preau.caldav.data import data_renderer as calendar_data
from preau.caldav.facts import check_item
from preau.caldav.filters import read_filter as read_calendar_filter
from preau.caldav.query import Query, matches
from preau.carddav.data import data_renderer as card_data
from preau.carddav.data import preferred_version
from preau.carddav.filters import read_filter as read_card_filter
from preau.config.load import InvalidSettings, parse_settings
from preau.dav import xml
from preau.dav.conditions import InvalidCondition, parse_etags, parse_if
from preau.dav.errors import DavError
from preau.dav.properties import property_request
from preau.dav.sign_in import InvalidCredentials, parse_basic
from preau.dav.tree import parse_path
from preau.formats.address import InvalidAddress, parse_address, parse_addresses
from preau.formats.bodystructure import render_bodystructure
from preau.formats.content_lines import InvalidContent, parse_components, render
from preau.formats.dates import parse_date, parse_internaldate
from preau.formats.envelope import render_envelope
from preau.formats.headers import decode_extended, decode_words, fields, parse_value, split_header
from preau.formats.icalendar import InvalidCalendar, read_calendar_object
from preau.formats.mime import scan
from preau.formats.recurrence import RecurrenceLimits, bounds, instances
from preau.formats.recurrence_rules import TooManyInstances, parse_rule
from preau.formats.text import extract_message
from preau.formats.timezones import read_calendar_timezone
from preau.formats.vcard import InvalidCard, read_card
from preau.formats.vcard_convert import convert
from preau.imap.decode import AFTER_LOGIN, BEFORE_LOGIN, Decoder
from preau.imap.names import InvalidMailboxName, decode_mailbox, encode_mailbox
from preau.imap.preview import preview_of
from preau.imap.sequence import InvalidSequenceSet, parse_sequence_set
from preau.smtp.commands import parse_command
from preau.smtp.data import BareNewlines, ChunkStream, DataStream
from preau.smtp.header_edit import HeaderBuffer, HeaderTooLong
from preau.smtp.proxy import InvalidProxyHeader, parse_proxy_header
from preau.smtp.reply import Refused
from preau.smtp.spool import parse_envelope
from preau.storage.api import AccountId, Unavailable
from preau.storage.seal import SealKind, open_bytes

Target = Callable[[bytes], None]
LIMITS = RecurrenceLimits(instances=500, steps=20_000)
_2026, _2027 = 1_767_225_600, 1_798_761_600


def imap_decoder(data: bytes) -> None:
    """The octets of a connection."""
    for limits in (BEFORE_LOGIN, AFTER_LOGIN):
        Decoder(limits).receive(data)


def imap_command(data: bytes) -> None:
    """A command line with its arguments: search keys, fetch items, sequence sets."""
    Decoder(AFTER_LOGIN).receive(b"a " + data + b"\r\n")


def sequence_set(data: bytes) -> None:
    """A sequence set, resolved."""
    try:
        numbers = parse_sequence_set(data)
    except InvalidSequenceSet:
        return
    if numbers.saved:
        return  # another command's result stands for it
    numbers.indices(1_000)
    numbers.indices_by_uid([1, 5, 9, 4_000_000_000])


def mailbox_name(data: bytes) -> None:
    """Modified UTF-7."""
    try:
        name = decode_mailbox(data)
    except InvalidMailboxName:
        return
    assert decode_mailbox(encode_mailbox(name)) == name


def smtp_command(data: bytes) -> None:
    """A command line."""
    try:
        parse_command(data)
    except Refused:
        pass


def smtp_data(data: bytes) -> None:
    """DATA and BDAT; whole and in pieces are the same."""
    for newlines in BareNewlines:
        whole, pieces = DataStream(10_000, newlines), DataStream(10_000, newlines)
        one = whole.feed(data)
        other = b"".join(pieces.feed(data[begin : begin + 3]) for begin in range(0, len(data), 3))
        assert (one, whole.done, whole.refused_bare) == (other, pieces.done, pieces.refused_bare) or whole.done
        chunks = ChunkStream(10_000, newlines)
        chunks.begin(len(data), last=True)
        chunks.feed(data)


def header_edit(data: bytes) -> None:
    """A header that is held back until it is whole."""
    buffer = HeaderBuffer(10_000)
    try:
        header = buffer.feed(data) or buffer.close()
    except HeaderTooLong:
        return
    header.remove(b"bcc")
    header.render()


def proxy_header(data: bytes) -> None:
    """PROXY 1 and 2."""
    try:
        parse_proxy_header(data)
    except InvalidProxyHeader:
        pass


def spool_envelope(data: bytes) -> None:
    """The envelope of a message in the spool."""
    try:
        parse_envelope("id", data)
    except Unavailable:
        pass


def address(data: bytes) -> None:
    """Address lists of messages, paths of SMTP, key forms of accounts."""
    parse_addresses(data)
    for utf8 in (False, True):
        try:
            parse_address(data, utf8=utf8)
        except InvalidAddress:
            pass
    try:
        addresses.normalise_address(data.decode("utf-8", "replace"))
    except addresses.InvalidAddress:
        pass


def header_fields(data: bytes) -> None:
    """Fields, encoded words, parameters, dates, ENVELOPE."""
    for _, value in fields(data):
        decode_words(value)
        decode_extended(value)
        parse_value(value)
        parse_date(value)
        parse_internaldate(value)
    render_envelope(data)


def mime(data: bytes) -> None:
    """A whole message: its parts, BODYSTRUCTURE, text, preview."""
    root = scan(data)
    render_bodystructure(root, extended=True)
    extract_message(data)
    split_header(data)
    preview_of(lambda offset, length: data[offset : offset + length], len(data))


def content_lines(data: bytes) -> None:
    """iCalendar and vCard before they mean anything."""
    try:
        found = parse_components(data)
    except InvalidContent:
        return
    for component in found:
        parse_components(render(component).encode())


def icalendar(data: bytes) -> None:
    """A calendar object: its bounds, its instances of a year, what the index keeps of it."""
    try:
        found = read_calendar_object(data)
    except InvalidCalendar:
        return
    bounds(found, default_zone=UTC)
    try:
        list(instances(found, _2026, _2027, default_zone=UTC, limits=LIMITS))
    except TooManyInstances:
        pass
    try:
        check_item({}, data, "text/calendar")
    except DavError:
        pass


def recurrence_rule(data: bytes) -> None:
    """A rule, on its own and in a series."""
    text = data.decode("utf-8", "replace")
    parse_rule(text)
    text = text.replace("\r", "").replace("\n", "")
    icalendar(
        "BEGIN:VCALENDAR\r\nVERSION:2.0\r\nBEGIN:VEVENT\r\nUID:1\r\nDTSTART:20260105T080000Z\r\n"
        f"RRULE:{text}\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n".encode()
    )


def timezone(data: bytes) -> None:
    """A VTIMEZONE that a client sends."""
    zone = read_calendar_timezone(data.decode("utf-8", "replace"))
    if zone is not None:
        datetime(2026, 3, 29, 2, 30, tzinfo=zone).utcoffset()


def vcard(data: bytes) -> None:
    """A card, told in both versions."""
    try:
        card = read_card(data)
    except InvalidCard:
        return
    for version in ("3.0", "4.0"):
        convert(convert(card, version), card.version)


def dav_body(data: bytes) -> None:
    """XML of a request, read as every kind of body."""
    try:
        root = xml.parse(data)
    except xml.InvalidXml:
        return
    for read in (property_request, _calendar_query, _card_query, _calendar_data, _card_data, xml.store):
        try:
            read(root)
        except DavError:
            pass
    xml.parse_stored(xml.store(root))


def _calendar_query(root: Element) -> None:
    query = Query(read_calendar_filter(root), UTC, LIMITS)
    for data in SEEDS["icalendar"]:
        try:
            matches(query, read_calendar_object(data))
        except TooManyInstances:
            pass


def _card_query(root: Element) -> None:
    read_card_filter(root)


def _calendar_data(root: Element) -> None:
    text = calendar_data(root, UTC, LIMITS)
    for data in SEEDS["icalendar"]:
        try:
            text(data)
        except TooManyInstances:
            pass


def _card_data(root: Element) -> None:
    text = card_data(root)
    for data in SEEDS["vcard"]:
        text(data)


def dav_headers(data: bytes) -> None:
    """If, If-Match, Accept, Authorization, the path."""
    text = data.decode("latin-1")
    for parse in (parse_if, parse_etags):
        try:
            parse(text)
        except InvalidCondition:
            pass
    try:
        parse_basic(text)
    except InvalidCredentials:
        pass
    preferred_version(text, "3.0")
    try:
        parse_path(text)
    except DavError:
        pass


def sign_in(data: bytes) -> None:
    """SASL responses, SCRAM messages, what is typed as a password."""
    for read in (sasl.decode_response, scram.read_client_first, scram.read_client_final):
        try:
            read(data)
        except sasl.MalformedResponse:
            pass
    for name in ("PLAIN", "LOGIN"):
        mechanism = sasl.open_mechanism(name)
        assert mechanism is not None
        try:
            mechanism.receive(data)
            mechanism.receive(data)
        except sasl.MalformedResponse:
            pass
    app_passwords.parse(data.decode("utf-8", "replace"))


def password_field(data: bytes) -> None:
    """A hash that is imported, or stands in the database."""
    text = data.decode("utf-8", "replace")
    try:
        passwords.import_hash(text)
    except passwords.InvalidHash:
        pass
    passwords.is_ours(text)


def seal(data: bytes) -> None:
    """A sealed file."""
    try:
        open_bytes(data, account=AccountId("a" * 26), kind=SealKind.MESSAGE, secret_key=b"k" * 32)
    except Unavailable:
        pass


def configuration(data: bytes) -> None:
    """preau.toml."""
    try:
        parse_settings(data, Path("preau.toml"))
    except InvalidSettings:
        pass


TARGETS: Mapping[str, Target] = {
    each.__name__: each
    for each in (
        *(imap_decoder, imap_command, sequence_set, mailbox_name, smtp_command, smtp_data, header_edit, proxy_header),
        *(spool_envelope, address, header_fields, mime, content_lines, icalendar, recurrence_rule, timezone, vcard),
        *(dav_body, dav_headers, sign_in, password_field, seal, configuration),
    )
}

_EVENT = (
    b"BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:x\r\nBEGIN:VTIMEZONE\r\nTZID:Here\r\nBEGIN:STANDARD\r\nDTSTART:19701025T030000\r\n"
    b"RRULE:FREQ=YEARLY;BYMONTH=10;BYDAY=-1SU\r\nTZOFFSETFROM:+0200\r\nTZOFFSETTO:+0100\r\nEND:STANDARD\r\nBEGIN:DAYLIGHT\r\n"
    b"DTSTART:19700329T020000\r\nRRULE:FREQ=YEARLY;BYMONTH=3;BYDAY=-1SU\r\nTZOFFSETFROM:+0100\r\nTZOFFSETTO:+0200\r\nEND:DAYLIGHT\r\n"
    b"END:VTIMEZONE\r\nBEGIN:VEVENT\r\nUID:1\r\nDTSTAMP:20260101T000000Z\r\nDTSTART;TZID=Here:20260105T080000\r\n"
    b"DURATION:PT1H\r\n"
    b"RRULE:FREQ=WEEKLY;BYDAY=MO,WE;COUNT=20\r\nEXDATE;TZID=Here:20260112T080000\r\nRDATE;VALUE=PERIOD:20260201T080000Z/PT2H\r\n"
    b"SUMMARY;LANGUAGE=fr:Conseil\\, 6e\r\nBEGIN:VALARM\r\nACTION:DISPLAY\r\nTRIGGER;RELATED=END:-PT15M\r\nREPEAT:2\r\n"
    b"DURATION:PT5M\r\nEND:VALARM\r\nEND:VEVENT\r\nBEGIN:VEVENT\r\nUID:1\r\n"
    b"RECURRENCE-ID;RANGE=THISANDFUTURE;TZID=Here:20260119T080000\r\n"
    b"DTSTART;VALUE=DATE:20260120\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n"
)
_ZONE = _EVENT[_EVENT.index(b"BEGIN:VTIMEZONE") : _EVENT.index(b"BEGIN:VEVENT")]
_TODO = (
    b"BEGIN:VCALENDAR\r\nVERSION:2.0\r\nBEGIN:VTODO\r\nUID:2\r\nDUE:20260301T080000Z\r\nCOMPLETED:20260228T080000Z\r\nEND:VTODO\r\n"
    b"END:VCALENDAR\r\n"
)
_CARD = (
    b"BEGIN:VCARD\r\nVERSION:3.0\r\nUID:1\r\nFN:Zo\xc3\xa9\r\nN:Z;;;;\r\nitem1.TEL;TYPE=CELL,pref:+33 1\r\n"
    b"ADR;TYPE=HOME:;;1 rue;Paris;;;\r\n"
    b"LABEL;TYPE=HOME:1 rue\\nParis\r\nPHOTO;ENCODING=b;TYPE=JPEG:/9j/4AAQ\r\n"
    b"BDAY;X-APPLE-OMIT-YEAR=1604:1604-04-15\r\nGEO:48.8;2.3\r\n"
    b"TZ:-05:00\r\nREV:2026-01-01T00:00:00Z\r\nEND:VCARD\r\n"
)
_QUERY = (
    b'<C:calendar-query xmlns:D="DAV:" xmlns:C="urn:ietf:params:xml:ns:caldav"><D:prop><D:getetag/><C:calendar-data><C:expand '
    b'start="20260101T000000Z" end="20260201T000000Z"/></C:calendar-data></D:prop><C:filter><C:comp-filter name="VCALENDAR">'
    b'<C:comp-filter name="VEVENT"><C:time-range start="20260101T000000Z"/><C:prop-filter name="SUMMARY"><C:text-match '
    b'collation="i;octet">x</C:text-match></C:prop-filter></C:comp-filter></C:comp-filter></C:filter></C:calendar-query>'
)
_MESSAGE = (
    b"From: =?utf-8?q?Zo=C3=A9?= <zoe@ecole.example>\r\nTo: a@b, g: c@d;\r\nDate: Wed, 25 Nov 2026 02:05:07 +0100 (x)\r\n"
    b'Subject: =?iso-8859-1?b?6Q==?=\r\nContent-Type: multipart/mixed; boundary="b"\r\n\r\n--b\r\n'
    b"Content-Type: text/html; charset=utf-8\r\nContent-Transfer-Encoding: base64\r\n\r\nPGI+eDwvYj4=\r\n--b\r\n"
    b"Content-Type: message/rfc822\r\n\r\n"
    b"Subject: x\r\n\r\ny\r\n--b\r\n"
    b"Content-Disposition: attachment; filename*0*=utf-8''%e2%82; filename*1=x\r\n\r\nz\r\n--b--\r\n"
)

SEEDS: Mapping[str, Sequence[bytes]] = {
    "imap_decoder": [
        b'a1 LOGIN "x" {3}\r\nabc\r\na2 SELECT INBOX\r\na3 UID FETCH 1:* (FLAGS BODY.PEEK[1.2]<0.10>)\r\na4 IDLE\r\nDONE\r\n'
    ],
    "imap_command": [
        b"UID SEARCH RETURN (MIN COUNT) CHARSET UTF-8 OR (FROM a NOT UNSEEN) HEADER X-Y z 1:5,7 SINCE 1-Feb-2026 MODSEQ 5",
        b"FETCH 1 (BODY[HEADER.FIELDS (A B)] ENVELOPE BINARY.PEEK[1]<1.2>) (CHANGEDSINCE 7)",
        b'LIST (SPECIAL-USE) "" ("a*" "%") RETURN (STATUS (MESSAGES SIZE))',
        b"STORE 1,2:* (UNCHANGEDSINCE 4) +FLAGS.SILENT (\\Seen $x)",
        b"SELECT x (QRESYNC (1 2 3:9 (1,2 3,4)))",
    ],
    "sequence_set": [b"1:*,5,7:9", b"$", b"4294967295"],
    "mailbox_name": [b"&AOk-t&AOk-", b"a&-b", b"INBOX/&U,BTFw-"],
    "smtp_command": [
        b"MAIL FROM:<a@b> SIZE=10 BODY=8BITMIME RET=HDRS ENVID=a+2B",
        b'RCPT TO:<@x,@y:"a b"@c> NOTIFY=NEVER',
        b"BDAT 5 LAST",
    ],
    "smtp_data": [b"a\r\n..b\r\n.\r\n", b"a\n.\r\n\r\n.\r\n"],
    "header_edit": [b"From: a\r\nBcc: b,\r\n c\r\nX: y\r\n\r\nbody"],
    "proxy_header": [
        b"PROXY TCP4 192.0.2.1 192.0.2.2 1000 25\r\n",
        b"\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c\x7f\x00\x00\x01\x7f\x00\x00\x02\x04\x00\x00\x19",
    ],
    "spool_envelope": [b'{"version":1,"id":"id","reverse_path":"","recipients":[["a@b",["NEVER"],""]],"received":1,"size":2}'],
    "address": [b'"a b" <x@y.example>, g: a@b, c@d;, =?utf-8?q?x?= <@r:z@[127.0.0.1]>', b"a.b+c@d.example"],
    "header_fields": [_MESSAGE[: _MESSAGE.index(b"\r\n\r\n") + 4]],
    "mime": [_MESSAGE],
    "content_lines": [_EVENT, _CARD, b'BEGIN:X\r\nA;B="c;d",^n;E:f\r\n g\r\nEND:X\r\n'],
    "icalendar": [_EVENT, _TODO],
    "recurrence_rule": [
        b"FREQ=MONTHLY;BYDAY=-1FR,2MO;BYSETPOS=1,-1;UNTIL=20270101T000000Z",
        b"FREQ=YEARLY;BYWEEKNO=20;BYYEARDAY=-1;BYHOUR=8;WKST=SU;INTERVAL=3",
        b"FREQ=SECONDLY;BYSECOND=59;COUNT=3",
    ],
    "timezone": [b"BEGIN:VCALENDAR\r\n" + _ZONE + b"END:VCALENDAR\r\n"],
    "vcard": [_CARD, _CARD.replace(b"3.0", b"4.0").replace(b"BDAY;X-APPLE-OMIT-YEAR=1604:1604-04-15", b"BDAY:--0415")],
    "dav_body": [_QUERY, _QUERY.replace(b"calendar-query", b"free-busy-query")],
    "dav_headers": [
        b'<http://x/a> (Not <urn:x> ["e"]) (<DAV:no-lock>)',
        b'W/"a", "b"',
        b"Basic YTpi",
        b"text/vcard;version=4.0;q=0.5, */*",
        b"/dav/%41/..%2f",
    ],
    "sign_in": [
        b"AGEAYg==",
        b"n,a=x,n=y,r=abcdefghijklmnop",
        b"c=biws,r=abc,p=" + b"A" * 43 + b"=",
        b"k7mfp-9xq2c-tn4wd-b8rju",
        b"\0a\0b",
    ],
    "password_field": [b"{SSHA256}YWJj", b"$2b$12$abcdefghijklmnopqrstuu", b"$argon2id$v=19$m=19456,t=2,p=1$YWJjZGVmZ2g$YWJj"],
    "seal": [b"PREAUC1\0" + bytes(200)],
    "configuration": [b'domain = "ecole.example"\n[listen]\nimap = ["127.0.0.1:143"]\n[store]\nitem_size = "1 MiB"\n'],
}
"""Well-formed inputs of each."""
