"""Frames of SockJS, and the arrays that carry what its clients send (protocol 9.2)."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from ...errors import DecodeError
from ...limits import Limits
from ...parsers.json import JSONParser, make_json
from ...session.messages import Message

__all__ = [
    "HEARTBEAT", "OPEN", "Frame", "array_frame", "body_limit", "client_array", "close_frame", "messages_array",
    "messages_frame", "read_frame", "strings",
]  # fmt: skip

OPEN, HEARTBEAT = b"o", b"h"

SPACE = re.compile(r"[ \t\n\r]*")
DECODER = json.JSONDecoder()
SHORT = 4096  # characters of an array for which it is not worth while to look for a parser


def quoted(payload: str | bytes) -> bytes:
    """A message as a string of JSON in ASCII, which every way of SockJS carries unchanged."""
    assert isinstance(payload, str)  # the configuration refuses parsers that make bytes
    return json.dumps(payload).encode("ascii")


def messages_frame(messages: Iterable[Message]) -> bytes:
    """The frame that carries messages."""
    return b"a" + messages_array(messages)


def array_frame(payload: str | bytes) -> str:
    """The frame that carries one message, as text."""
    return f"a[{json.dumps(payload)}]"


def close_frame(code: int, reason: str) -> bytes:
    """The frame that ends a session."""
    if code == 1000 and not reason:
        reason = "Normal closure"
    return f"c[{code},{json.dumps(reason)}]".encode("ascii")


def strings(text: str, limits: Limits) -> list[str]:
    """The strings of an array. Raises ValueError where it is none, or beyond `Limits.values`."""
    if len(text) <= SHORT:
        return list(_strings(text))
    value = _decoded(text, limits)
    if type(value) is not list or not all(type(each) is str for each in value):
        raise ValueError("not an array of strings")
    return value


def _decoded(text: str, limits: Limits) -> Any:
    try:
        return _parser(limits).decode(text)
    except DecodeError as error:
        raise ValueError(str(error)) from error


@lru_cache(8)
def _parser(limits: Limits) -> JSONParser:
    return make_json(limits)


def _strings(text: str) -> Iterator[str]:
    at = _skip(text, 0)
    if text[at : at + 1] != "[":
        raise ValueError("not an array")
    at = _skip(text, at + 1)
    if text[at : at + 1] == "]":
        at += 1
    else:
        while True:
            if text[at : at + 1] != '"':
                raise ValueError("not a string")
            value, at = DECODER.raw_decode(text, at)
            yield value
            at = _skip(text, at) + 1
            if text[at - 1 : at] == "]":
                break
            if text[at - 1 : at] != ",":
                raise ValueError("the array does not end")
            at = _skip(text, at)
    if _skip(text, at) != len(text):
        raise ValueError("something follows the array")


def _skip(text: str, at: int) -> int:
    match = SPACE.match(text, at)
    return at if match is None else match.end()


def body_limit(limits: Limits) -> int:
    """The largest body, or WebSocket message, that is read: quoting a message makes it up to three times as long."""
    return max(limits.body, 3 * limits.message + 16)


@dataclass(slots=True)
class Frame:
    """A frame that a server sent. One without any of these is a heartbeat."""

    opens: bool = False
    close: tuple[int, str] | None = None
    texts: list[str] | None = None
    """The messages."""


def read_frame(text: str, limits: Limits) -> Frame:
    """Read a frame. Raises ValueError for what is none."""
    kind = text[:1]
    if kind == "a":
        return Frame(texts=strings(text[1:], limits))
    if kind == "m":
        return Frame(texts=strings(f"[{text[1:]}]", limits))
    if kind == "c":
        match _decoded(text[1:], limits) if len(text) < 1000 else None:
            case [int(code), str(reason)] if 1000 <= code <= 4999:
                # Without half surrogate pairs, which JSON has and the close frame of a WebSocket has not.
                return Frame(close=(code, reason.encode(errors="replace").decode()))
    elif kind in ("o", "h"):
        return Frame(opens=kind == "o")
    raise ValueError("not a frame")


def messages_array(messages: Iterable[Message]) -> bytes:
    """What a client sends."""
    return b"[" + b",".join(message.framed("sockjs", quoted) for message in messages) + b"]"


def client_array(payload: str | bytes) -> str:
    """What a client sends to carry one message, as text."""
    return f"[{json.dumps(payload)}]"
