"""Realistic and odd messages, and a generator of many: the same seed gives the same bytes. Line ends are CRLF."""

import base64
import quopri
import random
from collections.abc import Iterator


def crlf(text: str, encoding: str = "utf-8") -> bytes:
    """Text as octets with CRLF line ends."""
    return text.replace("\n", "\r\n").encode(encoding)


FRENCH_8BIT = crlf(
    """Return-Path: <secretariat@college.example>
Received: from mx.college.example (mx.college.example [192.0.2.7])
\tby mail.rectorat.example (Postfix) with ESMTPS id 4A1B2C3D
\tfor <marie@rectorat.example>; Tue,  3 Nov 2026 10:11:13 +0100 (CET)
From: =?utf-8?q?Secr=C3=A9tariat_du_coll=C3=A8ge?= <secretariat@college.example>
To: "Durand, Marie" <marie@rectorat.example>, Paul Bernard <paul@rectorat.example>
Cc: direction@college.example (La direction)
Subject: =?iso-8859-1?Q?R=E9union_du_conseil_?=
 =?iso-8859-1?Q?de_classe?=
Date: Tue, 3 Nov 2026 10:11:12 +0100
Message-ID: <20261103.1011@college.example>
MIME-Version: 1.0
Content-Type: text/plain; charset=utf-8
Content-Transfer-Encoding: 8bit

Bonjour,

L’échéancier des inscriptions est arrêté : l'élève doit être présent à la
réunion de vendredi. Le cœur du sujet : les absences répétées.

--\x20
Hélène Lefèvre
"""
)

ALTERNATIVE_WITH_ATTACHMENT = crlf(
    """From: Amelie <amelie@college.example>
To: parents@college.example
Subject: Sortie au =?utf-8?B?bXVzw6ll?=
Date: Wed, 04 Nov 2026 08:00:00 +0000
Message-ID: <sortie@college.example>
In-Reply-To: <20261103.1011@college.example>
References: <20261103.1011@college.example>
MIME-Version: 1.0
Content-Type: multipart/mixed;
\tboundary="outer=_42"

This is a message in MIME format.
--outer=_42
Content-Type: multipart/alternative; boundary=inner

--inner
Content-Type: text/plain; charset="iso-8859-1"
Content-Transfer-Encoding: quoted-printable

La sortie est maintenue, m=EAme s'il pleut. Les =E9l=E8ves apportent =
un pique-nique.

--inner
Content-Type: text/html; charset=utf-8
Content-Transfer-Encoding: base64

"""
    + base64.encodebytes(
        b"<html><head><title>Titre</title><style>p { color: red }</style></head>"
        b"<body><p>La <b>sor</b>tie est maintenue,</p><p>m&ecirc;me s'il pleut.</p></body></html>"
    ).decode()
    + """
--inner--

--outer=_42
Content-Type: application/pdf;
 name*0*=utf-8''Autorisation%20; name*1*=%C3%A9l%C3%A8ve;
 name*2=".pdf"
Content-Disposition: attachment;
 filename*=UTF-8''Autorisation%20%C3%A9l%C3%A8ve.pdf; size=12
Content-Description: Autorisation
Content-ID: <pdf1@college.example>
Content-Language: fr, en
Content-Location: http://college.example/a.pdf
Content-MD5: Q2hlY2sgSW50ZWdyaXR5IQ==
Content-Transfer-Encoding: base64

JVBERi0xLjQK
--outer=_42--
"""
)

FORWARDED = (
    crlf(
        """From: paul@rectorat.example
To: marie@rectorat.example
Subject: Fwd: deux messages
Date: Thu, 5 Nov 2026 09:30:00 +0100
Message-ID: <fwd@rectorat.example>
MIME-Version: 1.0
Content-Type: multipart/mixed; boundary=b1

--b1
Content-Type: text/plain

Voir ci-joint.
--b1
Content-Type: message/rfc822
Content-Disposition: attachment

"""
    )
    + FRENCH_8BIT
    + crlf("\n--b1\nContent-Type: message/rfc822\n\n")
    + ALTERNATIVE_WITH_ATTACHMENT
    + crlf("\n--b1--\n")
)

