"""`Link`: what a spark and a client do alike with the messages of one connection, coming in and going out.

The laws kept here: a parser is the application's code, so whatever it raises becomes an `EncodeError` for the caller of
`write`, or a `DecodeError` in an event; protocol messages never reach the application as data; and a peer that does not
read costs at most one pending reply of each kind.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import Any

from ..errors import DecodeError, EncodeError, PrimusError
from ..parsers import Parser
from ..transports.pipe import Pipe
from .messages import PREFIX, Message, ProtocolMessage, parse_protocol_message, protocol_message

__all__ = ["Link", "encode", "encode_protocol"]


def encode(parser: Parser, value: Any) -> Message:
    """Encode an application's value; EncodeError for a reserved string or what the parser refuses (protocol 1)."""
    if isinstance(value, str) and value.startswith(PREFIX):
        raise EncodeError(f"strings that start with 'primus::' are reserved for the protocol: {value[:80]!r}")
    try:
        return Message(parser.encode(value))
    except EncodeError:
        raise
    except Exception as error:
        raise EncodeError(f"the parser failed: {error!r}") from error


def encode_protocol(parser: Parser, text: str) -> ProtocolMessage:
    """Encode one of the protocol's own strings; EncodeError where the parser refuses it."""
    try:
        return ProtocolMessage(parser.encode(text))
    except EncodeError:
        raise
    except Exception as error:
        raise EncodeError(f"the parser failed: {error!r}") from error


class Link(ABC):
    """One end of a session: decoding, protocol messages, the high-water mark, pending replies and what was dropped.

    A subclass says whose parser and limits apply, and which events tell of what happens.
    """

    __slots__ = ("_limit", "_pending", "needs_drain", "parser")

    def __init__(self, parser: Parser, limit: int) -> None:
        self.parser: Parser = parser
        """What encodes and decodes its messages."""
        self._limit = limit  # of unsent bytes; half of it is the high-water mark
        self.needs_drain = False
        """Whether unsent bytes passed half of their limit: wait for the `drain` event before you write more."""
        self._pending: dict[str, Message] | None = None  # replies that wait for the backlog to fall, by name

    # --- what a subclass has ---

    @property
    @abstractmethod
    def buffered(self) -> int:
        """Bytes written that have not left the core."""

    @abstractmethod
    def _data(self, value: Any, size: int) -> None:
        """Tell of a message that arrived."""

    @abstractmethod
    def _protocol(self, name: str, value: str, now: float) -> bool:
        """Act on a protocol message. False: it is unknown, or makes no sense now."""

    @abstractmethod
    def _ignored(self, text: str) -> None:
        """Tell of a protocol message that was ignored."""

    @abstractmethod
    def _error(self, error: PrimusError) -> None:
        """Tell of an error."""

    @abstractmethod
    def _drain(self) -> None:
        """Tell that there is room again."""

    @abstractmethod
    def _dropped(self, payloads: tuple[str | bytes, ...], why: str) -> None:
        """Tell of messages that will not be sent."""

    # --- incoming ---

    def _receive(self, data: str | bytes, now: float) -> None:
        """Decode one message, and tell of it or act on it."""
        try:
            value = self.parser.decode(data)
        except Exception as error:
            if not isinstance(error, DecodeError):
                failed, error = error, DecodeError(f"the parser failed: {error!r}", data)
                error.__cause__ = failed
            self._error(error)
            return
        if type(value) is str and value.startswith(PREFIX):
            parsed = parse_protocol_message(value)
            if parsed is None or not self._protocol(*parsed, now):
                self._ignored(value)
        else:
            self._data(value, len(data))

    # --- outgoing ---

    def _send(self, pipe: Pipe, message: Message) -> None:
        """Send a message, and note whether there is room for more."""
        if pipe.send(message) > self._limit // 2:
            self.needs_drain = pipe.high = True

    def _say(self, pipe: Pipe, name: str, value: str) -> None:
        """Send ``primus::<name>::<value>``.

        A peer with much on its way to it is slow, not dead, so it is answered later. Of each kind only the last reply
        is kept for that.
        """
        message = self._protocol_message(protocol_message(name, value))
        if message is None:
            return
        if pipe.buffered > self._limit:
            self._pending = {**(self._pending or {}), name: message}
        else:
            self._send(pipe, message)

    def _protocol_message(self, text: str) -> Message | None:
        """Encode one of the protocol's own strings; None, and an error told, where the parser refuses it."""
        try:
            return encode_protocol(self.parser, text)
        except EncodeError as error:
            self._error(error)
            return None

    def _drained(self, pipe: Pipe | None) -> None:
        """Unsent bytes have fallen: tell so once they are at the high-water mark, and send the pending replies."""
        if not self.needs_drain or self.buffered > self._limit // 2:
            return
        self.needs_drain = False
        self._drain()
        if pipe is not None:
            pipe.high = False
            pending, self._pending = self._pending, None
            for message in pending.values() if pending else ():
                self._send(pipe, message)

    def _report_dropped(self, payloads: Iterable[str | bytes], why: str) -> None:
        dropped = tuple(payloads)
        if dropped:
            self._dropped(dropped, why)
