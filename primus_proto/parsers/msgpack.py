"""The MessagePack parser, as npm's ``primus-msgpack`` speaks it, over the package ``msgpack`` (extra ``msgpack``).

The laws kept here (protocol 1): a message is found to be whole before any of it is decoded, so that a declared length
makes nothing; a peer's keys are strings, so that it cannot choose hashes; extensions do not nest.
"""

from __future__ import annotations

import json
import re
import sys
from array import array
from datetime import datetime
from typing import Any

import msgpack

from ..errors import DecodeError, EncodeError
from ..limits import Limits
from .bounds import Bounded, check_nesting, too_deep, too_many
from .values import RegExp, from_milliseconds, to_milliseconds, to_regexp

__all__ = ["MsgpackParser"]

# The extension types of ``primus-msgpack``. Those of typed arrays, with the type codes of Python's arrays:
_ARRAYS = {0x11: "b", 0x13: "h", 0x14: "H", 0x15: "i", 0x16: "I", 0x17: "f", 0x18: "d"}
_ARRAY_TYPES = {code: number for number, code in _ARRAYS.items()}
_BYTES = {0x12, 0x19, 0x1A, 0x1B, 0x1D}  # Uint8Array, Uint8ClampedArray, ArrayBuffer, Buffer, DataView
_ERRORS = {0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x0E}
_REGEXP, _DATE = 0x0A, 0x0D
_BOXED: dict[int, tuple[type, ...]] = {0x0B: (bool,), 0x0C: (str,), 0x0F: (int, float)}  # new Boolean(true), …

# A message of at most so many bytes may declare what it likes; the package asks for no more elements than bytes.
_SHORT = 1024
_MAXIMA = dict.fromkeys(("max_str_len", "max_bin_len", "max_array_len", "max_map_len", "max_ext_len"), 2**32 - 1)
_NO_CONTAINER = bytes(set(range(256)) - {*range(0x80, 0xA0), 0xDC, 0xDD, 0xDE, 0xDF})


class MsgpackParser(Bounded):
    """Encodes values as MessagePack in binary messages, with the extensions of ``primus-msgpack``.

    `limits` bound the values of a message and their nesting.
    """

    name = "msgpack"
    binary = True

    def encode(self, value: Any) -> bytes:
        """Encode a value.

        Raises EncodeError for what has no form in MessagePack, such as sets, naive datetimes, integers beyond 64 bits
        and lone surrogates, and for loops.
        """
        try:
            return msgpack.packb(value, default=_pack)  # type: ignore[no-any-return]
        except (TypeError, ValueError, OverflowError, BufferError, RecursionError) as error:
            raise EncodeError(f"cannot encode as MessagePack: {error}") from error

    def decode(self, data: str | bytes) -> Any:
        """Decode a binary message. Raises DecodeError for anything else, and beyond the limits."""
        if isinstance(data, str):
            raise DecodeError("a text message, where the parser `msgpack` has binary ones: another parser there?", data)
        data = bytes(data)
        try:
            if len(data) > _SHORT:
                _check_whole(data)
            value = self._unpack(data)
        except DecodeError:
            raise
        except (msgpack.StackError, RecursionError) as error:  # the package has a limit of its own
            raise too_deep(self._limits, data) from error
        except (TypeError, ValueError, MemoryError, msgpack.UnpackException) as error:
            raise DecodeError(f"not MessagePack: {error}", data) from error
        if len(data) > self._limits.nesting and len(data.translate(None, _NO_CONTAINER)) > self._limits.nesting:
            check_nesting(value, data, self._limits)
        return value

    def _unpack(self, data: bytes) -> Any:
        hooks: dict[str, Any] = {}
        if len(data) > self._limits.values:  # each value has a byte
            counter = _Counter(data, self._limits)
            hooks = {"list_hook": counter.take_list, "object_hook": counter.take_dict}
            hooks |= {"max_array_len": self._limits.values, "max_map_len": self._limits.values}
            hooks["ext_hook"] = counter.take_extension
        try:
            return msgpack.unpackb(data, timestamp=3, **{"ext_hook": _unpack_extension, **hooks})
        except ValueError as error:
            if "max_array_len" in str(error) or "max_map_len" in str(error):
                raise too_many(self._limits, data) from error
            if "map key" not in str(error):
                raise
        # Numbers as keys, which the original makes strings. Here they never are keys of a dict.
        counter = _Counter(data, self._limits)
        hooks = {"list_hook": counter.take_list, "object_pairs_hook": counter.take_pairs}
        return msgpack.unpackb(data, ext_hook=counter.take_extension, timestamp=3, strict_map_key=False, **hooks)


