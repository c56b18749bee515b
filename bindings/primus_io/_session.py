"""What the clients and sparks of all bindings share: listeners, an inbox, and back-pressure towards the peer.

The law kept here: only waiting is async. Between two awaits nothing else happens to the same server or client.
"""

from __future__ import annotations

import inspect
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine
from threading import get_ident
from types import CoroutineType
from typing import Any, TypeVar, overload

import primus_proto as pp
from primus_proto import events as ev
from primus_proto.session.transforms import Direction
from primus_proto.timers import Timers

from ._answering import Answering
from ._emitter import Emitter
from ._io import AsyncEvent
from ._once import wait_for
from ._peer_log import PeerLog
from ._plugins import Extended
from ._transforming import F, Transforming
from ._turns import RUNNING, Turn, Turns

__all__ = ["DATA_EVENTS", "DROPPED", "MESSAGE_OVERHEAD", "Session", "Undecoded"]

# A session stops reading from its peer while more than PAUSE_ABOVE bytes wait to be handled, until RESUME_BELOW.
PAUSE_ABOVE = 256 * 1024
RESUME_BELOW = PAUSE_ABOVE // 2
MESSAGE_OVERHEAD = 64  # added to the bytes of a waiting message, so that empty ones count too

DROPPED = "values are dropped here, because of the option receive=False"

DATA_EVENTS = ("data", ev.DataReceived, ev.SparkData)

T = TypeVar("T")


class Undecoded(ev.SparkData[Any]):
    """A message whose `data` is a text, until it is taken."""

    __slots__ = ()


