"""What waits unsent for a spark whose client may be slow: what is still accepted, and when it is ended (protocol 7).

The law kept here: a client counts as slow only by what it was offered. While an application writes, nothing can
leave, so a write never ends a spark. After a flush a clock runs, for as long as more than `Limits.backlog` bytes wait.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Protocol

from .. import events as ev
from ..limits import Limits
from ..timers import Timer, Timers
from ..transports.pipe import Pipe
from .messages import Message

__all__ = ["Backlog"]


class BacklogHost(Protocol):
    """What it needs of the server."""

    limits: Limits
    timers: Timers

    @property
    def emit(self) -> Callable[[ev.Event], None]: ...


class Backlog:
    """Watches one spark, from the high-water mark on. At `most` bytes may wait; `cut` ends it."""

    __slots__ = ("_cut", "_expected", "_host", "_judgement", "_most", "_name", "_pipe", "_refused", "_told")

    def __init__(self, host: BacklogHost, pipe: Pipe, name: str, most: int, cut: Callable[[str], None]) -> None:
        self._host = host
        self._pipe = pipe
        self._name = name
        self._most = most
        self._cut = cut
        self._judgement: Timer = host.timers.new(self._judge)  # on while more than the limit waits after a flush
        self._expected = 0  # bytes that would wait if the client had taken nothing since the last look
        self._refused = 0  # messages since the last look
        self._told = False  # that messages are refused

    def take(self, message: Message) -> bool:
        """Whether there is room for a message. The first one that is refused is logged."""
        waiting = self._pipe.buffered
        if waiting <= self._most:
            self._expected += message.size
            return True
        self._refused += 1
        if not self._told:
            self._told = True
            text = f"{self._name}: values are not taken, because {waiting} bytes wait unsent"
            self._host.emit(ev.Logged("warning", text))
        return False

    def flushed(self, now: float) -> None:
        """What could leave has left."""
        if self._judgement.due == math.inf and self._pipe.buffered > self._host.limits.backlog:
            self._look(now)

    def stop(self) -> None:
        """Stop watching."""
        self._judgement.cancel()

    def _look(self, now: float) -> None:
        self._expected, self._refused = self._pipe.buffered, 0
        self._judgement.set(now + self._host.limits.stall)

    def _judge(self, now: float) -> None:
        limits, waiting = self._host.limits, self._pipe.buffered
        if waiting <= limits.backlog:
            return
        if waiting >= self._expected:
            self._cut(f"the client does not read: {waiting} bytes wait unsent, and none left for {limits.stall:g} s")
        elif self._refused:
            text = f"the client reads too slowly: {waiting} bytes wait unsent, and {self._refused} values had no room"
            self._cut(f"{text} within {limits.stall:g} s")
        else:
            self._look(now)
