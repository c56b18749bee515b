"""The interface of parsers."""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable

from ..limits import Limits

__all__ = ["LimitedParser", "Parser"]


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


@runtime_checkable
class LimitedParser(Protocol):
    """A parser that can bound the work of one message, by `Limits.values` and `Limits.nesting`."""

    def limited(self, limits: Limits) -> Parser:
        """A parser like this one that keeps to these limits."""
