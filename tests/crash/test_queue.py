"""A queue dies between any two system calls: every message that was answered with 250 arrives once, every bounce once."""

import asyncio
from pathlib import Path

import pytest

import crash_queue
from crash_run import Death, deaths, record
from preau.storage import adoption


def test_every_message_arrives_once_and_every_bounce_once(
    tmp_path: Path, morgue: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recording = record(tmp_path, Path(crash_queue.__file__), crash_queue.prepare)
    assert [each["step"] for each in recording.told] == ["open", "250", "settled", "250", "settled"]
    monkeypatch.setattr(adoption, "YOUNG", 0)
    for death in deaths(recording, morgue / "death", looks=7, begin="open"):
        try:
            look_after(death)
        except BaseException as error:
            error.add_note(str(death))
            raise


def look_after(death: Death) -> None:
    answered = {each["number"] for each in death.told if each["step"] == "250"}
    for number, (arrived, bounced) in asyncio.run(crash_queue.finish(death.root)).items():
        assert (arrived, bounced) == (1, 1) if number in answered else (arrived, bounced) in ((0, 0), (1, 1)), number
