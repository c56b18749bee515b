"""Encoding: values to messages, and what goes wrong on the way. The rules are in protocol 1."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, TypeVar

from ..errors import STOPPING, DecodeError, EncodeError
from ..parsers import Parser
from ..parsers.json import FastJSONParser, JSONParser
from .messages import MESSAGE_OVERHEAD, PREFIX, PREFIX_END, Message, ProtocolMessage

__all__ = [
    "check_value",
    "decode_error",
    "encode",
    "encode_error",
    "encode_protocol",
    "is_asynchronous",
    "message_of",
    "text_encoder",
]

M = TypeVar("M", bound=Message)
new: Any = object.__new__


def is_asynchronous(parser: Parser) -> bool:
    """Whether a parser has to be awaited."""
    return inspect.iscoroutinefunction(parser.encode) or inspect.iscoroutinefunction(parser.decode)


def text_encoder(parser: Parser) -> Callable[[Any], bytes] | None:
    """The function of one of our parsers that encodes a value of the application as a text in UTF-8."""
    # A subclass, or an object with a function of its own, may have another way to encode.
    if type(parser) in (JSONParser, FastJSONParser) and "encode" not in vars(parser):
        return parser.encode_text  # type: ignore[attr-defined,no-any-return]
    return None


def encode(parser: Parser, value: Any) -> Message:
    """Encode an application's value; EncodeError for a reserved string or what the parser refuses (protocol 1)."""
    if type(value) is str:
        if PREFIX <= value < PREFIX_END:
            check_value(value)
    elif isinstance(value, str):
        check_value(value)
    try:
        payload = parser.encode(value)
        if type(payload) is not str:
            return message_of(Message, payload, parser)
        message: Message = new(Message)  # what Message(payload) does, in a third of the time
        message.payload = payload
        message.size = (len(payload) if payload.isascii() else len(payload.encode())) + MESSAGE_OVERHEAD
        message.framing = message.others = None
        return message
    except (EncodeError, *STOPPING):
        raise
    except BaseException as error:
        raise encode_error(error) from error


def encode_protocol(parser: Parser, text: str) -> ProtocolMessage:
    """Encode one of the protocol's own strings; EncodeError where the parser refuses it."""
    try:
        payload = parser.encode(text)
        return ProtocolMessage(payload) if type(payload) is str else message_of(ProtocolMessage, payload, parser)
    except (EncodeError, *STOPPING):
        raise
    except BaseException as error:
        raise encode_error(error) from error


def check_value(value: object) -> None:
    """Raise EncodeError for a string that is reserved for the protocol (protocol 1)."""
    if isinstance(value, str) and str.startswith(value, PREFIX):
        raise EncodeError(f"strings that start with 'primus::' are reserved for the protocol: {value[:80]!r}")


def encode_error(error: BaseException) -> EncodeError:
    """What a parser raised, as an EncodeError."""
    if isinstance(error, EncodeError):
        return error
    failed = EncodeError(f"the parser failed: {error!r}")
    failed.__cause__ = error
    return failed


def decode_error(error: BaseException, data: str | bytes) -> DecodeError:
    """What a parser raised, as a DecodeError."""
    if isinstance(error, DecodeError):
        return error
    failed = DecodeError(f"the parser failed: {error!r}", data)
    failed.__cause__ = error
    return failed


def message_of(kind: type[M], payload: str | bytes, parser: Parser) -> M:
    """Make a message of what a parser made. Raises TypeError for bytes of a parser that is not for binary messages."""
    if type(payload) is bytes and not parser.binary:
        raise TypeError("it made bytes, and is not `binary`")
    return kind(payload)
