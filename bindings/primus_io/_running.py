"""What the drivers share: the tasks that run, the channels that are open, and how they all end.

The laws kept here: tasks that wait for all other tasks do not wait for each other, because that would never end. A task
is cancelled at most once, so that it can clean up. Nothing is left when `close` has returned. All of this happens in
the order in which things started, so that a run in virtual time repeats.
"""

from __future__ import annotations

import contextlib
from abc import abstractmethod
from collections.abc import Callable, Coroutine, Iterator
from contextlib import AbstractContextManager
from contextvars import ContextVar
from typing import Any, ClassVar

from ._driver import Deliver, Driver, Endpoint, has_settled
from ._target import ConnectTarget

__all__ = ["CURRENT_TASK", "BackgroundTask", "RunningDriver"]

CALLS_PER_TURN = 256
"""Calls that return without waiting, after which other tasks get a turn."""

CURRENT_TASK: ContextVar[BackgroundTask | None] = ContextVar("primus_io_job", default=None)


class BackgroundTask:
    """One coroutine that runs in the background."""

    __slots__ = ("_coroutine", "_driver", "cancel", "name")

    def __init__(self, driver: RunningDriver, coroutine: Coroutine[Any, Any, None]) -> None:
        self._driver = driver
        self._coroutine = coroutine
        self.cancel: Callable[[], object] | None = None  # None once it is done
        self.name: str = getattr(coroutine, "__qualname__", repr(coroutine))
        """The name of the task, for debuggers."""

    async def run(self) -> None:
        """Run the coroutine, in a task of its own."""
        CURRENT_TASK.set(self)
        try:
            await self._coroutine
        finally:
            self._driver.tasks.pop(self, None)
            self._driver.wake_waiters()


class RunningDriver(Driver):
    """Runs one endpoint by tasks; the `IO` of the objects users hold."""

    CANCELLED_GRACE: ClassVar[float] = 0.0
    """Seconds in which the sockets may still close after the task that waits for that was cancelled."""
    open: set[Any]
    """The channels whose sockets are not closed yet."""

    def __init__(self, endpoint: Endpoint, deliver: Deliver, target: ConnectTarget) -> None:
        super().__init__(endpoint, deliver, target)
        self.open = set()
        self.opening: dict[int, Callable[[], object]] = {}
        """By channel that is being opened: a function that stops that."""
        self.tasks: dict[BackgroundTask, None] = {}
        self._closing_tasks: list[BackgroundTask | None] = []
        self._closed = False
        self._change = self.event()
        self._calls_left = CALLS_PER_TURN

    @abstractmethod
    def spawn(self, task: BackgroundTask) -> None:
        """Start a task that runs `task.run()`, and set `task.cancel`."""

    async def let_tasks_start(self) -> None:
        """Let the tasks start that were spawned just now."""
        await self.checkpoint()

    async def settle(self) -> None:
        """Let what has arrived be read before a timer is believed."""
        quiet, turns, fired = 0, 0, self.now()
        while not has_settled(quiet, turns, self.now() - fired):
            self.has_read = False
            await self.let_tasks_start()
            quiet = 0 if self.has_read else quiet + 1
            turns += 1

    def should_yield(self) -> bool:
        """Whether other tasks should get a turn now. Called by every method that may wait."""
        self._calls_left -= 1
        if self._calls_left:
            return False
        self._calls_left = CALLS_PER_TURN
        return True

    def shield(self) -> AbstractContextManager[object]:
        """Protect a clean-up from cancellation, in libraries that cancel again and again."""
        return contextlib.nullcontext()

    def wake_waiters(self) -> None:
        """Something has ended: wake the tasks that wait for that."""
        self._change.set()
        self._change = self.event()

    @property
    def closed(self) -> bool:
        return self._closed

    def start(self, coroutine: Coroutine[Any, Any, None]) -> None:
        if self._closed:
            coroutine.close()
            return
        task = BackgroundTask(self, coroutine)
        self.tasks[task] = None
        self.spawn(task)

    async def finish(self) -> None:
        with self._waiting():
            while self._other_tasks():
                await self._change.wait()

    async def close(self, grace: float) -> None:
        with self._waiting():
            try:
                await self.within(grace, self._until_all_closed)
            except BaseException:
                if self.CANCELLED_GRACE:
                    with self.shield():
                        await self.within(self.CANCELLED_GRACE, self._until_all_closed)
                raise
            finally:
                with self.shield():
                    await self._end_all()
                self._closed = True
                self._arm(None)

    async def _until_all_closed(self) -> None:
        while self.open or self.opening:
            await self._change.wait()

    async def _end_all(self) -> None:
        cancelled: set[BackgroundTask] = set()
        while True:
            await self.let_tasks_start()
            others = self._other_tasks()
            if not others and not self.open and not self.opening:
                return
            for task in others:
                if task not in cancelled and task.cancel is not None:
                    task.cancel()
            cancelled.update(others)
            for stop in list(self.opening.values()):
                stop()
            for channel in sorted(self.open, key=lambda channel: channel.number):
                channel.close(True)
            if self._other_tasks() or self.open or self.opening:
                await self._change.wait()

    @contextlib.contextmanager
    def _waiting(self) -> Iterator[None]:
        current = CURRENT_TASK.get()
        self._closing_tasks.append(current)
        try:
            yield
        finally:
            self._closing_tasks.remove(current)

    def _other_tasks(self) -> list[BackgroundTask]:
        spared = self._closing_tasks if CURRENT_TASK.get() in self.tasks else ()
        return [task for task in self.tasks if task not in spared]

    def _stop_opening(self, number: int) -> None:
        if number in self.opening:
            self.opening[number]()
