"""What a spark and a client of any binding have in common: listeners, an inbox, and back-pressure towards the peer.

The law kept here: only waiting is coloured. Between two awaits nothing else of the same server or client happens.
"""

from __future__ import annotations

import dataclasses
import inspect
import logging
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from typing import Any, ClassVar, Protocol, TypeVar, overload

import primus_proto as pp
from primus_proto import events as ev

__all__ = [
    "DATA_EVENTS",
    "IO",
    "MESSAGE_OVERHEAD",
    "AsyncEvent",
    "Emitter",
    "Session",
    "SessionInfo",
    "as_public",
    "log",
]

log = logging.getLogger("primus_io")

# A session stops reading from its peer while more than PAUSE_ABOVE bytes wait to be handled, until RESUME_BELOW.
PAUSE_ABOVE = 256 * 1024
RESUME_BELOW = PAUSE_ABOVE // 2
MESSAGE_OVERHEAD = 64  # what a waiting message costs besides its bytes, so that empty ones count too

DATA_EVENTS = ("data", ev.DataReceived, ev.SparkData)

F = TypeVar("F", bound=Callable[..., Any])


class AsyncEvent(Protocol):
    """An event object; asyncio's and trio's are."""

    def set(self) -> object:
        """Wake whoever waits."""

    async def wait(self) -> object:
        """Wait to be woken."""


class IO(ABC):
    """What a binding offers to the objects here."""

    @property
    @abstractmethod
    def closed(self) -> bool:
        """Whether `start` starts nothing any more."""

    @abstractmethod
    def schedule(self) -> None:
        """Have the core pumped before long; harmless while it is being pumped."""

    @abstractmethod
    def pump(self) -> None:
        """Pump the core now, unless it is being pumped."""

    @abstractmethod
    def event(self) -> AsyncEvent:
        """A fresh event object."""

    @abstractmethod
    def start(self, coroutine: Coroutine[Any, Any, None]) -> None:
        """Run a coroutine in the background until it ends or the binding closes; not at all once it has."""

    @abstractmethod
    async def checkpoint(self) -> None:
        """Where the library expects every async call to let others run, do so."""

    @abstractmethod
    async def within(self, seconds: float, wait: Callable[[], Awaitable[object]]) -> None:
        """Await `wait()`, but no longer than that: the caller goes on with whatever is left."""

    @abstractmethod
    async def finish(self) -> None:
        """Wait for what `start` started to end by itself."""

    @abstractmethod
    async def close(self, grace: float) -> None:
        """Wait for the sockets to close, `grace` seconds at the most, then stop everything. Harmless twice."""

    @abstractmethod
    async def release(self) -> None:
        """The end, from the task that began: give up what `close` must keep, as a nursery."""


def as_public(event: ev.Event) -> ev.Event:
    """The event, with the spark that users hold."""
    if isinstance(event, ev.SparkEvent) and event.spark._public is not event.spark:
        return dataclasses.replace(event, spark=event.spark._public)
    return event


