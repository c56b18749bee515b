"""The list of transports, and what the configuration checks about each."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any

from ..errors import ConfigError
from ..parsers import Parser
from ..suggestions import suggestion
from .base import ClientHost, ClientTransport, HeaderPairs, ServerHost, ServerTransport
from .engineio.options import EngineIOOptions
from .sockjs.options import SockJSOptions
from .websockets import WebSocketsClient, WebSocketsServer

__all__ = ["TRANSPORTS", "NoOptions", "Transport"]


@dataclass(frozen=True)
class NoOptions:
    """The options of a transport that takes none."""


@dataclass(frozen=True)
class Transport:
    """Both halves of a transport, and what the configuration checks."""

    server: Callable[[ServerHost], ServerTransport]
    """Makes the server half."""
    client: Callable[[ClientHost, str, HeaderPairs], ClientTransport]
    """Makes the client half for one attempt, from the host, the request target and the headers."""
    text_only: bool = False
    """Whether it carries text only. Then a binary parser cannot be used with it."""
    options: type[Any] = NoOptions
    """A dataclass of the transport's own options. It raises ConfigError for invalid values."""

    def check_parser(self, name: str, parser: Parser) -> None:
        """Raise ConfigError for a parser whose messages this transport cannot carry."""
        if self.text_only and parser.binary:
            raise ConfigError(f"parser {parser.name!r} makes binary messages; transformer {name!r} carries text only")

    def make_options(self, name: str, given: object) -> Any:
        """Make the transport's options from a mapping. Raises ConfigError for unknown ones, and for anything else."""
        if not isinstance(given, Mapping):
            raise ConfigError(f"transport must be a mapping of options for transformer {name!r}; got {given!r}")
        known = [field.name for field in fields(self.options)]
        for option in given:
            if option not in known:
                takes = f"takes {', '.join(known)}" if known else "has no options"
                meant = suggestion(str(option), known)
                raise ConfigError(f"unknown option {option!r} in transport: transformer {name!r} {takes}{meant}")
        return self.options(**given)


# Most programs use one transport, so these are imported when they are used first.


def _engineio_server(host: ServerHost) -> ServerTransport:
    from .engineio.server import EngineIOServer

    return EngineIOServer(host)


def _engineio_client(host: ClientHost, target: str, headers: HeaderPairs) -> ClientTransport:
    from .engineio.client import EngineIOClient

    return EngineIOClient(host, target, headers)


def _sockjs_server(host: ServerHost) -> ServerTransport:
    from .sockjs.server import SockJSServer

    return SockJSServer(host)


def _sockjs_client(host: ClientHost, target: str, headers: HeaderPairs) -> ClientTransport:
    from .sockjs.client import SockJSClient

    return SockJSClient(host, target, headers)


_WEBSOCKETS = Transport(WebSocketsServer, WebSocketsClient)

TRANSPORTS: dict[str, Transport] = {
    "engine.io": Transport(_engineio_server, _engineio_client, options=EngineIOOptions),
    "faye": _WEBSOCKETS,  # other software of the original; on the wire the same
    "lws": _WEBSOCKETS,
    "sockjs": Transport(_sockjs_server, _sockjs_client, text_only=True, options=SockJSOptions),
    "websockets": _WEBSOCKETS,
}
