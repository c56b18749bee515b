"""Messages: what is reserved to the protocol, and `Message`, a value encoded once for every way it is sent.

Source of the rules: protocol 1, and 5 for the names of events.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

__all__ = [
    "NOTHING",
    "PREFIX",
    "SERVER_CLOSE",
    "Message",
    "ProtocolMessage",
    "is_reserved",
    "parse_protocol_message",
    "protocol_message",
    "reserved",
]

PREFIX = "primus::"
SERVER_CLOSE = "primus::server::close"

# A heartbeat's value is echoed, so its length is bounded: no real peer sends more than 13 digits.
MAX_VALUE = 64


EVENT_NAMES = frozenset({
    "close", "connection", "data", "destroy", "disconnection", "end", "error", "flatline", "heartbeat",
    "heartbeat-skipped", "initialised", "log", "offline", "online", "open", "plugin", "plugout", "readyStateChange",
    "reconnect", "reconnect failed", "reconnect scheduled", "reconnect timeout", "reconnected", "timeout",
})  # fmt: skip


class _Nothing:
    """The type of `NOTHING`."""

    def __repr__(self) -> str:
        return "NOTHING"


NOTHING: Final = _Nothing()
"""Stands for "no last message" where None would be a message."""


def is_reserved(value: object) -> bool:
    """Whether `value` is a string that only the protocol itself may send."""
    return isinstance(value, str) and value.startswith(PREFIX)


def reserved(name: str) -> bool:
    """Whether an application must not emit events of this name itself (protocol 5)."""
    return name in EVENT_NAMES or name.startswith(("incoming::", "outgoing::"))


def protocol_message(name: str, value: str) -> str:
    """The string ``primus::<name>::<value>``."""
    return f"{PREFIX}{name}::{value}"


def parse_protocol_message(text: str) -> tuple[str, str] | None:
    """Split ``primus::<name>::<value>`` into (name, value); None where it has no second ``::``.

    The value is everything after the second ``::`` and may itself contain colons.
    """
    name, separator, value = text[len(PREFIX) :].partition("::")
    return (name, value) if separator else None


class Message:
    """One encoded message: `payload` as the parser made it, and its framings, each made at most once.

    A broadcast hands one `Message` to every spark, so whatever frames or wraps it, under a key of its own such as the
    transport's name, does so once for all of them.
    """

    __slots__ = ("_framings", "_wrappings", "payload", "size")

    def __init__(self, payload: str | bytes) -> None:
        self.payload: str | bytes = payload
        # What counts against limits. ASCII text, nearly all there is, is as long as its UTF-8 form.
        if isinstance(payload, str):
            self.size: int = len(payload) if payload.isascii() else len(payload.encode())
        elif isinstance(payload, bytes):
            self.size = len(payload)
        else:
            raise TypeError(f"a parser must make str or bytes, not {type(payload).__name__}")
        self._framings: dict[str, bytes] | None = None
        self._wrappings: dict[str, Message] | None = None

    def wrapped(self, kind: str, make: Callable[[str | bytes], str | bytes]) -> Message:
        """This message in the packet `kind` of a transport; made by `make(payload)` the first time.

        What it returns is a message too, whose frames are made once: so a broadcast is packed and framed once for all.
        """
        wrappings = self._wrappings
        if wrappings is None:
            wrappings = self._wrappings = {}
        wrapping = wrappings.get(kind)
        if wrapping is None:
            wrapping = wrappings[kind] = Message(make(self.payload))
        return wrapping

    def framed(self, kind: str, make: Callable[[str | bytes], bytes]) -> bytes:
        """The bytes of this message in the framing `kind`; made by `make(payload)` the first time."""
        framings = self._framings
        if framings is None:
            framings = self._framings = {}
        frame = framings.get(kind)
        if frame is None:
            frame = framings[kind] = make(self.payload)
        return frame


class ProtocolMessage(Message):
    """A message of the protocol's own, which nobody wrote: its loss is not told of."""

    __slots__ = ()
