"""The only file that lists transports."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any

from ..errors import ConfigError
from ..parsers import Parser
from .base import ClientHost, ClientTransport, HeaderPairs, ServerHost, ServerTransport
from .websockets import WebSocketsClient, WebSocketsServer

__all__ = ["TRANSPORTS", "NoOptions", "Transport"]


@dataclass(frozen=True)
class NoOptions:
    """The options of a transport that has none."""


@dataclass(frozen=True)
class Transport:
    """Both halves of a transport, and what the configuration checks.

    `client` takes the host, the request target and the headers.
    """

    server: Callable[[ServerHost], ServerTransport]
    client: Callable[[ClientHost, str, HeaderPairs], ClientTransport]
    text_only: bool = False
    """Whether it carries text only, so that a binary parser cannot be used with it."""
    options: type[Any] = NoOptions
    """A dataclass of the transport's own options; it may raise ConfigError for invalid ones."""

    def check_parser(self, name: str, parser: Parser) -> None:
        """Raise ConfigError for a parser whose messages this transport cannot carry."""
        if self.text_only and parser.binary:
            raise ConfigError(f"parser {parser.name!r} makes binary messages; transformer {name!r} carries text only")

    def make_options(self, name: str, given: object) -> Any:
        """The transport's options from a mapping; raises ConfigError for unknown ones."""
        if isinstance(given, self.options):
            return given
        if not isinstance(given, Mapping):
            raise ConfigError(f"transport must be a mapping of options of the transformer; got {given!r}")
        known = [field.name for field in fields(self.options)]
        unknown = sorted(str(key) for key in given if key not in known)
        if unknown:
            there = f"there are: {', '.join(known)}" if known else "it has none"
            raise ConfigError(f"unknown option {unknown[0]!r} of transformer {name!r}; {there}")
        return self.options(**given)


TRANSPORTS: dict[str, Transport] = {
    "websockets": Transport(WebSocketsServer, WebSocketsClient),
}
