"""The EJSON parser, as npm's ``ejson`` speaks it: JSON, with dates, bytes, NaN and more as objects with a ``$`` key.

The law kept here: what EJSON would read as a date and is none is escaped, so that what goes out comes back.
"""

from __future__ import annotations

import base64
import binascii
import math
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, Self

from ..errors import ConfigError, DecodeError, EncodeError
from ..limits import Limits
from .bounds import Bounded
from .json import JSONParser
from .values import RegExp, from_milliseconds, to_milliseconds, to_regexp

__all__ = ["EJSONParser", "EJSONType"]

# Objects with exactly these keys have a meaning.
_SPECIAL = (
    frozenset({"$date"}),
    frozenset({"$binary"}),
    frozenset({"$InfNaN"}),
    frozenset({"$escape"}),
    frozenset({"$regexp", "$flags"}),
    frozenset({"$type", "$value"}),
)
_DATE, _BINARY, _INF_NAN, _ESCAPE, _REGEXP, _CUSTOM = _SPECIAL


@dataclass(frozen=True, slots=True)
class EJSONType:
    """A type of your own, as ``EJSON.addType`` has it."""

    name: str
    """What ``typeName()`` returns at the other end."""
    type: type[Any]
    """The class whose objects, and those of its subclasses, are written so."""
    dump: Callable[[Any], Any]
    """Makes plain JSON of an object, as ``toJSONValue()`` does. Dates in it are not converted."""
    load: Callable[[Any], Any]
    """Makes an object of plain JSON that a peer sent. An exception becomes a DecodeError."""


class EJSONParser(Bounded):
    """Encodes values as EJSON in text messages.

    `types` are those of your own. `limits` bound the values of a message and their nesting.
    """

    name = "EJSON"
    binary = False

    def __init__(self, *, types: Iterable[EJSONType] = (), limits: Limits | None = None) -> None:
        super().__init__(limits)
        self._types = tuple(types)
        self._by_name = {each.name: each for each in self._types}
        if len(self._by_name) < len(self._types):
            raise ConfigError("two types of EJSONParser have the same name")
        # Not the faster one, which writes enums and UUIDs, and reads large integers as floats.
        self._json = JSONParser(limits)

    def limited(self, limits: Limits) -> Self:
        """See `Bounded.limited`."""
        other = super().limited(limits)
        other._json = self._json.limited(limits)
        return other

    def encode(self, value: Any) -> str:
        """Encode as EJSON.

        Raises EncodeError for what EJSON has not, such as sets, naive datetimes and lone classes, and for loops.
        """
        try:
            text = self._json.encode(value)
        except EncodeError:
            text = "$"  # it may have dates, and the like
        if "$" not in text:
            return text
        try:
            plain = self._plain(value)
        except (TypeError, ValueError, RecursionError) as error:
            raise EncodeError(f"cannot encode as EJSON: {error}") from error
        return self._json.encode(plain)

    def decode(self, data: str | bytes) -> Any:
        """Decode a text message. Raises DecodeError for anything else, and beyond the limits."""
        if not isinstance(data, str):
            raise DecodeError("a binary message, where the parser `ejson` has text: another parser there?", data)
        value = self._json.decode(data)
        if "$" not in data and "\\u0024" not in data:
            return value
        try:
            return self._rich(value)
        except (TypeError, ValueError, RecursionError) as error:
            raise DecodeError(f"not EJSON: {error}", data) from error

    # --- to plain JSON ---

    def _plain(self, value: Any) -> Any:
        if isinstance(value, str | bool | int | None):
            return value
        if isinstance(value, float):
            if math.isfinite(value):
                return value
            return {"$InfNaN": 0 if math.isnan(value) else 1 if value > 0 else -1}
        for each in self._types:
            if isinstance(value, each.type):
                return {"$type": each.name, "$value": each.dump(value)}
        if isinstance(value, dict):
            plain = {}
            for key, inner in value.items():
                plain[key] = self._plain(inner)
            return {"$escape": plain} if plain.keys() in _SPECIAL else plain
        if isinstance(value, list | tuple):
            items = []
            for inner in value:
                items.append(self._plain(inner))
            return items
        if isinstance(value, datetime):
            return {"$date": to_milliseconds(value)}
        if isinstance(value, bytes | bytearray | memoryview):
            return {"$binary": base64.b64encode(bytes(value)).decode("ascii")}
        if isinstance(value, re.Pattern):
            value = to_regexp(value)
        if isinstance(value, RegExp):
            return {"$regexp": value.source, "$flags": value.flags}
        hint = "; make it a datetime with a time zone" if isinstance(value, date) else ""
        raise TypeError(f"EJSON has no {type(value).__name__}{hint}")

    # --- from plain JSON ---

    def _rich(self, value: Any) -> Any:
        """The value that plain JSON stands for. It changes lists and dicts in place, and recurses once for a level."""
        if type(value) is dict:
            if len(value) <= 2 and value.keys() in _SPECIAL:
                if value.keys() != _ESCAPE:
                    return self._special(value)
                value = value["$escape"]
                if type(value) is not dict:
                    raise ValueError("$escape without an object")
            for key, inner in value.items():
                if type(inner) is dict or type(inner) is list:
                    value[key] = self._rich(inner)
        elif type(value) is list:
            for index, inner in enumerate(value):
                if type(inner) is dict or type(inner) is list:
                    value[index] = self._rich(inner)
        return value

    def _special(self, value: Mapping[str, Any]) -> Any:
        keys = value.keys()
        if keys == _DATE:
            return from_milliseconds(value["$date"])
        if keys == _BINARY:
            return _unpack_base64(value["$binary"])
        if keys == _INF_NAN:
            sign = value["$InfNaN"]
            known = isinstance(sign, int | float) and sign != 0
            return (math.inf if sign > 0 else -math.inf) if known else math.nan
        if keys == _REGEXP:
            source, flags = value["$regexp"], value["$flags"]
            return RegExp(source, flags) if type(source) is str and type(flags) is str else value
        return self._custom(value["$type"], value["$value"])

    def _custom(self, name: Any, value: Any) -> Any:
        known = self._by_name.get(name) if type(name) is str else None
        if known is None:
            raise ValueError(f"there is no type {name!r:.80}: give it to EJSONParser(types=[...])")
        try:
            return known.load(value)
        except Exception as error:
            raise ValueError(f"type {name!r} cannot load it: {error!r}") from error


def _unpack_base64(text: object) -> bytes:
    if not isinstance(text, str):
        raise ValueError("$binary without a string")
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except (binascii.Error, ValueError) as error:
        raise ValueError(f"$binary without base 64: {error}") from None
