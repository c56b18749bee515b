"""`EngineIOPipe`: what the pipes of both ends share (protocol 8): the outbox, packets, the WebSocket, the end.

The laws kept here: packets that Engine.IO itself has to send never pile up, as of each kind only the last is kept; a
session is notified of its end once; a pipe that was closed is over after `Limits.close` at the latest.
"""

from __future__ import annotations

from ...errors import ConnectionLost, PrimusError, RemoteProtocolError
from ...http.model import Request
from ...session.messages import Message
from ...timers import Timer
from ..base import PipeHost, WebSocketCarrier
from ..pipe import Pipe
from ..polling import Inbox, discard
from .packets import BAD, CLOSE, MESSAGE, OPEN, PING, PONG, TEXT4, Decoder, Framing, Packet, joined, websocket_packet

__all__ = ["EngineIOPipe"]

# Bytes of packets after which a body is long enough. What is left goes with the next.
BODY = 1024 * 1024
# Characters of a ping that are sent back.
PING_DATA = 64


class EngineIOPipe(Pipe):
    """A session that polls, or has a WebSocket."""

    transport = "engine.io"
    __slots__ = (
        "_base64_only", "_binary_kind", "_control", "_decoder", "_heartbeat", "_host", "_inbox", "_linger",
        "carrier", "framing", "heard", "over", "protocol", "sid",
    )  # fmt: skip

    def __init__(
        self, host: PipeHost, sid: str, protocol: int, request: Request | None = None, *, base64_only: bool
    ) -> None:
        super().__init__(host.touch, request)
        self._host = host
        self.sid = sid
        self.protocol = protocol
        self.framing: Framing = TEXT4
        """How polled bodies that go out are framed."""
        self.carrier: WebSocketCarrier | None = None
        """The WebSocket, once the session has one."""
        self.over = False
        """Whether nothing is left to be done."""
        self.heard = 0.0
        """When the last packet came."""
        self._base64_only = base64_only
        self._binary_kind = f"engine.io {protocol} base64" if base64_only else f"engine.io {protocol}"
        self._decoder = Decoder(protocol)
        self._control: dict[str, str] = {}  # packets of Engine.IO itself that wait to be sent, by their kind
        self._inbox = Inbox[Packet](host.timers, self._handle)
        self._linger: Timer | None = None
        self._heartbeat = host.timers.new(self._beat)

    # --- the session's side ---

    @property
    def session_id(self) -> str:
        return self.sid

    @property
    def buffered(self) -> int:
        return self._outbox_size + (self._unread if self.carrier is None else self.carrier.buffered)

    def pause(self) -> None:
        self._inbox.paused = True
        if self.carrier is not None:
            self.carrier.pause()

    def resume(self) -> None:
        self._inbox.paused = False
        if self.carrier is not None:
            self.carrier.resume()
        self._touch()

    # --- the endpoint's side ---

    def flush(self, *, now: float) -> None:
        if self.over:
            return
        if self.aborted:
            self._drop(now)
            return
        if self.ending is not None and self._linger is None:
            self._linger = self._host.timers.new(self._drop)
            self._linger.set(now + self._host.limits.close)
            self._inbox.clear(now=now)
            self.resume()  # the peer's own end must get through
        if self._inbox:
            self._inbox.run(now=now)
        if self.carrier is None:
            self._flush_polling(now)
        elif not self.over:
            self._flush_websocket(self.carrier, now)

    def _flush_websocket(self, carrier: WebSocketCarrier, now: float) -> None:
        if self._control:
            carrier.send([Message(packet) for packet in self._control.values()], now=now)
            self._control.clear()
        if self._outbox:
            if not carrier.blocked:
                carrier.send([self._wrapped(message) for message in self.take_slice()], now=now)
            if self.high or self._outbox:
                carrier.report_drained()
        if self.ending is not None and not self._outbox:
            carrier.close(*self.ending, now=now)

    def _flush_polling(self, now: float) -> None:
        """Send what can be sent by a request."""
        raise NotImplementedError

    # --- for polling ---

    @property
    def _unread(self) -> int:
        """Bytes that have left the outbox, and that the peer has not taken."""
        return 0

    def _take_body(self, limit: int = BODY) -> bytes:
        """Make a body of what waits, until it has `limit` bytes; empty if nothing waits."""
        framing = self.framing
        packets = [framing.packet(packet) for packet in self._control.values()]
        self._control.clear()
        size, taken, outbox = sum(map(len, packets)), 0, self._outbox or []
        for message in outbox:
            packet = message.framed(framing.name, framing.message)
            if packets and size + len(packet) >= limit:
                break
            packets.append(packet)
            size += len(packet) + 1
            self._outbox_size -= message.size
            taken += 1
        del outbox[:taken]
        if self.ending is not None and not self._outbox:
            packets.append(framing.packet(CLOSE))
        return joined(framing, packets)

    # --- packets ---

    def say(self, kind: str, data: str = "") -> None:
        """Send a packet of Engine.IO itself."""
        self._control[kind] = kind + data
        self._touch()

    def _handle(self, packet: Packet, now: float) -> None:
        """A packet came, and it is its turn."""
        if self.ending is not None and packet.kind != CLOSE:
            return
        kind, data = packet
        if kind == MESSAGE:
            limit = self._host.limits.message
            if len(data) > limit or (isinstance(data, str) and not data.isascii() and len(data.encode()) > limit):
                self._fail(f"message larger than {limit} bytes", now, code=1009)
            else:
                self.session.receive_message(data, now=now)
        elif kind == CLOSE:
            self._end(1000, "", None, now)
        elif kind == BAD:
            self._fail(str(data), now)
        elif kind == PING:
            self._pinged(str(data), now)
        elif kind == OPEN:
            self._fail("a session opens once", now)

    def _pinged(self, data: str, now: float) -> None:
        self.say(PONG, data[:PING_DATA])

    def _beat(self, now: float) -> None:
        """A heartbeat is due."""
        raise NotImplementedError

    def _wrapped(self, message: Message) -> Message:
        kind = "engine.io" if isinstance(message.payload, str) else self._binary_kind
        return message.wrapped(
            kind, lambda payload: websocket_packet(payload, self.protocol, base64_only=self._base64_only)
        )

    # --- the carrier's owner ---

    def received(self, data: str | bytes, *, now: float) -> None:
        self.heard = now
        if self._inbox:
            self._inbox.put([self._decoder.websocket(data)], lambda now: None, now=now)
        elif type(data) is str and data[:1] == MESSAGE and self.ending is None:
            self.session.receive_message(data[1:], now=now)
        else:
            self._handle(self._decoder.websocket(data), now)

    def pinged(self, *, now: float) -> None:
        """A WebSocket ping is not a heartbeat here."""

    def closing(self) -> bool:
        return self.ending is None and self.session.connection_closing()

    def drained(self, *, now: float) -> None:
        if self._outbox:
            self._touch()
        if self.high and self.ending is None:
            self.session.drained()

    def closed(self, code: int, reason: str, error: PrimusError | None, *, now: float) -> None:
        self.carrier = None
        self._end(code, reason, error, now)

    # --- the end ---

    def _fail(self, why: str, now: float, *, code: int = 1002) -> None:
        """The peer broke a rule."""
        if self.carrier is not None:
            carrier, self.carrier = self.carrier, None
            discard(carrier, self._host, code, now=now)
        self._end(code, why, RemoteProtocolError(f"Engine.IO: {why}"), now)

    def _lost(self, why: str, now: float) -> None:
        self._end(1006, "", ConnectionLost(why), now)

    def _end(self, code: int, reason: str, error: PrimusError | None, now: float) -> None:
        """The peer has ended it, or is gone."""
        if self.over:
            return
        self.over = True
        if self.ending is None:
            self.ending = (code, reason)
            self.session.connection_lost(error, code=code, reason=reason, now=now)
        self._release(now)

    def _drop(self, now: float) -> None:
        """Drop everything that is left."""
        if not self.over:
            self.over = True
            if self.carrier is not None:
                self.carrier.abort(now=now)  # which is told, and sets it to None
            self._release(now)

    def _release(self, now: float) -> None:
        """Release requests and timers."""
        self.withdraw()
        self._control.clear()
        self._heartbeat.cancel()
        if self._linger is not None:
            self._linger.cancel()
        self._inbox.clear(now=now)
        if self.carrier is not None:
            carrier, self.carrier = self.carrier, None
            discard(carrier, self._host, now=now)
