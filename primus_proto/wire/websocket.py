"""A WebSocket over a channel: wsproto made strict (RFC 6455).

What wsproto leaves open and this file closes: sizes are refused by the *declared* length, fragments are
counted, what follows a violation is discarded, and a received close is told apart from a violation.
"""

from __future__ import annotations

import base64
import binascii
import io
import struct
from collections.abc import Iterable

from wsproto.connection import Connection, ConnectionState, ConnectionType
from wsproto.events import BytesMessage, CloseConnection, Ping, Pong, TextMessage
from wsproto.extensions import Extension
from wsproto.frame_protocol import CloseReason, FrameDecoder, FrameProtocol, Opcode, RsvBits
from wsproto.utilities import generate_accept_token

from ..errors import BacklogExceeded, ConnectionLost, PrimusError, RemoteProtocolError
from ..http.model import UPGRADE_REQUIRED, Request, Response, text_response, wants_websocket
from ..limits import Limits
from ..session.messages import Message
from ..transports.base import CarrierOwner
from .channel import Channel

__all__ = ["WebSocket", "accept_token", "check_handshake", "choose_subprotocol"]

NO_RSV = RsvBits(False, False, False)


def _frame(payload: str | bytes) -> bytes:
    """A whole message as a server sends it: in one frame, unmasked, and so the same for every peer (RFC 6455, 5.2)."""
    first, data = (0x81, payload.encode()) if isinstance(payload, str) else (0x82, payload)
    length = len(data)
    if length < 126:
        return struct.pack("!BB", first, length) + data
    if length < 1 << 16:
        return struct.pack("!BBH", first, 126, length) + data
    return struct.pack("!BBQ", first, 127, length) + data


def _plain(event: TextMessage | BytesMessage) -> str | bytes:
    return event.data  # type: ignore[return-value]  # annotated as if a bytearray could be; wsproto makes bytes


def accept_token(key: str) -> str:
    """The ``Sec-WebSocket-Accept`` that answers a key (RFC 6455, 4.2.2)."""
    return generate_accept_token(key.encode("ascii")).decode("ascii")


def check_handshake(request: Request, *, body: bool = False) -> Response | None:
    """What to answer to a request that is no valid WebSocket handshake (RFC 6455, 4.2.1); None if it is one.

    One with a body is none: the body would be taken for frames.
    """
    headers = request.headers
    if not wants_websocket(request):
        return UPGRADE_REQUIRED
    if headers.get_all("sec-websocket-version") != ["13"]:
        return text_response(426, "Upgrade Required: WebSocket version 13", (("Sec-WebSocket-Version", "13"),))
    keys = headers.get_all("sec-websocket-key")
    try:
        valid = len(keys) == 1 and len(base64.b64decode(keys[0].encode("ascii", "replace"), validate=True)) == 16
    except binascii.Error:
        valid = False
    if not valid or body or "upgrade" not in headers.tokens("connection") or request.http_version < "1.1":
        return text_response(400, "Bad Request: not a WebSocket handshake")
    return None


def choose_subprotocol(request: Request, supported: Iterable[str]) -> str | None:
    """The first supported subprotocol that the client offers; None where there is none (RFC 6455, 4.2.2)."""
    offered = [name.strip() for name in ",".join(request.headers.get_all("sec-websocket-protocol")).split(",")]
    return next((name for name in supported if name in offered), None)


class _DeclaredLength(Extension):
    """Refuses a frame by its header, before any of its payload is stored."""

    name = "x-declared-length"

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._frame = 0
        self.message = 0  # bytes in the finished frames of the message that is under way

    def enabled(self) -> bool:
        return True

    def offer(self) -> bool:
        return False

    def frame_inbound_header(
        self, proto: FrameDecoder | FrameProtocol, opcode: Opcode, rsv: RsvBits, payload_length: int
    ) -> CloseReason | RsvBits:
        # May be called again for the same header when that was cut short, so it must only set, never add.
        if not opcode.iscontrol():
            self._frame = payload_length
            if self.message + payload_length > self._limit:
                return CloseReason.MESSAGE_TOO_BIG
        return NO_RSV

    def frame_finished(self, message_finished: bool) -> None:
        self.message = 0 if message_finished else self.message + self._frame