class _Counter:
    """Counts the values of a long message while they are made."""

    def __init__(self, data: bytes, limits: Limits) -> None:
        self._data = data
        self._limits = limits
        self._members = 1  # of what is complete
        self._containers = 0  # for members that are empty, and complete long before what they are in

    def _add(self, members: int) -> None:
        self._members += members
        self._containers += 1
        if max(self._members, self._containers) > self._limits.values:
            raise too_many(self._limits, self._data)

    def take_list(self, value: list[Any]) -> list[Any]:
        self._add(len(value))
        return value

    def take_dict(self, value: dict[str, Any]) -> dict[str, Any]:
        self._add(len(value))
        return value

    def take_extension(self, code: int, data: bytes) -> Any:
        value = _unpack_extension(code, data)
        if type(value) is dict:  # the fields of an error
            self._add(len(value))
        return value

    def take_pairs(self, pairs: list[tuple[Any, Any]]) -> dict[str, Any]:
        self._add(len(pairs))
        value: dict[str, Any] = {}
        for key, inner in pairs:
            if type(key) is int:
                key = str(key)
            elif key is None or type(key) in (bool, float):
                key = json.dumps(key)
            elif type(key) is not str:
                raise ValueError("the key of a map is no string")
            value[key] = inner
        return value


def _check_whole(data: bytes) -> None:
    """Raise ValueError unless all that is declared is there. It makes no values."""
    unpacker = msgpack.Unpacker(max_buffer_size=len(data), **_MAXIMA)
    unpacker.feed(data)
    try:
        unpacker.skip()
    except msgpack.OutOfData:
        raise ValueError("it ends too early") from None


def _pack(value: Any) -> msgpack.ExtType:
    """What the package does not know by itself."""
    if isinstance(value, datetime):
        return msgpack.ExtType(_DATE, msgpack.packb(to_milliseconds(value)))
    if isinstance(value, re.Pattern):
        value = to_regexp(value)
    if isinstance(value, RegExp):
        return msgpack.ExtType(_REGEXP, msgpack.packb([value.source, value.flags]))
    if isinstance(value, array) and value.typecode in _ARRAY_TYPES:
        return msgpack.ExtType(_ARRAY_TYPES[value.typecode], _little_endian(value).tobytes())
    if isinstance(value, int):
        raise OverflowError("an integer beyond 64 bits: write it as a string or a float")
    raise TypeError(f"MessagePack has no {type(value).__name__}")


def _unpack_extension(code: int, data: bytes) -> Any:
    if code in _BYTES:
        return data
    if code in _ARRAYS:
        return _little_endian(array(_ARRAYS[code], data))
    if code == _DATE:
        return from_milliseconds(_inner(data))
    if code in _BOXED:
        value = _inner(data)
        if isinstance(value, _BOXED[code]):
            return value
        raise ValueError(f"extension {code} with {type(value).__name__} in it")
    if code == _REGEXP:
        match _inner(data):
            case [str() as source, str() as flags]:
                return RegExp(source, flags)
            case [str() as source]:
                return RegExp(source)
        raise ValueError("a regular expression without a source and flags")
    if code in _ERRORS:
        fields = _inner(data)
        if isinstance(fields, dict):
            return fields
        raise ValueError("an error without fields")
    return msgpack.ExtType(code, data)


def _inner(data: bytes) -> Any:
    """What is in an extension: a few plain values, in which others are not decoded."""
    return msgpack.unpackb(data, max_array_len=2, max_map_len=len(_ERRORS), list_hook=_flat, object_hook=_flat)


def _flat(value: Any) -> Any:
    """A list or map of an extension, which has no others in it."""
    if any(type(inner) is list or type(inner) is dict for inner in (value.values() if type(value) is dict else value)):
        raise ValueError("lists or maps inside of those of an extension")
    return value


def _little_endian(values: array[Any]) -> array[Any]:
    if sys.byteorder == "big":
        values = values[:]
        values.byteswap()
    return values
