"""Work that nobody waits for: a few threads for one store, with at most one job of a key waiting at a time.

Flags into names, unlinks, sidecars, search text, sealing of adopted files. A job may be due later, so that what comes in
bursts is done once. A job that fails is logged, and tried again some times, later each time. close() runs what is left.

Owns threads and their queue. Knows nothing of mail; a job that must not be lost is noted in the index by who submits it.
"""

import heapq
import itertools
import logging
import threading
import time
from collections.abc import Callable, Hashable, Iterable

log = logging.getLogger("preau.storage")

_THREADS = 2
_TRIES = 5
_RETRY = 2.0  # seconds, doubled each time
_SLACK = 1_000  # entries of the queue without a job, beside as many as there are jobs


class _Job:
    __slots__ = ("due", "idle", "key", "latest", "run", "tries")

    def __init__(self, key: Hashable, run: Callable[[], None], due: float, latest: float, idle: bool) -> None:
        self.key = key
        self.run = run
        self.due = due
        self.latest = latest
        self.idle = idle
        self.tries = 0


def _owner(key: Hashable) -> Hashable:
    """Whose job it is: the second part of its key."""
    return key[1] if isinstance(key, tuple) and len(key) > 1 else None


def _nothing() -> None:
    pass


class Background:
    """Threads that run jobs. submit() from any thread, also from within a job."""

    def __init__(self, threads: int = _THREADS) -> None:
        """Start nothing yet: threads come with the first jobs."""
        self._limit = threads
        self._condition = threading.Condition()
        self._heap: list[tuple[float, int, _Job]] = []  # also entries of jobs that were hurried or dropped: passed over
        self._waiting: dict[Hashable, _Job] = {}
        self._of_owner: dict[
            Hashable, set[Hashable]
        ] = {}  # keys that wait, so that one of thousands of accounts closes quickly
        self._running: set[Hashable] = set()
        self._threads: list[threading.Thread] = []
        self._free = 0
        self._order = itertools.count()
        self._closing = False
        self.busy = 0.0
        """When somebody was last served, by the monotonic clock: what can wait waits until it is quiet."""

    def submit(
        self, key: Hashable, run: Callable[[], None], *, delay: float = 0.0, latest: float = 0.0, idle: bool = False
    ) -> None:
        """Have `run` called once, after `delay` seconds. A job of the same key that waits already stands for it.

        With `latest` the one that waits is put off: it runs when nobody has asked for `delay` seconds, or after `latest`.
        Two jobs of one key never run at the same time. `idle`: a look that may as well be taken another time; it is dropped
        when its owner closes. After close() nothing is taken any more.
        """
        if not latest and key in self._waiting:
            return  # it leaves the table before it runs: what is asked for here, it will see
        with self._condition:
            if self._closing:
                return
            now = time.monotonic()
            job = self._waiting.get(key)
            if job is not None:
                if latest:
                    job.due = min(now + delay, job.latest)
                return
            job = _Job(key, run, now + delay, now + max(delay, latest), idle)
            self._push(job)
            if self._heap[0][2] is not job and self._heap[0][0] > now:
                return  # who waits for the first one looks again then
            if not self._free and len(self._threads) < self._limit:
                thread = threading.Thread(target=self._work, name="preau-store", daemon=True)
                self._threads.append(thread)
                thread.start()
            else:
                self._condition.notify()

    def _push(self, job: _Job) -> None:
        self._waiting[job.key] = job
        self._of_owner.setdefault(_owner(job.key), set()).add(job.key)
        if len(self._heap) > 2 * len(self._waiting) + _SLACK:
            self._heap = [entry for entry in self._heap if self._waiting.get(entry[2].key) is entry[2]]
            heapq.heapify(self._heap)
        heapq.heappush(self._heap, (job.due, next(self._order), job))

    def _pull(self, job: _Job) -> None:
        del self._waiting[job.key]
        mine = self._of_owner[_owner(job.key)]
        mine.discard(job.key)
        if not mine:
            del self._of_owner[_owner(job.key)]

    def _work(self) -> None:
        while (job := self._next()) is not None:
            error: Exception | None = None
            try:
                job.run()
            except Exception as failure:
                error = failure
            with self._condition:
                self._running.discard(job.key)
                if error is not None:
                    self._failed(job, error)
                self._condition.notify_all()

    def _failed(self, job: _Job, error: Exception) -> None:
        job.tries += 1
        if self._closing or job.tries >= _TRIES:
            log.error("background work given up", extra={"job": str(job.key)}, exc_info=error)
            return
        log.warning("background work failed", extra={"job": str(job.key), "error": str(error), "tries": job.tries})
        if job.key not in self._waiting:
            job.due = time.monotonic() + _RETRY * 2**job.tries
            self._push(job)

    def _next(self) -> _Job | None:
        with self._condition:
            while True:
                now = time.monotonic()
                job = self._take(now)
                if job is not None:
                    return job
                if self._closing and not self._heap:
                    self._condition.notify_all()
                    return None
                timeout = None
                if self._heap and not self._closing:
                    timeout = max(0.0, self._heap[0][0] - now)
                    if timeout == 0.0:
                        timeout = None  # its key is running: whoever ends it notifies
                self._free += 1
                self._condition.wait(timeout)
                self._free -= 1

    def _take(self, now: float) -> _Job | None:
        """The first job that is due and whose key is not running."""
        held: list[tuple[float, int, _Job]] = []
        found = None
        while self._heap and (self._closing or self._heap[0][0] <= now):
            entry = heapq.heappop(self._heap)
            if self._waiting.get(entry[2].key) is not entry[2]:
                continue
            if entry[2].due > now and not self._closing:
                heapq.heappush(self._heap, (entry[2].due, entry[1], entry[2]))  # put off meanwhile
                continue
            if entry[2].key in self._running:
                held.append(entry)
                continue
            found = entry[2]
            break
        for entry in held:
            heapq.heappush(self._heap, entry)
        if found is not None:
            self._pull(found)
            self._running.add(found.key)
        return found

    def settle(self) -> None:
        """Run what waits, due or not, and return when it is done (idle looks aside)."""
        self._hurry(lambda: self._waiting, lambda key: True)

    def finish(self, owner: Hashable) -> None:
        """Run what waits of `owner` (the second part of its keys), due or not, and return when it is done."""
        self._hurry(lambda: self._of_owner.get(owner, ()), lambda key: _owner(key) == owner)

    def _hurry(self, waiting: Callable[[], Iterable[Hashable]], concerned: Callable[[Hashable], bool]) -> None:
        with self._condition:
            while True:
                now = time.monotonic()
                jobs = [self._waiting[key] for key in waiting()]
                self._drop([job for job in jobs if job.idle and job.due > now])
                left = [job for job in jobs if self._waiting.get(job.key) is job]
                if not left and not any(map(concerned, self._running)):
                    return
                for job in left:
                    if job.due > now:
                        job.due = now
                        heapq.heappush(self._heap, (now, next(self._order), job))
                self._condition.notify_all()
                self._condition.wait(0.05)

    def _drop(self, jobs: list[_Job]) -> None:
        for job in jobs:
            self._pull(job)
            job.run = _nothing  # its entry stays until it is due, what it would have worked on need not

    def close(self) -> None:
        """Run what is left, due or not (idle looks aside), and end the threads."""
        with self._condition:
            self._closing = True
            self._drop([job for job in self._waiting.values() if job.idle])
            self._condition.notify_all()
        for thread in self._threads:
            thread.join()
