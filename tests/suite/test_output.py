"""Answers for people and for machines."""

import io
import json
import sys

import pytest

from preau.suite.output import Output, render_octets

ROWS = [{"address": "a@b.example", "name": "[bold]Ada[/bold]\x1b[2J", "admin": True, "groups": []}]
COLUMNS = {"address": "ADDRESS", "name": "NAME", "admin": "ADMIN", "groups": "GROUPS"}


def test_a_table(capsys: pytest.CaptureFixture[str]) -> None:
    Output(json_lines=False).table(ROWS, COLUMNS, empty="none")
    head, row = capsys.readouterr().out.splitlines()
    assert head.split() == ["ADDRESS", "NAME", "ADMIN", "GROUPS"]
    # Hostile text is neither markup nor a cursor movement.
    assert row.split() == ["a@b.example", "[bold]Ada[/bold]\N{REPLACEMENT CHARACTER}[2J", "yes", "-"]


def test_a_long_row_is_not_cut_in_a_pipe(capsys: pytest.CaptureFixture[str]) -> None:
    Output(json_lines=False).table([{"name": "x" * 500}], {"name": "NAME"}, empty="none")
    assert "x" * 500 in capsys.readouterr().out


def test_nothing_is_told_beside(capsys: pytest.CaptureFixture[str]) -> None:
    Output(json_lines=False).table([], COLUMNS, empty="no accounts")
    assert capsys.readouterr() == ("", "no accounts\n")


def test_rows_for_machines(capsys: pytest.CaptureFixture[str]) -> None:
    output = Output(json_lines=True)
    output.table(ROWS, COLUMNS, empty="none")
    output.note("for people")
    captured = capsys.readouterr()
    assert json.loads(captured.out) == ROWS
    assert captured.err == ""


def test_no_rows_are_still_an_answer(capsys: pytest.CaptureFixture[str]) -> None:
    Output(json_lines=True).table([], COLUMNS, empty="none")
    assert json.loads(capsys.readouterr().out) == []


def test_facts(capsys: pytest.CaptureFixture[str]) -> None:
    Output(json_lines=False).facts({"address": "a@b.example", "second_factor": None, "quota": 2048})
    assert capsys.readouterr().out == "address        a@b.example\nsecond factor  -\nquota          2.0 KiB\n"


def test_progress_is_silent_when_nobody_watches(monkeypatch: pytest.MonkeyPatch) -> None:
    written = io.StringIO()
    monkeypatch.setattr(sys, "stderr", written)
    with Output(json_lines=False).progress("work", 3) as advance:
        advance(3)
    assert written.getvalue() == ""


@pytest.mark.parametrize(("octets", "text"), [(0, "0 B"), (1023, "1023 B"), (1024, "1.0 KiB"), (5 << 40, "5.0 TiB")])
def test_render_octets(octets: int, text: str) -> None:
    assert render_octets(octets) == text
