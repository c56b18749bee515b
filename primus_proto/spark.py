"""A spark: the server's half of one session (protocol 3.2 and 4.5).

The law kept here: application verbs (`write`, `end`, `pause`) are synchronous, take no time and never wait;
what the peer sends never raises. A spark knows its pipe, and nothing of what carries it.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from . import events as ev
from .codec import decode
from .errors import BacklogExceeded, ConnectionLost, DecodeError, EncodeError, LocalProtocolError, PrimusError
from .heartbeat import learned_heartbeat
from .http import Address, Headers, Request
from .messages import MAX_VALUE, NOTHING, PREFIX, SERVER_CLOSE, Message, parse_protocol_message, protocol_message
from .states import SPARK, ReadyState, SparkState, SparkTrigger, step
from .timers import Timer

if TYPE_CHECKING:
    from .server import Server
    from .transports.base import Pipe

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
        "_excused",
        "_last_pong",
        "_owed",
        "_paused",
        "_pong_skip",
        "_server",
        "_state",
        "_timer",
        "address",
        "close_reason",
        "context",
        "heartbeat_timeout",
        "id",
        "pipe",
        "request",
        "skipped",
    )

    def __init__(self, server: Server, pipe: Pipe, request: Request, id: str, *, now: float) -> None:
        self._server = server
        self._state = SparkState.OPEN
        self._paused = False
        self._excused = False  # there was a pause since the timer was set: a ping may be there, unread
        self.pipe = pipe
        self.request = request
        """The request that opened the session."""
        self.id = id
        """Unique, unguessable, and good for this one connection only: a reconnect has a new one."""
        self.address: Address = request.address(server.networks)
        """The client's `ip` and `port`."""
        self.context: Any = None
        self.close_reason: ev.CloseReason | None = None
        """Why the spark closed; None while it is open."""
        self.heartbeat_timeout: float | None = None
        """Seconds without a ping after which a heartbeat counts as skipped; None: the client has no heartbeat."""
        self.skipped = 0
        """Heartbeats skipped in a row."""
        self._owed: dict[str, Message] | None = None  # answers that wait for the backlog to fall, by name
        self._last_pong = -math.inf
        self._pong_skip = server.config.pong_skip_time
        self._timer: Timer | None = None
        learned = learned_heartbeat(request)
        if learned is not None:
            ping, pong = learned
            limits = server.limits
            self.heartbeat_timeout = min(max(ping + pong / 2, limits.heartbeat_min), limits.heartbeat_max)
            # De-duplicating over more than the client's own interval would kill healthy clients.
            self._pong_skip = min(self._pong_skip, ping / 2)
            self._timer = server.timers.new(self._heartbeat_missed)
            self._timer.set(now + self.heartbeat_timeout)

    def __repr__(self) -> str:
        return f"<Spark {self.id} {self._state.value}>"

    # --- the application's side ---

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
        return self.send_message(self._server.encode(data))

    def end(self, data: Any = NOTHING, *, reconnect: bool = False, code: int = 1000, reason: str = "") -> None:
        """Close the session, after sending `data` if given; harmless on a closed spark (protocol 4.5).

        The client will not come back, unless `reconnect`. `code` and `reason` are those of the WebSocket close.
        Raises EncodeError where `data` cannot be sent, LocalProtocolError for a close that cannot; neither closes.
        """
        if self._state is SparkState.OPEN:
            check_close(code, reason)
            message = None if data is NOTHING else self._server.encode(data)
            self.end_with(message, reconnect=reconnect, code=code, reason=reason)

    def end_with(
        self, message: Message | None = None, *, reconnect: bool = False, code: int = 1000, reason: str = ""
    ) -> None:
        """`end` with a last message that is encoded already, such as one that goes to many sparks."""
        if self._state is not SparkState.OPEN or (message is not None and not self.send_message(message)):
            return  # over already, or now: the backlog was above its limit and the spark has been cut
        if not reconnect:
            closing = self._encode_protocol(SERVER_CLOSE)
            if closing is not None:
                self.pipe.send(closing)
        self.pipe.close(code, reason)
        self._close(SparkTrigger.END, ev.CloseReason("local", code, reason))

    def pause(self) -> None:
        """Stop reading from the peer: back-pressure. While paused, missing pings are not held against it."""
        if self._state is SparkState.OPEN and not self._paused:
            self._paused = self._excused = True
            self.pipe.pause()

    def resume(self) -> None:
        """Read again."""
        if self._paused:
            self._paused = False
            if self._state is SparkState.OPEN:
                self.pipe.resume()

    def send_message(self, message: Message) -> bool:
        """`write` for a message that is encoded already, such as one that goes to many sparks."""
        if self._state is not SparkState.OPEN:
            return False
        pipe = self.pipe
        buffered = pipe.buffered
        limit = self._server.limits.backlog
        if buffered > limit:
            self._cut(buffered)
            return False
        pipe.send(message)
        if buffered + message.size > limit // 2:
            pipe.high = pipe.buffered > limit // 2  # at the message seam nothing waits
        return True

    # --- the message seam: what the host of the WebSocket says ---

    def receive_message(self, data: str | bytes, *, now: float) -> None:
        """A WebSocket message came: str for a text message, bytes for a binary one."""
        if self._state is not SparkState.OPEN:
            return
        server = self._server
        try:
            value = decode(server.parser, data)
        except DecodeError as error:
            server.emit(ev.SparkError(self, error))
            return
        if type(value) is str and value.startswith(PREFIX):
            self._protocol(value, now)
        else:
            server.emit(ev.SparkData(self, value, len(data)))

    def receive_ping(self, *, now: float) -> None:
        """A WebSocket ping came; it counts as a heartbeat and has had its WebSocket pong (protocol 3.2)."""
        if self._state is SparkState.OPEN:
            self._heartbeat(now)

    def connection_lost(
        self, error: PrimusError | str | None = None, *, code: int = 1006, reason: str = "", now: float
    ) -> None:
        """The WebSocket is closed or gone."""
        if self._state is SparkState.OPEN:
            if isinstance(error, str):
                error = ConnectionLost(error, code=code)
            if error is not None and not isinstance(error, ConnectionLost):
                self._server.emit(ev.SparkError(self, error))
            kind = "lost" if error is not None or code == 1006 else "client"
            self._close(SparkTrigger.LOST, ev.CloseReason(kind, code, reason, error))

    def drained(self) -> None:
        """The pipe's unsent bytes have fallen."""
        if self.crowded and self.pipe.buffered <= self._server.limits.backlog // 2:
            self.pipe.high = False
            self._server.emit(ev.SparkDrained(self))
            owed, self._owed = self._owed, None
            for message in owed.values() if owed else ():
                self.send_message(message)

    # --- inside ---

    def _protocol(self, text: str, now: float) -> None:
        match parse_protocol_message(text):
            case ("ping", value) if len(value) <= MAX_VALUE:
                self._pong(value, now)
                if self._state is SparkState.OPEN:
                    self._heartbeat(now)
            case ("id", ""):
                self._say("id", self.id)
            case _:
                self._server.emit(ev.SparkMessageIgnored(self, text))

    def _heartbeat(self, now: float) -> None:
        self.skipped = 0
        self._excused = self._paused
        if self._timer is not None and self.heartbeat_timeout is not None:
            self._timer.set(now + self.heartbeat_timeout)
        self._server.emit(ev.SparkHeartbeat(self))

    def _pong(self, value: str, now: float) -> None:
        if now - self._last_pong >= self._pong_skip:
            self._last_pong = now
            self._say("pong", value)

    def _say(self, name: str, value: str) -> None:
        """Answer the peer. It is slow, not dead, if it asks while much is on its way to it: then it is answered later.

        One answer of each kind is kept for that, so a peer that asks and does not read costs no more.
        """
        message = self._encode_protocol(protocol_message(name, value))
        if message is None:
            return
        if self.pipe.buffered > self._server.limits.backlog:
            self._owed = {**(self._owed or {}), name: message}
        else:
            self.send_message(message)

    def _encode_protocol(self, text: str) -> Message | None:
        try:
            return self._server.encode_protocol(text)
        except EncodeError as error:
            self._server.emit(ev.SparkError(self, error))
            return None

    def _heartbeat_missed(self, now: float) -> None:
        timer, timeout = self._timer, self.heartbeat_timeout
        assert timer is not None
        assert timeout is not None
        server = self._server
        if self._excused:
            self._excused = self._paused
        else:
            self.skipped += 1
            if self.skipped > server.config.allow_skipped_heartbeats:
                count = self.skipped
                self.pipe.close()
                self._close(SparkTrigger.FLATLINE, ev.CloseReason("flatline"))
                server.emit(ev.Flatlined(self, count))
                return
            server.emit(ev.HeartbeatSkipped(self, self.skipped))
        timer.set(now + timeout)
        self._pong(str(server.epoch_ms(now)), now)

    def _cut(self, buffered: int) -> None:
        error = BacklogExceeded(f"{buffered} bytes wait unsent: the peer does not read")
        self.pipe.abort()
        self._server.emit(ev.SparkError(self, error))
        self._close(SparkTrigger.CUT, ev.CloseReason("backlog", 1006, "", error))

    def _close(self, trigger: SparkTrigger, reason: ev.CloseReason) -> None:
        self._state = step(SPARK, self._state, trigger)
        self.close_reason = reason
        if self._timer is not None:
            self._timer.cancel()
        server = self._server
        server.emit(ev.SparkReadyStateChanged(self))
        server.release(self)
        server.emit(ev.SparkDisconnected(self, reason))
        server.emit(ev.SparkEnded(self, reason))
