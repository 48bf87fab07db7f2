"""Mail for the demo: some dozens of realistic messages, delivered by LMTP (RFC 2033) with the standard library alone.

Usage: demo_mail.py HOST PORT DOMAIN [--only-one SUBJECT RECIPIENT]
"""

import argparse
import smtplib
import sys
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime, formataddr, make_msgid

HOUR = timedelta(hours=1)


@dataclass(frozen=True)
class Letter:
    """A message and who gets it. `age`: hours ago."""

    sender: tuple[str, str]
    to: tuple[str, ...]  # local parts, or whole addresses
    subject: str
    text: str
    age: float
    html: str = ""
    attachment: tuple[str, str, bytes] | None = None  # name, type, content
    thread: str = ""  # letters of one thread answer one another, in their order
    list_id: str = ""


def png(width: int, height: int, colour: tuple[int, int, int]) -> bytes:
    """A picture of one colour."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return len(data).to_bytes(4, "big") + kind + data + zlib.crc32(kind + data).to_bytes(4, "big")

    rows = (b"\0" + bytes(colour) * width) * height
    header = width.to_bytes(4, "big") + height.to_bytes(4, "big") + b"\x08\x02\0\0\0"
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def pdf(line: str) -> bytes:
    """A page with one line of text."""
    stream = f"BT /F1 18 Tf 60 760 Td ({line}) Tj ET".encode("ascii")
    objects = [
        b"<</Type/Catalog/Pages 2 0 R>>",
        b"<</Type/Pages/Kids[3 0 R]/Count 1>>",
        b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 595 842]/Contents 4 0 R/Resources<</Font<</F1 5 0 R>>>>>>",
        b"<</Length %d>>stream\n%s\nendstream" % (len(stream), stream),
        b"<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>",
    ]
    out, offsets = b"%PDF-1.4\n", []
    for number, body in enumerate(objects, 1):
        offsets.append(len(out))
        out += b"%d 0 obj%s endobj\n" % (number, body)
    table = b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1) + b"".join(b"%010d 00000 n \n" % each for each in offsets)
    return out + table + b"trailer<</Size %d/Root 1 0 R>>\nstartxref\n%d\n%%%%EOF\n" % (len(objects) + 1, len(out))


CSV = "Élève;Classe;Absences\r\nAmina Benali;5e B;2\r\nHugo Martin;5e B;5\r\nLéo Garcia;5e A;1\r\n".encode()
ICS = (
    b"BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:-//Demo//FR\r\nMETHOD:REQUEST\r\nBEGIN:VEVENT\r\nUID:conseil-5b@demo\r\n"
    b"DTSTAMP:20261120T090000Z\r\nDTSTART:20261203T160000Z\r\nDTEND:20261203T173000Z\r\nSUMMARY:Conseil de classe 5e B\r\n"
    b"LOCATION:Salle polyvalente\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n"
)

MARIE, PAUL, LEA = ("Marie Durand", "marie.durand"), ("Paul Bernard", "paul.bernard"), ("Léa Petit", "lea.petit")
RECTORAT = ("Rectorat, division des personnels", "personnels@rectorat.example")
MAIRIE = ("Mairie, service des écoles", "ecoles@mairie.example")
PARENT = ("Nadia Benali", "nadia.benali@parents.example")
LIBRARY = ("Éditions du Préau", "lettre@editions.example")


def letters() -> Iterator[Letter]:
    """All of them, in no order."""
    for index, (sender, text) in enumerate(
        [
            (
                PAUL,
                "Chères collègues,\n\nLe conseil de classe de la 5e B se tiendra jeudi 3 décembre à 17 h.\nMerci de saisir vos appréciations avant mardi.\n\nPaul Bernard",
            ),
            (MARIE, "Bonjour Paul,\n\nC'est noté. Pourrions-nous commencer à 17 h 15 ? J'ai cours jusqu'à 17 h.\n\nMarie"),
            (PAUL, "Bien sûr, 17 h 15 pour tout le monde.\n\nPaul"),
            (LEA, "Je prépare le vidéoprojecteur de la salle polyvalente.\n\nLéa"),
        ]
    ):
        subject = "Conseil de classe 5e B" if index == 0 else "Re: Conseil de classe 5e B"
        yield Letter(sender, ("equipe",), subject, text, 40 - index * 3, thread="conseil")
    yield Letter(
        PAUL,
        ("marie.durand", "lea.petit"),
        "Invitation : conseil de classe 5e B",
        "L'invitation est jointe.\n",
        38,
        attachment=("invitation.ics", "text/calendar", ICS),
    )
    yield Letter(
        PARENT,
        ("marie.durand",),
        "Absence d'Amina lundi matin",
        "Bonjour Madame Durand,\n\nAmina a rendez-vous chez l'orthodontiste lundi à 9 h ; elle arrivera vers 10 h 30.\n\nBien cordialement,\nNadia Benali\n",
        30,
        thread="absence",
    )
    yield Letter(
        MARIE,
        ("nadia.benali@parents.example", "marie.durand"),
        "Re: Absence d'Amina lundi matin",
        "Bonjour Madame,\n\nMerci de m'avoir prévenue. Je garderai le cours pour Amina.\n\nMarie Durand\n",
        29,
        thread="absence",
    )
    yield Letter(
        RECTORAT,
        ("paul.bernard",),
        "Échéancier des inscriptions 2027",
        "Monsieur le principal,\n\nVous trouverez ci-joint l'échéancier.\n",
        90,
        attachment=("echeancier-2027.pdf", "application/pdf", pdf("Echeancier des inscriptions 2027")),
    )
    yield Letter(
        RECTORAT,
        ("equipe",),
        "Mouvement des personnels : calendrier",
        "Le calendrier du mouvement est publié.\nLes vœux se saisissent du 4 au 22 janvier.\n",
        200,
        list_id="personnels.rectorat.example",
    )
    yield Letter(
        MAIRIE,
        ("paul.bernard", "lea.petit"),
        "Travaux du gymnase",
        "Bonjour,\n\nLes travaux du gymnase commenceront le 7 décembre et dureront trois semaines.\nLe plan est joint.\n",
        70,
        attachment=("plan-gymnase.png", "image/png", png(640, 400, (180, 200, 220))),
    )
    yield Letter(
        MARIE,
        ("paul.bernard",),
        "Absences de la 5e B",
        "Paul,\n\nLe tableau des absences est joint (séparateur point-virgule).\n\nMarie\n",
        50,
        attachment=("absences-5eB.csv", "text/csv", CSV),
    )
    yield Letter(
        LEA,
        ("equipe",),
        "Nouvelle messagerie : à lire",
        "Bonjour à toutes et à tous,\n\nLa nouvelle messagerie est ouverte. Un mot de passe d'application par appareil,\njamais le même deux fois. En cas de perte d'un téléphone, appelez-moi : je le bloque aussitôt.\n\nLéa Petit\nréférente numérique\n",
        24,
        html="<p>Bonjour à toutes et à tous,</p><p>La <b>nouvelle messagerie</b> est ouverte. Un mot de passe d'application <i>par appareil</i>, jamais le même deux fois.</p><p>Léa Petit<br>référente numérique</p>",
    )
    yield Letter(
        ("Supervision", "supervision@outils.example"),
        ("lea.petit",),
        "Certificate of imap renewed",
        "The certificate was renewed and is valid for 397 days.\nNothing is left to do.\n",
        12,
    )
    yield Letter(
        ("Open Source List", "owner@lists.example"),
        ("lea.petit",),
        "[list] Release notes, second draft",
        "Hello all,\n\nplease review the second draft until Friday.\n\n--\nlist mailing list\n",
        60,
        list_id="list.lists.example",
    )
    for number in range(1, 13):
        html = (
            f"<html><body><h1>Lettre n° {number}</h1><p>Au sommaire : lecture, écriture, échecs.</p><ul>"
            + "".join(f"<li>Fiche {number}.{each} : l'école d'hier à aujourd'hui</li>" for each in range(1, 9))
            + "</ul></body></html>"
        )
        yield Letter(
            LIBRARY,
            ("marie.durand",),
            f"La lettre du Préau n° {number}",
            f"Lettre n° {number}\n\nAu sommaire : lecture, écriture, échecs.\n",
            24.0 * 14 * (13 - number),
            html=html,
            list_id="lettre.editions.example",
        )
    menus = [
        "Betteraves, hachis parmentier, yaourt",
        "Carottes râpées, poisson pané, pomme",
        "Céleri rémoulade, lasagnes, crème dessert",
        "Taboulé, rôti de dinde, clémentine",
        "Potage, crêpes, île flottante",
    ]
    for week, menu in enumerate(menus):
        yield Letter(
            MAIRIE,
            ("equipe",),
            f"Menu de la cantine, semaine {48 - week}",
            f"Lundi : {menu}\nMardi : {menus[(week + 1) % 5]}\n",
            24.0 * 7 * (week + 1),
        )
    for index, pupil in enumerate(["Hugo", "Léo", "Inès", "Zoé", "Noé"]):
        yield Letter(
            (f"Famille de {pupil}", f"famille{index}@parents.example"),
            ("marie.durand",),
            f"Sortie au musée : autorisation de {pupil}",
            f"Bonjour,\n\nJ'autorise {pupil} à participer à la sortie au musée.\n\nCordialement\n",
            20 + index,
            attachment=(f"autorisation-{index}.pdf", "application/pdf", pdf(f"Autorisation {index}")),
        )
    yield Letter(
        MARIE,
        ("lea.petit",),
        "Imprimante de la salle 12",
        "Bonjour Léa,\n\nl'imprimante de la salle 12 n'imprime plus qu'en rose.\n\nMarie",
        5,
        thread="imprimante",
    )
    yield Letter(
        LEA,
        ("marie.durand",),
        "Re: Imprimante de la salle 12",
        "Bonjour Marie,\n\nje passe demain à 8 h avec une cartouche.\n\nLéa",
        4,
        thread="imprimante",
    )
    yield Letter(
        PAUL,
        ("marie.durand",),
        "Votre demande de formation",
        "Bonjour Marie,\n\nvotre demande est acceptée, félicitations !\n\nPaul",
        2,
    )


def build(letter: Letter, domain: str, now: datetime, seen: dict[str, list[str]]) -> EmailMessage:
    """The message. `seen` keeps the Message-IDs of each thread."""

    def address(local: str) -> str:
        return local if "@" in local else f"{local}@{domain}"

    message = EmailMessage(policy=SMTP)
    name, local = letter.sender
    message["From"] = formataddr((name, address(local)))
    message["To"] = ", ".join(address(each) for each in letter.to)
    message["Subject"] = letter.subject
    message["Date"] = format_datetime(now - letter.age * HOUR)
    message["Message-ID"] = make_msgid(domain=address(local).rpartition("@")[2])
    if letter.thread:
        earlier = seen.setdefault(letter.thread, [])
        if earlier:
            message["In-Reply-To"], message["References"] = earlier[-1], " ".join(earlier)
        earlier.append(str(message["Message-ID"]))
    if letter.list_id:
        message["List-Id"] = f"<{letter.list_id}>"
        message["Precedence"] = "list"
    message.set_content(letter.text)
    if letter.html:
        message.add_alternative(letter.html, subtype="html")
    if letter.attachment:
        filename, kind, content = letter.attachment
        maintype, _, subtype = kind.partition("/")
        message.add_attachment(content, maintype=maintype, subtype=subtype, filename=filename)
    return message


def hand_over(client: smtplib.LMTP, sender: str, recipients: list[str], message: bytes) -> None:
    """One transaction. smtplib knows LMTP's greeting, but not that every recipient gets a reply to DATA (RFC 2033 4.2)."""
    client.ehlo_or_helo_if_needed()
    code, text = client.mail(sender, ["BODY=8BITMIME"])
    answers = [(code, text), *(client.rcpt(recipient) for recipient in recipients)]
    client.putcmd("data")
    answers.append(client.getreply())
    if answers[-1][0] == 354:
        stuffed = (b"\r\n" + message).replace(b"\r\n.", b"\r\n..")[2:]
        client.send(stuffed + b".\r\n")
        answers += [client.getreply() for _ in recipients]
    for code, text in answers:
        if code >= 400:
            raise smtplib.SMTPResponseException(code, text)


