"""A WebSocket over a channel: wsproto made strict, and a fast lane beside it (RFC 6455).

What wsproto leaves open and this file closes: sizes are refused by the *declared* length, fragments are
counted, what follows a violation is discarded, and a received close is told apart from a violation.
"""

from __future__ import annotations

import io
import random
import struct
from collections.abc import Sequence
from operator import attrgetter
from typing import Any

from wsproto.connection import Connection, ConnectionState, ConnectionType
from wsproto.events import BytesMessage, CloseConnection, Ping, Pong, TextMessage
from wsproto.extensions import Extension
from wsproto.frame_protocol import CloseReason

from ..commands import Write
from ..errors import ConnectError, ConnectionLost, PrimusError, RemoteProtocolError
from ..limits import SLICE, Limits
from ..rate import WINDOW, Rate
from ..session.encoding import new
from ..session.messages import Message
from ..timers import Timer
from ..transports.base import CarrierOwner
from .channel import Channel
from .declared_length import DeclaredLength
from .frames import (
    BITS,
    REPEATED,
    WEBSOCKET,
    client_frame,
    frame_extent,
    mask,
    server_frame,
    server_frames,
    short_headers,
    xor,
)

__all__ = ["WebSocket"]

SHORT_MASKED, SHORT_UNMASKED = short_headers(0x80), short_headers(0)

# Looked up for every message. They read the header of a short frame: its two bytes, and the masking key.
from_bytes = int.from_bytes
unpack_masked = struct.Struct("<HI" if mask is None else "<H4s").unpack_from
unpack_unmasked = struct.Struct("<H").unpack_from

# The header of a masked frame with a length of two bytes: its first two bytes, that length, and the masking key.
unpack_medium = struct.Struct(">HH4s").unpack_from
MEDIUM_TEXT = 0x81FE
MEDIUM = {MEDIUM_TEXT, 0x82FE}


def _plain(event: TextMessage | BytesMessage) -> str | bytes:
    return event.data  # type: ignore[return-value]  # annotated as if a bytearray could be; wsproto makes bytes


