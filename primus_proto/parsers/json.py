"""The JSON parser, which accepts exactly what JavaScript's JSON accepts (protocol 1)."""

from __future__ import annotations

import json
import math
from typing import Any, NoReturn

from ..errors import DecodeError, EncodeError

__all__ = ["JSONParser"]


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _finite(text: str) -> float:
    number = float(text)
    if math.isinf(number):
        raise ValueError(f"{text[:40]} is too large for a number")
    return number


class JSONParser:
    """Encodes values as JSON in text messages. A binary message is passed on as bytes, undecoded."""

    name = "JSON"
    binary = False

    def __init__(self) -> None:
        # json.dumps(separators=...) and json.loads(parse_float=...) would build one of these for each message.
        self._encode = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode
        self._decode = json.JSONDecoder(parse_constant=_no_constant, parse_float=_finite).decode

    def encode(self, value: Any) -> str:
        """Encode as compact JSON. Raises EncodeError for what JSON has no form for.

        That is: bytes, sets, NaN and infinities, loops, and lone surrogates.
        """
        try:
            text = self._encode(value)
            if not text.isascii():
                text.encode()  # a lone surrogate cannot travel in a text frame
                # Valid in JSON, but line ends in JavaScript, as which older peers evaluate the text.
                text = text.replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")
        except (TypeError, ValueError, RecursionError) as error:
            hint = "; JSON has no bytes" if isinstance(value, bytes | bytearray | memoryview) else ""
            raise EncodeError(f"cannot encode as JSON: {error}{hint}") from error
        return text

    def decode(self, data: str | bytes) -> Any:
        """Decode a text message; return the bytes of a binary one. Raises DecodeError for text that is not JSON."""
        if not isinstance(data, str):
            return data
        try:
            value = self._decode(data)
            if "\\ud" in data or "\\uD" in data:
                self._encode(value).encode()  # refuses lone surrogates, wherever they are
        except (ValueError, RecursionError) as error:
            raise DecodeError(f"not JSON: {error}", data) from error
        return value
