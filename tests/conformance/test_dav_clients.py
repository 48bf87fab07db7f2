"""Unchanged calendar and contact clients against an instance of ours, over TLS with its private CA."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest

from dav_site import ANA, Site, dav_site, run
from programs import needs

pytestmark = pytest.mark.conformance

EVENT = """BEGIN:VCALENDAR\r
VERSION:2.0\r
PRODID:-//example//test//FR\r
BEGIN:VEVENT\r
UID:{uid}\r
DTSTAMP:20261101T080000Z\r
DTSTART:{start}\r
DTEND:{end}\r
SUMMARY:{summary}\r
END:VEVENT\r
END:VCALENDAR\r
"""
CARD = "BEGIN:VCARD\r\nVERSION:3.0\r\nUID:{uid}\r\nFN:{name}\r\nN:{name};;;;\r\nEMAIL:{mail}\r\nEND:VCARD\r\n"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """Calendars and contacts of Ana."""
    with dav_site(tmp_path_factory.mktemp("dav") / "i") as one:
        yield one


def test_curl_finds_its_way(site: Site) -> None:
    status, _ = site.curl("PROPFIND", "/.well-known/caldav", "", "-H", "Depth: 0")
    assert status == 301
    body = '<propfind xmlns="DAV:"><prop><current-user-principal/></prop></propfind>'
    status, text = site.curl("PROPFIND", "/.well-known/caldav", body, "-H", "Depth: 0", "-L", "--post301")
    assert status == 207
    assert f"/dav/principals/{ANA}/" in text


@pytest.mark.parametrize("suite", ["basic", "http", "copymove", "props"])
def test_litmus(site: Site, suite: str, tmp_path: Path) -> None:
    needs("litmus")
    path = f"/dav/calendars/{ANA}/plain-{suite}/"
    assert site.curl("MKCOL", path)[0] == 201
    # litmus has no way to name a CA: the system's bundle is what its library looks at.
    bundle = tmp_path / "bundle.pem"
    bundle.write_bytes(site.ca.read_bytes())
    output = run(
        ["litmus", "-k", site.url + path, ANA, site.password],
        env={"TESTS": suite, "SSL_CERT_FILE": str(bundle)},
        cwd=tmp_path,
    )
    assert "100.0%" in output, output


VDIRSYNCER = """
[general]
status_path = "{folder}/status/"

[pair calendars]
a = "near_calendars"
b = "far_calendars"
collections = ["from b"]
conflict_resolution = "b wins"
metadata = ["color", "displayname"]

[pair contacts]
a = "near_contacts"
b = "far_contacts"
collections = ["from b"]
conflict_resolution = "b wins"

[storage near_calendars]
type = "filesystem"
path = "{folder}/calendars/"
fileext = ".ics"

[storage near_contacts]
type = "filesystem"
path = "{folder}/contacts/"
fileext = ".vcf"

[storage far_calendars]
type = "caldav"
url = "{url}/"
username = "{login}"
password = "{password}"
verify = "{ca}"

