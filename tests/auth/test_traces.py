"""The chain of traces: nothing is changed, cut or slipped in unseen, across restarts, power cuts and hostile fields."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from auth_bench import Clock
from preau.auth import trace_files
from preau.auth.traces import Traces, iso_time
from preau.storage.api import Unavailable

KEY = b"k" * 32


def open_traces(folder: Path, clock: Clock | None = None, **settings: int) -> Traces:
    return Traces(folder / "traces", KEY, clock=clock or Clock(), **settings)


def written(tmp_path: Path, count: int) -> Path:
    """A closed chain of `count` events; answers its file."""
    traces = open_traces(tmp_path)
    for number in range(count):
        traces.event("auth.ok", acct="marie" if number % 2 else "paul", svc="imap", ref=f"R{number}")
    traces.close()
    (file,) = trace_files.trace_files(tmp_path / "traces")
    return file


def test_a_line_is_json_with_sorted_keys_and_the_hash_of_what_is_before(tmp_path: Path) -> None:
    first, second = written(tmp_path, 2).read_bytes().splitlines()
    event = json.loads(second)
    assert list(event) == sorted(event)
    assert event["seq"] == 2
    assert event["t"] == "2027-01-15T08:00:00.000Z"
    assert event["prev"] == hashlib.sha256(bytes(32) + first).hexdigest()


def test_the_chain_goes_on_after_a_restart(tmp_path: Path) -> None:
    written(tmp_path, 5)
    traces = open_traces(tmp_path)
    assert traces.event("auth.ok") == 6
    assert traces.verify() == trace_files.Verified(True, 6)
    traces.close()


def test_an_empty_folder_verifies(tmp_path: Path) -> None:
    traces = open_traces(tmp_path)
    assert traces.verify() == trace_files.Verified(True, 0)
    traces.close()


def _edit(lines: list[bytes]) -> None:
    lines[4] = lines[4].replace(b"imap", b"smtp")


def _edit_prev(lines: list[bytes]) -> None:
    event = json.loads(lines[4])
    event["prev"] = "00" * 32
    lines[4] = json.dumps(event, sort_keys=True, separators=(",", ":")).encode()


def _edit_last(lines: list[bytes]) -> None:
    lines[-1] = lines[-1].replace(b"imap", b"smtp")


def _swap(lines: list[bytes]) -> None:
    lines[4], lines[5] = lines[5], lines[4]


def _garble(lines: list[bytes]) -> None:
    lines[4] = b"not json"


def _insert_long(lines: list[bytes]) -> None:
    lines.insert(4, b'{"seq":5,"prev":"' + b"0" * 10_000 + b'"}')


ATTACKS = [
    pytest.param(_edit, 5, id="edited"),
    pytest.param(_edit_prev, 5, id="edited, its hash too"),
    pytest.param(_edit_last, 10, id="last edited"),
    pytest.param(lambda lines: lines.pop(4), 5, id="deleted"),
    pytest.param(lambda lines: lines.pop(0), 1, id="first deleted"),
    pytest.param(lambda lines: lines.insert(4, lines[2]), 5, id="inserted"),
    pytest.param(_insert_long, 5, id="inserted, long"),
    pytest.param(_swap, 5, id="swapped"),
    pytest.param(_garble, 5, id="garbled"),
    pytest.param(lambda lines: lines.pop(), 10, id="last deleted"),
    pytest.param(lambda lines: lines.__delitem__(slice(6, None)), 7, id="cut off"),
    pytest.param(lambda lines: lines.clear(), 1, id="emptied"),
]


@pytest.mark.parametrize(("attack", "first_bad"), ATTACKS)
def test_verification_names_the_first_bad_event(
    tmp_path: Path, attack: Callable[[list[bytes]], object], first_bad: int
) -> None:
    file = written(tmp_path, 10)
    lines = file.read_bytes().splitlines()
    attack(lines)
    file.write_bytes(b"".join(line + b"\n" for line in lines))
    found = trace_files.verify(tmp_path / "traces", KEY)
    assert (found.ok, found.first_bad) == (False, first_bad)
    # and a restart does not heal it
    traces = open_traces(tmp_path)
    traces.event("auth.ok")
    again = traces.verify()
    assert (again.ok, again.first_bad) == (False, first_bad)
    traces.close()


def test_a_chain_computed_anew_does_not_match_the_head(tmp_path: Path) -> None:
    file = written(tmp_path, 10)
    hash_, lines = bytes(32), []
    for line in file.read_bytes().splitlines():
        event = {**json.loads(line), "acct": "paul", "prev": hash_.hex()}
        forged = trace_files.render_line(event)
        hash_ = trace_files.next_hash(hash_, forged)
        lines.append(forged)
    file.write_bytes(b"".join(line + b"\n" for line in lines))
    assert trace_files.verify(tmp_path / "traces", KEY).first_bad == 10


@pytest.mark.parametrize("head", [None, b"", b"{}", b"[]"], ids=["missing", "empty", "no fields", "no object"])
def test_without_its_head_a_chain_is_not_vouched_for(tmp_path: Path, head: bytes | None) -> None:
    written(tmp_path, 3)
    path = tmp_path / "traces" / "head"
    path.unlink()
    if head is not None:
        path.write_bytes(head)
    assert not trace_files.verify(tmp_path / "traces", KEY).ok
    traces = open_traces(tmp_path)
    found = traces.verify()
    assert (found.ok, found.first_bad) == (False, 4)
    traces.close()


def test_a_head_under_another_key_is_none(tmp_path: Path) -> None:
    written(tmp_path, 3)
    assert not trace_files.verify(tmp_path / "traces", b"other key").ok


def test_all_files_deleted_is_noticed(tmp_path: Path) -> None:
    written(tmp_path, 3).unlink()
    assert trace_files.verify(tmp_path / "traces", KEY).first_bad == 1
    traces = open_traces(tmp_path)
    assert "traces.broken" in (tmp_path / "traces" / traces._name).read_text()
    assert not traces.verify().ok
    traces.close()


def test_a_line_torn_by_a_power_cut_is_told_and_harms_nothing(tmp_path: Path) -> None:
    file = written(tmp_path, 5)
    with file.open("ab") as torn:
        torn.write(b'{"acct":"ma')
    traces = open_traces(tmp_path)
    assert traces.verify() == trace_files.Verified(True, 6)
    assert json.loads(trace_files.trace_files(tmp_path / "traces")[1].read_bytes())["octets"] == 11
    traces.close()


def test_whole_lines_torn_by_a_power_cut_are_no_tampering(tmp_path: Path) -> None:
    """The disk kept the end of what was not flushed and lost its beginning: a line of zeros, and one that follows from it."""
    traces = open_traces(tmp_path)
    for _ in range(3):
        traces.event("auth.ok")
    traces.sync()
    (file,) = trace_files.trace_files(tmp_path / "traces")
    certain = file.stat().st_size
    traces.event("auth.ok", net="192.0.2.0/24")
    traces.event("auth.ok")
    data = bytearray(file.read_bytes())
    data[certain : certain + 40] = bytes(40)
    file.write_bytes(data)
    again = open_traces(tmp_path)
    assert again.event("auth.ok") == 5
    assert again.verify() == trace_files.Verified(True, 5)
    told = [json.loads(line) for line in trace_files.trace_files(tmp_path / "traces")[1].read_bytes().splitlines()]
    assert [(event["ev"], event.get("octets")) for event in told] == [("traces.torn", len(data) - certain), ("auth.ok", None)]
    again.close()


def test_lines_written_after_the_last_head_still_count(tmp_path: Path) -> None:
    traces = open_traces(tmp_path)
    traces.event("auth.ok")
    traces.sync()
    traces.event("auth.ok")  # the process dies here: written, not flushed
    assert open_traces(tmp_path).event("auth.ok") == 3
    assert trace_files.verify(tmp_path / "traces", KEY).checked == 3


def test_what_has_been_synced_is_vouched_for_on_the_disk(tmp_path: Path) -> None:
    traces = open_traces(tmp_path)
    traces.event("admin.user_add")
    traces.sync()
    head = trace_files.read_head(tmp_path / "traces", KEY)
    assert head is not None
    assert head.seq == 1
    traces.close()


@pytest.mark.parametrize(
    "hostile",
    [
        pytest.param('evil\r\n{"ev":"auth.ok","seq":99}', id="line ends"),
        pytest.param('","ev":"auth.ok","x":"', id="JSON breakers"),
        pytest.param("\x1b[2J\x1b]0;owned\x07\x9b31m\x7f", id="ANSI"),
        pytest.param("\u2028\u2029\u202e\ud800", id="separators and a lone surrogate"),
        pytest.param("x" * 1_000_000, id="a megabyte"),
        pytest.param("\U0001f600" * 300_000, id="a megabyte of what is escaped"),
        pytest.param("\0" * 1000, id="NULs"),
    ],
)
def test_hostile_fields_stay_in_one_escaped_line(tmp_path: Path, hostile: str) -> None:
    traces = open_traces(tmp_path)
    traces.event("auth.fail", cli=hostile, login=hostile, why=hostile, label=hostile, net=hostile, mech=hostile)
    assert traces.verify().ok
    traces.close()
    data = trace_files.trace_files(tmp_path / "traces")[0].read_bytes()
    assert data.count(b"\n") == 1
    assert len(data) <= 4096 + 1
    assert all(0x20 <= octet < 0x7F for octet in data[:-1])
    event = json.loads(data)
    assert (event["ev"], event["seq"]) == ("auth.fail", 1)
    assert hostile.startswith(event["cli"])


def test_fields_cannot_take_the_place_of_our_own(tmp_path: Path) -> None:
    traces = open_traces(tmp_path)
    traces.event("auth.ok", seq=7, prev="x", v=2, t="never")
    assert traces.verify().ok
    traces.close()


def test_files_turn_by_day_and_by_size_and_old_ones_go(tmp_path: Path) -> None:
    clock = Clock()
    traces = open_traces(tmp_path, clock, retention_days=10, max_file=1000)
    for _ in range(30):
        for _ in range(12):
            traces.event("auth.ok", acct="marie")
        traces.sync()
        clock.advance(86_400)
    names = [path.name for path in trace_files.trace_files(tmp_path / "traces")]
    assert names[0][:10] == iso_time(clock.now - 11 * 86_400)[:10]
    assert {name[10:] for name in names} == {"-000.jsonl", "-001.jsonl"}
    found = traces.verify()
    assert found == trace_files.Verified(True, 11 * 12)
    traces.close()
    reopened = open_traces(tmp_path, clock, retention_days=10)
    assert reopened.verify().checked == found.checked
    reopened.close()


def test_a_clock_that_jumps_ahead_removes_no_traces(tmp_path: Path) -> None:
    clock = Clock()
    traces = open_traces(tmp_path, clock, retention_days=10, max_file=1000)
    for jump in (86_400, 365 * 86_400, -365 * 86_400, 3_600):
        for _ in range(12):
            traces.event("auth.ok", acct="marie")
        traces.sync()
        clock.advance(jump)
    traces.event("auth.ok", acct="marie")
    assert traces.verify() == trace_files.Verified(True, 49)
    traces.close()


def test_removing_the_oldest_file_by_hand_is_not_retention(tmp_path: Path) -> None:
    clock = Clock()
    traces = open_traces(tmp_path, clock)
    for _ in range(3):
        traces.event("auth.ok")
        clock.advance(86_400)
    traces.close()
    trace_files.trace_files(tmp_path / "traces")[0].unlink()
    assert trace_files.verify(tmp_path / "traces", KEY).first_bad == 1


def test_a_clock_that_goes_back_keeps_the_order_of_files(tmp_path: Path) -> None:
    clock = Clock()
    traces = open_traces(tmp_path, clock)
    traces.event("auth.ok")
    clock.advance(-3 * 86_400)
    traces.event("auth.ok")
    assert traces.verify() == trace_files.Verified(True, 2)
    traces.close()
    assert len(trace_files.trace_files(tmp_path / "traces")) == 1


def test_events_of_an_account_since_a_time(tmp_path: Path) -> None:
    clock = Clock()
    traces = open_traces(tmp_path, clock)
    for day in range(5):
        traces.event("auth.ok", acct="marie", n=day)
        traces.event("auth.ok", acct="paul", cli='"acct":"marie"')
        clock.advance(86_400)
    assert [event["n"] for event in traces.of_account("marie")] == [0, 1, 2, 3, 4]
    assert [event["n"] for event in traces.of_account("marie", since=clock.now - 2 * 86_400)] == [3, 4]
    assert [event["n"] for event in traces.of_account("marie", limit=2)] == [3, 4]
    assert traces.of_account('marie"') == []
    traces.close()


def test_a_reference_is_found_on_its_last_day(tmp_path: Path) -> None:
    clock = Clock()
    traces = open_traces(tmp_path, clock)
    traces.event("auth.fail", ref="7K2F", why="old")
    clock.advance(86_400)
    traces.event("auth.fail", ref="7K2F", why="new")
    traces.event("auth.again", ref="7K2F", n=12)
    assert [event["ev"] for event in traces.of_reference("7K2F")] == ["auth.fail", "auth.again"]
    assert traces.of_reference("XXXX") == []
    traces.close()


def test_marks_tell_logins_apart_without_showing_them(tmp_path: Path) -> None:
    traces = open_traces(tmp_path)
    assert traces.mark("hunter2") == traces.mark("hunter2")
    assert traces.mark("hunter2") != traces.mark("hunter3")
    assert len(traces.mark("x" * 100_000)) == 16
    traces.close()


def test_a_full_disk_is_an_error_and_the_chain_holds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from preau.storage import atomic

    traces = open_traces(tmp_path)
    traces.event("auth.ok")
    real = atomic.system.write

    def full(descriptor: int, data: bytes) -> int:
        if len(data) > 50:
            return real(descriptor, data[:50])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(atomic.system, "write", full)
    with pytest.raises(Unavailable):
        traces.event("auth.fail", cli="x" * 100)
    monkeypatch.undo()
    assert traces.event("auth.ok") == 2
    assert traces.verify() == trace_files.Verified(True, 2)
    traces.close()
