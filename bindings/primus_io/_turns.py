"""The coroutine listeners of one session: which of them wait for each other, and what is said if one waits too long.

The laws kept here: the listeners of one event run one at a time, in order. Those of different events start in order and
then run beside each other, because one may wait for what another one does. `end` and `disconnection` come last: their
listeners start when all earlier ones have returned.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Coroutine
from contextvars import ContextVar
from typing import Any, Protocol

from primus_proto import events as ev
from primus_proto.timers import Timer, Timers

from ._io import IO
from ._peer_log import PeerLog

__all__ = ["PATIENCE", "RUNNING", "Turn", "Turns", "name_of"]

PATIENCE = 10.0
"""Seconds that a listener may keep others waiting before a warning is logged."""
END = "end"
LAST = frozenset({END, "disconnection"})

RUNNING: ContextVar[tuple[Turns, str] | None] = ContextVar("primus_io_listener", default=None)
"""Whose listeners, and of which event, this task runs, or the task that has started it."""


def name_of(listener: object) -> str:
    """The name of a listener, for messages. What wraps a function of the user has it as `function`."""
    while hasattr(listener, "function"):
        listener = listener.function
    return getattr(listener, "__qualname__", None) or repr(listener)


class TurnsHost(Protocol):
    """What it needs of the session."""

    _end_count: int
    _ended: bool
    _io: IO

    @property
    def _peer_log(self) -> PeerLog: ...
    @property
    def _timers(self) -> Timers: ...

    def _check_end(self) -> None: ...
    def _handle_failure(self, error: BaseException) -> None: ...
    def _subtract_unhandled(self, size: int) -> None: ...
    def _wake_waiters(self) -> None: ...
    async def _until(self, condition: Callable[[], object]) -> None: ...

    def _turn_begins(self, turn: Turn) -> None:
        """A listener is called now. Sets `turn.begun` when those of other events may start too."""

    def _turn_ends(self, turn: Turn) -> None:
        """A listener has returned."""

    def _waits_for(self, turn: Turn) -> bool:
        """Whether values that are not on their way to listeners yet wait for a listener."""


class Turn:
    """One call of a coroutine listener. `end_count` is 0 unless it is given a value, which an end makes void.

    `message` is the event of that value, if it is for the listeners alone.
    """

    __slots__ = (
        *("begun", "coroutine", "end_count", "event", "listener"),
        *("message", "noticed", "number", "size", "told"),
    )

    def __init__(
        self,
        event: str,
        listener: object,
        coroutine: Coroutine[Any, Any, object],
        size: int,
        end_count: int,
        message: ev.DataReceived | ev.SparkData | None = None,
    ) -> None:
        self.event = event
        self.listener = listener
        self.coroutine = coroutine
        self.size = size
        self.end_count = end_count
        self.message = message
        self.number = 0  # its place among the turns of the session
        self.noticed: float | None = None  # when it was first seen to keep others waiting
        self.begun = False  # listeners of other events may start
        self.told = False  # the warning was logged


class Turns:
    """Runs the coroutine listeners of a session."""

    __slots__ = ("_count", "_queues", "_session", "_timer", "_waiting")

    def __init__(self, session: TurnsHost) -> None:
        self._session = session
        self._queues: dict[str, deque[Turn]] = {}  # by event; the first one of each runs
        self._count = 0
        self._waiting = 0  # for turns of other events
        self._timer: Timer | None = None  # of the warning; on while a turn waits behind another one

    @property
    def handles_values(self) -> bool:
        """Whether a listener that was given a value has not returned."""
        return any(queue[0].end_count for queue in self._queues.values())

    def current(self, event: str) -> Turn | None:
        """The turn of this event that runs."""
        queue = self._queues.get(event)
        return queue[0] if queue else None

    def is_last(self, turn: Turn) -> bool:
        """Whether nothing waits behind a turn."""
        return len(self._queues[turn.event]) == 1

    def add(self, turn: Turn) -> None:
        """Run a listener after those of the same event."""
        self._count = turn.number = self._count + 1
        key = END if turn.event in LAST and not turn.end_count else turn.event
        queue = self._queues.get(key)
        if queue is None:
            self._queues[key] = queue = deque((turn,))
            self._session._io.start(self._run(key, queue))
        else:
            queue.append(turn)
            if self._timer is None or self._timer.due == math.inf:
                self.watch()

    def take_back(self, listener: object) -> list[Turn]:
        """Take the waiting calls for `data` away from a listener. The message that is being handled stays."""
        queue = self._queues.get("data")
        if queue is None:
            return []
        stays = (None, queue[0].message)
        taken = [
            turn for turn in queue if turn.listener == listener and not any(turn.message is each for each in stays)
        ]
        for turn in taken:
            queue.remove(turn)
            turn.coroutine.close()
        return taken

    def changed(self) -> None:
        """A turn has begun or is over."""
        if self._waiting:
            self._session._wake_waiters()

    async def _run(self, key: str, queue: deque[Turn]) -> None:
        session = self._session
        RUNNING.set((self, key))
        try:
            while queue:
                turn = queue[0]
                if turn.end_count in (0, session._end_count):
                    if len(self._queues) > 1:
                        await self._in_order(key, turn)
                    session._turn_begins(turn)
                    if self._waiting:
                        self.changed()
                    try:
                        await turn.coroutine
                    except Exception as error:
                        session._handle_failure(error)
                    except BaseException as error:
                        if not session._ended:  # otherwise the binding is closing
                            session._handle_failure(error)
                        raise
                    finally:
                        session._turn_ends(turn)
                else:
                    turn.coroutine.close()  # data from before an end
                queue.popleft()
                session._subtract_unhandled(turn.size)
                if self._waiting:
                    self.changed()
        finally:
            for turn in queue:  # cancelled: close the coroutines that will never run
                turn.coroutine.close()
            del self._queues[key]
            if not self._queues and self._timer is not None:
                self._timer.drop()  # it would keep the session alive
                self._timer = None
            session._check_end()

    async def _in_order(self, key: str, turn: Turn) -> None:
        """Wait until those that were called earlier have begun or, before one of the last, have returned."""

        def earlier() -> bool:
            firsts = [queue[0] for other, queue in self._queues.items() if other not in (key, END)]
            if key == END:  # a value that waits in the inbox has no number yet
                return any(first.number < turn.number or first.end_count for first in firsts)
            return any(first.number < turn.number and not first.begun for first in firsts)

        if not earlier():
            return
        self._waiting += 1
        if key == END:
            self.watch()
        try:
            await self._session._until(lambda: not earlier())
        finally:
            self._waiting -= 1

    # --- the warning ---

    def watch(self) -> None:
        """Something waits for a turn: see how long that takes."""
        if self._timer is None:
            self._timer = self._session._timers.new(self._look)
        if self._timer.due == math.inf:
            self._timer.set(self._session._io.now() + PATIENCE)
            self._session._io.schedule()

    def _look(self, now: float) -> None:
        """Warn of listeners that have kept others waiting since the last look, and look again while any wait."""
        last = self._queues.get(END)
        end_waits = last is not None and not last[0].begun
        blocking = [
            queue[0]
            for queue in self._queues.values()
            if queue[0].begun and (end_waits or len(queue) > 1 or self._session._waits_for(queue[0]))
        ]
        for turn in blocking:
            if turn.noticed is None:
                turn.noticed = now
            elif not turn.told:
                turn.told = True
                self._session._peer_log.warning(
                    "%r: the listener %s of %r has not returned for %.0f s, and later calls wait for it. Listeners of "
                    "one event run one at a time: it must not wait for what a later call would do",
                    *(self._session, name_of(turn.listener), turn.event, now - turn.noticed),
                )
        if self._timer is not None and (self._waiting or not all(turn.told for turn in blocking)):
            self._timer.set(now + PATIENCE)
