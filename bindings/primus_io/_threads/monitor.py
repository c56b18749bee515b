"""A monitor: the coroutines of `_facade` run to their end in the thread that calls them, holding the lock of their IO.

The law kept here: the lock is given up only to wait and to call users' code, so between two waits nothing else of the
same server or client happens, exactly as on an event loop. No coroutine ever suspends: what it awaits blocks. Handlers
of signals and of log records are users' code too: what comes under the lock is handled after it (`here`).
"""

from __future__ import annotations

import contextlib
import inspect
import math
import os
import sys
import threading
import time
from abc import abstractmethod
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from types import TracebackType
from typing import Any, Self, TypeVar

import primus_proto as pp

from .._session import IO
from .here import HERE, Deadline

__all__ = ["GaveUp", "Monitor", "name_of", "refuse_coroutine", "run"]

T = TypeVar("T")

# Windows cannot interrupt a thread that waits: it looks from time to time whether somebody has pressed Ctrl-C.
LOOK = 0.5 if sys.platform == "win32" else None


class Expired(BaseException):
    """A deadline has passed. Whoever set it catches it, and nobody else."""


class GaveUp(BaseException):
    """The binding has closed without waiting for this any longer; what the job has left to do is not done."""


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
        self._waiting: list[threading.Lock] = []
        self._happened = False

    def set(self) -> None:
        self._happened = True
        waiting, self._waiting = self._waiting, []
        for each in waiting:
            each.release()

    async def wait(self) -> None:
        while not self._happened:
            self._monitor.wait(self._waiting)


class Monitor(IO):
    """The part of a driver that waits. ``with monitor:`` is to hold its lock; leaving pumps, if that was asked for."""

    io_thread: int | None
    """The thread that goes first when several want the lock."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._owner: int | None = None
        self._depth = 0  # how many times over
        self._gate = threading.Lock()  # held by the IO thread while it waits for the other
        self._scheduled = False
        self._process = os.getpid()

    def __enter__(self) -> Self:
        if self._owner != threading.get_ident():
            self._acquire()
        else:
            self._depth += 1
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._owner != threading.get_ident():
            return  # the handler of a signal raised while the lock was given up
        try:
            if self._depth == 1:
                self._catch_up()
        finally:
            self._depth -= 1
            if self._depth == 0:
                self._release()

    def _acquire(self, depth: int = 1) -> None:
        if self._process != os.getpid():
            raise pp.LocalProtocolError(
                "this was entered by the process that this one was forked from, and only that can use it: "
                "enter a new `serve` or `connect` here"
            )
        HERE.hold()
        me = threading.get_ident()
        if me == self.io_thread:
            with self._gate:
                self._lock.acquire()
        else:
            # Threads that do nothing but write would get the lock again and again before the one that reads.
            if self._gate.locked():
                with self._gate:
                    pass
            self._lock.acquire()
        self._owner, self._depth = me, depth

    def _release(self) -> None:
        self._owner, self._depth = None, 0
        self._lock.release()
        HERE.let_go()

    @property
    def forked(self) -> bool:
        """Whether this is the copy that a forked child has: its sockets are the parent's, and its IO thread is not."""
        return os.getpid() != self._process

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
        try:
            with self, deadline:
                return run(coroutine)
        except Expired as expired:
            if expired.args[0] is not deadline:
                raise
            raise TimeoutError(f"not within {timeout:g} seconds") from None
        finally:
            coroutine.close()  # a KeyboardInterrupt may have come before it began

    def wait(self, waiting: list[threading.Lock]) -> None:
        """Wait for the lock that this adds to be released, with the monitor's given up; may also return for nothing."""
        self._catch_up()  # what was asked for may be what is waited for
        first = min(HERE.deadlines, key=lambda deadline: deadline.due, default=None)
        left = None if first is None or first.due == math.inf else first.due - time.monotonic()
        if left is not None and left <= 0:
            raise Expired(first)
        if LOOK is not None and threading.current_thread() is threading.main_thread():
            left = LOOK if left is None else min(LOOK, left)
        mine = threading.Lock()
        mine.acquire()
        waiting.append(mine)
        depth = self._depth
        try:
            self._release()
            mine.acquire(timeout=-1 if left is None else min(left, threading.TIMEOUT_MAX))
        finally:
            self._acquire(depth)
            if mine in waiting:
                waiting.remove(mine)

    async def outside(self, function: Callable[..., T], *args: Any) -> T:
        """Call a user's function, with the lock given up."""
        if self.closed:
            raise GaveUp
        if HERE.call is not None:
            HERE.call.name = name_of(function)
        result = self.given_up(function, *args)
        if inspect.iscoroutine(result):
            result.close()
            raise pp.LocalProtocolError(f"{name_of(function)} returned a coroutine, which nothing here runs")
        if self.closed:
            raise GaveUp
        return result

    def given_up(self, function: Callable[..., T], *args: Any) -> T:
        """Call what takes its time and does not need the lock, without it."""
        assert self._depth == 1, "whoever is further out counts on the lock"
        self._catch_up()
        with self.patiently():
            try:
                self._release()
                return function(*args)
            finally:
                self._acquire()

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
        try:
            with deadline:
                await wait()
        except Expired as expired:
            if expired.args[0] is not deadline:
                raise