[storage far_contacts]
type = "carddav"
url = "{url}/"
username = "{login}"
password = "{password}"
verify = "{ca}"
"""


class Vdirs:
    """vdirsyncer's copies of Ana's collections."""

    def __init__(self, site: Site, folder: Path) -> None:
        """Discover and pull."""
        self.folder = folder
        self.config = folder / "config"
        self.config.write_text(
            VDIRSYNCER.format(folder=folder, url=site.url, login=ANA, password=site.password, ca=site.ca), encoding="utf-8"
        )
        self.run("discover", stdin="y\n" * 20)
        self.sync()

    def run(self, *words: str, stdin: str = "") -> str:
        """A command."""
        return run([needs("vdirsyncer"), "-c", str(self.config), *words], stdin=stdin)

    def sync(self) -> None:
        """Both ways."""
        self.run("sync", "--force-delete")


def test_vdirsyncer_both_ways_with_a_conflict(site: Site, tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    first, second = (Vdirs(site, tmp_path / name) for name in ("one", "two"))
    assert {path.name for path in (first.folder / "calendars").iterdir()} >= {"calendar", "tasks"}
    event = first.folder / "calendars" / "calendar" / "v1.ics"
    times = {"start": "20261201T090000Z", "end": "20261201T100000Z"}
    event.write_text(EVENT.format(uid="v1", summary="Réunion", **times), encoding="utf-8", newline="")
    card = first.folder / "contacts" / "contacts" / "c1.vcf"
    card.write_text(CARD.format(uid="c1", name="Éva Noël", mail="eva@ecole.example"), encoding="utf-8", newline="")
    first.sync()
    second.sync()
    copies = [path for path in (second.folder / "calendars" / "calendar").iterdir() if "v1" in path.read_text(encoding="utf-8")]
    assert len(copies) == 1
    assert copies[0].read_bytes() == event.read_bytes()
    assert any("Éva" in path.read_text(encoding="utf-8") for path in (second.folder / "contacts" / "contacts").iterdir())
    # Both change it: the server's side wins, as the configuration says, and both end the same.
    event.write_text(EVENT.format(uid="v1", summary="Premier", **times), encoding="utf-8", newline="")
    copies[0].write_text(EVENT.format(uid="v1", summary="Second", **times), encoding="utf-8", newline="")
    first.sync()
    second.sync()
    assert "Premier" in copies[0].read_text(encoding="utf-8")
    event.unlink()
    first.sync()
    second.sync()
    assert not copies[0].exists()


def test_khal_khard_and_todoman(site: Site, tmp_path: Path) -> None:
    vdirs = Vdirs(site, tmp_path)
    home = {
        "HOME": str(tmp_path),
        "XDG_CONFIG_HOME": str(tmp_path / "xdg"),
        "XDG_DATA_HOME": str(tmp_path / "data"),
        "TZ": "Europe/Paris",
    }
    locale = {"LC_ALL": "C.UTF-8", "LANG": "C.UTF-8"}
    config = tmp_path / "khal.conf"
    config.write_text(
        f"[calendars]\n[[agenda]]\npath = {tmp_path}/calendars/calendar\n[locale]\ntimeformat = %H:%M\ndateformat = %Y-%m-%d\n"
        "longdateformat = %Y-%m-%d\ndatetimeformat = %Y-%m-%d %H:%M\nlongdatetimeformat = %Y-%m-%d %H:%M\n"
        "local_timezone = Europe/Paris\ndefault_timezone = Europe/Paris\n[default]\ndefault_calendar = agenda\n",
        encoding="utf-8",
    )
    env = {**home, **locale}
    run([needs("khal"), "-c", str(config), "new", "2026-12-02", "10:00", "11:00", "Conseil de classe"], env=env)
    vdirs.sync()
    status, text = site.curl(
        "REPORT",
        f"/dav/calendars/{ANA}/calendar/",
        '<C:calendar-query xmlns:C="urn:ietf:params:xml:ns:caldav" xmlns:D="DAV:"><D:prop><C:calendar-data/></D:prop><C:filter>'
        '<C:comp-filter name="VCALENDAR"><C:comp-filter name="VEVENT">'
        '<C:time-range start="20261202T000000Z" end="20261203T000000Z"/>'
        "</C:comp-filter></C:comp-filter></C:filter></C:calendar-query>",
        "-H",
        "Depth: 1",
    )
    assert status == 207
    assert "SUMMARY:Conseil de classe" in text
    listed = run([needs("khal"), "-c", str(config), "list", "2026-12-02", "1d"], env=env)
    assert "Conseil de classe" in listed

    todo = tmp_path / "xdg" / "todoman" / "config.py"
    todo.parent.mkdir(parents=True)
    todo.write_text(
        f'path = "{tmp_path}/calendars/*"\ndefault_list = "tasks"\ndate_format = "%Y-%m-%d"\ntime_format = "%H:%M"\n'
    )
    run([needs("todoman"), "new", "-l", "tasks", "Corriger les copies"], env=env)
    vdirs.sync()
    assert "Corriger les copies" in run([needs("todoman"), "list"], env=env)
    assert "Corriger les copies" in all_items(site, f"/dav/calendars/{ANA}/tasks/", "calendar")

    khard = tmp_path / "khard.conf"
    khard.write_text(
        f"[addressbooks]\n[[contacts]]\npath = {tmp_path}/contacts/contacts\n[general]\neditor = true\nmerge_editor = true\n"
    )
    template = "First name: Zoé\nLast name: Martin\nEmail:\n    work: zoe@ecole.example\n"
    run([needs("khard"), "-c", str(khard), "new", "-a", "contacts", "-i", "/dev/stdin"], stdin=template, env=env)
    vdirs.sync()
    assert "zoe@ecole.example" in all_items(site, f"/dav/addressbooks/{ANA}/contacts/", "address")
    assert "Martin" in run([needs("khard"), "-c", str(khard), "list"], env=env)


def all_items(site: Site, path: str, kind: str) -> str:
    """The octets of all items of a collection."""
    namespace = {"calendar": "urn:ietf:params:xml:ns:caldav", "address": "urn:ietf:params:xml:ns:carddav"}[kind]
    body = '<propfind xmlns="DAV:"><prop><getetag/></prop></propfind>'
    status, text = site.curl("PROPFIND", path, body, "-H", "Depth: 1")
    assert status == 207
    hrefs = [part.partition("</D:href>")[0] for part in text.split("<D:href>")[2:]]
    name = {"calendar": "calendar-multiget", "address": "addressbook-multiget"}[kind]
    wanted = "".join(f'<href xmlns="DAV:">{href}</href>' for href in hrefs)
    status, text = site.curl(
        "REPORT",
        path,
        f'<{name} xmlns="{namespace}"><prop xmlns="DAV:"><X:{kind}-data xmlns:X="{namespace}"/></prop>{wanted}</{name}>',
    )
    assert status == 207
    return text


def test_cadaver(site: Site, tmp_path: Path) -> None:
    """Its answers about the certificate come from the terminal; it trusts a bundle that it is given by the environment."""
    needs("cadaver")
    path = f"/dav/calendars/{ANA}/cadaver/"
    assert site.curl("MKCOL", path)[0] == 201
    (tmp_path / "note.txt").write_text("bonjour\n")
    (tmp_path / ".netrc").write_text(f"machine localhost\nlogin {ANA}\npassword {site.password}\n")
    (tmp_path / ".netrc").chmod(0o600)
    commands = f"lcd {tmp_path}\nput note.txt\nmkcol sub\ncopy note.txt sub/copie.txt\nls\nget sub/copie.txt back.txt\nquit\n"
    script = ["script", "-qec", f"cadaver {site.url}{path}", "/dev/null"]
    if shutil.which("script") is None:
        pytest.skip("script is not installed")
    done = subprocess.run(
        script,
        input="y\n" + commands,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env={**os.environ, "HOME": str(tmp_path)},
    )
    assert "note.txt" in done.stdout
    assert site.curl("GET", f"{path}sub/copie.txt") == (200, "bonjour\n")


def test_rclone(site: Site, tmp_path: Path) -> None:
    path = f"/dav/calendars/{ANA}/rclone/"
    assert site.curl("MKCOL", path)[0] == 201
    source = tmp_path / "source"
    (source / "dossier").mkdir(parents=True)
    (source / "dossier" / "note é.txt").write_text("un\n")
    (source / "deux.txt").write_text("deux\n")
    program = needs("rclone")
    hidden = run([program, "obscure", site.password]).strip()
    remote = f":webdav,url='{site.url}{path}',vendor=other,user='{ANA}',pass='{hidden}':"
    options = ["--ca-cert", str(site.ca), "--config", str(tmp_path / "none.conf")]
    run([program, "copy", str(source), remote, *options])
    run([program, "copy", remote, str(tmp_path / "back"), *options])
    assert (tmp_path / "back" / "dossier" / "note é.txt").read_text() == "un\n"
    assert (tmp_path / "back" / "deux.txt").read_text() == "deux\n"
    run([program, "check", str(source), remote, "--download", *options])


def test_a_name_that_needs_quoting(site: Site) -> None:
    path = f"/dav/calendars/{ANA}/calendar/{quote('réunion & co.ics')}"
    body = EVENT.format(uid="quoted", summary="x", start="20261205T090000Z", end="20261205T100000Z")
    assert site.curl("PUT", path, body, "-H", "Content-Type: text/calendar", "-H", "If-None-Match: *")[0] == 201
    assert site.curl("GET", path)[0] == 200
    assert "x" in all_items(site, f"/dav/calendars/{ANA}/calendar/", "calendar")
    assert site.curl("DELETE", path)[0] == 204