HTML_ONLY = crlf(
    """From: "L'equipe" <equipe@editeur.example.org>
To: undisclosed-recipients:;
Subject: Promotion
Date: Fri, 6 Nov 2026 23:59:60 -0500
MIME-Version: 1.0
Content-Type: text/html; charset=windows-1252
Content-Transfer-Encoding: quoted-printable

<!DOCTYPE html><html><body><!-- cach=E9 --><script>var secret =3D 1;</script>
<h1>Remise de 20&nbsp;%</h1>
<p title=3D"a > b">Offre valable jusqu=92=E0 <i>demain</i> &amp; apr&egrave;s</p>
</body></html>
"""
)

DIGEST = crlf(
    """From: liste@rectorat.example
Subject: Digest
Date: 7 Nov 2026 00:00 GMT
MIME-Version: 1.0
Content-Type: multipart/digest; boundary="d"

--d

From: a@example
Subject: premier

Un.
--d
Content-Type: message/rfc822

From: b@example
Subject: second

Deux.
--d--
"""
)

NO_HEADER = b"\r\nJust a body.\r\n"
NO_BODY = b"From: a@b\r\nSubject: nothing follows\r\n"
EMPTY = b""
NO_BLANK_LINE = crlf("From: a@b.example\nSubject: header and body run together\nThis was meant as text.\nAnd this.\n\nRest.\n")
LF_ONLY = ALTERNATIVE_WITH_ATTACHMENT.replace(b"\r\n", b"\n")
NO_LAST_BOUNDARY = crlf(
    "From: a@b.example\nContent-Type: multipart/mixed; boundary=x\n\npre\n--x\n\none\n--x\nContent-Type: text/html\n\n<p>two"
)
EQUAL_BOUNDARIES = crlf(
    "From: a@b.example\nContent-Type: multipart/mixed; boundary=x\n\n--x\nContent-Type: multipart/alternative; boundary=x\n\n"
    "--x\n\none\n--x\nContent-Type: text/html\n\ntwo\n--x--\nbetween\n--x\n\nthree\n--x--\n"
)
PREFIX_BOUNDARIES = crlf(
    "From: a@b.example\nContent-Type: multipart/mixed; boundary=x\n\n--x\nContent-Type: multipart/alternative; boundary=xy\n\n"
    "--xy\n\none\n--xy  \nContent-Type: text/html\n\ntwo\n--xy-- \n--x \n\nthree\n--x-- and more\nepilogue\n"
)
ADJACENT_BOUNDARIES = crlf(
    "From: a@b.example\nContent-Type: multipart/mixed; boundary=x\n\n--x\nContent-Type: multipart/mixed; boundary=y\n\n"
    "--y\n\none\n--y--\n--x\nContent-Type: message/rfc822\n\nContent-Type: multipart/mixed; boundary=z\n\n--z\n\ntwo\n--z--\n"
    "--x--\n"
)
BLANKS_BEHIND_BOUNDARY = crlf(
    'From: a@b.example\nContent-Type: multipart/mixed; boundary="x y  "\n\n--x y \t\n\none\n--x y  --\n'
)
BOUNDARY_IN_HEADER = crlf(
    "From: a@b.example\nContent-Type: multipart/mixed; boundary=x\n\n--x\nContent-Type: text/html\n--x\n\ntwo\n--x--\n"
)
NO_BOUNDARY = crlf("From: a@b.example\nContent-Type: multipart/mixed\n\n--x\n\none\n--x--\n")
NO_PARTS = crlf("From: a@b.example\nContent-Type: multipart/mixed; boundary=x\n\nNothing here.\n")
RAW_8BIT_HEADER = crlf('From: Hélène <h@b.example>\nTo: "é" <e@b.example>\nSubject: Réunion\n\nTexte.\n', "latin-1")
NUL_AND_CONTROLS = b"From: a@b.example\r\nSubject: nul\0 in \x01 it\r\n\r\nbody \0 with\x00 nul\r\n"
NO_FINAL_NEWLINE = crlf("From: a@b.example\nSubject: cut\n\nlast line")
LONE_CR = b"From: a@b.example\r\nSubject: lone\rreturn\r\n\r\none\rtwo\r\nthree\r\n"
FOLDED_BADLY = b" leading blank\r\nSubject:\r\n  folded\r\n\tmore \r\n \r\n end\r\nFrom:\r\n a@b.example\r\n\r\nx\r\n"
LATIN1_AS_ASCII = crlf("From: a@b.example\nContent-Type: text/plain; charset=us-ascii\n\nDéjà vu.\n", "latin-1")
UNKNOWN_CHARSET = crlf("From: a@b.example\nContent-Type: text/plain; charset=x-klingon\n\nDéjà vu.\n")
JAPANESE = crlf(
    "From: a@b.example\nSubject: =?iso-2022-jp?B?GyRCRnxLXDhsGyhC?=\nContent-Type: text/plain; charset=iso-2022-jp\n\n"
    "日本語の本文\n",
    "iso-2022-jp",
)

