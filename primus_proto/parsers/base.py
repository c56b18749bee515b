"""The interface of parsers."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Protocol, runtime_checkable

from ..limits import Limits

__all__ = ["AsyncParser", "LimitedParser", "Parser"]


@runtime_checkable
class Parser(Protocol):
    """Encodes and decodes messages. It must not wait, and must not keep state that a peer could make grow.

    An exception from `encode` is raised from `write` as an `EncodeError`. One from `decode` becomes an `error` event,
    and the message is discarded.
    """

    @property
    def name(self) -> str:
        """Its name, which ``/spec`` reports in lower case if it is registered, and as ``custom`` otherwise."""

    @property
    def binary(self) -> bool:
        """Whether `encode` may return bytes, which some transports cannot carry."""

    def encode(self, value: Any) -> str | bytes:
        """Encode a value: return str for a text message, bytes for a binary one."""

    def decode(self, data: str | bytes) -> Any:
        """Decode one message, text or binary."""


class AsyncParser(Protocol):
    """A `Parser` whose `encode` or `decode` is an async function.

    The bindings await it, for one message of a session after the other, in each direction. So messages keep their
    order, those of the protocol included; what waits counts against the limits (protocol 7). What `encode` refuses is
    an `error` event, because `write` has returned by then.
    """

    @property
    def name(self) -> str:
        """See `Parser.name`."""

    @property
    def binary(self) -> bool:
        """See `Parser.binary`."""

    @property
    def encode(self) -> Callable[[Any], Awaitable[str | bytes] | str | bytes]:
        """See `Parser.encode`."""

    @property
    def decode(self) -> Callable[[str | bytes], Any]:
        """See `Parser.decode`."""


@runtime_checkable
class LimitedParser(Protocol):
    """A parser that can bound the work of one message, by `Limits.values` and `Limits.nesting`."""

    def limited(self, limits: Limits) -> Parser:
        """A parser like this one that keeps to these limits."""
