"""permessage-deflate (RFC 7692): what both ends agree on, and a WebSocket that compresses.

The law kept here: a message is inflated only as far as `Limits.message`, so a few bytes cannot become gigabytes; and
messages of the protocol are never compressed.
"""

from __future__ import annotations

import math
import random
import struct
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from wsproto.connection import Connection
from wsproto.frame_protocol import CloseReason, FrameDecoder, FrameProtocol, Opcode, RsvBits

from ..commands import Write
from ..compression import Compression
from ..limits import Limits
from ..session.messages import MESSAGE_OVERHEAD, Message, ProtocolMessage
from .channel import Channel
from .declared_length import NO_RSV, DeclaredLength, Installed
from .frames import client_frame, server_frame, xor
from .websocket import WebSocket

__all__ = ["CompressedWebSocket", "Deflate", "agreed", "choose", "offer"]

NAME = "permessage-deflate"
TAIL = b"\x00\x00\xff\xff"  # ends each message, and is not sent
COMPRESSED = RsvBits(True, False, False)


@dataclass(frozen=True, slots=True)
class Deflate:
    """What both ends agreed on. `bits` and `takeover` are for what this end sends, `peer_` for what it receives."""

    settings: Compression
    bits: int  # 8: this end sends nothing compressed, since zlib cannot
    takeover: bool
    peer_bits: int
    peer_takeover: bool

    @property
    def kind(self) -> str:
        """The name of the frames that all connections of this kind share."""
        return f"deflate {self.settings.level} {self.bits} {self.settings.threshold}"

    def new_compressor(self) -> Any:
        """Make a compressor that needs no more memory than its window is worth."""
        return zlib.compressobj(self.settings.level, zlib.DEFLATED, -self.bits, min(8, self.bits - 7))


# --- the handshake ---

Parameters = dict[str, int | None]
NO_VALUE = ("client_no_context_takeover", "server_no_context_takeover")
BITS = ("client_max_window_bits", "server_max_window_bits")


def _parse(fields: Iterable[str]) -> list[Parameters | None]:
    """The extensions of a header, in order; None for one that is not permessage-deflate, or is not valid."""
    return [_parameters(each) for each in ",".join(fields).split(",") if each.strip()]


def _parameters(text: str) -> Parameters | None:
    name, *pairs = (part.strip() for part in text.split(";"))
    found: Parameters = {}
    if name.lower() != NAME:
        return None
    for pair in pairs:
        key, equals, value = (part.strip() for part in pair.partition("="))
        value = value.strip('"')
        if key in found or key not in (*NO_VALUE, *BITS) or (equals and key in NO_VALUE):
            return None
        if equals and not (value.isdecimal() and len(value) <= 2 and 8 <= int(value) <= 15 and value[0] != "0"):
            return None
        if not equals and key == "server_max_window_bits":
            return None
        found[key] = int(value) if equals else None
    return found


def offer(settings: Compression) -> str:
    """What a client offers."""
    bits = f"={settings.window_bits}" if settings.window_bits < 15 else ""
    parts = [NAME, f"client_max_window_bits{bits}"]
    if bits:
        parts.append(f"server_max_window_bits{bits}")
    if not settings.context_takeover:
        parts += NO_VALUE
    return "; ".join(parts)


def choose(settings: Compression, offers: Iterable[str]) -> tuple[Deflate, str] | None:
    """The first offer of a client that a server can take: what it means, and the answer. None if there is none."""
    for offered in _parse(offers):
        if offered is None:
            continue
        own = min(settings.window_bits, offered.get("server_max_window_bits") or 15)
        if own < 9:
            continue
        peer = 15
        answer = [NAME]
        takeover = settings.context_takeover and "server_no_context_takeover" not in offered
        peer_takeover = settings.context_takeover and "client_no_context_takeover" not in offered
        if not takeover:
            answer.append("server_no_context_takeover")
        if not peer_takeover:
            answer.append("client_no_context_takeover")
        if own < 15:
            answer.append(f"server_max_window_bits={own}")
        if "client_max_window_bits" in offered:
            asked = min(settings.window_bits, offered["client_max_window_bits"] or 15)
            if asked < 15:
                answer.append(f"client_max_window_bits={asked}")
            peer = max(9, asked)  # a window that is larger than needed does no harm
        return Deflate(settings, own, takeover, peer, peer_takeover), "; ".join(answer)
    return None


def agreed(settings: Compression, answers: Iterable[str]) -> Deflate | None:
    """What a server's answer to the offer means; None if it is not valid."""
    found = _parse(answers)
    if len(found) != 1 or found[0] is None or found[0].get("client_max_window_bits", 15) is None:
        return None
    answer = found[0]
    own = min(settings.window_bits, answer.get("client_max_window_bits") or 15)
    peer = max(9, answer.get("server_max_window_bits") or 15)
    takeover = settings.context_takeover and "client_no_context_takeover" not in answer
    return Deflate(settings, own, takeover, peer, "server_no_context_takeover" not in answer)


# --- messages ---


