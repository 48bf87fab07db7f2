"""`auth` and `keys` die between any two system calls: what was answered holds, and the chain of traces verifies."""

from collections import Counter
from pathlib import Path

import crash_auth
from crash_run import Death, deaths, record
from preau.auth.trace_files import parse_line, read_lines, trace_files


def test_what_auth_and_keys_answered_holds(tmp_path: Path, morgue: Path) -> None:
    recording = record(tmp_path, Path(crash_auth.__file__), crash_auth.prepare)
    assert len(recording.told) == 13
    for death in deaths(recording, morgue / "death", looks=40, begin="open"):
        try:
            look_after(death, [each["view"] for each in recording.told])
        except BaseException as error:
            error.add_note(str(death))
            raise


def look_after(death: Death, views: list[dict[str, object]]) -> None:
    done = len(death.told)
    with crash_auth.opened(death.root) as there:
        assert there.admin.traces_verify()["ok"]
        assert crash_auth.look_at(there) in (views[done - 1], views[min(done, len(views) - 1)])
        there.admin.app_password_add(crash_auth.MARIE, label="afterwards")
        assert there.admin.traces_verify()["ok"]
    traced = Counter(
        event["ev"]
        for path in trace_files(death.root / "traces")
        for line, whole in read_lines(path)
        if whole and (event := parse_line(line)) is not None
    )
    for name, times in Counter(each["trace"] for each in death.told if each["trace"]).items():
        assert traced[name] >= times, name
    assert not traced["traces.broken"]
