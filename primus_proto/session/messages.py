"""Protocol messages, and `Message`, a value that is encoded once for all receivers. The rules are in protocol 1."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

__all__ = [
    "MESSAGE_OVERHEAD",
    "NOTHING",
    "PREFIX",
    "PREFIX_END",
    "SERVER_CLOSE",
    "Message",
    "ProtocolMessage",
    "protocol_message",
]

PREFIX = "primus::"
PREFIX_END = "primus:;"
"""`PREFIX <= text < PREFIX_END` says the same of a string as `text.startswith(PREFIX)`, in less time."""
SERVER_CLOSE = "primus::server::close"

# The longest heartbeat value that is echoed. Real peers send at most 13 digits.
MAX_VALUE = 64

# What a message costs in memory besides its payload, as measured on CPython: the objects and their place in a list.
MESSAGE_OVERHEAD = 144


class _Nothing:
    """The type of `NOTHING`."""

    def __repr__(self) -> str:
        return "NOTHING"

    __reduce__ = __repr__  # a copy is the same object


NOTHING: Final = _Nothing()
"""Stands for "no message" where None would be one."""


def protocol_message(name: str, value: str) -> str:
    """The string ``primus::<name>::<value>``."""
    return f"{PREFIX}{name}::{value}"


class Message:
    """One encoded message: the `payload` that the parser made, and its framings, each made at most once.

    Its `size` is what it costs in memory: the bytes of the payload and `MESSAGE_OVERHEAD`.

    A broadcast gives the same `Message` to every spark. So a transport wraps and frames it once for all of them, under
    a key such as its name.
    """

    __slots__ = ("frame", "framing", "others", "payload", "size")

    def __init__(self, payload: str | bytes) -> None:
        self.payload = payload
        # What counts against limits. ASCII text, the usual case, is as long as its UTF-8 form.
        if type(payload) is str or isinstance(payload, str):
            size = (len(payload) if payload.isascii() else len(payload.encode())) + MESSAGE_OVERHEAD
        elif isinstance(payload, bytes):
            size = len(payload) + MESSAGE_OVERHEAD
        else:
            raise TypeError(f"a parser must make str or bytes, not {type(payload).__name__}")
        self.size: int = size
        self.framing: str | None = None
        """The first framing, which most often is the only one. Then `frame` is this message in it."""
        self.others: tuple[dict[str, bytes], dict[str, Message]] | None = None  # other framings, and wrappings

    def wrapped(self, kind: str, make: Callable[[str | bytes], str | bytes]) -> Message:
        """This message in a packet of a transport, called `kind`. `make(payload)` is called the first time only.

        The result is a message too, whose frames are also made once.
        """
        if self.others is None:
            self.others = ({}, {})
        _, wrappings = self.others
        wrapping = wrappings.get(kind)
        if wrapping is None:
            wrapping = wrappings[kind] = Message(make(self.payload))
        return wrapping

    def framed(self, kind: str, make: Callable[[str | bytes], bytes]) -> bytes:
        """The bytes of this message in the framing `kind`; made by `make(payload)` the first time."""
        if self.framing is None:
            self.framing = kind
            self.frame: bytes = make(self.payload)
            return self.frame
        if self.framing == kind:
            return self.frame
        if self.others is None:
            self.others = ({}, {})
        frames, _ = self.others
        frame = frames.get(kind)
        if frame is None:
            frame = frames[kind] = make(self.payload)
        return frame


class ProtocolMessage(Message):
    """A message of the protocol. The application did not write it, so its loss is not reported."""

    __slots__ = ()
