"""The one thread that does the IO of the threads binding, whatever the number of servers and clients in the process.

The law kept here: only this thread touches the selector and closes a socket that is in it; others ask it to, and wake
it. It never runs the code of users. Whoever holds a driver's lock may take the locks here, never the other way round:
what is due is collected under the lock and called without. What is logged here is handled in a thread of the pool.
"""

from __future__ import annotations

import functools
import logging
import math
import os
import selectors
import socket
import threading
import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable
from typing import Any, ClassVar

from primus_proto.timers import Timer, Timers

from .._portion import MOST
from .here import HERE, handle
from .pool import Call, Pool

__all__ = ["Loop", "Watched"]

log = logging.getLogger("primus_io")

AWAKE = -math.inf
LONGEST = 86_400.0  # seconds; no selector takes any number
UNSAID = 1000  # log records that wait for a slow handler; more are counted and forgotten


class Loop:
    """A selector, its timers, its thread, and the pool beside it. It is there while somebody uses it."""

    _CURRENT: ClassVar[Loop | None] = None
    _CHANGING: ClassVar[threading.Lock] = threading.Lock()

    def __init__(self) -> None:
        self.pool = Pool()
        self.buffer = memoryview(bytearray(MOST))
        self._users = 0
        self._selector = selectors.DefaultSelector()
        self._ear, self._bell = socket.socketpair()
        self._ear.setblocking(False)
        self._bell.setblocking(False)
        self._selector.register(self._ear, selectors.EVENT_READ)
        self._lock = threading.Lock()
        self._calls: list[Callable[[], object]] = []
        self._timers = Timers()
        self._sleeps_until = AWAKE
        self._unsaid: deque[logging.LogRecord] = deque()
        self._saying = False
        self._lost = 0  # records that were too many
        self._running = True
        self._thread = threading.Thread(target=self._run, name="primus-io", daemon=True)
        self._thread.start()

    @classmethod
    def acquire(cls) -> Loop:
        """The loop of this process; each user calls `release` when done."""
        with cls._CHANGING:
            loop = cls._CURRENT = cls._CURRENT or Loop()
            loop._users += 1
            return loop

    @classmethod
    def _forked(cls) -> None:
        """A forked child has the object, but not its thread, nor one that would ever unlock what was locked."""
        cls._CURRENT = None
        cls._CHANGING = threading.Lock()

    def release(self) -> None:
        """The last one to call this ends the threads, and waits for that."""
        cls = type(self)
        with cls._CHANGING:
            self._users -= 1
            if self._users:
                return
            if cls._CURRENT is self:
                cls._CURRENT = None
        self.call(self._stop)
        self._thread.join()
        if not self._saying:
            self._say()
        self.pool.close()

    @property
    def ident(self) -> int | None:
        """The IO thread, as `threading.get_ident` calls it."""
        return self._thread.ident

    def call(self, function: Callable[[], object]) -> None:
        """Have the IO thread call it; at once, where that is the caller."""
        if threading.get_ident() == self.ident:
            function()
            return
        with self._lock:
            self._calls.append(function)
            self._wake(AWAKE)

    def timer(self, callback: Callable[[], object]) -> Timer:
        """A timer that is off, for `arm`. `callback` runs in the IO thread; it may still come when just turned off."""
        return self._timers.new(functools.partial(self._fired, callback))

    def arm(self, timer: Timer, due: float | None) -> None:
        """Set a timer of this loop to a time of `time.monotonic`, or turn it off."""
        with self._lock:
            timer.set(math.inf if due is None else due)
            soonest = self._timers.next()
            if soonest is not None:
                self._wake(soonest)

    def _fired(self, callback: Callable[[], object], now: float) -> None:
        self._calls.append(callback)

    def _wake(self, due: float) -> None:
        """See that the IO thread does not sleep past `due`."""
        if due < self._sleeps_until:
            self._sleeps_until = AWAKE  # once is enough
            self._bell.send(b"\0")

    def _run(self) -> None:
        HERE.hold()  # for good, so that no handler of a log record runs in here
        while self._running:
            for key, mask in self._selector.select(self._pause()):
                if key.data is None:
                    self._ear.recv(64)
                    continue
                if not _guarded(key.data.ready, mask):
                    _guarded(key.data.failed)
            for function in self._due():
                _guarded(function)
            if HERE.records:
                self._note_records()
        self._selector.close()
        self._ear.close()
        self._bell.close()

    def _pause(self) -> float | None:
        """How long to sleep; None: until woken."""
        with self._lock:
            if self._calls:
                return 0.0
            due = self._timers.next()
            self._sleeps_until = math.inf if due is None else due
            return None if due is None else min(max(0.0, due - time.monotonic()), LONGEST)

    def _due(self) -> list[Callable[[], object]]:
        with self._lock:
            self._sleeps_until = AWAKE
            self._timers.fire(time.monotonic())
            calls, self._calls = self._calls, []
            return calls

    def _note_records(self) -> None:
        records, HERE.records = HERE.records, []
        with self._lock:
            room = UNSAID - len(self._unsaid)
            self._unsaid += records[:room]
            self._lost += len(records[room:])
            if self._saying:
                return
            self._saying = True
        self.pool.run(Call(self._say, "a logging handler", detached=True))

    def _say(self) -> None:
        """Have handled what was logged in the IO thread, in order."""
        while True:
            with self._lock:
                record = self._unsaid.popleft() if self._unsaid else None
                lost, self._lost = (0, self._lost) if record is not None else (self._lost, 0)
                self._saying = record is not None or lost > 0
            if record is not None:
                handle(record)
            elif lost:
                words = "%d lines are missing here: logging was too slow for them"
                handle(log.makeRecord(log.name, logging.WARNING, __file__, 0, words, (lost,), None))
            else:
                return

    def _stop(self) -> None:
        self._running = False


