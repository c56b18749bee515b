"""Parsers: how a value becomes a message and back. Both ends must use the same one (protocol 1).

`JSON` is the default. A parser of one's own is any object with the members of `Parser`.
"""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable

from ..errors import ConfigError
from .json import JSONParser

__all__ = ["PARSERS", "JSONParser", "Parser", "get_parser"]


@runtime_checkable
class Parser(Protocol):
    """What the core needs of a parser. It must be pure: no waiting, no state that a peer could fill.

    An exception from `encode` reaches the caller of `write` as an `EncodeError`; one from `decode` becomes an
    error event, and the message is discarded.
    """

    @property
    def name(self) -> str:
        """What ``/spec`` calls it."""

    @property
    def binary(self) -> bool:
        """Whether `encode` makes bytes: some transports carry text only."""

    def encode(self, value: Any) -> str | bytes:
        """Text for a text message, bytes for a binary one."""

    def decode(self, data: str | bytes) -> Any:
        """The value of one message, text or binary."""


PARSERS: dict[str, Parser] = {"json": JSONParser()}


def get_parser(parser: str | Parser) -> Parser:
    """The parser of that name, in any letter case, or the parser given; ConfigError where there is none."""
    if isinstance(parser, type) or not isinstance(parser, str | Parser):
        raise ConfigError(f"parser must be a name or have name, binary, encode and decode; got {parser!r}")
    if not isinstance(parser, str):
        return parser
    try:
        return PARSERS[parser.lower()]
    except KeyError:
        known = ", ".join(sorted(PARSERS))
        raise ConfigError(f"unknown parser {parser!r}; known: {known}") from None
