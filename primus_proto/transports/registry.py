"""The only file that lists transports."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from .base import ClientHost, ClientTransport, HeaderPairs, ServerHost, ServerTransport
from .websockets import WebSocketsClient, WebSocketsServer

__all__ = ["TRANSPORTS", "Transport"]


@dataclass(frozen=True)
class Transport:
    """Both halves of a transport. `client` takes the host, the request target and the headers."""

    server: Callable[[ServerHost], ServerTransport]
    client: Callable[[ClientHost, str, HeaderPairs], ClientTransport]


TRANSPORTS: dict[str, Transport] = {
    "websockets": Transport(WebSocketsServer, WebSocketsClient),
}