MESSAGES: dict[str, bytes] = {
    name.lower(): value for name, value in list(globals().items()) if name.isupper() and isinstance(value, bytes)
}
"""All of the above by name."""


# ---------------------------------------------------------------------------------------------------------------------
# Many

_TEXT = """réunion échéancier conseil élève certificat absence parents salle vendredi emploi du temps la les une certificate
meeting requirement library server password inventory zanzibar cœur œuvre naïve garçon Noël"""
_WORDS = _TEXT.split()
_NAMES = ["Hélène Lefèvre", "Paul Bernard", "J. Q. Public", 'Le "Chef"', "Noël, Jean", "Équipe (3e)", "x"]


def sentence(rng: random.Random, count: int = 8) -> str:
    """Some words."""
    return " ".join(rng.choice(_WORDS) for _ in range(count))


def _encoded(rng: random.Random, text: str) -> str:
    charset = rng.choice(["utf-8", "utf-8", "iso-8859-15", "windows-1252"])
    data = text.encode(charset)
    match rng.randrange(4):
        case 0:
            return f"=?{charset}?B?{base64.b64encode(data).decode()}?="
        case 1:
            return f"=?{charset}?q?{quopri.encodestring(data, header=True).decode().replace('?', '=3F').replace(chr(10), '')}?="
        case 2:
            half = len(text) // 2
            return "\n ".join(
                f"=?utf-8?B?{base64.b64encode(piece.encode()).decode()}?=" for piece in (text[:half], text[half:])
            )
        case _:
            return text


def _address(rng: random.Random) -> str:
    name = rng.choice(_NAMES)
    box = rng.choice(["paul", "marie.durand", "o'neil", '"odd box"', "a+b", "x_y"])
    host = rng.choice(["college.example", "rectorat.example", "[192.0.2.1]", "mail.college.example"])
    quoted = name.replace('"', '\\"')
    return rng.choice(
        [
            f"{box}@{host}",
            f'"{quoted}" <{box}@{host}>',
            f"{_encoded(rng, name) if name.isalpha() else 'Paul  Bernard'} <{box}@{host}>",
            f"<{box}@{host}>",
            f"{box}@{host} (Paul (l'autre) B.)",
            f"groupe: {box}@{host}, Marie <m@{host}>;",
            f"Jean\n <{box}@{host}>",
        ]
    )


def _addresses(rng: random.Random) -> str:
    return rng.choice([", ", ",\n ", ",\n\t"]).join(_address(rng) for _ in range(rng.choice([1, 1, 1, 2, 3, 12])))


