"""The client half of Engine.IO: one attempt to open a session (protocol 8.1).

The law kept here: which protocol the server speaks is read from its first answer, whatever was asked for.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping

from ...errors import ConnectError, PrimusError
from ...http.model import Answer
from ..base import ClientHost, HeaderPairs, WebSocketCarrier, refusal_error
from ..polling import WithoutSession
from .connection import ClientPipe, Hello, Requests
from .options import EngineIOOptions
from .packets import OPEN, Decoder, Packet

__all__ = ["EngineIOClient"]

NOT_ENGINE_IO = "the server's answer is none of Engine.IO: is this a Primus server with the same transformer?"


class EngineIOClient(WithoutSession):
    """One attempt: a poll, or a WebSocket, that brings the packet with which a session opens."""

    def __init__(self, host: ClientHost, target: str, headers: HeaderPairs) -> None:
        self._host = host
        self._options: EngineIOOptions = host.options
        self._requests = Requests(host, target, headers)
        self._carrier: WebSocketCarrier | None = None

    def start(self, *, now: float) -> None:
        if "polling" in self._options.transports:
            self._requests.get("", self._answered, self._failed, now=now)
        else:
            self._requests.websocket("", self._connected, self._failed, now=now)

    def abort(self, *, now: float) -> None:
        carrier, self._carrier = self._carrier, None
        if carrier is not None:
            carrier.abort(now=now)

    # --- inside ---

    def _answered(self, answer: Answer, now: float) -> None:
        if answer.status != 200:
            self._failed(refusal_error(answer), now)
            return
        binary = answer.headers.get("content-type", "").startswith("application/octet-stream")
        protocol = 3 if binary or re.match(rb"\d+:", answer.body) else 4
        packets = Decoder(protocol).body(answer.body, binary=binary)
        hello = self._hello(next(packets, Packet("")), protocol)
        if hello is None:
            self._failed(ConnectError(NOT_ENGINE_IO), now)
        else:
            self._open(hello, None, packets, now)

    def _connected(self, carrier: WebSocketCarrier, now: float) -> None:
        self._carrier = carrier
        carrier.owner = self

    def _hello(self, packet: Packet, protocol: int | None) -> Hello | None:
        """Read the packet that opens a session. None if it is something else."""
        try:
            said = json.loads(packet.data) if packet.kind == OPEN else None
        except (ValueError, RecursionError):
            return None
        if not isinstance(said, Mapping):
            return None
        sid, upgrades, most = said.get("sid"), said.get("upgrades"), said.get("maxPayload")
        interval, patience = self._seconds(said.get("pingInterval")), self._seconds(said.get("pingTimeout"))
        if not (isinstance(sid, str) and re.fullmatch(r"[\w.~-]{1,200}", sid, re.ASCII)) or not (interval and patience):
            return None
        most = most if isinstance(most, int) and most > 0 else None
        # A WebSocket does not show the protocol. Servers of protocol 4 say how much they take.
        protocol = protocol or self._options.protocol or (4 if most is not None else 3)
        return Hello(sid, protocol, isinstance(upgrades, list) and "websocket" in upgrades, interval, patience, most)

    def _seconds(self, milliseconds: object) -> float | None:
        """A duration that the server says, within reason; None if it is none."""
        limits = self._host.limits
        if isinstance(milliseconds, int | float) and milliseconds > 0:
            return max(limits.heartbeat_min, min(milliseconds, 1000 * limits.heartbeat_max) / 1000)
        return None

    def _open(self, hello: Hello, carrier: WebSocketCarrier | None, packets: Iterable[Packet], now: float) -> None:
        pipe = ClientPipe(self._host, self._requests, hello)
        self._carrier = None
        if carrier is not None:
            pipe.carrier = carrier
            carrier.owner = pipe
        self._host.opened(pipe, now=now)
        pipe.start(packets, self._options, now)

    def _failed(self, error: ConnectError, now: float) -> None:
        self._host.failed(error, now=now)

    # --- the owner of a WebSocket, until it has opened the session ---

    def received(self, data: str | bytes, *, now: float) -> None:
        hello = self._hello(Decoder(4).websocket(data), None)
        if hello is not None:
            self._open(hello, self._carrier, (), now)
        else:
            self.abort(now=now)
            self._failed(ConnectError(NOT_ENGINE_IO), now)

    def closed(self, code: int, reason: str, error: PrimusError | None, *, now: float) -> None:
        if self._carrier is not None:
            self._carrier = None
            self._failed(ConnectError(NOT_ENGINE_IO if error is None else str(error)), now)