class Session(Answering, Transforming, Extended, Emitter):
    """What a spark and a client share: an inbox, listeners that wait, and back-pressure in both directions."""

    _core: pp.Spark | pp.Client
    _handed_over = 0  # bytes of messages on the way from other threads
    _listener: Callable[[Any], object]  # that `_call_direct` calls

    def __init__(self, core: pp.Spark | pp.Client) -> None:
        super().__init__()
        self._core = core
        self._ended = self._iterating = self._paused = False
        self._inbox: deque[ev.DataReceived | ev.SparkData] | None = None
        self._turns: Turns | None = None  # made with the first coroutine of a listener
        self._message: ev.DataReceived | ev.SparkData | None = None  # that only the listeners get that are called now
        self._end_count = 1  # 1, and how often the application has ended the session
        self._unhandled_bytes = 0  # in the inbox, or on the way to listeners
        self._waiters: list[AsyncEvent] = []
        core.is_busy = self._is_busy

    @property
    def close_reason(self) -> pp.CloseReason | None:
        """Why the connection closed, for the last time if it did so several times; None if it never has."""
        return self._core.close_reason

    @property
    def discarded(self) -> int:
        """Values that arrived and were dropped: with ``receive=False``, or because nobody took any for too long."""
        return self._core.discarded

    @property
    def buffered(self) -> int:
        """Bytes that were written and have not reached the socket."""
        return self._core.buffered + self._handed_over

    @property
    def needs_drain(self) -> bool:
        """Whether the buffer is more than half full, so that `drain` and `send` would wait."""
        return self._core.needs_drain

    @property
    def _is_over(self) -> bool:
        """Whether the session has ended. Its listeners may not know yet."""
        raise NotImplementedError

    @property
    def _timers(self) -> Timers:
        """The timers of its core."""
        raise NotImplementedError

    @property
    def _peer_log(self) -> PeerLog:
        """Where warnings about it are logged."""
        raise NotImplementedError

    @overload
    def transform(self, direction: Direction, function: F) -> F: ...
    @overload
    def transform(self, direction: Direction) -> Callable[[F], F]: ...

    def transform(self, direction: Direction, function: Any = None) -> Any:
        """Have `function` see, change or drop each ``incoming`` or ``outgoing`` message. Usable as a decorator.

        The function gets a `Packet` and sets its `data`, or returns `DROP`. It may be async; messages keep their order.
        If it raises, its message is dropped and an `error` event is emitted. Raises LocalProtocolError for another
        direction, and for a function that is not callable.
        """
        return self._transform(direction, function, False)

    def _add_transform(self, direction: Direction, step: F, shared: bool) -> None:
        self._do(lambda: self._core.transform(direction, step, shared=shared))

    def _do(self, function: Callable[[], T]) -> T:
        self._io.check_thread()
        return function()

    # --- writing ---

    def write(self, data: Any) -> bool:
        """Send one value without waiting. Returns False if it was dropped, after the end or above the limit.

        A spark whose client reads nothing for a while loses its connection. Raises EncodeError if the value cannot be
        encoded, and LocalProtocolError in another thread than that of the event loop.
        """
        core, io = self._core, self._io
        if get_ident() != io.thread:
            io.check_thread()
        taken = core.write(data)
        if core.needs_drain:
            io.pump()
        elif not io.pumping:
            io.schedule()
        return taken

    # --- reading ---

    async def _take(self) -> Any:
        """Wait for the next value. Raises StopAsyncIteration once the session has ended and all values were taken."""
        io = self._io
        if not self._iterating:
            self._check_taker()
            self._begin_iterating()
        if io.should_yield():
            await io.checkpoint()
        while True:
            if self._inbox:  # as `_take_first`, without the call
                event = self._inbox.popleft()
                self._unhandled_bytes -= event.size + MESSAGE_OVERHEAD
                if self._paused:
                    self._check_pause()
                if type(event) is not Undecoded or self._decode(event):
                    return event.data
            elif self._ended:
                raise StopAsyncIteration
            else:  # as `_wait_for_change`, without another coroutine
                waiter = self._new_waiter()
                try:
                    await waiter.wait()
                except BaseException:
                    self._forget_waiter(waiter)
                    raise

    def _begin_iterating(self) -> None:
        """From now on values are taken, instead of going to listeners. Raises LocalProtocolError where none come."""
        if not self._iterating:
            self._check_receives()
            self._iterating = True
            self._take_undecoded()
        self._core.direct = None

    def _take_undecoded(self) -> None:
        """Have the core deliver long texts undecoded, if it can."""

    def _decode(self, event: Undecoded) -> bool:
        """Decode what was delivered undecoded. Returns False after an error, of which an event tells."""
        raise NotImplementedError

    def _check_event(self, event: object) -> None:
        super()._check_event(event)
        if event in DATA_EVENTS:
            self._check_receives()

    def _check_receives(self) -> None:
        core = self._core
        if not (core.server.config if isinstance(core, pp.Spark) else core.config).receive:
            raise pp.LocalProtocolError(DROPPED)

    def _check_taker(self) -> None:
        """Raise LocalProtocolError in a listener of `data`: it would wait for the values that wait for it."""
        self._check_receives()
        turn = None if self._turns is None or self._iterating else self._turns.current("data")
        if turn is None or RUNNING.get() != (self._turns, "data"):
            return
        if self._is_inside(turn) and any(self._listeners.get(kind) for kind in DATA_EVENTS):
            raise pp.LocalProtocolError(
                "a listener of `data` gets every value itself, so there is none to receive in it: take values by "
                "receive() in a handler instead of a listener, or remove the listener with off() first"
            )

    def _take_first(self) -> ev.DataReceived | ev.SparkData:
        """Take the first message of the inbox."""
        assert self._inbox
        event = self._inbox.popleft()
        self._subtract_unhandled(event.size + MESSAGE_OVERHEAD)
        return event

    async def _receive(self) -> Any:
        try:
            return await self._take()
        except StopAsyncIteration:
            raise pp.ConnectionLost("the session has ended, and every value was taken") from None

    def _listener_added(self, event: str | type[ev.Event]) -> None:
        """Give the messages that were not taken yet to the first `data` listener, soon."""
        self._core.direct = None
        if event in DATA_EVENTS and self._inbox and not self._iterating:
            self._io.start(self._emit_inbox())

    def _remove(self, event: str | type[ev.Event], listener: Callable[..., Any]) -> None:
        """Remove a listener. What waits for it goes to those that remain or, if there are none, back to the inbox."""
        super()._remove(event, listener)
        self._core.direct = None
        kept = [each for kind in DATA_EVENTS for each in self._listeners.get(kind, ())]
        if event not in DATA_EVENTS or self._turns is None or listener in kept:
            return
        for turn in reversed(self._turns.take_back(listener)):
            if kept or turn.end_count != self._end_count:
                self._subtract_unhandled(turn.size)
            else:
                assert turn.message is not None
                self._inbox = self._inbox or deque()
                self._inbox.appendleft(turn.message)
        if self._waiters:
            self._wake_waiters()

    # --- for the binding ---

    def _deliver_data(self, event: ev.DataReceived | ev.SparkData, heard: bool = False) -> None:
        """Give a message to the listeners; keep it for iteration, or where nobody `heard` it."""
        listeners = self._listeners
        idle = not self._iterating and not self._inbox
        if idle and not heard and type(event) not in listeners and len(listeners.get("data", ())) == 1:
            (listener,) = listeners["data"]
            self._listener = listener
            self._core.direct = self._call_direct  # until anything that was asked here changes
        behind = bool(self._inbox) and not self._iterating and not heard  # a listener gets what is kept first
        told = not behind and (self._emit_data(event, not heard and not self._iterating) or heard)
        if self._iterating and not told:
            self._core.direct = self._keep_direct  # until then too
        if self._iterating or not told:
            self._keep(event)

    def _call_direct(self, value: Any, message: str | bytes) -> None:
        """Give a value to the one listener there is, from inside the core."""
        listener = self._listener
        try:
            result = listener(value)
        except (KeyboardInterrupt, SystemExit) as error:
            self._core.direct = None
            self._io.interruption = error
            self._io.pump()  # which raises it
        except BaseException as error:  # also a CancelledError: the pump must go on
            self._handle_failure(error)
        else:
            if type(result) is CoroutineType:
                self._core.direct = None  # the next may have to wait for it
                self._message = self._data_event(value, len(message))
                self._start_listener(result, listener, "data", self._message.size + MESSAGE_OVERHEAD)
                self._message = None
        if self._iterating:  # since the listener
            self._keep(self._data_event(value, len(message)))

    def _data_event(self, value: Any, size: int) -> ev.DataReceived | ev.SparkData:
        """The event of a value that came without one."""
        raise NotImplementedError

    def _emit_data(self, event: ev.DataReceived | ev.SparkData, alone: bool) -> bool:
        """Call the listeners. `alone`: nobody else gets the message."""
        self._message = event if alone else None
        heard = self._emit(event, (event.data,), event.size + MESSAGE_OVERHEAD)
        self._message = None
        return heard

    def _deliver_call(self, event: ev.Delivery) -> None:
        """Call the function that a transform delivers a message to, as a listener is called."""
        self._call(event.function, event.arguments, event.topic, event.size + MESSAGE_OVERHEAD)

    def _keep_direct(self, value: Any, message: str | bytes) -> None:
        """Keep a value for iteration, from inside the core."""
        self._keep(self._data_event(value, len(message)))

    def _keep(self, event: ev.DataReceived | ev.SparkData) -> None:
        if self._inbox is None:
            self._inbox = deque()
        self._inbox.append(event)
        self._add_unhandled(event.size + MESSAGE_OVERHEAD)
        if self._waiters:
            self._wake_waiters()

    async def _emit_inbox(self) -> None:
        end_count = self._end_count
        while self._is_inbox_due():
            self._emit_first(end_count)

    def _is_inbox_due(self) -> bool:
        """Whether a message of the inbox can go to a listener now."""
        return bool(self._inbox) and not self._iterating and any(self._listeners.get(kind) for kind in DATA_EVENTS)

    def _emit_first(self, end_count: int) -> None:
        """Give the first message of the inbox to its listeners, unless the session was ended after `end_count` ends."""
        assert self._inbox
        event = self._inbox.popleft()
        if end_count == self._end_count:
            self._emit_data(event, True)
        self._subtract_unhandled(event.size + MESSAGE_OVERHEAD)

    def _end_with(self, end: Callable[[], object]) -> None:
        """End the session for the application. Data that still waits for its listeners is dropped."""
        was_over = self._is_over
        end()
        self._end_count += not was_over
        self._io.schedule()

    def _deliver_end(self) -> None:
        self._ended = True
        self._wake_waiters()

    def _wake_waiters(self) -> None:
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            waiter.set()

    async def _until(self, condition: Callable[[], object]) -> None:
        while not condition():
            await self._wait_for_change()

    async def _wait_for_change(self) -> None:
        waiter = self._new_waiter()
        try:
            await waiter.wait()
        except BaseException:
            self._forget_waiter(waiter)
            raise

    def _new_waiter(self) -> AsyncEvent:
        """A waiter that is woken, and forgotten, when something changes."""
        waiter = self._io.wakeup()
        self._waiters.append(waiter)
        if self._end_waits:
            self._check_end()
        return waiter

    def _forget_waiter(self, waiter: AsyncEvent) -> None:
        """The task that waited was cancelled, perhaps after it was woken."""
        if waiter in self._waiters:
            self._waiters.remove(waiter)

    async def _until_drained(self) -> None:
        await self._until(lambda: not self._core.needs_drain or self._ended)

    @property
    def _is_finished(self) -> bool:
        return self._ended

    async def _wait_for(self, event: str | type[ev.Event], timeout: float | None) -> Any:
        def until(found: Callable[[], object]) -> Awaitable[None]:
            return self._until(lambda: found() or self._ended)

        return await wait_for(self, event, timeout, until, self._wake_waiters)

    async def _until_ended(self) -> None:
        await self._until(lambda: self._ended)

    def _add_unhandled(self, size: int) -> None:
        self._unhandled_bytes += size
        if self._unhandled_bytes > PAUSE_ABOVE and not self._paused:
            self._paused = True
            self._core.pause()

    def _subtract_unhandled(self, size: int) -> None:
        self._unhandled_bytes -= size
        if self._paused:
            self._check_pause()

    def _check_pause(self) -> None:
        """Something was handled while reading is paused."""
        if self._unhandled_bytes <= RESUME_BELOW:
            self._paused = False
            self._core.resume()
        else:
            self._core.pause()  # again: it goes on
        self._io.schedule()

    def _start_listener(self, coroutine: Coroutine[Any, Any, object], listener: object, event: str, size: int) -> None:
        if self._io.closed:
            coroutine.close()
            return
        end_count = self._end_count if size else 0  # only data has a size
        size = size or MESSAGE_OVERHEAD
        if self._turns is None:
            self._turns = Turns(self)
        self._add_unhandled(size)
        self._turns.add(Turn(event, listener, coroutine, size, end_count, self._message))

    def _turn_begins(self, turn: Turn) -> None:
        """A listener is called now. Sets `turn.begun` when those of other events may start too."""
        turn.begun = True

    def _turn_ends(self, turn: Turn) -> None:
        """A listener has returned."""

    def _waits_for(self, turn: Turn) -> bool:
        """Whether values that are not on their way to listeners yet wait for a listener."""
        return False

    def _is_inside(self, turn: Turn) -> bool:
        """Whether the caller is a listener that runs, not a task that it has started."""
        return inspect.getcoroutinestate(turn.coroutine) == inspect.CORO_RUNNING
