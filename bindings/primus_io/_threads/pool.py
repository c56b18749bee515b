"""Threads for whatever may block, as many as there are calls to make at a time.

The law kept here: a call never waits for another one to end. So there is no upper bound but the system's: one that
finds nobody idle gets a thread of its own. Idle threads are few and end after some seconds.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable

__all__ = ["IDLE", "Call", "Pool"]

log = logging.getLogger("primus_io")

IDLE = 12  # threads that may wait for one
PATIENCE = 5.0  # seconds that they do


class Call:
    """A call in a thread of the pool, and a name for it. `detached`: nobody waits for its end any longer."""

    __slots__ = ("detached", "function", "name")

    def __init__(self, function: Callable[[], object], name: str, *, detached: bool = False) -> None:
        self.function = function
        self.name = name
        self.detached = detached


class Pool:
    """Daemon threads: a call that never returns must not keep the interpreter from ending."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._more = threading.Condition(self._lock)
        self._queue: deque[Call] = deque()
        self._threads: dict[threading.Thread, Call | None] = {}
        self._idle = self._starting = 0
        self._closed = False

    @property
    def running(self) -> list[Call]:
        """Those that have begun and not ended."""
        with self._lock:
            return [call for call in self._threads.values() if call is not None]

    def run(self, call: Call) -> None:
        """Make it, beside all others."""
        with self._lock:
            self._queue.append(call)
            if len(self._queue) <= self._idle + self._starting:
                self._more.notify()
                return
            self._starting += 1
        thread = threading.Thread(target=self._work, name="primus-worker", daemon=True)
        try:
            thread.start()
        except RuntimeError:  # the system gives no more; the next thread that has nothing to do takes it
            log.error("cannot start another thread: a handler or listener has to wait for one", exc_info=True)
            with self._lock:
                self._starting -= 1

    def close(self) -> None:
        """End the threads and wait for them, but for the calling one and those that are busy with a detached one."""
        with self._lock:
            self._closed = True
            self._more.notify_all()
            ending = [thread for thread, call in self._threads.items() if call is None or not call.detached]
        for thread in ending:
            if thread is not threading.current_thread():
                thread.join()

    def _work(self) -> None:
        me = threading.current_thread()
        with self._lock:
            self._starting -= 1
            self._threads[me] = None
        try:
            while (call := self._next()) is not None:
                call.function()
                del call  # while this waits for the next, nothing is kept that the last one had
                with self._lock:
                    self._threads[me] = None
        finally:
            with self._lock:
                del self._threads[me]

    def _next(self) -> Call | None:
        with self._lock:
            while not self._queue:
                if self._closed or self._idle >= IDLE:
                    return None
                self._idle += 1
                told = self._more.wait(PATIENCE)
                self._idle -= 1
                if not told and not self._queue:
                    return None
            call = self._queue.popleft()
            self._threads[threading.current_thread()] = call
            return call
