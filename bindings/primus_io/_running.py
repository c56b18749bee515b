"""What the drivers of libraries with tasks have in common: what runs, what is open, and how all of it comes to an end.

The laws kept here: of two tasks of ours that both wait for all the others neither waits for the other, for that would
be for ever; each is cancelled at most once, so that it can clean up; nothing is left when `close` has returned; and all
of it happens in the order in which things began, so that a run in virtual time repeats.
"""

from __future__ import annotations

import contextlib
from abc import abstractmethod
from collections.abc import Callable, Coroutine, Iterator
from contextlib import AbstractContextManager
from contextvars import ContextVar
from typing import Any, ClassVar

from ._driver import Deliver, Driver, Endpoint, Reach

__all__ = ["CURRENT", "Job", "RunningDriver"]

RUN = 256
"""Calls that need not wait, after which others are let run where the library does not ask for that."""

CURRENT: ContextVar[Job | None] = ContextVar("primus_io_job", default=None)


class Job:
    """One coroutine that runs in the background."""

    __slots__ = ("_coroutine", "_driver", "cancel", "name")

    def __init__(self, driver: RunningDriver, coroutine: Coroutine[Any, Any, None]) -> None:
        self._driver = driver
        self._coroutine = coroutine
        self.cancel: Callable[[], object] | None = None  # None: done already
        self.name = getattr(coroutine, "__qualname__", repr(coroutine))
        """What a debugger should show."""

    async def run(self) -> None:
        """To be run in a task of its own."""
        CURRENT.set(self)
        try:
            await self._coroutine
        finally:
            self._driver.jobs.pop(self, None)
            self._driver.note_change()


class RunningDriver(Driver):
    """Runs one endpoint by tasks; the `IO` of the objects users hold."""

    HASTE: ClassVar[float] = 0.0
    """Seconds that the sockets have to close where whoever waits for that has been cancelled, and remains so."""
    open: set[Any]
    """The channels whose socket is not closed yet."""

    def __init__(self, endpoint: Endpoint, deliver: Deliver, reach: Reach) -> None:
        super().__init__(endpoint, deliver, reach)
        self.open = set()
        self.opening: dict[int, Callable[[], object]] = {}
        """How to stop opening each channel that is not there yet."""
        self.jobs: dict[Job, None] = {}
        self._closers: list[Job | None] = []
        self._closed = False
        self._changed = self.event()
        self._calls_left = RUN

    @abstractmethod
    def spawn(self, job: Job) -> None:
        """Have `job.run()` run in a task, and say how it is cancelled."""

    async def begun(self) -> None:
        """Let what was spawned just now begin."""
        await self.checkpoint()

    def long_run(self) -> bool:
        """Whether it is time to let others run; to be asked by each call that may wait."""
        self._calls_left -= 1
        if self._calls_left:
            return False
        self._calls_left = RUN
        return True

    def shield(self) -> AbstractContextManager[object]:
        """Where the library would go on cancelling whoever cleans up: not in here."""
        return contextlib.nullcontext()

    def note_change(self) -> None:
        """Something has ended: whoever waits for that looks again."""
        self._changed.set()
        self._changed = self.event()

    @property
    def closed(self) -> bool:
        return self._closed

    def start(self, coroutine: Coroutine[Any, Any, None]) -> None:
        if self._closed:
            coroutine.close()
            return
        job = Job(self, coroutine)
        self.jobs[job] = None
        self.spawn(job)

    async def finish(self) -> None:
        with self._waiting():
            while self._others():
                await self._changed.wait()

    async def close(self, grace: float) -> None:
        with self._waiting():
            try:
                await self.within(grace, self._emptied)
            except BaseException:
                if self.HASTE:
                    with self.shield():
                        await self.within(self.HASTE, self._emptied)
                raise
            finally:
                with self.shield():
                    await self._end_all()
                self._closed = True
                self._arm(None)

    async def _emptied(self) -> None:
        while self.open or self.opening:
            await self._changed.wait()

    async def _end_all(self) -> None:
        cancelled: set[Job] = set()
        while True:
            await self.begun()
            others = self._others()
            if not others and not self.open and not self.opening:
                return
            for job in others:
                if job not in cancelled and job.cancel is not None:
                    job.cancel()
            cancelled.update(others)
            for stop in list(self.opening.values()):
                stop()
            for channel in sorted(self.open, key=lambda channel: channel.number):
                channel.close(True)
            if self._others() or self.open or self.opening:
                await self._changed.wait()

    @contextlib.contextmanager
    def _waiting(self) -> Iterator[None]:
        current = CURRENT.get()
        self._closers.append(current)
        try:
            yield
        finally:
            self._closers.remove(current)

    def _others(self) -> list[Job]:
        spared = self._closers if CURRENT.get() in self.jobs else ()
        return [job for job in self.jobs if job not in spared]

    def _stop_opening(self, number: int) -> None:
        if number in self.opening:
            self.opening[number]()
