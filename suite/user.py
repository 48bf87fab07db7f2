"""`preau user`: accounts.

Owns the arguments and the shape of a CSV import; what an account is, auth knows. A deleted account's keys are forgotten
first (what is sealed can then be read by nobody), its files after.
"""

import argparse
import csv
import io
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from ..config.key import InvalidValue
from ..config.units import parse_size
from .accounts import delete_store
from .administration import open_administration
from .invocation import Invocation, Verbs
from .outcome import Misused, Refused
from .totp import render_factor

_BATCH_ROWS = 200
_BATCH_OCTETS = 40_000  # of JSON: a frame to auth has 65,536
MAX_FILE = 67_108_864  # octets of a CSV
COLUMNS = ("address", "name", "password", "hash", "second_factor", "groups")

_EXAMPLES = """\
  preau user add marie.durand@ecole.example --name "Marie Durand" --second-factor totp --password-stdin < secret
  preau user import staff.csv --app-passwords out.json
  preau user quota marie.durand@ecole.example "5 GiB"
  preau user lock paul.bernard@ecole.example --reason "phone stolen"
"""


def add_verbs(verbs: Verbs) -> None:
    """Add `user`."""
    group = verbs.group("user", "accounts", examples=_EXAMPLES)
    add = group.add("add", run_add, "make an account", examples=_EXAMPLES.splitlines()[0])
    add.add_argument("address", metavar="ADDRESS")
    add.add_argument("--name", default="", help="name of the person")
    add.add_argument("--password-stdin", action="store_true", help="read the password, one line, from standard input")
    add.add_argument("--second-factor", choices=("none", "totp"), default="none", help="with totp, mail wants app passwords")
    add.add_argument("--admin", action="store_true", help="an administrator of the instance")
    password = _with_address(group.add("password", run_password, "set the password of an account; its sessions end"))
    password.add_argument("--password-stdin", action="store_true", required=True, help="read it, one line, from standard input")
    quota = _with_address(group.add("quota", run_quota, "set how much an account may store, from its next sign-in on"))
    quota.add_argument("size", metavar="SIZE", help='octets, or as in "2 GiB"; none: any amount')
    importing = group.add("import", run_import, f"make accounts from a CSV file: address,name[,...] of {', '.join(COLUMNS)}")
    importing.add_argument("file", metavar="FILE.csv", type=Path)
    importing.add_argument(
        "--app-passwords", metavar="OUT.json", type=Path, help="write {address: app password}, once, to a new file"
    )
    group.add("list", run_list, "list accounts")
    _with_address(group.add("show", run_show, "show an account and its credentials, never a secret"))
    lock = _with_address(group.add("lock", run_lock, "suspend an account and end its sessions"))
    lock.add_argument("--reason", required=True, metavar="TEXT", help="kept in the traces")
    _with_address(group.add("unlock", run_unlock, "lift a lock, and the waits after wrong passwords"))
    _with_address(group.add("delete", run_delete, "delete an account with everything it stored"))


def _with_address(parser: argparse.ArgumentParser) -> argparse.ArgumentParser:
    parser.add_argument("address", metavar="ADDRESS")
    return parser


def run_add(invocation: Invocation) -> None:
    """Make one account."""
    arguments = invocation.arguments
    password = invocation.read_secret("password") if arguments.password_stdin else None
    with open_administration(invocation.settings) as administration:
        made = administration.user_add(
            arguments.address,
            name=arguments.name,
            password=password,
            second_factor=arguments.second_factor,
            admin=arguments.admin,
        )
    address = made.get("address", arguments.address)
    factor = render_factor(address, made["uri"], made["recovery_codes"]) if "uri" in made else []
    hint = f"It has no password: give it an app password with `preau app-password add {address} --label NAME`."
    invocation.output.answer(made, f"{address} is there.", *([] if password else [hint]), *factor)


def run_password(invocation: Invocation) -> None:
    """Set a password."""
    address, password = invocation.arguments.address, invocation.read_secret("new password")
    with open_administration(invocation.settings) as administration:
        administration.user_password(address, password)
    invocation.output.answer({"address": address, "password": True}, f"{address} has a new password; its sessions end now.")


def run_quota(invocation: Invocation) -> None:
    """Set a quota."""
    address, size = invocation.arguments.address, invocation.arguments.size
    try:
        octets = None if size == "none" else int(size) if size.isdecimal() and len(size) < 19 else parse_size(size)
    except InvalidValue as error:
        raise Misused(f"SIZE: {error}") from None
    with open_administration(invocation.settings) as administration:
        administration.user_quota(address, octets)
    told = "any amount" if octets is None else f"{octets} octets"
    invocation.output.answer({"address": address, "quota": octets}, f"{address} may store {told}.")


