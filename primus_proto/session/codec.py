"""Values to messages and back, through whatever parser is set: the one place where a parser's code runs.

The law kept here: a parser is the application's code, so whatever it raises is turned into `EncodeError` for the
caller of `write`, or `DecodeError` for an event; nothing else comes out.
"""

from __future__ import annotations

from typing import Any, TypeVar

from ..errors import DecodeError, EncodeError
from ..parsers import Parser
from .messages import Message, ProtocolMessage, is_reserved

__all__ = ["decode", "encode", "encode_protocol"]

M = TypeVar("M", bound=Message)


def encode(parser: Parser, value: Any) -> Message:
    """Encode an application's value; EncodeError for a reserved string or what the parser refuses (protocol 1)."""
    if is_reserved(value):
        raise EncodeError(f"strings that start with 'primus::' are reserved for the protocol: {value[:80]!r}")
    return _encode(parser, value, Message)


def encode_protocol(parser: Parser, text: str) -> ProtocolMessage:
    """Encode one of the protocol's own strings; EncodeError where the parser refuses it."""
    return _encode(parser, text, ProtocolMessage)


def _encode(parser: Parser, value: Any, kind: type[M]) -> M:
    try:
        return kind(parser.encode(value))
    except EncodeError:
        raise
    except Exception as error:
        raise EncodeError(f"the parser failed: {error!r}") from error


def decode(parser: Parser, data: str | bytes) -> Any:
    """Decode one incoming message; DecodeError where it cannot be."""
    try:
        return parser.decode(data)
    except DecodeError:
        raise
    except Exception as error:
        raise DecodeError(f"the parser failed: {error!r}", data) from error
