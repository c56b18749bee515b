"""The calling thread: up to when it may wait, what it does, and what it holds back while it holds a lock.

The law kept here: what may raise or wait and is none of ours, handlers of signals and of log records, runs where no
lock is held. Python runs the handler of a signal in the main thread, between any two steps of it: a Ctrl-C amid a
`write` would leave a half of it behind, and the lock locked.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable
from types import FrameType
from typing import Any

from .._session import log
from .pool import Call

try:  # `signal` makes enums of numbers around these, and takes ten times as long for it: too long for each `write`
    from _signal import getsignal as get_handler  # type: ignore[import-not-found]
    from _signal import signal as set_handler
except ImportError:
    from signal import getsignal as get_handler
    from signal import signal as set_handler

__all__ = ["HERE", "Deadline", "handle"]

# Those whose handlers are known to raise: Ctrl-C, a polite kill, somebody's deadline. The last is not there on Windows.
SIGNALS = [int(getattr(signal, name)) for name in ("SIGINT", "SIGTERM", "SIGALRM") if hasattr(signal, name)]
Handler = Callable[[int, FrameType | None], Any]


class Deadline:
    """Up to when a thread may wait, within the block. To be entered under a lock: no signal gets in between there."""

    def __init__(self, seconds: float) -> None:
        self.due = time.monotonic() + seconds

    def __enter__(self) -> None:
        HERE.deadlines.append(self)

    def __exit__(self, *error: object) -> None:
        HERE.deadlines.remove(self)


class Here(threading.local):
    """What is known of the calling thread."""

    def __init__(self) -> None:
        self.deadlines: list[Deadline] = []
        """The first to be set first."""
        self.call: Call | None = None
        """What it does, in a thread of the pool."""
        self.records: list[logging.LogRecord] = []
        """What is to be logged once it holds no lock."""
        self.is_main = threading.current_thread() is threading.main_thread()
        """Whether the handlers of signals run in it."""
        self._held = 0
        self._handlers: dict[int, Handler] = {}
        self._signals: list[tuple[int, FrameType | None]] = []

    @property
    def holding(self) -> bool:
        """Whether it holds a lock."""
        return self._held > 0

    def hold(self) -> None:
        """It is about to take a lock. Raises what the handler of a signal raises, before anything has changed."""
        if self.is_main and not self._held:
            self._hold_signals()
        self._held += 1

    def let_go(self) -> None:
        """It has given a lock back. Once it has none, raises what the handlers of signals raise that came meanwhile."""
        self._held -= 1
        if not self._held:
            try:
                if self._handlers:
                    self._let_signals_go()
            finally:
                if self.records:
                    records, self.records = self.records, []
                    for record in records:
                        handle(record)

    def _hold_signals(self) -> None:
        for number in SIGNALS:
            handler = get_handler(number)
            if callable(handler):
                self._handlers[number] = handler
                try:
                    set_handler(number, self._note)
                except BaseException as error:
                    del self._handlers[number]
                    self._let_signals_go()
                    if not isinstance(error, ValueError):  # which is what an interpreter inside another one gets
                        raise

    def _note(self, number: int, frame: FrameType | None) -> None:
        self._signals.append((number, frame))

    def _let_signals_go(self) -> None:
        handlers, self._handlers = self._handlers, {}
        self._restore(list(handlers.items()))
        signals, self._signals = self._signals, []
        for number, frame in signals:
            handlers[number](number, frame)

    def _restore(self, handlers: list[tuple[int, Handler]]) -> None:
        if handlers:
            try:
                set_handler(*handlers.pop())
            finally:  # a signal may be here already, and its handler raise
                self._restore(handlers)


HERE = Here()


def _forked() -> None:
    HERE.is_main = True


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)


def _log_later(record: logging.LogRecord) -> bool:
    if HERE.holding:
        HERE.records.append(record)
    return not HERE.holding


log.addFilter(_log_later)


def handle(record: logging.LogRecord) -> None:
    """Have a record logged; a handler that fails is told of as `logging` does it, and stops nothing."""
    try:
        log.handle(record)
    except Exception:
        if logging.raiseExceptions and sys.stderr is not None:
            traceback.print_exc()
