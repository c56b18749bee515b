"""A client that speaks Engine.IO by hand, for the tests of the server half."""

from __future__ import annotations

import json
from typing import Any

from primus_proto import Spark
from tests.unit.wires import HANDSHAKE, TEXT, Peer, Reply, ServerWire, frame, frames, replies, request

__all__ = ["BAD", "HELLO3", "HELLO4", "METHOD", "SESSION", "UNKNOWN", "VERSION", "Engine", "engine"]

NUMBERS = iter(range(1_000_000))


class Engine:
    """A client that speaks Engine.IO by hand: one connection for polls, one for POSTs, one for a WebSocket."""

    def __init__(self, wire: ServerWire, protocol: int = 4, more: str = "") -> None:
        self.wire = wire
        self.query = f"EIO={protocol}&ping=false{more}"
        self.gets, self.posts = self.accept(), self.accept()
        self.sid = ""
        self.socket: Peer | None = None

    def accept(self) -> Peer:
        """A connection, of another port than all others."""
        port = 1024 + next(NUMBERS) % 60_000
        return Peer(self.wire, self.wire.endpoint.channel_accepted(("192.0.2.7", port), now=self.wire.now))

    def target(self, transport: str = "polling", t: str | None = None) -> str:
        t = f"t{next(NUMBERS)}" if t is None else t
        return f"/primus/?{self.query}&transport={transport}&t={t}" + (f"&sid={self.sid}" if self.sid else "")

    def open(self) -> Spark:
        body = self.get().body
        self.sid = json.loads(body[body.index(b"{") : body.rindex(b"}") + 1].replace(b'\\"', b'"'))["sid"]
        (spark,) = [spark for spark in self.wire.server if spark.id == self.sid]
        return spark

    def get(self) -> Reply:
        return self.gets.ask("GET", self.target())

    def poll(self, t: str | None = None, peer: Peer | None = None) -> Peer:
        """A poll that may have to wait."""
        peer = peer or self.gets
        peer.send(request("GET", self.target(t=t)))
        return peer

    def post(
        self, body: bytes | str, t: str | None = None, peer: Peer | None = None, kind: str = "text/plain"
    ) -> Reply:
        data = body.encode() if isinstance(body, str) else body
        return (peer or self.posts).ask("POST", self.target(t=t), headers={"Content-Type": kind}, body=data)

    def connect(self) -> Peer:
        """A WebSocket, for the session if there is one."""
        peer = self.socket = self.wire.accept()
        peer.send(request("GET", self.target("websocket"), HANDSHAKE))
        found, rest = replies(self.wire.take(peer.channel))
        assert found[0].status == 101
        self.wire.output[peer.channel] = bytearray(rest)
        return peer

    def say(self, *packets: str) -> list[Any]:
        """Packets on the WebSocket, and those that come."""
        assert self.socket is not None
        self.socket.send(b"".join(frame(TEXT, packet) for packet in packets))
        return [each.payload.decode() for each in frames(self.wire.take(self.socket.channel)) if each.opcode == TEXT]

    def upgrade(self) -> None:
        self.connect()
        assert self.say("2probe") == ["3probe"]
        assert self.say("5") == []


def engine(protocol: int = 4, more: str = "", **options: Any) -> tuple[ServerWire, Engine, Spark]:
    wire = ServerWire(transformer="engine.io", **options)
    client = Engine(wire, protocol, more)
    spark = client.open()
    wire.told()
    return wire, client, spark


HELLO = '{"sid":"SID","upgrades":["websocket"],"pingInterval":25000,"pingTimeout":%s}'
HELLO3 = HELLO % 60000
HELLO4 = (HELLO % 20000)[:-1] + ',"maxPayload":10485760}'

UNKNOWN, SESSION, METHOD, BAD, VERSION = (
    f'{{"code":{code},"message":"{text}"}}'.encode()
    for code, text in (
        (0, "Transport unknown"),
        (1, "Session ID unknown"),
        (2, "Bad handshake method"),
        (3, "Bad request"),
        (5, "Unsupported protocol version"),
    )
)
