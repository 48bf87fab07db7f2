"""What `scripts/demo --check` proves of calendars and contacts, with unchanged clients.

curl walks the way a phone does, from the well-known address to the calendar; vdirsyncer keeps two copies of Marie's
calendars and contacts, as two devices would, and each sees what the other changed; khal reads one of them.
"""

from pathlib import Path

from demo_client import Check, Failed, expect, run

_EVENT = """BEGIN:VCALENDAR\r
VERSION:2.0\r
PRODID:-//demo//FR\r
BEGIN:VEVENT\r
UID:demo-conseil\r
DTSTAMP:20261101T080000Z\r
DTSTART:20261203T160000Z\r
DTEND:20261203T173000Z\r
SUMMARY:{}\r
END:VEVENT\r
END:VCALENDAR\r
"""
_CARD = "BEGIN:VCARD\r\nVERSION:3.0\r\nUID:demo-carte\r\nFN:Élodie Roux\r\nN:Roux;Élodie;;;\r\nEND:VCARD\r\n"


def found_by_a_phone(check: Check) -> None:
    """From /.well-known without a password to principal, home and calendar, as iOS and DAVx5 go."""
    who = check.address("marie.durand")
    config = check.write_secret(
        "curl-dav.conf", f'user = "{who}:{check.app_password("marie.durand")}"\ncacert = "{check.ca}"\n'
    )
    base = f"https://localhost:{check.ports['https']}"

    def propfind(path: str, names: str, depth: str = "0") -> str:
        body = f'<propfind xmlns="DAV:" xmlns:C="urn:ietf:params:xml:ns:caldav"><prop>{names}</prop></propfind>'
        command = [
            "curl",
            "-sS",
            "--config",
            str(config),
            "-X",
            "PROPFIND",
            "-H",
            f"Depth: {depth}",
            "-H",
            "Content-Type: text/xml",
        ]
        return run(*command, "-L", "--post301", "--data-binary", "@-", base + path, stdin=body)

    found = propfind("/.well-known/caldav", "<current-user-principal/>")
    principal = f"/dav/principals/{who}/"
    expect(principal in found, f"no principal: {found[-500:]!r}")
    found = propfind(principal, "<C:calendar-home-set/><C:calendar-user-address-set/>")
    home = f"/dav/calendars/{who}/"
    expect(home in found and f"mailto:{who}" in found, f"no home: {found[-500:]!r}")
    found = propfind(home, "<resourcetype/><displayname/><sync-token/>", "1")
    expect(f"{home}calendar/" in found and "C:calendar/" in found, f"no calendar: {found[-500:]!r}")


def two_devices(check: Check) -> None:
    """An appointment and a card made on one device are on the other, and so is their change; khal shows it."""
    one, two = _Device(check, "dav-one"), _Device(check, "dav-two")
    near = one.folder / "calendars" / "calendar" / "demo.ics"
    near.write_text(_EVENT.format("Conseil de classe"), encoding="utf-8", newline="")
    (one.folder / "contacts" / "contacts" / "demo.vcf").write_text(_CARD, encoding="utf-8", newline="")
    one.sync()
    two.sync()
    copy = two.find("calendars/calendar", "demo-conseil")
    expect(copy.read_bytes() == near.read_bytes(), "the appointment came back changed")
    expect("Élodie" in two.find("contacts/contacts", "demo-carte").read_text(encoding="utf-8"), "no card on the other device")
    copy.write_text(_EVENT.format("Conseil de classe, salle 12"), encoding="utf-8", newline="")
    two.sync()
    one.sync()
    expect("salle 12" in near.read_text(encoding="utf-8"), "the change did not come back")
    expect("salle 12" in one.khal(), "khal does not show it")


class _Device:
    """A folder that vdirsyncer keeps like Marie's collections."""

    def __init__(self, check: Check, name: str) -> None:
        self.folder = check.folder / name
        self.folder.mkdir()
        url, who = f"https://localhost:{check.ports['https']}/", check.address("marie.durand")
        parts = [f'[general]\nstatus_path = "{self.folder}/status/"\n']
        for pair, kind, ending in (("calendars", "caldav", ".ics"), ("contacts", "carddav", ".vcf")):
            parts.append(
                f'[pair {pair}]\na = "near_{pair}"\nb = "far_{pair}"\n'
                f'collections = ["from b"]\nconflict_resolution = "b wins"\n'
                f'[storage near_{pair}]\ntype = "filesystem"\npath = "{self.folder}/{pair}/"\nfileext = "{ending}"\n'
                f'[storage far_{pair}]\ntype = "{kind}"\nurl = "{url}"\nusername = "{who}"\n'
                f'password = "{check.app_password("marie.durand")}"\nverify = "{check.ca}"\n'
            )
        self._config = check.write_secret(f"{name}.conf", "\n".join(parts))
        run("vdirsyncer", "-c", str(self._config), "discover", stdin="y\n" * 20)
        self.sync()

    def sync(self) -> None:
        """Both ways."""
        run("vdirsyncer", "-c", str(self._config), "sync", "--force-delete")

    def find(self, folder: str, text: str) -> Path:
        """The file that holds a text."""
        for path in (self.folder / folder).iterdir():
            if text in path.read_text(encoding="utf-8"):
                return path
        raise Failed(f"no {text} in {folder}")

    def khal(self) -> str:
        """What khal shows of the day."""
        config = self.folder / "khal.conf"
        config.write_text(
            f"[calendars]\n[[agenda]]\npath = {self.folder}/calendars/calendar\n"
            "[locale]\ndateformat = %Y-%m-%d\nlongdateformat = %Y-%m-%d\nlocal_timezone = Europe/Paris\n",
            encoding="utf-8",
        )
        home = {"HOME": str(self.folder), "XDG_DATA_HOME": str(self.folder), "LC_ALL": "C.UTF-8", "TZ": "Europe/Paris"}
        return run("khal", "-c", str(config), "list", "2026-12-03", "1d", environment=home)