def _leaf(rng: random.Random) -> str:
    kind = rng.choice(["text/plain", "text/html", "TEXT/Plain", "application/pdf", "image/png", "text/calendar", ""])
    lines = []
    text = "\n".join(sentence(rng) for _ in range(rng.randrange(6)))
    if kind:
        parameters = rng.choice(
            ["", "; charset=utf-8", '; charset="UTF-8"; format=flowed', ";\n name=a.txt", '; name="a\\"b c.txt"']
        )
        if rng.randrange(6) == 0:
            parameters += ";\n title*0*=utf-8''%C3%A9t; title*1=\"udes x\""
        lines.append(f"Content-Type: {kind}{parameters}")
    if kind == "text/html":
        text = f"<p>{text}</p>"
    match rng.randrange(4):
        case 0:
            lines.append("Content-Transfer-Encoding: base64")
            text = base64.encodebytes(text.encode()).decode()
        case 1:
            lines.append("Content-Transfer-Encoding: Quoted-Printable")
            text = quopri.encodestring(text.encode()).decode()
        case 2:
            lines.append("Content-Transfer-Encoding: 8bit")
        case _:
            pass
    extras = [
        "Content-Disposition: " + rng.choice(["inline", 'attachment; filename="bulletin 3.pdf"']),
        "Content-ID: <part1@college.example>",
        "Content-Description: " + rng.choice(["Bulletin de notes", "=?utf-8?q?=C3=A9?="]),
        "Content-Language: fr",
        "Content-Location: a.html",
        "Content-MD5: Q2hlY2sgSW50ZWdyaXR5IQ==",
        "X-Other: value",
    ]
    lines += rng.sample(extras, rng.randrange(4))
    return "\n".join(lines) + ("\n\n" if lines else "\n") + text + rng.choice(["", "\n", "\n\n"])


def _part(rng: random.Random, depth: int) -> str:
    choice = rng.randrange(10)
    if depth >= 4 or choice < 5:
        return _leaf(rng)
    if choice < 9:
        boundary = rng.choice(["b", "=_x", "----=_NextPart"]) + str(rng.randrange(10**6))
        kind = rng.choice(["mixed", "alternative", "related", "signed", "report"])
        quoted = f'"{boundary}"' if "=" in boundary or rng.randrange(2) else boundary
        preamble = rng.choice(["", "preamble\n", "\nThis is MIME.\n"])
        parts = "".join(f"--{boundary}\n{_part(rng, depth + 1)}\n" for _ in range(rng.randrange(1, 4)))
        end = rng.choice([f"--{boundary}--\n", f"--{boundary}--\nepilogue\n", ""])
        extra = rng.choice(["", ";\n type=text/html"])
        return f"Content-Type: multipart/{kind};\n boundary={quoted}{extra}\n\n{preamble}{parts}{end}"
    disposition = rng.choice(["", "Content-Disposition: attachment\n"])
    return f"Content-Type: message/rfc822\n{disposition}\n{_message(rng, depth + 1)}"


def _message(rng: random.Random, depth: int) -> str:
    lines = [
        "Date: "
        + rng.choice(["Tue, 3 Nov 2026 10:11:12 +0100", "3 Nov 26 10:11 GMT", "Tue,  3 Nov 2026 10:11:12 +0100 (CET)"]),
        f"From: {_addresses(rng)}",
        f"Subject: {rng.choice(['', 'Re: '])}{_encoded(rng, sentence(rng, 4))}",
    ]
    optional = [
        f"To: {_addresses(rng)}",
        f"Cc: {_addresses(rng)}",
        f"Bcc: {_addresses(rng)}",
        f"Sender: {_address(rng)}",
        f"Reply-To: {_addresses(rng)}",
        "Reply-To:",
        "To: undisclosed-recipients:;",
        f"Message-ID: <{rng.randrange(10**9)}@college.example>",
        "In-Reply-To: <1@college.example>\n <2@college.example>",
        "X-Folded: one\n\ttwo\n  three",
    ]
    lines.append("MIME-Version: 1.0")
    lines += rng.sample(optional, rng.randrange(len(optional)))
    rng.shuffle(lines)
    return "\n".join(lines) + "\n" + _part(rng, depth)


def generated(count: int, seed: int = 1) -> Iterator[bytes]:
    """Messages of all shapes: nested multiparts and messages, every encoding, French subjects, groups, comments."""
    for number in range(count):
        yield crlf(_message(random.Random(seed * 1_000_003 + number), 0))
