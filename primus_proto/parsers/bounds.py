"""What bounds the work of one message: how many values it has, and how deeply they are nested (protocol 7).

The law kept here: a message is refused before its values are made, wherever its encoding allows it.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable
from itertools import accumulate
from typing import Any, Self

from ..errors import DecodeError
from ..limits import Limits

__all__ = ["Bounded", "check_json", "check_nesting", "too_deep", "too_many"]

_NO_BRACKET = bytes(set(range(256)) - set(b'[]{}"'))
_NO_STRUCTURE = bytes(set(_NO_BRACKET) - set(b","))
_SQUARE = bytes.maketrans(b"{}", b"[]")
_STEPS = bytes.maketrans(b"[]", b"\x01\xff")
_PASSES = 16
_FEW = 4
_SHORT = 8 * 1024


class Bounded:
    """A parser that keeps to `Limits.values` and `Limits.nesting`."""

    def __init__(self, limits: Limits | None = None) -> None:
        self._limits = limits or Limits()

    def limited(self, limits: Limits) -> Self:
        """This parser if it has these limits, otherwise a copy that has them."""
        if limits == self._limits:
            return self
        other = object.__new__(type(self))
        other.__dict__.update(self.__dict__)
        other._limits = limits
        return other


def too_many(limits: Limits, data: str | bytes) -> DecodeError:
    """The error for a message with more than `Limits.values` values."""
    return DecodeError(f"more than {limits.values} values in one message (Limits.values)", data)


def too_deep(limits: Limits, data: str | bytes) -> DecodeError:
    """The error for a message whose values are nested more deeply than `Limits.nesting`."""
    return DecodeError(f"nested more than {limits.nesting} levels deep (Limits.nesting)", data)


def check_json(text: str, limits: Limits) -> None:
    """Raise DecodeError if a JSON text has too many values, or nests them too deeply.

    Valid JSON is measured exactly, with an empty list or object as two values. First come estimates that take almost no
    time and are enough for most texts.
    """
    opening = _count(text, "[") + _count(text, "{")
    many = len(text) > limits.values and opening + _count(text, ",") >= limits.values
    if not many and opening <= limits.nesting:
        return
    skeleton = _skeleton(text, limits, _NO_STRUCTURE if many else _NO_BRACKET)
    if many:
        if 1 + skeleton.count(b",") + skeleton.count(b"[") + skeleton.count(b"{") > limits.values:
            raise too_many(limits, text)
        skeleton = skeleton.replace(b",", b"")
    if _deeper_than(limits.nesting, skeleton.translate(_SQUARE)):
        raise too_deep(limits, text)


def _count(text: str, char: str) -> int:
    """`text.count(char)`. On a long text without the character, `find` takes a fiftieth of that."""
    if len(text) < _SHORT:
        return text.count(char)
    at = text.find(char)
    for found in range(_FEW):
        if at < 0:
            return found
        at = text.find(char, at + 1)
    return _FEW + text.count(char, at) if at >= 0 else _FEW


def _skeleton(text: str, limits: Limits, others: bytes) -> bytes:
    """A JSON text without its strings and without `others`: its brackets, and perhaps its commas."""
    if "\\" in text:
        text = text.replace("\\\\", "").replace('\\"', "")
    # Quotes open and close strings in turn, and still do so once two neighbours have been removed.
    skeleton = text.encode("utf-8", "surrogatepass").translate(None, others).replace(b'""', b"")
    quotes = skeleton.count(b'"')
    if quotes > 4 * limits.values:  # each value has at most two strings: a key, and itself
        raise too_many(limits, text)
    return b"".join(skeleton.split(b'"')[::2]) if quotes else skeleton


def _deeper_than(levels: int, brackets: bytes) -> bool:
    """Whether balanced brackets are nested more than `levels` deep."""
    for _ in range(_PASSES):
        if len(brackets) <= 2 * levels:
            return False
        brackets = brackets.replace(b"[]", b"")  # one level less
        levels -= 1
    return max(accumulate(array("b", brackets.translate(_STEPS))), default=0) > levels


def check_nesting(value: Any, data: str | bytes, limits: Limits) -> None:
    """Raise DecodeError if a value is nested too deeply: for encodings whose depth only shows once they are decoded."""
    level: list[Any] = [value]
    for _ in range(limits.nesting):
        level = [inner for each in level for inner in _inside(each) if type(inner) is list or type(inner) is dict]
        if not level:
            return
    raise too_deep(limits, data)


def _inside(value: Any) -> Iterable[Any]:
    if type(value) is dict:
        return value.values()
    return value if type(value) is list else ()
