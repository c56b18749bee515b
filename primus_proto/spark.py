"""A spark: the server's half of one session (protocol 3.2 and 4.5).

The law kept here: application verbs (`write`, `end`, `pause`) are synchronous, take no time and never wait;
what the peer sends never raises. A spark knows its pipe, and nothing of what carries it.
"""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Any, Final

from . import events as ev
from .codec import decode
from .errors import BacklogExceeded, ConnectionLost, DecodeError, PrimusError
from .http import Address, Headers, Request
from .messages import MAX_VALUE, PREFIX, SERVER_CLOSE, Message, parse_protocol_message, protocol_message
from .states import SPARK, ReadyState, SparkState, SparkTrigger, step
from .timers import Timer

if TYPE_CHECKING:
    from .server import Server
    from .transports.base import Pipe

__all__ = ["NOTHING", "Spark"]

DEFAULT_PING = 25.0
DEFAULT_PONG = 10.0


class _Nothing:
    """The type of `NOTHING`."""

    def __repr__(self) -> str:
        return "NOTHING"


NOTHING: Final = _Nothing()
"""Stands for "no last message" where None would be a message."""


def learned_heartbeat(request: Request) -> tuple[float, float] | None:
    """The client's (ping, pong) in seconds from its connect URL; None: it has no heartbeat (protocol 3.2)."""
    ping = _milliseconds(request, "ping", DEFAULT_PING)
    pong = _milliseconds(request, "pong", DEFAULT_PONG)
    return None if not ping else (ping, pong)


def _milliseconds(request: Request, key: str, default: float) -> float:
    values = [value for name, value in request.query_pairs if name == key]
    if len(values) != 1:
        return default
    if key == "ping" and values[0] == "false":
        return 0.0
    # The original reads the digits that the value begins with.
    return float(values[0]) / 1000 if re.fullmatch(r"\d{1,15}(\.\d*)?", values[0], re.ASCII) else default


class Spark:
    """One session of a server. Compares by identity; `context` is its binding's to use."""

    __slots__ = (
        "__weakref__",
        "_last_pong",
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
        Raises EncodeError, and does not close, where `data` cannot be sent.
        """
        if self._state is not SparkState.OPEN:
            return
        if data is not NOTHING and not self.write(data):
            return  # the backlog was over its limit and the spark has been cut
        if not reconnect:
            self.pipe.send(self._server.encode_protocol(SERVER_CLOSE))
        self.pipe.close(code, reason)
        self._close(SparkTrigger.END, ev.CloseReason("local", code, reason))

    def pause(self) -> None:
        """Stop reading from the peer: back-pressure. While paused, missing pings are not held against it."""
        if self._state is SparkState.OPEN and not self._paused:
            self._paused = True
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
            pipe.high = True
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
        self, error: PrimusError | None = None, *, code: int = 1006, reason: str = "", now: float
    ) -> None:
        """The WebSocket is closed or gone."""
        if self._state is SparkState.OPEN:
            if error is not None and not isinstance(error, ConnectionLost):
                self._server.emit(ev.SparkError(self, error))
            kind = "lost" if error is not None or code == 1006 else "client"
            self._close(SparkTrigger.LOST, ev.CloseReason(kind, code, reason, error))

    def drained(self) -> None:
        """The pipe's unsent bytes have fallen."""
        if self.pipe.high and self.pipe.buffered <= self._server.limits.backlog // 2:
            self.pipe.high = False
            self._server.emit(ev.SparkDrained(self))

    # --- inside ---

    def _protocol(self, text: str, now: float) -> None:
        match parse_protocol_message(text):
            case ("ping", value) if len(value) <= MAX_VALUE:
                self._pong(value, now)
                if self._state is SparkState.OPEN:
                    self._heartbeat(now)
            case ("id", ""):
                self.send_message(self._server.encode_protocol(protocol_message("id", self.id)))
            case _:
                self._server.emit(ev.SparkMessageIgnored(self, text))

    def _heartbeat(self, now: float) -> None:
        self.skipped = 0
        if self._timer is not None and self.heartbeat_timeout is not None:
            self._timer.set(now + self.heartbeat_timeout)
        self._server.emit(ev.SparkHeartbeat(self))

    def _pong(self, value: str, now: float) -> None:
        if now - self._last_pong >= self._pong_skip:
            self._last_pong = now
            self.send_message(self._server.encode_protocol(protocol_message("pong", value)))

    def _heartbeat_missed(self, now: float) -> None:
        timer, timeout = self._timer, self.heartbeat_timeout
        assert timer is not None
        assert timeout is not None
        server = self._server
        if not self._paused:  # else the pings may be there, and it is we who do not read them
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
