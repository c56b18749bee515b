"""A spark: the server's half of one session (protocol 3.2 and 4.5).

The law kept here: application verbs (`write`, `end`, `pause`) are synchronous, take no time and never wait;
what the peer sends never raises. A spark knows its pipe, and nothing of what carries it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .. import events as ev
from ..errors import BacklogExceeded, ConnectionLost, DecodeError, EncodeError, LocalProtocolError, PrimusError
from ..http.forwarded import client_address
from ..http.model import Address, Headers, Request
from .codec import decode
from .heartbeat_spark import spark_heartbeat
from .messages import MAX_VALUE, NOTHING, PREFIX, SERVER_CLOSE, Message, parse_protocol_message, protocol_message
from .states import SPARK, CloseKind, ReadyState, SparkState, SparkTrigger, step

if TYPE_CHECKING:
    from ..transports.pipe import Pipe
    from .server import Server

__all__ = ["Spark"]


def check_close(code: object, reason: str) -> None:
    """LocalProtocolError for what a WebSocket close frame must not carry (RFC 6455, 7.4)."""
    if not isinstance(code, int) or not (1000 <= code <= 1014 or 3000 <= code <= 4999) or code in (1004, 1005, 1006):
        raise LocalProtocolError(f"code must be a close code that may be sent, 3000 to 4999 for your own; got {code!r}")
    try:
        reason.encode()
    except UnicodeEncodeError as error:
        raise LocalProtocolError(f"reason cannot be sent: {error}") from None


class Spark:
    """One session of a server. Compares by identity; `context` is its binding's to use."""

    __slots__ = (
        "__weakref__",
        "_owed",
        "_paused",
        "_state",
        "address",
        "close_reason",
        "context",
        "deaf",
        "heartbeat",
        "id",
        "pipe",
        "request",
        "server",
    )

    def __init__(self, server: Server, pipe: Pipe, request: Request, id: str, *, now: float) -> None:
        self.server = server
        self._state = SparkState.OPEN
        self._paused = False
        self.pipe = pipe
        self.request = request
        """The request that opened the session."""
        self.id = id
        """Unique, unguessable, and good for this one connection only: a reconnect has a new one."""
        self.address: Address = client_address(request, server.networks)
        """The client's `ip` and `port`."""
        self.context: Any = None
        self.close_reason: ev.CloseReason | None = None
        """Why the spark closed; None while it is open."""
        self.deaf = False
        """Whether this end has ended it: whoever delivers its events passes over data of it (protocol 4.5)."""
        self._owed: dict[str, Message] | None = None  # answers that wait for the backlog to fall, by name
        self.heartbeat = spark_heartbeat(self)
        """Who pings whom, and what silence means: its `dialect`, `timeout` and `skipped` may be read."""
        self.heartbeat.start(now)

    def __repr__(self) -> str:
        return f"<Spark {self.id} {self._state.value}>"

    # --- the application's side ---

    @property
    def is_open(self) -> bool:
        """Whether the session is not over."""
        return self._state is SparkState.OPEN

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
        return ReadyState.OPEN if self._state is SparkState.OPEN else ReadyState.CLOSED

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
        return self.pipe.buffered

    @property
    def crowded(self) -> bool:
        """Whether the backlog went above half its limit: wait for `SparkDrained` before writing more."""
        return self._state is SparkState.OPEN and self.pipe.high

    def write(self, data: Any) -> bool:
        """Send one value. False, and nothing is sent, when the spark is closed.

        A spark whose backlog is over `Limits.backlog` already is cut, and False is returned (protocol 7).
        Raises EncodeError where the value cannot be sent.
        """
        if self._state is not SparkState.OPEN:
            return False
        return self.send_message(self.server.encode(data))

    def end(self, data: Any = NOTHING, *, reconnect: bool = False, code: int = 1000, reason: str = "") -> None:
        """Close the session, after sending `data` if given; harmless on a closed spark (protocol 4.5).

        The client will not come back, unless `reconnect`. `code` and `reason` are those of the WebSocket close.
        Raises EncodeError where `data` cannot be sent, LocalProtocolError for a close that cannot; neither closes.
        """
        if self._state is SparkState.OPEN:
            check_close(code, reason)
            message = None if data is NOTHING else self.server.encode(data)
            self.end_with(message, reconnect=reconnect, code=code, reason=reason)
        self.deaf = True

    def end_with(self, message: Message | None = None, *, reconnect: bool, code: int = 1000, reason: str = "") -> None:
        """`end` with a last message that is encoded already, such as one that goes to many sparks."""
        if self._state is not SparkState.OPEN:
            return
        self.deaf = True
        if message is not None:
            if self.pipe.buffered > self.server.limits.backlog:
                self._cut(message)
                return
            self.pipe.send(message)
        if not reconnect:
            closing = self._encode_protocol(SERVER_CLOSE)
            if closing is not None:
                self.pipe.send(closing)
        self.pipe.close(code, reason)
        self._close(SparkTrigger.END, ev.CloseReason("local", code, reason))

    def pause(self) -> None:
        """Stop reading from the peer: back-pressure. While paused, missing pings are not held against it."""
        if self._state is SparkState.OPEN and not self._paused:
            self._paused = True
            self.heartbeat.pause()
            self.pipe.pause()

    def resume(self) -> None:
        """Read again."""
        if self._paused:
            self._paused = False
            self.heartbeat.resume()
            if self._state is SparkState.OPEN:
                self.pipe.resume()

    def send_message(self, message: Message) -> bool:
        """`write` for a message that is encoded already, such as one that goes to many sparks."""
        if self._state is not SparkState.OPEN:
            return False
        pipe = self.pipe
        buffered = pipe.buffered
        limit = self.server.limits.backlog
        if buffered > limit:
            self._cut()
            return False
        pipe.send(message)
        if buffered + message.size > limit // 2:
            pipe.high = bool(pipe.buffered)  # at the message seam nothing waits unless the host is blocked
        return True

    # --- the message seam: what the host of the WebSocket says ---

    def receive_message(self, data: str | bytes, *, now: float) -> None:
        """A WebSocket message came: str for a text message, bytes for a binary one."""
        if self._state is not SparkState.OPEN:
            return
        server = self.server
        if self.heartbeat.hears_all:
            self.heartbeat.heard(now)
        try:
            value = decode(server.parser, data)
        except DecodeError as error:
            self._error(error)
            return
        if type(value) is str and value.startswith(PREFIX):
            self._protocol(value, now)
        else:
            server.emit(ev.SparkData(self, value, len(data)))

    def receive_ping(self, *, now: float) -> None:
        """A WebSocket ping came; it counts as a heartbeat and has had its WebSocket pong (protocol 3.2)."""
        if self._state is SparkState.OPEN:
            self.heartbeat.beat(now)

    def connection_lost(
        self, error: PrimusError | str | None = None, *, code: int = 1006, reason: str = "", now: float
    ) -> None:
        """The WebSocket is closed or gone."""
        if self._state is SparkState.OPEN:
            if isinstance(error, str):
                error = ConnectionLost(error, code=code)
            if error is not None and not isinstance(error, ConnectionLost):
                self._error(error)
            kind: CloseKind = "lost" if error is not None or code == 1006 else "client"
            self._close(SparkTrigger.LOST, ev.CloseReason(kind, code, reason, error))

    def connection_blocked(self) -> None:
        """The WebSocket takes no more: no `SendMessage` until `connection_writable`, and what waits counts.

        Raises LocalProtocolError where the WebSocket is not the host's.
        """
        self.pipe.block()

    def connection_writable(self, *, now: float) -> None:
        """The WebSocket takes messages again. Raises LocalProtocolError where it is not the host's."""
        self.pipe.unblock()
        self.drained()

    def drained(self) -> None:
        """The pipe's unsent bytes have fallen."""
        if self.crowded and self.pipe.buffered <= self.server.limits.backlog // 2:
            self.pipe.high = False
            self.server.emit(ev.SparkDrained(self))
            owed, self._owed = self._owed, None
            for message in owed.values() if owed else ():
                self.send_message(message)

    # --- for its heartbeat ---

    def say(self, name: str, value: str) -> None:
        """Send ``primus::<name>::<value>``.

        A peer that asks while much is on its way to it is slow, not dead: it is answered later. One answer of each kind
        is kept for that, so a peer that asks and does not read costs no more.
        """
        message = self._encode_protocol(protocol_message(name, value))
        if message is None:
            return
        if self.pipe.buffered > self.server.limits.backlog:
            self._owed = {**(self._owed or {}), name: message}
        else:
            self.send_message(message)

    def flatline(self, count: int | None) -> None:
        """The client is taken for dead: it may come back. `count` of missed heartbeats, where the dialect counts."""
        self.pipe.close()
        self._close(SparkTrigger.FLATLINE, ev.CloseReason("flatline"))
        if count is not None:
            self.server.emit(ev.Flatlined(self, count))

    # --- inside ---

    def _protocol(self, text: str, now: float) -> None:
        match parse_protocol_message(text):
            case ("ping", value) if len(value) <= MAX_VALUE and self.heartbeat.ping(value, now):
                pass
            case ("pong", _) if self.heartbeat.pong(now):
                pass
            case ("id", ""):
                self.say("id", self.id)
            case _:
                self.server.emit(ev.SparkMessageIgnored(self, text))

    def _encode_protocol(self, text: str) -> Message | None:
        try:
            return self.server.encode_protocol(text)
        except EncodeError as error:
            self._error(error)
            return None

    def _error(self, error: PrimusError) -> None:
        """Something went wrong: the spark's `error`, and the server's `log`, for whoever hears none."""
        self.server.emit(ev.SparkError(self, error))
        self.server.emit(ev.Logged("error", f"spark {self.id}: {error}"))

    def _cut(self, *last: Message) -> None:
        error = BacklogExceeded(f"{self.pipe.buffered} bytes wait unsent: the peer does not read")
        self.pipe.abort()
        self._error(error)
        self._close(SparkTrigger.CUT, ev.CloseReason("backlog", 1006, "", error), *last)

    def _close(self, trigger: SparkTrigger, reason: ev.CloseReason, *last: Message) -> None:
        """The spark is over; what it has not sent goes with it, and `last`, unless it was ended politely."""
        self._state = step(SPARK, self._state, trigger)
        self.close_reason = reason
        self.heartbeat.stop()
        server = self.server
        server.emit(ev.SparkReadyStateChanged(self))
        server.release(self)
        server.emit(ev.SparkDisconnected(self, reason))
        if trigger is not SparkTrigger.END:
            dropped = (*self.pipe.withdraw(), *(message.payload for message in last))
            if dropped:
                server.emit(ev.SparkMessagesDropped(self, dropped, "the connection is gone"))
        server.emit(ev.SparkEnded(self, reason))
