"""The binary parser, as npm's ``binary-pack`` speaks it: like MessagePack of 2010, with strings apart from bytes.

The laws kept here (protocol 1): a declared length is compared with what is there before anything is made of it, and no
input makes the decoder recurse.
"""

from __future__ import annotations

import struct
from typing import Any

from ..errors import DecodeError, EncodeError
from ..limits import Limits
from .bounds import Bounded, too_deep, too_many

__all__ = ["BinaryParser"]

_DOUBLE = struct.Struct(">Bd").pack
_UINT32 = 1 << 32
_BYTE = [bytes((each,)) for each in range(256)]

# The tags whose value has a fixed size: how many bytes, and how to read them.
_NUMBERS = {
    0xCA: (4, struct.Struct(">f").unpack_from),
    0xCB: (8, struct.Struct(">d").unpack_from),
    0xCC: (1, struct.Struct(">B").unpack_from),
    0xCD: (2, struct.Struct(">H").unpack_from),
    0xCE: (4, struct.Struct(">I").unpack_from),
    0xCF: (8, struct.Struct(">Q").unpack_from),
    0xD0: (1, struct.Struct(">b").unpack_from),
    0xD1: (2, struct.Struct(">h").unpack_from),
    0xD2: (4, struct.Struct(">i").unpack_from),
    0xD3: (8, struct.Struct(">q").unpack_from),
}
# JavaScript's undefined has several tags; Python has None.
_CONSTANTS = {0xC0: None, 0xC1: None, 0xC2: False, 0xC3: True, 0xD4: None, 0xD5: None, 0xD6: None, 0xD7: None}
# The tags that a length follows: what they begin, and how many bytes the length has.
_OBJECT, _LIST, _BYTES, _STRING = 0x80, 0x90, 0xA0, 0xB0  # with up to 15 of them, the first four bits of a tag
_LENGTHS = {
    0xD8: (_STRING, 2),
    0xD9: (_STRING, 4),
    0xDA: (_BYTES, 2),
    0xDB: (_BYTES, 4),
    0xDC: (_LIST, 2),
    0xDD: (_LIST, 4),
    0xDE: (_OBJECT, 2),
    0xDF: (_OBJECT, 4),
}


class _Bad(Exception):
    """The message is not what it should be."""


class BinaryParser(Bounded):
    """Encodes values as ``binary-pack`` does, in binary messages.

    `limits` bound the values of a message and their nesting.
    """

    name = "binary"
    binary = True

    def encode(self, value: Any) -> bytes:
        """Encode a value.

        Raises EncodeError for what ``binary-pack`` has not, such as sets and dates, for an integer that a double
        cannot hold, for lone surrogates, and for loops.
        """
        parts: list[bytes] = []
        try:
            _write(value, parts.append)
        except (TypeError, ValueError, OverflowError, RecursionError, struct.error) as error:
            raise EncodeError(f"cannot encode as binary: {error}") from error
        return b"".join(parts)

    def decode(self, data: str | bytes) -> Any:
        """Decode a binary message. Raises DecodeError for anything else, and beyond the limits."""
        if isinstance(data, str):
            raise DecodeError("a text message, where the parser `binary` has binary ones: another parser there?", data)
        data = bytes(data)
        try:
            return _read(data, self._limits)
        except (_Bad, UnicodeDecodeError) as error:
            raise DecodeError(f"not binary-pack: {error}", data) from error


def _write(value: Any, add: Any) -> None:
    kind = type(value)
    if kind is str:
        _write_string(value, add)
    elif kind is int:
        _write_int(value, add)
    elif value is None:
        add(b"\xc0")
    elif kind is bool:
        add(b"\xc3" if value else b"\xc2")
    elif kind is float:
        add(_DOUBLE(0xCB, value))
    elif isinstance(value, dict):
        _write_head(len(value), _OBJECT, 0xDE, add)
        for key, inner in value.items():
            if not isinstance(key, str):
                if type(key) is not int:
                    raise TypeError(f"the keys of an object are strings; got {key!r}")
                key = str(key)  # as JavaScript has it, and JSON
            _write_string(key, add)
            _write(inner, add)
    elif isinstance(value, list | tuple):
        _write_head(len(value), _LIST, 0xDC, add)
        for inner in value:
            _write(inner, add)
    elif isinstance(value, bytes | bytearray | memoryview):
        data = bytes(value)
        _write_head(len(data), _BYTES, 0xDA, add)
        add(data)
    elif isinstance(value, str):
        _write_string(value, add)
    elif isinstance(value, int):
        _write_int(int(value), add)
    elif isinstance(value, float):
        add(_DOUBLE(0xCB, value))
    else:
        raise TypeError(f"the parser `binary` has no {kind.__name__}: write numbers, strings, bytes, lists and dicts")