class _Inflater(Installed):
    """Inflates what comes, within the limit. A frame at once, so that its errors do not depend on how it was cut."""

    name = NAME

    def __init__(self, deflate: Deflate, limit: int) -> None:
        self._deflate = deflate
        self._limit = limit
        self._zlib: Any = None
        self._compressed = False  # the message that is under way
        self._unfinished = False  # whether a message is under way, at the end of a frame
        self._control = False  # the frame that is under way
        self._size = 0  # of the message so far
        self._frame = bytearray()  # what has come of the frame that is under way

    def frame_inbound_header(
        self, proto: FrameDecoder | FrameProtocol, opcode: Opcode, rsv: RsvBits, payload_length: int
    ) -> CloseReason | RsvBits:
        # May be called again for the same header when that was cut short, so it must only set.
        self._control = opcode.iscontrol()
        if self._control or opcode is Opcode.CONTINUATION:
            return NO_RSV
        self._compressed = rsv.rsv1 and not self._unfinished  # a second beginning is for wsproto to refuse
        self._size = 0
        return COMPRESSED

    def frame_inbound_payload_data(self, proto: FrameDecoder | FrameProtocol, data: bytes) -> bytes | CloseReason:
        if self._control or not self._compressed:
            return bytes(data)
        self._frame += data
        return b""

    def frame_inbound_complete(self, proto: FrameDecoder | FrameProtocol, fin: bool) -> bytes | CloseReason | None:
        if self._control:
            return None
        self._unfinished = not fin
        if not self._compressed:
            return None
        self._compressed = self._unfinished
        frame, self._frame = self._frame, bytearray()
        if not fin:
            return self._inflate(frame)
        data = self._inflate(frame + TAIL)
        if not self._deflate.peer_takeover or (self._zlib is not None and self._zlib.eof):
            self._zlib = None
        return data

    def _inflate(self, data: bytes | bytearray) -> bytes | CloseReason:
        if self._zlib is None:
            self._zlib = zlib.decompressobj(-self._deflate.peer_bits)
        try:
            inflated: bytes = self._zlib.decompress(data, self._limit - self._size + 1)
        except zlib.error:
            return CloseReason.INVALID_FRAME_PAYLOAD_DATA
        self._size += len(inflated)
        return CloseReason.MESSAGE_TOO_BIG if self._size > self._limit else inflated


class CompressedWebSocket(WebSocket):
    """A WebSocket whose ends have agreed on permessage-deflate."""

    __slots__ = ("_deflate", "_threshold", "_zlib")

    def __init__(
        self,
        channel: Channel,
        limits: Limits,
        limit: int,
        subprotocol: str | None = None,
        *,
        deflate: Deflate,
        client_rng: random.Random | None = None,
    ) -> None:
        super().__init__(channel, limits, limit, subprotocol, client_rng=client_rng)
        self._deflate = deflate
        self._zlib: Any = None  # the compressor, if messages may refer to earlier ones
        threshold = deflate.settings.threshold + MESSAGE_OVERHEAD
        self._threshold = threshold if deflate.bits >= 9 else math.inf  # the size from which messages are compressed

    def send(self, messages: Sequence[Message], *, now: float) -> None:
        if not self._open:
            return
        if len(messages) == 1:
            message = messages[0]
            if message.size < self._threshold and self._rng is None:  # as is most often so
                self._channel.write(message.framed("websocket", server_frame))
            else:
                self._channel.write(self._frame(message))
        else:
            self._channel.write(b"".join([self._frame(message) for message in messages]))

    def make_write(self, messages: Sequence[Message]) -> Write | None:
        return None

    def make_text_write(self, frames: Sequence[bytes]) -> Write | None:
        longest = len(max(frames, key=len)) + MESSAGE_OVERHEAD
        return super().make_text_write(frames) if longest < self._threshold else None

    def _frame(self, message: Message) -> bytes:
        deflate, rng = self._deflate, self._rng
        if message.size < self._threshold or type(message) is ProtocolMessage:
            if rng is None:
                return message.framed("websocket", server_frame)
            return client_frame(message.payload, rng.getrandbits(32).to_bytes(4, "big"))
        if rng is None:
            if deflate.takeover:
                return self._deflated(message.payload, None)
            return message.framed(deflate.kind, lambda payload: self._deflated(payload, None))
        return self._deflated(message.payload, rng.getrandbits(32).to_bytes(4, "big"))

    def _deflated(self, payload: str | bytes, key: bytes | None) -> bytes:
        first, data = (0xC1, payload.encode()) if isinstance(payload, str) else (0xC2, payload)
        deflate = self._deflate
        compressor = self._zlib or deflate.new_compressor()
        if deflate.takeover:
            self._zlib = compressor
        small = (compressor.compress(data) + compressor.flush(zlib.Z_SYNC_FLUSH))[:-4]
        if len(small) >= len(data) and not deflate.takeover:
            return server_frame(payload) if key is None else client_frame(payload, key)
        mask = 0 if key is None else 0x80
        length = len(small)
        if length < 126:
            head = b"%c%c" % (first, mask | length)
        elif length < 1 << 16:
            head = struct.pack("!BBH", first, mask | 126, length)
        else:
            head = struct.pack("!BBQ", first, mask | 127, length)
        return head + small if key is None else b"%b%b%b" % (head, key, xor(small, key))

    def _judges(self) -> tuple[Connection, DeclaredLength]:
        if self._wsproto is None:
            self._wsproto = self._make_judges([_Inflater(self._deflate, self._limit)])
        return self._wsproto