def _guarded(function: Callable[..., object], *args: Any) -> bool:
    """Call it; whatever it raises is no reason to leave all others unserved."""
    try:
        function(*args)
    except Exception:
        log.exception("a bug: %r failed", function)
        return False
    return True


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=Loop._forked)


class Watched(ABC):
    """A socket in the selector, closed by `dispose`. What is wanted changes under the lock of whoever it belongs to."""

    def __init__(self, loop: Loop, sock: socket.socket) -> None:
        self.loop = loop
        self.sock = sock
        self.disposed = False
        self._wanted = self._registered = 0

    @abstractmethod
    def ready(self, mask: int) -> None:
        """The socket is; in the IO thread."""

    @abstractmethod
    def drop(self) -> None:
        """Be gone, at once."""

    @abstractmethod
    def failed(self) -> None:
        """`ready` raised what it should not have: be gone."""

    def want(self, mask: int) -> None:
        """Have `ready` called at these selector events, and at no others."""
        if mask != self._wanted and not self.disposed:
            self._wanted = mask
            self.loop.call(self._follow)

    def dispose(self, then: Callable[[], object] = lambda: None) -> None:
        """Out of the selector, and close it; then call that. Harmless twice."""
        if not self.disposed:
            self.want(0)
            self.disposed = True
            self.loop.call(self.sock.close)
            self.loop.call(then)

    def hand_over(self) -> socket.socket:
        """Out of the selector, but leave it open; only in the IO thread. Returns the socket."""
        self.want(0)
        self.disposed = True
        return self.sock

    def _follow(self) -> None:
        wanted, registered = self._wanted, self._registered
        selector = self.loop._selector
        if wanted and not registered:
            selector.register(self.sock, wanted, self)
        elif registered and not wanted:
            selector.unregister(self.sock)
        elif wanted != registered:
            selector.modify(self.sock, wanted, self)
        self._registered = wanted
