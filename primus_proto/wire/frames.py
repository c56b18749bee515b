"""WebSocket data frames: made whole, measured by their header, unmasked (RFC 6455, 5.2 and 5.3)."""

from __future__ import annotations

import contextlib
import struct
import sys
from collections.abc import Callable, Sequence

from ..session.messages import Message

mask: Callable[[bytes, bytes], bytes] | None = None
"""XORs data, the second argument, with a key of four bytes. None where the extra ``speedups`` is not installed."""
with contextlib.suppress(ImportError):
    from tornado.speedups import websocket_mask as mask

__all__ = [
    "BITS",
    "REPEATED",
    "SHORT_TEXT",
    "WEBSOCKET",
    "client_frame",
    "frame_extent",
    "framed_text",
    "long_text_frame",
    "mask",
    "server_frame",
    "server_frames",
    "short_headers",
    "xor",
    "xor_in_python",
]

# Up to here one large integer is the quickest way to XOR; above it a table for each byte of the key is.
SMALL = 2048

SHORT_TEXT = [bytes((0x81, length)) for length in range(126)]
"""The headers of unmasked text frames, by length."""

REPEATED = [sum(1 << 32 * word for word in range(length + 3 >> 2)) for length in range(126)]
"""Factors that repeat a key of four bytes over a payload, by the length of the payload."""

BITS = [(1 << 8 * length) - 1 for length in range(126)]
"""The bits of a payload, by its length: what of a repeated key is on it."""


def short_headers(mask_bit: int) -> dict[int, int]:
    """The lengths of short payloads, by the two bytes of the header as a little-endian number.

    Only whole, final text and binary frames without extensions are there. For longer ones it is more than can come, so
    that a frame of which not everything has come and a longer one are told from others at once.
    """
    lengths = {**{length: length for length in range(126)}, 126: sys.maxsize, 127: sys.maxsize}
    return {first | (mask_bit | field) << 8: length for first in (0x81, 0x82) for field, length in lengths.items()}


WEBSOCKET = "websocket"
"""The framing of `Message.framed`."""

_tables: dict[int, bytes] = {}


def server_frame(payload: str | bytes) -> bytes:
    """A whole message in one unmasked frame, which is the same for every client."""
    if isinstance(payload, str):
        data, first = payload.encode(), 0x81
        if len(data) < 126:  # the usual case, without formatting
            return SHORT_TEXT[len(data)] + data
    else:
        data, first = payload, 0x82
    return _header(first, len(data), 0) + data


def server_frames(messages: Sequence[Message]) -> bytes:
    """`server_frame` for each message, joined."""
    return b"".join([message.framed(WEBSOCKET, server_frame) for message in messages])


def long_text_frame(text: bytes) -> bytes:
    """A text of at least 126 bytes of UTF-8 in one unmasked frame. For shorter ones there is `SHORT_TEXT`."""
    return _header(0x81, len(text), 0) + text


def framed_text(frame: bytes) -> str:
    """The text in an unmasked frame."""
    extent = frame_extent(frame, 0)
    assert extent is not None
    return frame[extent[0] :].decode()


def client_frame(payload: str | bytes, key: bytes) -> bytes:
    """A whole message in one frame, masked with the four bytes of `key`."""
    if isinstance(payload, str):
        data, first = payload.encode(), 0x81
    else:
        data, first = payload, 0x82
    return b"%b%b%b" % (_header(first, len(data), 0x80), key, xor(data, key))


def _header(first: int, length: int, mask_bit: int) -> bytes:
    if length < 126:
        return bytes((first, mask_bit | length))
    if length < 1 << 16:
        return struct.pack("!BBH", first, mask_bit | 126, length)
    return struct.pack("!BBQ", first, mask_bit | 127, length)


def frame_extent(data: bytes, start: int) -> tuple[int, int] | None:
    """The lengths of header and payload of the frame at `start`; None while the header does not tell yet.

    The header's length includes the masking key, which need not be there yet.
    """
    left = len(data) - start
    if left < 2:
        return None
    second = data[start + 1]
    header, length = (6 if second & 0x80 else 2), second & 0x7F
    if length < 126:
        return header, length
    if length == 126:
        return (header + 2, data[start + 2] << 8 | data[start + 3]) if left >= 4 else None
    return (header + 8, int.from_bytes(data[start + 2 : start + 10], "big")) if left >= 10 else None


def xor(data: bytes, key: bytes) -> bytes:
    """Mask or unmask: XOR `data` with the four bytes of `key`, over and over."""
    return xor_in_python(data, key) if mask is None else mask(key, data)


def xor_in_python(data: bytes, key: bytes) -> bytes:
    """`xor` without the extra `speedups`."""
    length = len(data)
    if length <= SMALL:
        repeated = (key * (length // 4 + 1))[:length]
        return (int.from_bytes(data, "little") ^ int.from_bytes(repeated, "little")).to_bytes(length, "little")
    result = bytearray(length)
    for offset, byte in enumerate(key):
        result[offset::4] = data[offset::4].translate(_table(byte))
    return bytes(result)


def _table(byte: int) -> bytes:
    table = _tables.get(byte)
    if table is None:
        table = _tables[byte] = bytes(each ^ byte for each in range(256))
    return table
