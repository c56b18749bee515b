"""A spark: the server's half of one session (protocol 3.2 and 4.5).

The law kept here: application verbs (`write`, `end`, `pause`) are synchronous, take no time and never wait;
what the peer sends never raises. A spark knows its pipe, and nothing of what carries it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from .. import events as ev
from ..errors import STOPPING, BacklogExceeded, ConnectionLost, PluginError, PrimusError
from ..http.model import Address, Headers, Request
from ..limits import Limits, check_flag
from ..timers import Timer
from ..transports.pipe import Pipe
from .backlog import Backlog
from .encoding import decode_error, encode, new
from .heartbeat_spark import SparkHeartbeat, spark_heartbeat
from .late import LateLink
from .messages import MAX_VALUE, NOTHING, PREFIX, PREFIX_END, SERVER_CLOSE, Message
from .names import SPARK_EVENTS
from .spark_host import SparkHost
from .states import SPARK, CloseReason, ReadyState, SparkState, SparkTrigger, check_close, step
from .transforms import Direction, Step, Transform

__all__ = ["Spark"]

# Looked up for every message.
SparkData, OPEN = ev.SparkData, SparkState.OPEN


class Spark(LateLink):
    """One session of a server. Compares by identity; `context` is its binding's to use."""

    EVENTS = SPARK_EVENTS

    __slots__ = (
        "__weakref__", "_backlog", "_paused", "address", "close_reason", "context", "heartbeat", "id", "pipe",
        "plugin_error", "request", "server", "state",
    )  # fmt: skip

    def __init__(self, server: SparkHost, pipe: Pipe, request: Request, id: str, *, now: float) -> None:
        super().__init__(server.parser, server.limits.backlog, server.asynchronous, server.config.receive)
        self.server: SparkHost = server
        self.state: SparkState = OPEN
        self._paused = 0  # by whom: 1 the application, 2 the messages that wait for a transform
        self._backlog: Backlog | None = None  # while more than the high-water mark waits unsent
        self.pipe: Pipe = pipe
        self.request: Request = request
        """The request that opened the session."""
        self.id: str = id
        """Unique, unguessable, and good for this one connection only: a reconnect has a new one."""
        self.address: Address = request.peer if not server.networks else server.address_of(request)
        """The client's `ip` and `port`."""
        self.context: Any = None
        self.takes_text = None
        self.plugin_error: PluginError | None = None
        """Why a plugin could not join it; then it ends at once."""
        self.close_reason: CloseReason | None = None
        """Why the spark closed; None while it is open."""
        self.heartbeat: SparkHeartbeat = spark_heartbeat(self)
        """Who pings whom, and what silence means: its `dialect`, `timeout` and `skipped` may be read."""
        self.heartbeat.start(now)
        if server.transforms.incoming:
            self.use_transforms("incoming")
        if server.transforms.outgoing:
            self.use_transforms("outgoing")
        if server.spark_halves:
            self._run_halves()

    def __repr__(self) -> str:
        return f"<Spark {self.id} {self.state.value}>"

    # --- the application's side ---

    @property
    def is_open(self) -> bool:
        """Whether the session is not over."""
        return self.state is OPEN

    @property
    def dialect(self) -> str:
        """``happn``, ``primus6`` or ``primus``; ``auto`` while that is not known (protocol 3.5)."""
        return self.heartbeat.dialect

    @property
    def heartbeat_timeout(self) -> float | None:
        """Seconds of silence that count as one missed heartbeat; None: the client has no heartbeat."""
        return self.heartbeat.timeout

    @property
    def skipped(self) -> int:
        """Heartbeats missed in a row."""
        return self.heartbeat.skipped

    @property
    def ready_state(self) -> ReadyState:
        """OPEN, then CLOSED."""
        return ReadyState.OPEN if self.state is OPEN else ReadyState.CLOSED

    @property
    def query(self) -> dict[str, str]:
        """The query of the connect URL as received; of a repeated key the last value."""
        return self.request.query

    @property
    def headers(self) -> Headers:
        """The header fields of the connect request."""
        return self.request.headers

    @property
    def buffered(self) -> int:
        """Bytes written that have not left the core."""
        return self.pipe.buffered + (self._outgoing.queue.size if self._outgoing is not None else 0)

    def write(self, data: Any) -> bool:
        """Send one value. False, and nothing is sent, when the spark is closed.

        Also False when more than `Limits.burst` bytes wait unsent (protocol 7). Raises EncodeError where the value
        cannot be sent.
        """
        if self.state is not OPEN:
            return False
        if self._outgoing is not None:
            return self._outgoing.write(data)
        encode_text = self.server.encode_text
        if encode_text is None or self.needs_drain:
            return self.write_message(encode(self.parser, data))
        if self.pipe.send_text(encode_text(data)) > self._high_water:
            self.needs_drain = self.pipe.high = True
        return True

    def end(self, data: Any = NOTHING, *, reconnect: bool = False, code: int = 1000, reason: str = "") -> None:
        """Close the session, after sending `data` if given; harmless on a closed spark (protocol 4.5).

        The client will not come back, unless `reconnect`. `code` and `reason` are those of the WebSocket close. Data
        that arrived before and was not handed out yet is withheld. Raises EncodeError where `data` cannot be sent,
        LocalProtocolError for an invalid close; neither closes.
        """
        if self.state is OPEN:
            check_close(code, reason)
            check_flag("reconnect", reconnect)
            message = None
            if data is not NOTHING and self._outgoing is not None:
                self._outgoing.write(data, last=True)
            elif data is not NOTHING:
                message = encode(self.parser, data)
            self.end_with(message, reconnect=reconnect, code=code, reason=reason)
        if self.state is SparkState.CLOSED:
            self.state = step(SPARK, self.state, SparkTrigger.END)

    def end_with(self, message: Message | None = None, *, reconnect: bool, code: int = 1000, reason: str = "") -> None:
        """`end` with a last message that is encoded already, such as one that goes to many sparks."""
        if self.state is not OPEN:
            return
        outgoing = self._outgoing
        if message is not None and outgoing is not None:
            outgoing.write_message(message)
        elif message is not None:
            self.pipe.send(message)
        if outgoing is not None and self._asynchronous and not reconnect:
            outgoing.say(SERVER_CLOSE)
        self._after_outgoing(self.pipe, lambda: self._close_pipe(reconnect or self._asynchronous, code, reason))
        self._close(SparkTrigger.END, CloseReason("local", code, reason))

    def _close_pipe(self, reconnect: bool, code: int, reason: str) -> None:
        if not reconnect and (closing := self._protocol_message(SERVER_CLOSE)) is not None:
            self.pipe.send(closing)
        self.pipe.close(code, reason)

    def refuse(self, error: PrimusError) -> None:
        """Close the session for good, as `end` does, after an `error` event with the reason."""
        if self.state is OPEN:
            self._error(error)
            self.end()

    def write_message(self, message: Message) -> bool:
        """`write` for a message that is encoded already, such as one that goes to many sparks."""
        if self.state is not OPEN:
            return False
        if self._outgoing is not None and not self._outgoing.delivering:
            return self._outgoing.write_message(message)
        if self.needs_drain and not self._backlog_of().take(message):
            return False
        if self.pipe.send(message) > self._high_water:  # as `_send` does, without the call
            self.needs_drain = self.pipe.high = True
        return True

    def transform(self, direction: Direction, function: Transform, *, shared: bool = False) -> None:
        super().transform(direction, function, shared=shared)
        if direction == "outgoing":
            self.server.individual = True

    # --- the message seam: what the host of the WebSocket reports ---

    def receive_messages(self, messages: Sequence[str | bytes], *, now: float) -> None:
        # This is `_receive` for each of them, with less work for one.
        if self.state is not OPEN:
            return
        hears_all = self.heartbeat.hears_all
        if self._incoming is not None:
            for data in messages:
                if self.state is OPEN:  # otherwise a transform has ended it
                    self.heartbeat.heard(now)
                    self._incoming.receive(data, now)
            return
        self.server.received += len(messages)
        decode, receives, queued = self.parser.decode, self.receives, self.server.queued_events
        for data in messages:
            if hears_all:
                self.heartbeat.heard(now)
            try:
                value = decode(data)
            except STOPPING:
                raise
            except BaseException as error:
                self._error(decode_error(error, data))
                continue
            if type(value) is str and PREFIX <= value < PREFIX_END:
                self._receive_protocol(value, now)
                hears_all = self.heartbeat.hears_all  # it may have shown the dialect
            elif not receives:
                self.discarded += 1
            elif (direct := self.direct) is not None and not queued:
                direct(value, data)
                if self.state is not OPEN:  # the application has ended it
                    return
            else:
                event = new(SparkData)  # what SparkData(self, value, len(data)) does, in a third of the time
                event.spark, event.data, event.size = self, value, len(data)
                queued.append(event)

    def receive_ping(self, *, now: float) -> None:
        """A WebSocket ping came; it counts as a heartbeat and has had its WebSocket pong (protocol 3.2)."""
        if self.state is OPEN:
            self.heartbeat.beat(now)

    def connection_lost(
        self, error: PrimusError | str | None = None, *, code: int = 1006, reason: str = "", now: float
    ) -> None:
        """The WebSocket is closed or gone."""
        if self.state is OPEN:
            if isinstance(error, str):
                error = ConnectionLost(error, code=code)
            if error is not None and not isinstance(error, ConnectionLost):
                self._error(error)
            closed = CloseReason("lost" if error is not None or code == 1006 else "client", code, reason, error)
            if self._after_incoming(lambda now: self._lost(closed), now):
                self._report_dropped(self.pipe.withdraw(), "the connection is gone")
                self._pause(2)
            else:
                self._lost(closed)

    def connection_blocked(self) -> None:
        """The WebSocket takes no more: no `SendMessage` until `connection_writable`, and what waits counts.

        Raises LocalProtocolError where the WebSocket is not the host's.
        """
        self.pipe.block()

    def connection_writable(self, *, now: float) -> None:
        """The WebSocket takes messages again. Raises LocalProtocolError where it is not the host's."""
        self.pipe.unblock()

    def drained(self) -> None:
        """The pipe's unsent bytes have fallen."""
        if self.state is OPEN:
            self._drained(self.pipe)

    def flushed(self, *, now: float) -> None:
        """What could leave has left the pipe, and it was above the high-water mark: look at what is still there."""
        if self.state is OPEN:
            self._slow = self.pipe.buffered > self._limit
            self._backlog_of().flushed(now)

    # --- for its heartbeat and its backlog ---

    def say(self, name: str, value: str) -> None:
        """Send ``primus::<name>::<value>``; to a peer that does not read later, and the last of each kind only."""
        pipe = self.pipe
        if self.server.queued_events:
            self.server.defer(lambda now: self._say(pipe, name, value))
        else:
            self._say(pipe, name, value)

    def flatline(self, count: int | None) -> None:
        """The client is taken for dead: it may come back. `count` of missed heartbeats, where the dialect counts."""
        self.pipe.close()
        self._close(SparkTrigger.FLATLINE, CloseReason("flatline"))
        if count is not None:
            self.server.emit(ev.Flatlined(self, count))

    def cut(self, why: str) -> None:
        """The client does not read: abort the connection, and report what waits for it as dropped."""
        error = BacklogExceeded(why)
        self.pipe.abort()
        self._error(error)
        self._close(SparkTrigger.CUT, CloseReason("backlog", 1006, "", error))

    # --- what a Link leaves to it ---

    @property
    def _limits(self) -> Limits:
        return self.server.limits

    @property
    def face(self) -> Any:
        """It, as its user holds it."""
        return self.context if self.context is not None else self.server.present(self)

    def _steps(self, direction: Direction) -> tuple[Step, ...]:
        common: tuple[Step, ...] = getattr(self.server.transforms, direction)
        return common if self.transforms is None else (*common, *getattr(self.transforms, direction))

    def _emit(self, event: ev.Event) -> None:
        self.server.emit(event)

    @property
    def plugin_events(self) -> Mapping[str, type[ev.PluginEvent] | None]:
        """See `Extensible`."""
        return self.server.plugin_events

    @property
    def _most(self) -> int:
        return max(self.server.limits.burst, self._limit)

    def _data(self, value: Any, size: int) -> None:
        if self.receives:
            self.server.emit(ev.SparkData(self, value, size))
        else:
            self.discarded += 1

    def warn(self, text: str) -> None:
        self.server.emit(ev.Logged("warning", f"spark {self.id}: {text}"))

    def check_peer(self) -> None:
        self.pipe.check_peer()

    def _protocol(self, name: str, value: str, now: float) -> bool:
        match name:
            case "ping":
                return len(value) <= MAX_VALUE and self.heartbeat.ping(value, now)
            case "pong":
                return self.heartbeat.pong(now)
            case "id" if not value:
                self.reply("id", self.id, now)
                return True
        return False

    def _ignored(self, text: str) -> None:
        self.server.emit(ev.SparkMessageIgnored(self, text))

    def _error(self, error: PrimusError) -> None:
        """Something went wrong: the spark's `error`, and the server's `log` in case nothing listens to that."""
        if self._is_gone:
            self.warn(f"after its end: {error}")
        else:
            self.server.emit(ev.SparkError(self, error))
            self.server.emit(ev.Logged("error", f"spark {self.id}: {error}"))

    def _drain(self) -> None:
        if self._backlog is not None:
            self._backlog.stop()
            self._backlog = None
        self.server.emit(ev.SparkDrained(self))

    def _dropped(self, payloads: tuple[str | bytes, ...], why: str) -> None:
        if self._is_gone:
            self.warn(f"after its end: {len(payloads)} written values were not sent: {why}")
        else:
            self.server.emit(ev.SparkMessagesDropped(self, payloads, why))

    @property
    def _is_gone(self) -> bool:
        """Whether its last event, `end`, was emitted."""
        return self.state.over and self.server.sparks.get(self.id) is not self

    # --- inside ---

    def after(self, seconds: float, callback: Callable[[float], object]) -> Timer:
        return self.server.after(seconds, callback)

    def fail(self, error: PrimusError) -> None:
        """A fault of this end: report it, and end the spark so that its client may come back."""
        self._error(error)
        self.end_with(reconnect=True, code=1011, reason="internal error")

    def _run_halves(self) -> None:
        """Run the plugins' halves. Where one fails, the spark ends as where a handler fails."""
        for half in self.server.spark_halves:
            try:
                self.extend(half)
            except STOPPING:
                raise
            except BaseException as error:
                self.plugin_error = PluginError(f"a plugin's half for the spark failed: {error!r}")
                self.plugin_error.__cause__ = error
                return

    def _pause(self, by: int) -> None:
        paused, self._paused = self._paused, self._paused | by
        if not paused:
            self.heartbeat.pause()
            self.pipe.pause()

    def _resume(self, by: int) -> None:
        paused, self._paused = self._paused, self._paused & ~by
        if paused and not self._paused:
            self.heartbeat.resume()
            if self.state is OPEN:
                self.pipe.resume()

    def _lost(self, reason: CloseReason) -> None:
        if self.state is OPEN:
            self._close(SparkTrigger.LOST, reason)

    def _backlog_of(self) -> Backlog:
        if self._backlog is None:
            self._backlog = Backlog(self.server, self.pipe, f"spark {self.id}", self._most, self.cut)
        return self._backlog

    def _close(self, trigger: SparkTrigger, reason: CloseReason) -> None:
        """The spark is over; what it has not sent goes with it, unless it was ended politely."""
        self.state = step(SPARK, self.state, trigger)
        self.needs_drain = False
        self.close_reason = reason
        self.heartbeat.stop()
        if self.extensions is not None:
            self._told_extensions(reason.error or ConnectionLost("the session has ended", code=reason.code))
        if self._incoming is not None:
            self._incoming.queue.discard()
        if self._outgoing is not None and trigger is not SparkTrigger.END:
            self._outgoing.give_up()
        if self._backlog is not None:
            self._backlog.stop()
        if self._neglect is not None:
            self._neglect.stop()
        self.server.emit(ev.SparkReadyStateChanged(self))
        self.server.emit(ev.SparkDisconnected(self, reason))
        if trigger is not SparkTrigger.END:
            self._report_dropped(self.pipe.withdraw(), "the connection is gone")
        self.server.emit(ev.SparkEnded(self, reason))
        self.server.release(self)
