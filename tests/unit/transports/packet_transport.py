"""A transport for the tests of the transport contract: packets of text over a WebSocket with a subprotocol.

A packet is ``4`` and a message. Newer ends speak ``packets.v2``; the wire is the same.
"""

from __future__ import annotations

from primus_proto.session.messages import Message
from primus_proto.transports.base import Exchange, Route, WebSocketCarrier
from primus_proto.transports.registry import Transport
from primus_proto.transports.websockets import WebSocketPipe, WebSocketsClient, WebSocketsServer

__all__ = ["PACKETS", "PacketPipe", "packet"]

SUBPROTOCOLS = ("packets.v2", "packets.v1")


def packet(payload: str | bytes) -> str:
    assert isinstance(payload, str)
    return "4" + payload


class PacketPipe(WebSocketPipe):
    transport = "packets"

    def take_all(self) -> list[Message]:
        return [message.wrapped("packets", packet) for message in super().take_all()]

    def received(self, data: str | bytes, *, now: float) -> None:
        super().received(data[1:], now=now)


class PacketServer(WebSocketsServer):
    def handle(self, exchange: Exchange, route: Route, body: bytes, *, now: float) -> None:
        pipe = PacketPipe(self._host, exchange.request)
        limit = self._host.limits.message + 1
        carrier = exchange.accept_websocket(pipe, limit, [("X-Packets", "yes")], SUBPROTOCOLS, now=now)
        if carrier is not None:
            pipe.carrier = carrier
            self._host.opened(pipe, now=now)


class PacketClient(WebSocketsClient):
    def start(self, *, now: float) -> None:
        self._host.pool.websocket(
            self._target, self._headers, self._opened, self._failed, subprotocols=SUBPROTOCOLS, now=now
        )

    def _opened(self, carrier: WebSocketCarrier, now: float) -> None:
        pipe = PacketPipe(self._host)
        carrier.owner = pipe
        pipe.carrier = carrier
        self._host.opened(pipe, now=now)


PACKETS = Transport(PacketServer, PacketClient, text_only=True)
