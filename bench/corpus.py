"""A deterministic corpus of realistic mail: the same number gives the same bytes on every machine.

What a school district's mailbox holds: multipart/alternative from web mailers, attachments in base64, 8-bit French text,
plain English lists, threads with References, and the long trace headers (Received, DKIM, ARC, X-MS-*) of real relays.
Mean size about 29 kB (4 to 200 KiB), mean header about 4.5 kB. Line ends are CRLF.
"""

from __future__ import annotations

import base64
import random
from collections.abc import Iterator
from email.header import Header

_FRENCH = """la réunion du conseil de classe aura lieu jeudi prochain salle polyvalente merci de confirmer votre présence avant
mercredi soir les bulletins du trimestre sont prêts et l'échéancier des inscriptions est joint à ce message nous rappelons
que la sortie scolaire au musée est maintenue élèves et accompagnateurs doivent être présents à huit heures précises devant le
collège les absences répétées de plusieurs élèves de cinquième inquiètent l'équipe pédagogique un rendez-vous avec les parents
est proposé le certificat de scolarité peut être retiré au secrétariat où madame Lefèvre répondra à vos questions"""
_ENGLISH = """the attached document describes the requirement for the new timetable please review the second section before
our next meeting and send comments to the list the certificate of the server was renewed yesterday and clients should not notice
anything unusual if your phone asks for a password again use the application password that you were given the library will be
closed on friday for the inventory books can be returned in the box beside the door thank you for
your patience and help"""
_PEOPLE = [
    ("Marie Durand", "marie.durand"), ("Paul Bernard", "paul.bernard"), ("Léa Petit", "lea.petit"),
    ("Hélène Lefèvre", "helene.lefevre"), ("Jean-François Noël", "jf.noel"), ("Amélie Rousseau", "amelie.rousseau"),
    ("Olivier Dubois", "olivier.dubois"), ("Secrétariat du collège", "secretariat"), ("Sarah Cohen", "sarah.cohen"),
    ("Thomas Martin", "t.martin"), ("Inès Garcia", "ines.garcia"), ("Vie scolaire", "vie.scolaire"),
]  # fmt: skip
_DOMAINS = ["college-demo.example", "rectorat.example", "mairie.example", "editeur.example.org", "parents.example.net"]
_SUBJECTS = [
    "Conseil de classe", "Échéancier des inscriptions", "Sortie au musée", "Re: emploi du temps", "Absences répétées",
    "Certificat de scolarité", "Library inventory", "Server certificate renewed", "Compte rendu de réunion", "Budget 2026",
    "Prêt de salle", "Rappel : élections des délégués", "Timetable, second draft", "Menu de la cantine",
]  # fmt: skip
_MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]
_DAYS = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"]
_BLOB = base64.b64encode(random.Random(20261125).randbytes(400_000)).decode("ascii")


def _words(rng: random.Random, words: str, count: int) -> str:
    lines, line = [], ""
    for word in rng.choices(words.split(), k=count):
        if len(line) + len(word) > 72:
            lines.append(line)
            line = ""
        line = f"{line} {word}" if line else word
    return "\r\n".join([*lines, line])


