"""The WebSocket handshake on a server: what a valid one is, and the answer to it (RFC 6455, 4.2)."""

from __future__ import annotations

import hashlib
import re
from binascii import b2a_base64
from collections.abc import Iterable

from ..http.model import UPGRADE_REQUIRED, Request, Response, text_response, wants_websocket
from ..transports.base import HeaderPairs

__all__ = ["accept_token", "check_handshake", "choose_subprotocol", "switching_protocols"]

_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"

_ACCEPTED = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: "

# 16 bytes in base64.
_KEY = re.compile(r"[A-Za-z0-9+/]{22}==")


def accept_token(key: str) -> str:
    """The ``Sec-WebSocket-Accept`` that answers a key (RFC 6455, 4.2.2)."""
    digest = hashlib.sha1(key.encode("ascii") + _GUID, usedforsecurity=False).digest()
    return b2a_base64(digest, newline=False).decode("ascii")


def check_handshake(request: Request, *, body: bool = False) -> Response | None:
    """The answer to a request that is not a valid WebSocket handshake (RFC 6455, 4.2.1); None if it is one.

    One with a body is none: the body would be taken for frames.
    """
    headers = request.headers
    if not wants_websocket(request):
        return UPGRADE_REQUIRED
    if headers.get_all("sec-websocket-version") != ["13"]:
        return text_response(426, "Upgrade Required: WebSocket version 13", (("Sec-WebSocket-Version", "13"),))
    keys = headers.get_all("sec-websocket-key")
    valid = len(keys) == 1 and _KEY.fullmatch(keys[0])
    if not valid or body or "upgrade" not in headers.tokens("connection") or request.http_version < "1.1":
        return text_response(400, "Bad Request: not a WebSocket handshake")
    return None


def choose_subprotocol(request: Request, supported: Iterable[str]) -> str | None:
    """The first supported subprotocol that the client offers; None where there is none (RFC 6455, 4.2.2)."""
    offered = [name.strip() for name in ",".join(request.headers.get_all("sec-websocket-protocol")).split(",")]
    return next((name for name in supported if name in offered), None)


def switching_protocols(request: Request, headers: HeaderPairs) -> bytes:
    """The answer to a valid handshake, with these headers besides its own."""
    more = "".join([f"{name}: {value}\r\n" for name, value in headers]) if headers else ""
    return f"{_ACCEPTED}{accept_token(request.headers['sec-websocket-key'])}\r\n{more}\r\n".encode("latin-1")
