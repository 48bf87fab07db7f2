"""Jobs are done once, one of a key at a time, and none is lost without a word."""

import logging
import threading
import weakref
from collections.abc import Iterator
from functools import partial

import pytest

from preau.storage import background as module
from preau.storage.background import Background


@pytest.fixture
def background() -> Iterator[Background]:
    made = Background()
    yield made
    made.close()


def test_what_waits_already_stands_for_the_rest(background: Background) -> None:
    done: list[int] = []
    for number in range(5):
        background.submit(("a", 1), partial(done.append, number), delay=60)
    background.settle()
    assert done == [0]


def test_jobs_of_one_key_never_run_together(background: Background) -> None:
    running = threading.Lock()
    done: list[int] = []
    started = threading.Event()
    go = threading.Event()

    def first() -> None:
        with running:
            started.set()
            go.wait(10)
            done.append(1)

    def second() -> None:
        assert running.acquire(blocking=False)
        running.release()
        done.append(2)

    background.submit("key", first)
    assert started.wait(10)
    background.submit("key", second)
    background.submit("other", lambda: done.append(0))
    go.set()
    background.settle()
    assert sorted(done) == [0, 1, 2]
    assert done.index(1) < done.index(2)


def test_a_job_may_submit_its_next(background: Background) -> None:
    done: list[int] = []

    def step() -> None:
        done.append(len(done))
        if len(done) < 4:
            background.submit("key", step, delay=60)

    background.submit("key", step)
    background.settle()
    assert done == [0, 1, 2, 3]


def test_failures_are_told_and_tried_again(
    background: Background, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_RETRY", 0.0)
    tries: list[int] = []

    def fails_twice() -> None:
        tries.append(1)
        if len(tries) < 3:
            raise OSError("no room")

    def fails() -> None:
        raise ValueError("never")

    with caplog.at_level(logging.WARNING, "preau.storage"):
        background.submit("a", fails_twice)
        background.submit("b", fails)
        background.settle()
    assert len(tries) == 3
    assert [record.levelname for record in caplog.records].count("ERROR") == 1


def test_finish_hurries_one_owner_and_drops_idle_looks(background: Background) -> None:
    done: list[str] = []
    background.submit(("job", "anne"), lambda: done.append("anne"), delay=3_600)
    background.submit(("job", "bruno"), lambda: done.append("bruno"), delay=3_600)
    background.submit(("look", "anne"), lambda: done.append("look"), delay=3_600, idle=True)
    background.finish("anne")
    assert done == ["anne"]
    background.close()
    assert done == ["anne", "bruno"]
    background.submit(("job", "anne"), lambda: done.append("late"))
    background.close()
    assert done == ["anne", "bruno"]


def test_close_without_a_job_is_quick() -> None:
    Background().close()


def test_a_job_is_put_off_by_who_asks_again_but_not_for_ever(background: Background) -> None:
    done: list[str] = []
    background.submit("k", lambda: done.append("first"), delay=300.0, latest=600.0)
    job = background._waiting["k"]
    first = job.due
    background.submit("k", lambda: done.append("other"), delay=400.0, latest=600.0)
    assert job.due > first
    background.submit("k", lambda: done.append("other"), delay=900.0, latest=600.0)
    assert job.due == job.latest
    background.settle()  # waits for nothing that was put off
    assert done == ["first"]


def test_whoever_asks_is_seen_by_a_job_that_runs_afterwards(background: Background) -> None:
    asked = 0
    seen: list[int] = []
    lock = threading.Lock()

    def look() -> None:
        seen.append(asked)

    def ask() -> None:
        nonlocal asked
        for _ in range(2_000):
            with lock:
                asked += 1
            background.submit("key", look)

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    background.settle()
    assert seen[-1] == asked == 8_000


def test_a_job_that_is_due_does_not_wait_behind_one_whose_key_is_running(background: Background) -> None:
    begun, end, other = threading.Event(), threading.Event(), threading.Event()

    def first() -> None:
        begun.set()
        end.wait(10)

    background.submit("a", first)
    assert begun.wait(10)
    background.submit("a", lambda: None)
    background.submit("b", other.set)
    assert other.wait(10)
    end.set()


def test_what_was_dropped_leaves_nothing_behind(background: Background, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_SLACK", 10)
    done: list[int] = []

    class Held:
        def look(self) -> None:
            pass

    held = Held()
    gone = weakref.ref(held)
    background.submit(("look", "anne"), held.look, delay=3_600, idle=True)
    del held
    background.finish("anne")
    assert gone() is None
    for number in range(200):
        background.submit(("look", number), lambda: done.append(-1), delay=3_600, idle=True)
        background.finish(number)
        background.submit(("job", number), partial(done.append, number), delay=3_600)
        background.finish(number)
    assert len(background._heap) < 30
    assert not background._waiting
    assert not background._of_owner
    assert done == list(range(200))
