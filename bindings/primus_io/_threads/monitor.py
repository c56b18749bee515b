"""A monitor: the coroutines of `_facade` run to their end in the thread that calls them, holding the lock of their IO.

The law kept here: the lock is given up only to wait and to call users' code, so between two waits nothing else of the
same server or client happens, exactly as on an event loop. No coroutine ever suspends: what it awaits blocks. Logging
handlers are users' code too, and may use what the lock is of: what is logged under the lock is handled after it.
"""

from __future__ import annotations

import contextlib
import inspect
import logging
import math
import sys
import threading
import time
from abc import abstractmethod
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from types import TracebackType
from typing import Any, Self, TypeVar

import primus_proto as pp

from .._session import IO, log
from .pool import Call

__all__ = ["HERE", "GaveUp", "Monitor", "name_of", "refuse_coroutine", "run"]

T = TypeVar("T")

# Windows cannot interrupt a thread that waits: it looks from time to time whether somebody has pressed Ctrl-C.
LOOK = 0.5 if sys.platform == "win32" else None


class Expired(BaseException):
    """A deadline has passed. Whoever set it catches it, and nobody else."""


class GaveUp(BaseException):
    """The binding has closed without waiting for this any longer; what the job has left to do is not done."""


class Deadline:
    """Up to when a thread may wait."""

    def __init__(self, seconds: float) -> None:
        self.due = time.monotonic() + seconds


class Here(threading.local):
    """What is known of the calling thread: its deadlines, the first to be set first, and what it does."""

    def __init__(self) -> None:
        self.deadlines: list[Deadline] = []
        self.call: Call | None = None
        self.held = 0
        """How many locks of monitors it holds."""
        self.records: list[logging.LogRecord] = []
        """What is to be logged once it holds none."""


HERE = Here()


def _log_later(record: logging.LogRecord) -> bool:
    if HERE.held:
        HERE.records.append(record)
    return not HERE.held


log.addFilter(_log_later)


def run(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine that never suspends."""
    try:
        coroutine.send(None)
    except StopIteration as done:
        result: T = done.value
        return result
    coroutine.close()
    raise RuntimeError(f"{coroutine!r} waits for an event loop, and there is none")


def name_of(function: object) -> str:
    """What to call a function in a message."""
    return getattr(function, "__qualname__", None) or repr(function)


def refuse_coroutine(function: object, what: str) -> None:
    """Raise ConfigError where that is an async function, which nobody would run."""
    call = getattr(function, "__call__", None)  # noqa: B004  # an object with an async __call__ is one too
    if inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(call):
        raise pp.ConfigError(
            f"{what} must be a plain function, not the async function {name_of(function)}: primus_io.threads runs "
            "no event loop; write it without async and await, or use primus_io.asyncio"
        )


class Event:
    """Something to wait for, under the lock of a monitor."""

    def __init__(self, monitor: Monitor) -> None:
        self._monitor = monitor
        self._condition = threading.Condition(monitor.lock)
        self._happened = False

    def set(self) -> None:
        self._happened = True
        self._condition.notify_all()

    async def wait(self) -> None:
        while not self._happened:
            self._monitor.wait(self._condition)


class Monitor(IO):
    """The part of a driver that waits. ``with monitor:`` is to hold its lock; leaving pumps, if that was asked for."""

    io_thread: int | None
    """The thread that goes first when several want the lock."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self._owner: int | None = None
        self._depth = 0  # how many times over
        self._gate = threading.Lock()  # held by the IO thread while it waits for the other
        self._scheduled = False

    def __enter__(self) -> Self:
        if self._owner != threading.get_ident():
            self._acquire()
        self._depth += 1
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            if self._depth == 1:
                self._catch_up()
        finally:
            self._depth -= 1
            if self._depth == 0:
                self._release()

    def _acquire(self) -> None:
        me = threading.get_ident()
        if me == self.io_thread:
            with self._gate:
                self.lock.acquire()
        else:
            # Threads that do nothing but write would get the lock again and again before the one that reads.
            if self._gate.locked():
                with self._gate:
                    pass
            self.lock.acquire()
        self._owner = me
        HERE.held += 1

    def _release(self) -> None:
        self._owner = None
        self.lock.release()
        HERE.held -= 1
        if HERE.records and not HERE.held:
            records, HERE.records = HERE.records, []
            for record in records:
                log.handle(record)

    @property
    @abstractmethod
    def closed(self) -> bool:
        """Whether nothing is started any more."""

    def _catch_up(self) -> None:
        if self._scheduled:
            self._scheduled = False
            self.pump()

    def call(self, coroutine: Coroutine[Any, Any, T], timeout: float | None = None) -> T:
        """Run a coroutine to its end. Raises TimeoutError where it waits for longer than `timeout` seconds."""
        deadline = Deadline(math.inf if timeout is None else timeout)
        HERE.deadlines.append(deadline)
        try:
            with self:
                return run(coroutine)
        except Expired as expired:
            if expired.args[0] is not deadline:
                raise
            raise TimeoutError(f"not within {timeout:g} seconds") from None
        finally:
            HERE.deadlines.remove(deadline)
            coroutine.close()  # a KeyboardInterrupt may have come before it began

    def wait(self, condition: threading.Condition) -> None:
        """Wait for that to be notified, with the lock given up; it may also return for nothing."""
        self._catch_up()  # what was asked for may be what is waited for
        first = min(HERE.deadlines, key=lambda deadline: deadline.due, default=None)
        left = None if first is None or first.due == math.inf else first.due - time.monotonic()
        if left is not None and left <= 0:
            raise Expired(first)
        if LOOK is not None and threading.current_thread() is threading.main_thread():
            left = LOOK if left is None else min(LOOK, left)
        depth, self._depth = self._depth, 0
        if HERE.records:  # do not keep them for as long as this may take
            self._release()
            self._acquire()
            left = 0.0
        self._owner = None
        try:
            condition.wait(None if left is None else min(left, threading.TIMEOUT_MAX))
        finally:
            self._owner = threading.get_ident()
            self._depth = depth

    async def outside(self, function: Callable[..., T], *args: Any) -> T:
        """Call a user's function, with the lock given up."""
        if self.closed:
            raise GaveUp
        if HERE.call is not None:
            HERE.call.name = name_of(function)
        with self.given_up():
            result = function(*args)
            if inspect.iscoroutine(result):
                result.close()
                raise pp.LocalProtocolError(f"{name_of(function)} returned a coroutine, which nothing here runs")
        if self.closed:
            raise GaveUp
        return result

    @contextlib.contextmanager
    def given_up(self) -> Iterator[None]:
        """Without the lock, for what takes its time and needs it not."""
        assert self._depth == 1, "whoever is further out counts on the lock"
        self._catch_up()
        with self.patiently():
            self._depth = 0
            self._release()
            try:
                yield
            finally:
                self._acquire()
                self._depth = 1

    @contextlib.contextmanager
    def patiently(self) -> Iterator[None]:
        """Without the deadlines that are set: they are not for this."""
        deadlines, HERE.deadlines = HERE.deadlines, []
        try:
            yield
        finally:
            HERE.deadlines = deadlines

    # --- what the facade asks for ---

    def event(self) -> Event:
        return Event(self)

    async def checkpoint(self) -> None:
        """Threads are let run by the system."""

    async def within(self, seconds: float, wait: Callable[[], Awaitable[object]]) -> None:
        deadline = Deadline(seconds)
        HERE.deadlines.append(deadline)
        try:
            await wait()
        except Expired as expired:
            if expired.args[0] is not deadline:
                raise
        finally:
            HERE.deadlines.remove(deadline)
