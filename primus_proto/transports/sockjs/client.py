"""The client half of SockJS: one attempt, over a WebSocket without frames (protocol 9.4)."""

from __future__ import annotations

from ..base import ClientHost, HeaderPairs
from ..websockets import WebSocketsClient

__all__ = ["SockJSClient"]


class SockJSClient(WebSocketsClient):
    """One attempt at one WebSocket."""

    def __init__(self, host: ClientHost, target: str, headers: HeaderPairs) -> None:
        path, mark, query = target.partition("?")
        super().__init__(host, f"{path}/websocket{mark}{query}", headers)