def _write_string(text: str, add: Any) -> None:
    data = text.encode()
    _write_head(len(data), _STRING, 0xD8, add)
    add(data)


def _write_head(length: int, short: int, long: int, add: Any) -> None:
    if length < 16:
        add(_BYTE[short + length])
    elif length < 0x10000:
        add(struct.pack(">BH", long, length))
    else:
        add(struct.pack(">BI", long + 1, length))


def _write_int(value: int, add: Any) -> None:
    if value >= 0:
        if value < 0x80:
            add(_BYTE[value])
        elif value < 0x100:
            add(bytes((0xCC, value)))
        elif value < 0x10000:
            add(struct.pack(">BH", 0xCD, value))
        elif value < _UINT32:
            add(struct.pack(">BI", 0xCE, value))
        else:
            _write_large(value, add)
    elif value >= -0x20:
        add(_BYTE[value & 0xFF])
    elif value >= -0x80:
        add(struct.pack(">Bb", 0xD0, value))
    elif value >= -0x8000:
        add(struct.pack(">Bh", 0xD1, value))
    elif value >= -0x80000000:
        add(struct.pack(">Bi", 0xD2, value))
    else:
        _write_large(value, add)


def _write_large(value: int, add: Any) -> None:
    """As a double: the original writes 64-bit integers, and cannot read them."""
    number = float(value)
    if number != value:
        raise ValueError("an integer that a double cannot hold exactly: write it as a string or a float")
    add(_DOUBLE(0xCB, number))


def _read(data: bytes, limits: Limits) -> Any:
    """The value of a message. It keeps a stack of its own, so that nesting costs no recursion."""
    at, end, count = 0, len(data), 1
    outer: list[tuple[Any, int, str | None]] = []  # the containers around `container`, with the same three of each
    container: Any = None  # the list or dict that is being filled,
    missing = 0  # how many of its values are still to come,
    key: str | None = None  # and if it is a dict, the key of the next one; None: comes next
    while True:
        if at >= end:
            raise _Bad("it ends too early")
        tag = data[at]
        at += 1
        kind = -1
        length = 0
        value: Any
        if tag < 0x80:
            value = tag
        elif tag >= 0xE0:
            value = tag - 0x100
        elif tag < 0xC0:
            kind, length = tag & 0xF0, tag & 0x0F
        elif tag in _CONSTANTS:
            value = _CONSTANTS[tag]
        elif tag in _NUMBERS:
            size, unpack = _NUMBERS[tag]
            if end - at < size:
                raise _Bad("it ends too early")
            value = unpack(data, at)[0]
            at += size
        elif tag in _LENGTHS:
            kind, size = _LENGTHS[tag]
            if end - at < size:
                raise _Bad("it ends too early")
            length = int.from_bytes(data[at : at + size], "big")
            at += size
        else:
            raise _Bad(f"there is no tag 0x{tag:02x}")
        if kind >= _BYTES:
            if length > end - at:
                raise _Bad("it ends too early")
            value = data[at : at + length]
            at += length
            if kind == _STRING:
                value = value.decode()
        elif kind >= 0:
            if (length if kind == _LIST else 2 * length) > end - at:  # each has at least a byte
                raise _Bad("it ends too early")
            count += length
            if count > limits.values:
                raise too_many(limits, data)
            if len(outer) >= limits.nesting:
                raise too_deep(limits, data)
            value = [] if kind == _LIST else {}
            if length:
                if container.__class__ is dict and key is None:
                    raise _Bad("a key of an object is no string")
                outer.append((container, missing, key))
                container, missing, key = value, length, None
                continue
        while container is not None:  # put it where it belongs
            if container.__class__ is list:
                container.append(value)
            elif key is None:
                if value.__class__ is int:
                    value = str(value)  # as the original has it
                elif value.__class__ is not str:
                    raise _Bad("a key of an object is no string")
                key = value
                break
            else:
                container[key] = value
                key = None
            missing -= 1
            if missing:
                break
            value = container
            container, missing, key = outer.pop()
        else:
            if at != end:
                raise _Bad(f"{end - at} bytes follow the value")
            return value
