"""`EngineIOPipe`: what the pipes of both ends share (protocol 8): the outbox, packets, the WebSocket, the end.

The law kept here: packets that Engine.IO itself has to send never pile up, as of each kind only the last is kept.
"""

from __future__ import annotations

from ...errors import ConnectionLost, PrimusError, RemoteProtocolError
from ...http.model import Request
from ...session.messages import Message
from ..base import PipeHost, WebSocketCarrier
from ..polling import PollingPipe, discard, too_long
from .packets import BAD, CLOSE, MESSAGE, OPEN, PING, PONG, TEXT4, Decoder, Framing, Packet, joined, websocket_packet

__all__ = ["EngineIOPipe"]

# Bytes of packets after which a body is long enough. What is left goes with the next.
BODY = 1024 * 1024
# Characters of a ping that are sent back.
PING_DATA = 64


class EngineIOPipe(PollingPipe[Packet]):
    """A session that polls, or has a WebSocket."""

    transport = "engine.io"
    __slots__ = (
        "_base64_only", "_binary_kind", "_control", "_decoder", "_heartbeat", "carrier", "framing", "heard",
        "protocol", "sid",
    )  # fmt: skip

    def __init__(
        self, host: PipeHost, sid: str, protocol: int, request: Request | None = None, *, base64_only: bool
    ) -> None:
        super().__init__(host, request)
        self.sid = sid
        self.protocol = protocol
        self.framing: Framing = TEXT4
        """How polled bodies that go out are framed."""
        self.carrier: WebSocketCarrier | None = None
        """The WebSocket, once the session has one."""
        self.heard = 0.0
        """When the last packet came."""
        self._base64_only = base64_only
        self._binary_kind = f"engine.io {protocol} base64" if base64_only else f"engine.io {protocol}"
        self._decoder = Decoder(protocol)
        self._control: dict[str, str] = {}  # packets of Engine.IO itself that wait to be sent, by their kind
        self._heartbeat = host.timers.new(self._beat)

    # --- the session's side ---

    @property
    def session_id(self) -> str:
        return self.sid

    @property
    def buffered(self) -> int:
        return super().buffered if self.carrier is None else self._outbox_size + self.carrier.buffered

    def pause(self) -> None:
        super().pause()
        if self.carrier is not None:
            self.carrier.pause()

    def resume(self) -> None:
        super().resume()
        if self.carrier is not None:
            self.carrier.resume()

    # --- the endpoint's side ---

    def _send(self, now: float) -> None:
        if self.carrier is None:
            self._flush_polling(now)
        else:
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
        if self._peer_end is not None or (self.ending is not None and packet.kind != CLOSE):
            return
        kind, data = packet
        if kind == MESSAGE:
            limit = self._host.limits.message
            if too_long(data, limit):
                self._fail(f"message larger than {limit} bytes", code=1009)
            else:
                self.session.receive_message(data, now=now)
        elif kind == CLOSE:
            self._ended_by_peer(1000, "", None)
        elif kind == BAD:
            self._fail(str(data))
        elif kind == PING:
            self._pinged(str(data))
        elif kind == OPEN:
            self._fail("a session opens once")

    def _pinged(self, data: str) -> None:
        self._host.defer(lambda now: self.say(PONG, data[:PING_DATA]))

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
        elif type(data) is str and data[:1] == MESSAGE and self.ending is None and self._peer_end is None:
            self.session.receive_message(data[1:], now=now)
        else:
            if self.ending is not None and self._discard(len(data), self._host.limits.drain):
                self._drop(now)
                return
            self._handle(self._decoder.websocket(data), now)

    def pinged(self, *, now: float) -> None:
        if self.ending is not None and self._discard(0, self._host.limits.drain):
            self._drop(now)  # otherwise a WebSocket ping means nothing here

    def closing(self) -> bool:
        return self.ending is None and self.session.connection_closing()

    def drained(self, *, now: float) -> None:
        if self._outbox:
            self._touch()
        if self.high and self.ending is None:
            self.session.drained()

    def closed(self, code: int, reason: str, error: PrimusError | None, *, now: float) -> None:
        self.carrier = None
        if self._peer_end is not None:
            self._peer_end.come(now)
        self._end(code, reason, error, now)

    # --- the end ---

    def _fail(self, why: str, *, code: int = 1002) -> None:
        """The peer broke a rule."""
        self._ended_by_peer(code, why, RemoteProtocolError(f"Engine.IO: {why}"))

    def _lost(self, why: str, now: float) -> None:
        self._end(1006, "", ConnectionLost(why), now)

    def _drop(self, now: float) -> None:
        if self.carrier is not None:
            self.carrier.abort(now=now)  # which is told, and sets it to None
        super()._drop(now)

    def _release(self, now: float) -> None:
        super()._release(now)
        self._control.clear()
        self._heartbeat.cancel()
        if self.carrier is not None:
            carrier, self.carrier = self.carrier, None
            code = self.ending[0] if self.ending is not None else 1000
            discard(carrier, self._host, code if code != 1006 else 1000, now=now)
