"""Parsers, which encode values to messages and decode them. Both ends must use the same one (protocol 1).

The default is `JSON`. Any object with the members of `Parser` can be used as a parser.
"""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable

from ..errors import ConfigError
from .json import JSONParser

__all__ = ["PARSERS", "JSONParser", "Parser", "get_parser"]


@runtime_checkable
class Parser(Protocol):
    """Encodes and decodes messages. It must not wait, and must not keep state that a peer could make grow.

    An exception from `encode` is raised from `write` as an `EncodeError`. One from `decode` becomes an `error` event,
    and the message is discarded.
    """

    @property
    def name(self) -> str:
        """The name that ``/spec`` reports, in lower case."""

    @property
    def binary(self) -> bool:
        """Whether `encode` may return bytes, which some transports cannot carry."""

    def encode(self, value: Any) -> str | bytes:
        """Encode a value: return str for a text message, bytes for a binary one."""

    def decode(self, data: str | bytes) -> Any:
        """Decode one message, text or binary."""


PARSERS: dict[str, Parser] = {"json": JSONParser()}


def get_parser(parser: str | Parser) -> Parser:
    """Find a parser by name, in any letter case, or check the one given. Raises ConfigError if there is none."""
    if isinstance(parser, type) or not isinstance(parser, str | Parser):
        raise ConfigError(f"parser must be a name or have name, binary, encode and decode; got {parser!r}")
    if not isinstance(parser, str):
        return parser
    try:
        return PARSERS[parser.lower()]
    except KeyError:
        known = ", ".join(sorted(PARSERS))
        raise ConfigError(f"unknown parser {parser!r}; known: {known}") from None