class WebSocket:
    """The carrier on a channel of our own (the `WebSocketCarrier` of the transports).

    Whole, final, unfragmented data frames that are right in every bit take a fast lane: they are read here. All other
    bytes go to wsproto, in order, and only wsproto decides what is a violation. So both always stand at the same frame.
    """

    __slots__ = (
        "_bytes", "_channel", "_end", "_fragmented", "_fragments", "_held", "_in_lane", "_late_pong", "_lengths",
        "_limit", "_limits", "_open", "_over", "_paused", "_rate", "_rest", "_rng", "_text", "_timer", "_told",
        "_wsproto", "owner", "subprotocol",
    )  # fmt: skip

    owner: CarrierOwner

    def __init__(
        self,
        channel: Channel,
        limits: Limits,
        limit: int,
        subprotocol: str | None = None,
        *,
        client_rng: random.Random | None = None,
    ) -> None:
        """`client_rng` makes it the client's end, and its masks."""
        self.subprotocol: str | None = subprotocol
        self._channel = channel
        self._limits = limits
        self._limit = limit
        self._rng = client_rng
        # The short frames that may come, and their lengths.
        self._lengths = SHORT_MASKED if client_rng is None else SHORT_UNMASKED
        if limit < 125:
            self._lengths = {head: length for head, length in self._lengths.items() if length <= limit}
        self._late_pong: bytes | None = None  # the answer to a ping that is not answered at once
        self._rate: Rate | None = None  # of pongs
        self._open = True  # no close was sent or received
        self._over = False  # nothing more is taken in
        self._told = False  # the owner knows that it is closed
        self._paused = False  # by the owner
        self._end: tuple[int, str, PrimusError | None] | None = None  # how it ends, when that is next
        self._timer: Timer | None = None  # of an end that the owner holds
        self._held = b""  # the beginning of a frame whose header does not tell its length yet
        self._rest = 0  # bytes to come of a frame that wsproto is reading
        self._in_lane = True  # at the beginning of a frame, and of a message
        self._fragmented = False  # amid a message of several frames
        self._fragments = 0
        self._wsproto: tuple[Connection, DeclaredLength] | None = None  # made when it is needed first
        self._text: io.StringIO | None = None  # parts of an unfinished message; lists of tiny parts would bloat
        self._bytes: bytearray | None = None
        channel.on_writable = self._written

    # --- the carrier ---

    # Without a function of ours, since it is read for every message.
    buffered: int = property(attrgetter("_channel.buffered"))  # type: ignore[assignment]

    @property
    def blocked(self) -> bool:
        return self._channel.blocked or self._channel.buffered > SLICE

    def send(self, messages: Sequence[Message], *, now: float) -> None:
        if not self._open:
            return
        if self._rng is not None:
            data = self._masked(messages)
        elif len(messages) == 1:
            # The frame stays the same object, so that a broadcast is written as one.
            (message,) = messages
            if message.framing is None:  # as `framed`, without the call
                message.framing, message.frame = WEBSOCKET, server_frame(message.payload)
            data = message.frame if message.framing == WEBSOCKET else message.framed(WEBSOCKET, server_frame)
        else:
            data = server_frames(messages)
        self._channel.write(data)

    def make_write(self, messages: Sequence[Message]) -> Write | None:
        channel = self._channel
        if channel.buffered or channel.blocked or not self._open:
            return None
        if self._rng is not None:
            data = self._masked(messages)
        elif len(messages) == 1:
            data = messages[0].framed(WEBSOCKET, server_frame)
        else:
            data = server_frames(messages)
        return Write((channel.number,), data)

    def make_text_write(self, frames: Sequence[bytes]) -> Write | None:
        channel = self._channel
        if channel.buffered or channel.blocked or not self._open or self._rng is not None:
            return None
        write: Any = new(Write)  # what Write(…) does, in less time
        write.channels = (channel.number,)
        write.data = frames[0] if len(frames) == 1 else b"".join(frames)
        return write  # type: ignore[no-any-return]  # see `new`

    def ping(self, payload: bytes = b"", *, now: float) -> None:
        if self._open and self._end is None:
            self._send(Ping(payload[:125]))

    def close(self, code: int = 1000, reason: str = "", *, now: float) -> None:
        if self._end is not None:  # this end has not acted on it yet, so its own close comes first
            self._end = (code, reason, self._end[2])
            self._finish(now, late=True)
        elif self._open:
            self._open = False
            self._send(CloseConnection(code, reason))

    def abort(self, *, now: float) -> None:
        self._channel.abort()
        self._tell(1006, "", None, now)

    def pause(self) -> None:
        self._paused = True
        self._channel.pause()

    def resume(self) -> None:
        self._paused = False
        if self._end is None:
            self._channel.resume()
        else:
            self._channel.host.defer(self._finish)

    def check_peer(self) -> None:
        self._channel.probe()

    def report_drained(self) -> None:
        self._channel.on_written = self._written

    # --- the channel's user ---

    def receive_data(self, data: bytes | bytearray | memoryview, *, now: float) -> None:
        if self._held:
            received, self._held = self._held + data, b""
        else:
            received = bytes(data)
        position, end = 0, len(received)
        masked, lengths = self._rng is None, self._lengths
        while position < end and not self._over:
            if self._in_lane:
                messages: list[str | bytes] = []
                try:
                    while position < end:
                        if masked:
                            head, key = unpack_masked(received, position)
                            stop = position + 6 + (length := lengths[head])
                            if stop > end:
                                break
                            payload = received[position + 6 : stop]
                            if mask is not None:
                                payload = mask(key, payload)
                            else:
                                number = from_bytes(payload, "little") ^ key * REPEATED[length] & BITS[length]
                                payload = number.to_bytes(length, "little")
                        else:
                            (head,) = unpack_unmasked(received, position)
                            stop = position + 2 + lengths[head]
                            if stop > end:
                                break
                            payload = received[position + 2 : stop]
                        messages.append(payload.decode() if head & 1 else payload)
                        position = stop
                except (struct.error, KeyError, UnicodeDecodeError):
                    pass  # a header that is cut short, a frame of another kind, or one that wsproto has to judge
                if messages:
                    take_all = getattr(self.owner, "received_all", None)
                    if take_all is not None:
                        take_all(messages, now=now)
                    else:
                        self._hand_over(messages, now)
                if position == end or self._over:
                    return
            position = self._receive_other(received, position, now)

    def channel_closed(self, error: ConnectError | str | None, *, now: float) -> None:
        lost = ConnectionLost(str(error or "the connection was closed without a closing handshake"))
        self._tell(*(self._end or (1006, "", lost)), now)

    # --- inside ---

    def _hand_over(self, messages: list[str | bytes], now: float) -> None:
        """Give what one read brought to the owner, of which each message may make another."""
        for message in messages:
            if not self._over:
                self.owner.received(message, now=now)

    def _receive_other(self, received: bytes, position: int, now: float) -> int:
        """Read what is at `position`: a longer frame, or something for wsproto. Returns the position behind it."""
        end = len(received)
        if self._rest:
            return self._give(received[position : position + self._rest], position, now)
        if self._in_lane and self._rng is None and end - position >= 8:  # the usual case, with less work
            length: int
            head, length, key = unpack_medium(received, position)
            stop = position + 8 + length
            if head in MEDIUM and stop <= end and 125 < length <= self._limit:
                payload = xor(received[position + 8 : stop], key)
                if self._take(payload, head == MEDIUM_TEXT, now):
                    return stop
        first = received[position]
        extent = frame_extent(received, position)
        if extent is None:
            if end - position == 1 or first & 0x0F <= 2:
                self._held = received[position:]
            else:  # a control frame cannot have such a length
                self._judge(received[position:], now)
            return end
        header, length = extent
        stop = position + header + length
        client = self._rng is not None
        if (
            stop <= end
            and self._in_lane
            and (first == 0x81 or first == 0x82)
            and length <= self._limit
            # The header is of the right kind, and the length in it needs so many bytes.
            and (
                (header == (10 if client else 14) and 0xFFFF < length < 1 << 63)
                or (header == 4 and client and length > 125)
            )
        ):
            payload = received[stop - length : stop]
            if self._rng is None:
                payload = xor(payload, received[stop - length - 4 : stop - length])
            if self._take(payload, first == 0x81, now):
                return stop
        if first & 0x0F <= 2:
            self._fragmented = first < 0x80
        self._rest = header + length
        return self._give(received[position:stop], position, now)

    def _take(self, payload: bytes, is_text: bool, now: float) -> bool:
        """Give the owner a message. Returns False if it is not valid UTF-8, which is for wsproto to say."""
        try:
            message = payload.decode() if is_text else payload
        except UnicodeDecodeError:
            return False
        self.owner.received(message, now=now)
        return True

    def _give(self, part: bytes, position: int, now: float) -> int:
        """Give wsproto a part of a frame. Returns the position behind it."""
        self._rest -= len(part)
        self._in_lane = not (self._rest or self._fragmented)
        self._judge(part, now)
        return position + len(part)

    def _judge(self, data: bytes, now: float) -> None:
        """Give wsproto its part."""
        ws, _ = self._judges()
        ws.receive_data(data)
        for event in ws.events():
            if type(event) is TextMessage or type(event) is BytesMessage:
                if event.message_finished and self._text is None and self._bytes is None:
                    self.owner.received(_plain(event), now=now)
                else:
                    self._part(event, now)
            elif type(event) is CloseConnection:
                self._close_received(event, now)
            elif not self._open:
                self.owner.pinged(now=now)  # which counts what comes after the close
            elif type(event) is Ping:
                self._pong(event, now)

    def _judges(self) -> tuple[Connection, DeclaredLength]:
        if self._wsproto is None:
            self._wsproto = self._make_judges([])
        return self._wsproto

    def _make_judges(self, extensions: list[Extension]) -> tuple[Connection, DeclaredLength]:
        kind = ConnectionType.SERVER if self._rng is None else ConnectionType.CLIENT
        length = DeclaredLength(self._limit)
        return Connection(kind, [length, *extensions]), length

    def _masked(self, messages: Sequence[Message]) -> bytes:
        assert self._rng is not None
        bits = self._rng.getrandbits
        return b"".join([client_frame(message.payload, bits(32).to_bytes(4, "big")) for message in messages])

    def _send(self, event: Ping | CloseConnection) -> None:
        self._channel.write(bytes(self._judges()[0].send(event)))

    def _written(self, now: float) -> None:
        self._pong_late(now)
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
        self._judges()[1].frame_finished(event.message_finished)
        self._fragments += 1
        if event.message_finished:
            whole = self._text.getvalue() if self._text is not None else bytes(self._bytes or b"")
            self._text = self._bytes = None
            self._fragments = 0
            self.owner.received(whole, now=now)
        elif self._fragments >= self._limits.fragments:
            self._fail(CloseReason.MESSAGE_TOO_BIG, "too many fragments", now)

    def _pong(self, event: Ping, now: float) -> None:
        pong = bytes(self._judges()[0].send(Pong(bytes(event.payload))))
        if self._rate is None:
            self._rate = Rate(self._limits.replies)
        # Only the most recent ping needs an answer (RFC 6455, 5.5.3).
        if self._channel.blocked:
            self._late_pong = pong
        elif not self._rate.takes(now):
            if self._late_pong is None:
                self._channel.host.timers.new(self._pong_late).set(now + WINDOW)
            self._late_pong = pong
        else:
            self._channel.host.defer(lambda now: self._answer(pong))
        self.owner.pinged(now=now)

    def _pong_late(self, now: float) -> None:
        if self._late_pong is not None and not self._channel.blocked:
            pong, self._late_pong = self._late_pong, None
            self._answer(pong)

    def _answer(self, pong: bytes) -> None:
        if self._open:
            self._channel.write(pong)

    def _close_received(self, event: CloseConnection, now: float) -> None:
        ws, _ = self._judges()
        if ws.state is ConnectionState.REMOTE_CLOSING:
            self._end_by(event.code, event.reason or "", None, now)
        elif ws.state is not ConnectionState.CLOSED:  # wsproto reports a violation like a close, but moves no state
            self._fail(event.code, event.reason or "protocol error", now)
        else:
            self._channel.close()
            self._tell(event.code, event.reason or "", None, now)

    def _fail(self, code: int, reason: str, now: float) -> None:
        if code == CloseReason.MESSAGE_TOO_BIG and reason == "error in extension":
            reason = f"message larger than {self._limit} bytes"
        elif reason == "error in extension":
            reason = "not compressed as agreed"
        elif code == CloseReason.INVALID_FRAME_PAYLOAD_DATA:
            reason = "not UTF-8"
        self._end_by(code, reason, RemoteProtocolError(f"WebSocket: {reason}"), now)

    def _end_by(self, code: int, reason: str, error: PrimusError | None, now: float) -> None:
        """The peer's close, or its violation, is next: once what came before was handed out and the owner reads on."""
        self._over = True
        self._text = self._bytes = None  # an unfinished message may be large, and this object in a cycle
        self._end = (code, reason, error)
        self._channel.pause()
        self._channel.host.defer(self._finish)

    def _finish(self, now: float, *, late: bool = False) -> None:
        """Answer the close, and notify the owner; while it is paused or busy not yet, for at most `Limits.close`."""
        if self._told or self._end is None:
            return
        if self._open and not late and (self._paused or self.owner.closing()):
            if self._timer is None:
                self._timer = self._channel.host.timers.new(lambda now: self._finish(now, late=True))
                self._timer.set(now + self._limits.close)
            return
        code, reason, error = self._end
        if self._open:
            self._open = False
            ws, _ = self._judges()
            self._channel.write(bytes(ws.send(CloseConnection(code, reason or None))))
        if error is None:
            self._channel.close()
        else:
            self._channel.linger(end_writing=self._rng is None, now=now)
        self._tell(code, reason, error, now)

    def _tell(self, code: int, reason: str, error: PrimusError | None, now: float) -> None:
        if not self._told:
            self._told = self._over = True
            self._text = self._bytes = None
            if self._timer is not None:
                self._timer.cancel()
            self.owner.closed(int(code), reason, error, now=now)