class WebSocket:
    """The carrier on a channel of our own (the `WebSocketCarrier` of the transports)."""

    __slots__ = (
        "_bytes",
        "_channel",
        "_closed",
        "_fragments",
        "_length",
        "_limits",
        "_server",
        "_text",
        "_ws",
        "owner",
        "subprotocol",
    )

    owner: CarrierOwner

    def __init__(
        self, channel: Channel, limits: Limits, limit: int, subprotocol: str | None = None, *, server: bool
    ) -> None:
        self.subprotocol = subprotocol
        self._channel = channel
        self._limits = limits
        self._server = server
        self._length = _DeclaredLength(limit)
        self._ws = Connection(ConnectionType.SERVER if server else ConnectionType.CLIENT, [self._length])
        self._fragments = 0
        self._text: io.StringIO | None = None  # parts of an unfinished message; lists of tiny parts would bloat
        self._bytes: bytearray | None = None
        self._closed = False  # the owner has been told
        channel.on_writable = self._written

    # --- the carrier ---

    @property
    def buffered(self) -> int:
        return self._channel.buffered

    @property
    def blocked(self) -> bool:
        return self._channel.blocked

    def send(self, message: Message, *, now: float) -> None:
        if self._ws.state is not ConnectionState.OPEN:
            return
        if self._server:
            self._write(message.framed("websocket", _frame))
        else:
            payload = message.payload
            event = TextMessage(payload) if isinstance(payload, str) else BytesMessage(payload)
            self._write(bytes(self._ws.send(event)))

    def ping(self, payload: bytes = b"", *, now: float) -> None:
        if self._ws.state is ConnectionState.OPEN:
            self._write(bytes(self._ws.send(Ping(payload[:125]))))

    def close(self, code: int = 1000, reason: str = "", *, now: float) -> None:
        if self._ws.state is ConnectionState.OPEN:
            self._write(bytes(self._ws.send(CloseConnection(code, reason))))

    def abort(self, *, now: float) -> None:
        self._channel.abort()
        self._tell(1006, "", None, now)

    def pause(self) -> None:
        self._channel.pause()

    def resume(self) -> None:
        self._channel.resume()

    # --- the channel's user ---

    def receive_data(self, data: bytes | bytearray | memoryview, *, now: float) -> None:
        # wsproto's annotation asks for bytes; all it does is append to a bytearray, which takes any buffer.
        self._ws.receive_data(data)  # type: ignore[arg-type]
        for event in self._ws.events():
            if self._closed:
                return  # what came behind the end is discarded
            if type(event) is TextMessage or type(event) is BytesMessage:
                if event.message_finished and self._text is None and self._bytes is None:
                    self.owner.received(_plain(event), now=now)
                else:
                    self._part(event, now)
            elif type(event) is Ping:
                self._pong(event, now)
            elif type(event) is CloseConnection:
                self._close_received(event, now)

    def channel_closed(self, error: str | None, *, now: float) -> None:
        lost = ConnectionLost(error or "the connection was closed without a closing handshake")
        self._tell(1006, "", lost, now)

    # --- inside ---

    def _write(self, data: bytes) -> None:
        self._channel.write(data)
        self._channel.on_written = self._written

    def _written(self, now: float) -> None:
        self.owner.drained(now=now)

    def _part(self, event: TextMessage | BytesMessage, now: float) -> None:
        data = _plain(event)
        if isinstance(data, str):
            if self._text is None:
                self._text = io.StringIO(newline="")
            self._text.write(data)
        else:
            if self._bytes is None:
                self._bytes = bytearray()
            self._bytes += data
        if not event.frame_finished:
            return
        self._length.frame_finished(event.message_finished)
        self._fragments += 1
        if event.message_finished:
            whole = self._text.getvalue() if self._text is not None else bytes(self._bytes or b"")
            self._text = self._bytes = None
            self._fragments = 0
            self.owner.received(whole, now=now)
        elif self._fragments >= self._limits.fragments:
            self._fail(CloseReason.MESSAGE_TOO_BIG, "too many fragments", now)

    def _pong(self, event: Ping, now: float) -> None:
        if self._ws.state is not ConnectionState.OPEN:
            return
        if self.buffered > self._limits.backlog:
            self._channel.abort()
            self._tell(1006, "", BacklogExceeded("the peer sends pings and reads no pongs"), now)
            return
        self._write(bytes(self._ws.send(Pong(bytes(event.payload)))))
        self.owner.pinged(now=now)

    def _close_received(self, event: CloseConnection, now: float) -> None:
        state = self._ws.state
        if state is ConnectionState.REMOTE_CLOSING:
            self._write(bytes(self._ws.send(event.response())))
        elif state is not ConnectionState.CLOSED:  # wsproto reports a violation like a close, but moves no state
            self._fail(event.code, event.reason or "protocol error", now)
            return
        self._channel.close()
        self._tell(int(event.code), event.reason or "", None, now)

    def _fail(self, code: int, reason: str, now: float) -> None:
        if reason == "error in extension":
            reason = f"message larger than {self._length._limit} bytes"
        elif code == CloseReason.INVALID_FRAME_PAYLOAD_DATA:
            reason = "not UTF-8"
        if self._ws.state is ConnectionState.OPEN:
            self._write(bytes(self._ws.send(CloseConnection(code, reason))))
        self._channel.linger(now=now)
        self._tell(int(code), reason, RemoteProtocolError(f"WebSocket: {reason}"), now)

    def _tell(self, code: int, reason: str, error: PrimusError | None, now: float) -> None:
        if not self._closed:
            self._closed = True
            self._text = self._bytes = None  # an unfinished message may be large, and this object in a cycle
            self.owner.closed(code, reason, error, now=now)
