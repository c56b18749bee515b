"""The JSON parser, which accepts exactly what JavaScript's JSON accepts (protocol 1).

With the extra ``speedups`` the same parser uses orjson. What orjson refuses goes to Python's own json, which decides.
"""

from __future__ import annotations

import json
import marshal
import math
import re
from enum import Enum
from json.encoder import encode_basestring
from typing import Any, NoReturn, Self

from ..errors import STOPPING, DecodeError, EncodeError
from ..limits import Limits
from .bounds import Bounded, check_json

try:
    import orjson
except ImportError:  # the extra is not installed
    HAS_ORJSON = False
else:
    HAS_ORJSON = True

__all__ = ["FastJSONParser", "JSONParser", "make_json"]

_RESERVED = b'"primus::'
_WITHOUT_FLOATS = {str, int, bool, type(None)}
# They look for their last byte, which is rare, and only then behind it. The other way takes several times as long.
_NOT_FINITE = [re.compile(rb"%b(?<=[g\xe7].{6}[\xf0-\xff]%b)" % (last, last), re.DOTALL) for last in (b"\x7f", b"\xff")]
_SURROGATE = re.compile("[\ud800-\udfff]")


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _finite(text: str) -> float:
    number = float(text)
    if math.isinf(number):
        raise ValueError(f"{text[:40]} is too large for a number")
    return number


def _unknown(value: object) -> NoReturn:
    raise TypeError(f"Object of type {type(value).__name__} is not JSON serializable")


def _reserved(data: bytes) -> EncodeError:
    text = data[:80].decode(errors="replace")
    return EncodeError(f"strings that start with 'primus::' are reserved for the protocol: {text}")


def _unchecked(limits: Limits) -> int:
    """A text of at most so many characters is within both limits."""
    return min(limits.values, 2 * limits.nesting)


class JSONParser(Bounded):
    """Encodes values as JSON in text messages. A binary message is passed on as bytes, undecoded.

    `limits` bound the values of a message and their nesting.
    """

    name = "JSON"
    binary = False

    def __init__(self, limits: Limits | None = None) -> None:
        super().__init__(limits)
        self._unchecked = _unchecked(self._limits)
        # json.loads and json.dumps would build a scanner and an encoder for each message.
        self._decoder = json.JSONDecoder(parse_constant=_no_constant, parse_float=_finite)
        self._scan = self._decoder.scan_once  # type: ignore[attr-defined]  # typeshed leaves it out
        make = getattr(json.encoder, "c_make_encoder", None)  # CPython's; other interpreters have their own way
        # Without markers, which find circles but are shared by all calls: a circle ends as too deep a nesting does.
        self._fast = make and make(None, _unknown, encode_basestring, None, ":", ",", False, False, False)
        self._slow = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode

    def __reduce__(self) -> tuple[type[JSONParser], tuple[Limits]]:
        return type(self), (self._limits,)  # what a scanner and an encoder are made of cannot be copied

    def limited(self, limits: Limits) -> Self:
        """See `Bounded.limited`."""
        other = super().limited(limits)
        other._unchecked = _unchecked(limits)
        return other

    def encode(self, value: Any) -> str:
        """Encode as compact JSON. Raises EncodeError for bytes, sets, NaN, infinities and loops."""
        try:
            if type(value) is str:
                text = encode_basestring(value)
            else:
                text = "".join(self._fast(value, 0)) if self._fast is not None else self._slow(value)
        except (TypeError, ValueError, RecursionError) as error:
            hint = "; JSON has no bytes" if isinstance(value, bytes | bytearray | memoryview) else ""
            raise EncodeError(f"cannot encode as JSON: {error}{hint}") from error
        return text if text.isascii() else _escaped(text)

    def encode_text(self, value: Any) -> bytes:
        """Encode a value of an application in UTF-8. Raises EncodeError whatever fails, and for reserved strings."""
        try:
            data = JSONParser.encode(self, value).encode()
        except (EncodeError, *STOPPING):
            raise
        except BaseException as error:  # of the value's own methods
            raise EncodeError(f"the parser failed: {error!r}") from error
        if data[0] == 34 and data.startswith(_RESERVED):
            raise _reserved(data)
        return data

    def decode(self, data: str | bytes) -> Any:
        """Decode a text message; return the bytes of a binary one.

        Raises DecodeError for text that is not JSON, or goes beyond the limits.
        """
        if not isinstance(data, str):
            return data
        if len(data) > self._unchecked:
            check_json(data, self._limits)
        try:
            value, end = self._scan(data, 0)
            if end == len(data):
                return value
        except StopIteration:
            pass  # whitespace in front, or nothing: for the decoder to say
        except (ValueError, RecursionError) as error:
            raise DecodeError(f"not JSON: {error}", data) from error
        try:
            return self._decoder.decode(data)
        except (ValueError, RecursionError) as error:
            raise DecodeError(f"not JSON: {error}", data) from error