class Emitter:
    """Listeners, by documented event name or by event class."""

    NAMES: ClassVar[frozenset[str]] = frozenset()
    _io: IO

    def __init__(self) -> None:
        self._listeners: dict[str | type[ev.Event], list[Callable[..., Any]]] = {}

    @overload
    def on(self, event: str | type[ev.Event], listener: F) -> F: ...

    @overload
    def on(self, event: str | type[ev.Event]) -> Callable[[F], F]: ...

    def on(self, event: str | type[ev.Event], listener: F | None = None) -> F | Callable[[F], F]:
        """Call `listener` at each `event`; usable as a decorator. Returns the listener.

        Under a documented name it gets what the documentation says; under an event class, the event. A coroutine
        function runs in the background, in order. Raises LocalProtocolError for a name that does not exist, for what is
        no event, and for what is no function.
        """
        ev.check_event(event, self.NAMES)
        if listener is None:
            return lambda function: self.on(event, function)
        if not callable(listener):
            raise pp.LocalProtocolError(f"a listener is a function; got {listener!r}")
        self._listen(event, listener)
        return listener

    def _listen(self, event: str | type[ev.Event], listener: Callable[..., Any]) -> None:
        self._listeners.setdefault(event, []).append(listener)
        self._listener_added(event)

    def _listener_added(self, event: str | type[ev.Event]) -> None:
        """There is a new listener."""

    def off(self, event: str | type[ev.Event], listener: Callable[..., Any]) -> None:
        """Undo one `on`; harmless where there was none."""
        if listener in self._listeners.get(event, ()):
            self._listeners[event].remove(listener)

    def _emit(self, event: ev.Event, args: tuple[Any, ...], size: int = 0, owner: Emitter | None = None) -> bool:
        """Call the listeners; False where there were none. What they leave to do or fail in is the owner's affair."""
        listeners = self._listeners
        owner = owner or self
        by_name = listeners.get(event.name)
        by_class = listeners.get(type(event))
        for listener in by_name.copy() if by_name else ():
            owner._call(listener, args, size)
        if by_class:
            event = as_public(event)
            for listener in by_class.copy():
                owner._call(listener, (event,), size)
        return bool(by_name or by_class)

    def _emit_or_log(self, event: ev.Event, args: tuple[Any, ...]) -> None:
        """Call the listeners, or log what must not pass unseen."""
        if not self._emit(event, args):
            self._log_unhandled(event)

    def _log_unhandled(self, event: ev.Event) -> None:
        """Nobody listens to this."""

    def _call(self, listener: Callable[..., Any], args: tuple[Any, ...], size: int) -> None:
        try:
            result = listener(*args)
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:  # also a CancelledError, say of a future it looked at: the pump must go on
            self._handle_failure(error)
        else:
            if inspect.iscoroutine(result):
                self._start_listener(result, size)

    def _start_listener(self, coroutine: Coroutine[Any, Any, object], size: int) -> None:
        """Run a listener that waits."""
        raise NotImplementedError

    def _handle_failure(self, error: BaseException) -> None:
        """A listener or handler raised."""
        raise NotImplementedError


class SessionInfo:
    """What can be read of a spark and of a client at any time, without a loop."""

    _core: pp.Spark | pp.Client

    @property
    def state(self) -> str:
        """``open`` or ``closed``; of a client ``opening``, too."""
        return self._core.ready_state.name.lower()

    @property
    def close_reason(self) -> pp.CloseReason | None:
        """Why the connection closed, the last one where there were several; None while none has."""
        return self._core.close_reason

    @property
    def buffered(self) -> int:
        """Bytes written that have not reached the socket."""
        return self._core.buffered

    @property
    def needs_drain(self) -> bool:
        """Whether so many bytes wait that `drain` and `send` would wait too."""
        return self._core.needs_drain


