"""`WorkQueue`: handles the messages of one direction in order, one at a time where a step has to wait.

The core cannot wait. A step that has to is handed to the host as a `Held`, and the messages behind it are kept.
"""

from __future__ import annotations

import inspect
from collections import deque
from collections.abc import Awaitable, Callable, Generator
from typing import Any

from ..errors import LocalProtocolError

__all__ = ["Held", "Work", "WorkQueue"]

Work = Generator[Awaitable[Any], Any, None]
"""What is done with one message. It yields what it has to wait for, and gets the result."""


class Held:
    """A step that waits. The host awaits `awaitable`, unless it is `over`, and then calls `resume` or `fail`, once."""

    __slots__ = ("_queue", "awaitable", "over")

    def __init__(self, queue: WorkQueue, awaitable: Awaitable[Any]) -> None:
        self._queue = queue
        self.awaitable: Awaitable[Any] = awaitable
        self.over = False
        """Whether the step was answered, or its session gave it up: then it is no longer to be awaited."""

    def resume(self, result: object = None, *, now: float) -> None:
        """Go on with the message, and with those that wait behind it. Does nothing if the step is over."""
        self._answer(lambda work: work.send(result), now)

    def fail(self, error: BaseException, *, now: float) -> None:
        """The step failed: drop its message, report the error, and go on. Does nothing if the step is over."""
        if not isinstance(error, Exception):  # such as a cancellation, which is not the core's to raise
            cause, error = error, LocalProtocolError(f"it was stopped: {error!r}")
            error.__cause__ = cause
        self._answer(lambda work: work.throw(error), now)

    def _answer(self, go_on: Callable[[Work], Awaitable[Any]], now: float) -> None:
        if not self.over:
            self.over = True
            self._queue.answered(go_on, now)

    def discard(self) -> None:
        """Give the step up."""
        self.over = True
        if inspect.iscoroutine(self.awaitable) and inspect.getcoroutinestate(self.awaitable) == inspect.CORO_CREATED:
            self.awaitable.close()


class WorkQueue:
    """A first-in-first-out queue of `Work`. `hold` hands a step to the host; `changed` is called as it shrinks."""

    __slots__ = ("_changed", "_current", "_held", "_hold", "_then", "_waiting", "now", "size")

    def __init__(self, hold: Callable[[Held], None], changed: Callable[[], None]) -> None:
        self._hold = hold
        self._changed = changed
        self._waiting: deque[tuple[Work, int]] = deque()
        self._current: tuple[Work, int] | None = None
        self._held: Held | None = None
        self._then: Callable[[float], object] | None = None
        self.now = 0.0
        """The time of the last call that brought it."""
        self.size = 0
        """The sizes of all messages that wait or are being handled."""

    @property
    def busy(self) -> bool:
        """Whether a message is waiting or being handled."""
        return self._current is not None

    def __len__(self) -> int:
        return len(self._waiting) + (self._current is not None)

    def add(self, work: Work, size: int) -> None:
        """Do some work, at once if none waits."""
        self._waiting.append((work, size))
        self.size += size
        if self._current is None:
            self._run()

    def answered(self, go_on: Callable[[Work], Awaitable[Any]], now: float) -> None:
        """The step that was held has its answer."""
        self.now = now
        self._held = None
        self._advance(go_on)
        if self._held is None:
            self._run()

    def finish(self, then: Callable[[float], object]) -> None:
        """Call `then(now)` once the queue is empty: now if it is."""
        self._then = then
        self._done()

    def discard(self) -> None:
        """Drop everything that waits."""
        works = [self._current] if self._current is not None else []
        works += self._waiting
        self._waiting.clear()
        self._current = None
        if self._held is not None:
            held, self._held = self._held, None
            held.discard()
        for work, _ in works:
            if inspect.getgeneratorstate(work) != inspect.GEN_RUNNING:  # otherwise one of its own steps does this
                work.close()
        self.size = 0
        self._done()

    def _run(self) -> None:
        while self._waiting and self._current is None:  # what a step adds waits until that step has returned
            self._current = self._waiting.popleft()
            self._advance(next)
        self._done()

    def _advance(self, go_on: Callable[[Work], Awaitable[Any]]) -> None:
        """Go on with the current message, up to its end or the next step that waits."""
        assert self._current is not None
        work, size = self._current
        try:
            awaitable = go_on(work)
        except StopIteration:
            self._finished(size)
        except BaseException:  # which stops the program, or only this call: the messages behind it get their turn
            self._finished(size)
            raise
        else:
            held = Held(self, awaitable)
            if len(self) == 0:  # it ended its own session
                held.discard()
                work.close()
            else:
                self._held = held
                self._hold(held)

    def _finished(self, size: int) -> None:
        if self._current is not None:  # otherwise it ended its own session
            self._current = None
            self.size -= size
            self._changed()

    def _done(self) -> None:
        if self._then is not None and self._current is None and not self._waiting:
            then, self._then = self._then, None
            then(self.now)