def _base64_block(rng: random.Random, octets: int) -> str:
    start = rng.randrange(0, 1000) * 4
    text = (_BLOB[start:] + _BLOB)[: octets * 4 // 3 // 4 * 4]
    return "\r\n".join(text[i : i + 76] for i in range(0, len(text), 76))


def _encoded(text: str) -> str:
    return text if text.isascii() else Header(text, "utf-8", maxlinelen=60).encode(linesep="\r\n")


def _date(rng: random.Random, number: int) -> str:
    day = number % 28 + 1
    return (
        f"{_DAYS[number % 7]}, {day} {_MONTHS[number // 28 % 12]} {2022 + number // 336 % 5} "
        f"{rng.randrange(7, 20):02}:{rng.randrange(60):02}:{rng.randrange(60):02} +0{rng.choice('12')}00"
    )


def _token(rng: random.Random, length: int) -> str:
    return "".join(rng.choices("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789", k=length))


def _message_id(number: int) -> str:
    return f"<{number}.{_token(random.Random(number), 16)}@college-demo.example>"


def _trace(rng: random.Random, date: str, domain: str) -> Iterator[str]:
    for hop in range(rng.randrange(3, 8)):
        yield (
            f"Received: from mx{hop}.{domain} (mx{hop}.{domain} [192.0.2.{rng.randrange(1, 255)}])\r\n"
            f"\tby relay{hop}.college-demo.example with ESMTPS id {_token(rng, 12)}\r\n"
            f"\t(version=TLS1_3 cipher=TLS_AES_256_GCM_SHA384 bits=256/256);\r\n\t{date}"
        )
    signature = "\r\n\t ".join(_token(rng, 64) for _ in range(9))
    yield (
        f"DKIM-Signature: v=1; a=rsa-sha256; c=relaxed/relaxed; d={domain}; s=s2026;\r\n"
        f"\th=from:to:subject:date:message-id:mime-version:content-type; bh={_token(rng, 43)}=;\r\n\tb={signature}=="
    )
    if rng.random() < 0.6:
        yield f"ARC-Seal: i=1; a=rsa-sha256; s=arc; d={domain}; cv=none;\r\n\tb={signature}"
        yield f"ARC-Message-Signature: i=1; a=rsa-sha256; c=relaxed/relaxed; d={domain}; s=arc;\r\n\tb={signature}"
        results = f"dkim=pass header.d={domain};\r\n\tspf=pass smtp.mailfrom={domain}"
        yield f"Authentication-Results: mx.college-demo.example;\r\n\t{results}"
    if rng.random() < 0.5:
        for name in (
            "AntiSpam-MessageData-0",
            "AntiSpam-MessageData-ChunkCount",
            "Exchange-Organization-AuthSource",
            "OriginatorOrg",
        ):
            yield f"X-MS-Exchange-{name}: {_token(rng, 70)}"
        yield f"X-MS-Exchange-CrossTenant-Network-Message-Id:\r\n\t{_token(rng, 36)}"


def message(number: int) -> bytes:
    """Message `number` of the corpus, with CRLF line ends."""
    rng = random.Random(number * 2654435761 % 2**32)
    domain = rng.choice(_DOMAINS)
    name, local = rng.choice(_PEOPLE)
    date = _date(rng, number)
    subject = rng.choice(_SUBJECTS)
    french = rng.random() < 0.7
    words = _FRENCH if french else _ENGLISH
    thread = number // 4 * 4
    head = [f"Return-Path: <{local}@{domain}>", *_trace(rng, date, domain)]
    head += [
        f"Message-ID: {_message_id(number)}",
        f"Date: {date}",
        f"From: {_encoded(name)} <{local}@{domain}>",
        "To: "
        + ",\r\n ".join(f"{_encoded(n)} <{a}@college-demo.example>" for n, a in rng.sample(_PEOPLE, rng.randrange(1, 5))),
        f"Subject: {_encoded(subject)}",
        "MIME-Version: 1.0",
    ]
    if rng.random() < 0.3:
        head.append("Cc: " + ", ".join(f"{a}@{d}" for (_, a), d in zip(rng.sample(_PEOPLE, 2), _DOMAINS, strict=False)))
    if number != thread:
        parent = _message_id(number - 1)
        head += [f"In-Reply-To: {parent}", f"References: {parent}"]
    if rng.random() < 0.2:
        head += [
            "List-Id: Informations <infos.college-demo.example>",
            "List-Unsubscribe: <mailto:infos-leave@college-demo.example>",
        ]
    if rng.random() < 0.3:
        head += ["X-Mailer: Courriel 4.2", "X-Priority: 3"]
    text = _words(rng, words, int(rng.lognormvariate(5.3, 0.8)) + 20)
    if rng.random() < 0.004:
        text += "\r\nzanzibar"  # the rare word of the search figures
    mark = f"----=_Part_{number}_{_token(rng, 10)}"
    shape = rng.random()
    if shape < 0.18:
        return _join([*head, 'Content-Type: text/plain; charset="utf-8"', "Content-Transfer-Encoding: 8bit"], text)
    plain = f'Content-Type: text/plain; charset="utf-8"\r\nContent-Transfer-Encoding: 8bit\r\n\r\n{text}\r\n'
    body = "".join(f'<p style="margin:0 0 12px 0;font-family:Arial">{line}</p>\r\n' for line in text.split("\r\n"))
    html = f'<html><head><meta charset="utf-8"><style>p {{ color: #222 }}</style></head><body>\r\n{body}</body></html>'
    if shape < 0.4:
        coded = base64.encodebytes(html.encode()).decode("ascii").replace("\n", "\r\n")
        markup = f'Content-Type: text/html; charset="utf-8"\r\nContent-Transfer-Encoding: base64\r\n\r\n{coded}'
    else:
        markup = f'Content-Type: text/html; charset="utf-8"\r\nContent-Transfer-Encoding: 8bit\r\n\r\n{html}\r\n'
    inner = f"{mark}_alt"
    alternative = f"--{inner}\r\n{plain}--{inner}\r\n{markup}--{inner}--\r\n"
    if shape < 0.62:
        return _join([*head, f'Content-Type: multipart/alternative; boundary="{inner}"'], alternative)
    parts = f'--{mark}\r\nContent-Type: multipart/alternative; boundary="{inner}"\r\n\r\n{alternative}'
    for index in range(rng.choices([1, 2, 3], [8, 3, 1])[0]):
        kind, ending = rng.choice([("application/pdf", "pdf"), ("image/jpeg", "jpg"), ("application/vnd.ms-excel", "xls")])
        octets = min(140_000, int(rng.lognormvariate(10.2, 0.9)))
        parts += (
            f'--{mark}\r\nContent-Type: {kind}; name="annexe-{index}.{ending}"\r\nContent-Transfer-Encoding: base64\r\n'
            f'Content-Disposition: attachment; filename="annexe-{index}.{ending}"\r\n\r\n{_base64_block(rng, octets)}\r\n'
        )
    return _join([*head, f'Content-Type: multipart/mixed; boundary="{mark}"'], f"{parts}--{mark}--\r\n")


def _join(head: list[str], body: str) -> bytes:
    return ("\r\n".join(head) + "\r\n\r\n" + body + ("" if body.endswith("\r\n") else "\r\n")).encode("utf-8")


def messages(count: int, first: int = 0) -> Iterator[bytes]:
    """`count` messages from number `first` on."""
    return (message(number) for number in range(first, first + count))