def deliver(host: str, port: int, domain: str, chosen: list[Letter]) -> int:
    """Hand them over; how many copies were accepted. Raise OSError or smtplib.SMTPException."""
    now, seen, copies = datetime.now(UTC).astimezone(), dict[str, list[str]](), 0
    with smtplib.LMTP(host, port) as client:
        for letter in sorted(chosen, key=lambda each: -each.age):
            recipients = [each if "@" in each else f"{each}@{domain}" for each in letter.to]
            local = [each for each in recipients if each.endswith(f"@{domain}")]
            sender = letter.sender[1] if "@" in letter.sender[1] else f"{letter.sender[1]}@{domain}"
            hand_over(client, sender, local, build(letter, domain, now, seen).as_bytes())
            copies += len(local)
    return copies


def main() -> int:
    """Deliver all, or one."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("host")
    parser.add_argument("port", type=int)
    parser.add_argument("domain")
    parser.add_argument("--one", nargs=2, metavar=("SUBJECT", "RECIPIENT"), help="a single short message instead of the corpus")
    arguments = parser.parse_args()
    chosen = list(letters())
    if arguments.one:
        chosen = [Letter(PARENT, (arguments.one[1],), arguments.one[0], "Bonjour,\n\nun message de plus.\n", 0)]
    try:
        deliver(arguments.host, arguments.port, arguments.domain, chosen)
    except (OSError, smtplib.SMTPException) as error:
        sys.stderr.write(f"not delivered: {error}\n")
        return 1
    sys.stdout.write(f"{len(chosen)} messages delivered\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