class Session(SessionInfo, Emitter):
    """What a spark and a client have in common: an inbox, listeners that wait, and back-pressure for both."""

    def __init__(self, core: pp.Spark | pp.Client) -> None:
        super().__init__()
        self._core = core
        self._ended = False
        self._iterating = False
        self._inbox: deque[ev.DataReceived | ev.SparkData] | None = None
        self._listener_queue: deque[tuple[Coroutine[Any, Any, object], int, int]] | None = None
        self._listeners_running = False
        self._end_count = 1  # how often the application has ended it, and one
        self._unhandled_bytes = 0
        self._paused = False
        self._waiters: list[AsyncEvent] = []

    @property
    def _public(self) -> Any:
        """What users hold of it."""
        return self

    @property
    def _is_over(self) -> bool:
        """Whether the session has ended; its listeners may not know yet."""
        raise NotImplementedError

    # --- writing ---

    def write(self, data: Any) -> bool:
        """Send one value. False when it was not taken: after the end, or because the peer does not read.

        Raises EncodeError where the value cannot be sent.
        """
        taken = self._core.write(data)
        if self._core.needs_drain:
            self._io.pump()
        else:
            self._io.schedule()
        return taken

    async def send(self, data: Any) -> bool:
        """`write`, and then wait until there is room for more."""
        taken = self.write(data)
        await self.drain()
        return taken

    async def drain(self) -> None:
        """Wait until there is room for more."""
        await self._io.checkpoint()
        await self._until(lambda: not self._core.needs_drain or self._ended)

    # --- reading ---

    async def _take(self) -> ev.DataReceived | ev.SparkData | None:
        """The next message; None when the session has ended and all have been taken."""
        self._iterating = True
        await self._io.checkpoint()
        while not self._inbox:
            if self._ended:
                return None
            await self._until(lambda: bool(self._inbox) or self._ended)
        event = self._inbox.popleft()
        self._subtract_unhandled(event.size + MESSAGE_OVERHEAD)
        return event

    async def receive(self) -> Any:
        """The next value; iteration without a loop. Raises ConnectionLost when there will be no more."""
        event = await self._take()
        if event is None:
            raise pp.ConnectionLost("the session has ended, and all that came was taken")
        return event.data

    def __aiter__(self) -> AsyncIterator[Any]:
        self._iterating = True
        return self

    async def __anext__(self) -> Any:
        event = await self._take()
        if event is None:
            raise StopAsyncIteration
        return event.data

    async def wait_ended(self) -> None:
        """Wait for the `end` event."""
        await self._until(lambda: self._ended)

    def _listener_added(self, event: str | type[ev.Event]) -> None:
        """The first listener of ``data`` is soon given what came while nobody took it."""
        if event in DATA_EVENTS and self._inbox and not self._iterating:
            self._io.start(self._emit_inbox())

    # --- for the binding ---

    def _deliver_data(self, event: ev.DataReceived | ev.SparkData, heard: bool = False) -> None:
        """Give a message to the listeners; keep it for iteration, or where nobody `heard` it."""
        size = event.size + MESSAGE_OVERHEAD
        behind = bool(self._inbox) and not self._iterating and not heard  # a listener gets what is kept first
        if behind or not (self._emit(event, (event.data,), size) or heard) or self._iterating:
            self._keep(event)

    def _keep(self, event: ev.DataReceived | ev.SparkData) -> None:
        if self._inbox is None:
            self._inbox = deque()
        self._inbox.append(event)
        self._add_unhandled(event.size + MESSAGE_OVERHEAD)
        self._wake_waiters()

    async def _emit_inbox(self) -> None:
        ends = self._end_count
        while self._inbox and not self._iterating:
            event = self._inbox.popleft()
            if ends == self._end_count:
                self._emit(event, (event.data,), event.size + MESSAGE_OVERHEAD)
            self._subtract_unhandled(event.size + MESSAGE_OVERHEAD)

    def _end_with(self, end: Callable[[], object]) -> None:
        """Have the application end it: no listener that waits in line is given what the peer said before."""
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

    async def _until(self, condition: Callable[[], bool]) -> None:
        while not condition():
            waiter = self._io.event()
            self._waiters.append(waiter)
            try:
                await waiter.wait()
            finally:
                if waiter in self._waiters:  # cancelled
                    self._waiters.remove(waiter)

    def _add_unhandled(self, size: int) -> None:
        self._unhandled_bytes += size
        if self._unhandled_bytes > PAUSE_ABOVE and not self._paused:
            self._paused = True
            self._core.pause()

    def _subtract_unhandled(self, size: int) -> None:
        self._unhandled_bytes -= size
        if self._paused and self._unhandled_bytes <= RESUME_BELOW:
            self._paused = False
            self._core.resume()
            self._io.schedule()

    def _start_listener(self, coroutine: Coroutine[Any, Any, object], size: int) -> None:
        if self._io.closed:
            coroutine.close()
            return
        ends = self._end_count if size else 0  # only data has a size
        size = size or MESSAGE_OVERHEAD
        if self._listener_queue is None:
            self._listener_queue = deque()
        self._listener_queue.append((coroutine, size, ends))
        self._add_unhandled(size)
        if not self._listeners_running:
            self._listeners_running = True
            self._io.start(self._run_listeners())

    async def _run_listeners(self) -> None:
        assert self._listener_queue is not None
        try:
            while self._listener_queue:
                coroutine, size, ends = self._listener_queue.popleft()
                if ends not in (0, self._end_count):
                    coroutine.close()  # data from before an end
                    self._subtract_unhandled(size)
                    continue
                try:
                    await coroutine
                except Exception as error:
                    self._handle_failure(error)
                except BaseException as error:
                    if not self._ended:  # else it is the binding that closes
                        self._handle_failure(error)
                    raise
                self._subtract_unhandled(size)
        finally:
            self._listeners_running = False
            while self._listener_queue:  # cancelled: what will never run is said to be closed, not forgotten
                self._listener_queue.popleft()[0].close()
