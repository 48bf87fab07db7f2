"""The CSV of `preau user import`, before any account is made."""

from pathlib import Path

import pytest

from preau.suite.outcome import Misused, Refused
from preau.suite.user import batches, read_rows


def rows_of(tmp_path: Path, data: bytes) -> list[dict[str, str]]:
    file = tmp_path / "staff.csv"
    file.write_bytes(data)
    return read_rows(file)


@pytest.mark.parametrize(
    ("data", "rows"),
    [
        pytest.param(b"address,name\na@b.example,Ada\n", [{"address": "a@b.example", "name": "Ada"}], id="plain"),
        pytest.param(b"Address;Name\r\na@b.example;Ada\r\n", [{"address": "a@b.example", "name": "Ada"}], id="spreadsheet"),
        pytest.param(
            "\ufeffname,address\nZoé,z@b.example\n".encode(), [{"name": "Zoé", "address": "z@b.example"}], id="byte order mark"
        ),
        pytest.param(
            b'address,name,groups\na@b.example,"Ada, Countess","x@b.example y@b.example"\n',
            [{"address": "a@b.example", "name": "Ada, Countess", "groups": "x@b.example y@b.example"}],
            id="quoted",
        ),
        pytest.param(
            b"address,name,password\na@b.example,, secret \n",
            [{"address": "a@b.example", "password": " secret "}],
            id="password kept",
        ),
        pytest.param(b"address,name\n", [], id="header alone"),
    ],
)
def test_rows(data: bytes, rows: list[dict[str, str]], tmp_path: Path) -> None:
    assert rows_of(tmp_path, data) == rows


@pytest.mark.parametrize(
    ("data", "error"),
    [
        pytest.param(b"", Misused, id="empty"),
        pytest.param(b"a@b.example,Ada\n", Misused, id="no header"),
        pytest.param(b"address,name,colour\n", Misused, id="unknown column"),
        pytest.param(b"address,address,name\n", Misused, id="column twice"),
        pytest.param(b"address,name\na@b.example\n", Refused, id="too few"),
        pytest.param(b"address,name\na@b.example,Ada,more\n", Refused, id="too many"),
        pytest.param(b"address,name\n\xff,x\n", Refused, id="not utf-8"),
        pytest.param(b'address,name\n"a@b.example,Ada\n', Refused, id="open quote"),
        pytest.param(b"address,name\na\0b@c.example,Ada\n", Refused, id="NUL"),
    ],
)
def test_what_is_no_list_of_people(data: bytes, error: type[Exception], tmp_path: Path) -> None:
    with pytest.raises(error):
        rows_of(tmp_path, data)


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(Refused, match="No such file"):
        read_rows(tmp_path / "nobody.csv")


def test_batches_keep_every_row_and_fit_a_frame() -> None:
    rows = [{"address": f"{number}@b.example", "name": "x" * (number % 3000)} for number in range(1000)]
    found = list(batches(rows))
    assert [row for _, batch in found for row in batch] == rows
    assert all(rows[start] is batch[0] for start, batch in found)
    assert all(len(batch) <= 200 and sum(len(str(row)) for row in batch) < 60_000 for _, batch in found)


def test_a_row_larger_than_a_batch_goes_alone() -> None:
    rows = [{"address": "a"}, {"address": "b" * 50_000}, {"address": "c"}]
    assert [len(batch) for _, batch in batches(rows)] == [1, 1, 1]
