"""Clients that speak SockJS by hand, for the tests of the server half."""

from __future__ import annotations

from typing import Any

from primus_proto import Spark
from tests.unit.wires import HANDSHAKE, TEXT, Peer, ServerWire, frames, replies, request

__all__ = ["H2048", "ORIGIN", "connected", "opened", "path", "receive", "server", "streamed", "texts"]

ORIGIN = {"Origin": "https://example.org"}
H2048 = b"h" * 2048 + b"\n"


def server(**options: Any) -> ServerWire:
    return ServerWire(transformer="sockjs", **options)


def path(what: str, key: str = "session1") -> str:
    return f"/primus/000/{key}/{what}"


def streamed(peer: Peer) -> bytes:
    """What has come of a streamed answer; its head may have come before."""
    data = peer.wire.take(peer.channel)
    if data.startswith(b"HTTP/"):
        head, _, data = data.partition(b"\r\n\r\n")
        assert b"200" in head
    body = b""
    while data:
        size, _, data = data.partition(b"\r\n")
        body, data = body + data[: int(size, 16)], data[int(size, 16) + 2 :]
        if size == b"0":
            return body + b"<end>"
    return body


def receive(wire: ServerWire, target: str, peer: Peer | None = None) -> Peer:
    """Ask for frames."""
    peer = peer or wire.accept()
    peer.send(request("POST" if "/xhr" in target else "GET", target))
    return peer


def opened(wire: ServerWire, what: str = "xhr") -> tuple[Peer, Spark]:
    peer = receive(wire, path(what))
    (spark,) = wire.server
    wire.told()
    if what in ("xhr", "jsonp?c=f"):
        peer.reply()
    else:
        streamed(peer)
    return peer, spark


def connected(wire: ServerWire, target: str = path("websocket")) -> tuple[Peer, Spark]:
    peer = wire.accept()
    peer.send(request("GET", target, HANDSHAKE))
    found, rest = replies(wire.take(peer.channel))
    assert found[0].status == 101
    wire.output[peer.channel] = bytearray(rest)
    (spark,) = wire.server
    wire.told()
    return peer, spark


def texts(peer: Peer) -> list[str]:
    return [each.payload.decode() for each in frames(peer.wire.take(peer.channel)) if each.opcode == TEXT]