def run_import(invocation: Invocation) -> None:
    """Make accounts from a CSV, batch by batch. Refused (after doing the rest) when a row was refused."""
    out: Path | None = invocation.arguments.app_passwords
    rows = read_rows(invocation.arguments.file)
    if out is not None:
        _make_empty(out)
    added, passwords, errors = 0, dict[str, str](), list[str]()
    with (
        open_administration(invocation.settings) as administration,
        invocation.output.progress("accounts", len(rows)) as advance,
    ):
        for start, batch in batches(rows):
            answer = administration.user_import(batch, app_passwords=out is not None)
            added += answer["added"]
            # A header line and one-based counting: the line an editor shows.
            errors += [f"line {start + index + 2}: {sentence}" for index, sentence in answer["errors"]]
            if out is not None and answer["passwords"]:
                passwords |= answer["passwords"]
                _write_secret(out, json.dumps(passwords, ensure_ascii=False, indent=0))
            advance(len(batch))
    lines = [f"{added} of {len(rows)} accounts made.", *([f"App passwords: {out}"] if out else [])]
    invocation.output.answer({"added": added, "rows": len(rows), "errors": errors}, *lines)
    if errors:
        shown = "\n".join(f"  {error}" for error in errors[:20])
        more = f"\n  and {len(errors) - 20} more" if len(errors) > 20 else ""
        raise Refused(f"{len(errors)} rows were refused:\n{shown}{more}")


def run_list(invocation: Invocation) -> None:
    """List accounts."""
    with open_administration(invocation.settings) as administration:
        rows = administration.user_list()
    columns = {"address": "ADDRESS", "name": "NAME", "status": "STATUS", "second_factor": "2ND FACTOR", "admin": "ADMIN"}
    invocation.output.table(rows, columns, empty="no accounts yet: preau user add")


def run_show(invocation: Invocation) -> None:
    """Show one account."""
    with open_administration(invocation.settings) as administration:
        invocation.output.facts(administration.user_show(invocation.arguments.address))


def run_lock(invocation: Invocation) -> None:
    """Suspend."""
    address = invocation.arguments.address
    with open_administration(invocation.settings) as administration:
        administration.user_lock(address, reason=invocation.arguments.reason)
    invocation.output.answer({"address": address, "locked": True}, f"{address} is locked; its sessions end now.")


def run_unlock(invocation: Invocation) -> None:
    """Lift."""
    address = invocation.arguments.address
    with open_administration(invocation.settings) as administration:
        administration.user_unlock(address)
    invocation.output.answer({"address": address, "locked": False}, f"{address} is unlocked.")


def run_delete(invocation: Invocation) -> None:
    """Delete."""
    address = invocation.arguments.address
    with open_administration(invocation.settings) as administration:
        account = administration.user_delete(address)["account"]
    delete_store(invocation.settings, account)
    invocation.output.answer({"address": address, "account": account, "deleted": True}, f"{address} and its mail are deleted.")


def read_rows(file: Path) -> list[dict[str, str]]:
    """Rows of a CSV (comma or semicolon) with a header line. Raise Refused or Misused."""
    try:
        with file.open("rb") as stream:
            data = stream.read(MAX_FILE + 1)
    except OSError as error:
        raise Refused(f"{file}: {error.strerror}") from None
    if len(data) > MAX_FILE:
        raise Refused(f"{file}: larger than {MAX_FILE} octets")
    try:
        text = data.decode("utf-8-sig")  # spreadsheets write a byte order mark
    except UnicodeDecodeError:
        raise Refused(f"{file}: not UTF-8") from None
    if "\0" in text:
        raise Refused(f"{file}: a NUL is not text")
    header = text.partition("\n")[0]
    # What French spreadsheets call CSV has semicolons.
    delimiter = ";" if header.count(";") > header.count(",") else ","
    try:
        reader = csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
        names = [name.strip().lower() for name in reader.fieldnames or ()]
        unknown = [name for name in names if name not in COLUMNS]
        if "address" not in names or "name" not in names or unknown or len(set(names)) != len(names):
            raise Misused(f"{file}: the first line must name the columns: address,name[,...] of {', '.join(COLUMNS)}")
        reader.fieldnames = names
        rows = []
        for row in reader:
            if None in row or None in row.values():
                raise Refused(f"{file}:{reader.line_num}: as many values as columns, please")
            rows.append({name: value.strip() if name not in ("password",) else value for name, value in row.items() if value})
    except csv.Error as error:
        raise Refused(f"{file}: {error}") from None
    return rows


def batches(rows: Sequence[Mapping[str, str]]) -> Iterator[tuple[int, list[Mapping[str, str]]]]:
    """(index of the first, rows) in pieces that fit into one call."""
    start, octets, batch = 0, 0, list[Mapping[str, str]]()
    for index, row in enumerate(rows):
        size = len(json.dumps(row))
        if batch and (len(batch) >= _BATCH_ROWS or octets + size > _BATCH_OCTETS):
            yield start, batch
            start, octets, batch = index, 0, []
        batch.append(row)
        octets += size
    if batch:
        yield start, batch


def _make_empty(path: Path) -> None:
    try:
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    except FileExistsError:
        raise Refused(f"{path} exists: secrets are written to a new file only") from None
    except OSError as error:
        raise Refused(f"{path}: {error.strerror}") from None


def _write_secret(path: Path, text: str) -> None:
    """Replace in one step: after a crash every password that was made is in the file."""
    temporary = path.with_name(f"{path.name}.part")
    temporary.unlink(missing_ok=True)
    with open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    temporary.rename(path)