class FastJSONParser(JSONParser):
    """`JSONParser` by orjson, with the same messages and values.

    It differs in integers of 2**64 and more, which it reads as floats, and in enums and UUIDs, which it writes.
    """

    def __init__(self, limits: Limits | None = None) -> None:
        super().__init__(limits)
        passed_on = orjson.OPT_PASSTHROUGH_DATACLASS | orjson.OPT_PASSTHROUGH_DATETIME | orjson.OPT_PASSTHROUGH_SUBCLASS
        self._options = passed_on  # to us, so that they are refused

    def encode(self, value: Any) -> str:
        """See `JSONParser.encode`."""
        if type(value) is str:  # it may be one of the protocol's own
            return JSONParser.encode(self, value)
        return self.encode_text(value).decode()

    def encode_text(self, value: Any) -> bytes:
        """See `JSONParser.encode_text`."""
        try:
            data = orjson.dumps(value, option=self._options)
        except TypeError:  # of orjson.JSONEncodeError too: what it cannot write, such as a lone surrogate
            return super().encode_text(value)
        # It writes NaN as null. (For so little text `partition` is quicker than `find` and `in`.)
        if data.partition(b"null")[1] and not (_seems_finite(value) or _is_finite(value)):
            return super().encode_text(value)
        if data[0] == 34 and data.startswith(_RESERVED):
            raise _reserved(data)
        return data if data.isascii() else _escaped(data.decode()).encode()

    def decode(self, data: str | bytes) -> Any:
        """See `JSONParser.decode`."""
        if not isinstance(data, str):
            return data
        if len(data) > self._unchecked:
            check_json(data, self._limits)
        try:
            return orjson.loads(data)
        except ValueError:  # what it cannot read, such as a lone surrogate
            return super().decode(data)


def _seems_finite(value: Any) -> bool:
    """Whether there is certainly neither NaN nor an infinity in a value; False if that is not known.

    `marshal` writes a float as "g", marked or not, and its bytes, of which the last two have the bits of the exponent.
    To walk through the value would take several times as long.
    """
    try:
        data = marshal.dumps(value, 4)
    except ValueError:  # it has something that only orjson can write
        return False
    return (data.find(0x7F) < 0 and data.find(0xFF) < 0) or not any(each.search(data) for each in _NOT_FINITE)


def _is_finite(value: Any) -> bool:
    """Whether there is neither NaN nor an infinity in a value that orjson has written, so that it is not deep."""
    kind = type(value)
    if kind is float:
        return math.isfinite(value)
    if kind is dict:
        value = value.values()
    elif isinstance(value, Enum):
        return _is_finite(value.value)
    elif kind is not list and kind is not tuple:
        return True
    return all(type(inner) in _WITHOUT_FLOATS or _is_finite(inner) for inner in value)


def make_json(limits: Limits | None = None) -> JSONParser:
    """The faster of the two parsers that can be had here."""
    return FastJSONParser(limits) if HAS_ORJSON else JSONParser(limits)


def _escaped(text: str) -> str:
    """Escape what JSON allows and a text frame, or the JavaScript that older peers evaluate, does not."""
    text = text.replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")
    try:
        text.encode()
    except UnicodeEncodeError:  # a lone surrogate, as a cut emoji has it
        text = _SURROGATE.sub(lambda match: f"\\u{ord(match[0]):04x}", text)
    return text
