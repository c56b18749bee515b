"""The client half of SockJS: one attempt, which tries one way after the other (protocol 9.5)."""

from __future__ import annotations

import json
from collections.abc import Mapping

from ...errors import ConnectError, PrimusError
from ...http.model import Answer
from ..base import ClientHost, HeaderPairs, WebSocketCarrier, refusal_error
from ..polling import WithoutSession, discard
from .connection import ClientPipe, Session
from .options import SockJSOptions
from .websocket import ClientWebSocketPipe

__all__ = ["SockJSClient"]

WAYS = {"websocket": "websocket", "xhr-streaming": "xhr_streaming", "xhr-polling": "xhr"}
NOT_SOCKJS = "the server's answer is none of SockJS: is this a Primus server with the same transformer?"
# What says no to the client, whatever way it takes.
REFUSALS = frozenset((401, 403, 429, 503))


class SockJSClient(WithoutSession):
    """One attempt: it asks what there is, and then for a session, in each way until one works."""

    def __init__(self, host: ClientHost, target: str, headers: HeaderPairs) -> None:
        self._host = host
        self._options: SockJSOptions = host.options
        self._target = target
        self._headers = tuple(headers)
        self._ways = [way for way in WAYS if way in self._options.transports]
        self._carrier: WebSocketCarrier | None = None
        self._late = host.timers.new(self._took_too_long)

    def start(self, *, now: float) -> None:
        path, mark, query = self._target.partition("?")
        target = f"{path}/info{mark}{query}"
        self._host.pool.request("GET", target, self._headers, b"", self._informed, self._host_failed, now=now)

    def abort(self, *, now: float) -> None:
        self._late.cancel()
        carrier, self._carrier = self._carrier, None
        if carrier is not None:
            carrier.abort(now=now)

    # --- inside ---

    def _host_failed(self, error: ConnectError, now: float) -> None:
        self._host.failed(error, now=now)

    def _informed(self, answer: Answer, now: float) -> None:
        if answer.status != 200:
            self._host.failed(refusal_error(answer), now=now)
            return
        try:
            info = json.loads(answer.body)
        except (ValueError, RecursionError):
            info = None
        if not isinstance(info, Mapping) or not isinstance(info.get("websocket"), bool):
            self._host.failed(ConnectError(NOT_SOCKJS), now=now)
            return
        if not info["websocket"] and "websocket" in self._ways:
            self._ways.remove("websocket")
        self._try(ConnectError("the server and transport['transports'] have no way in common"), now)

    def _try(self, error: ConnectError, now: float) -> None:
        """Try the next way, because of an error with the one before."""
        self._late.cancel()
        if not self._ways or error.status in REFUSALS:
            self._host.failed(error, now=now)
            return
        way = self._ways.pop(0)
        if self._ways:
            self._late.set(now + self._options.fallback_timeout)
        session = Session(self._host, self._target, self._headers)
        if way == "websocket":
            target = session.target(WAYS[way])
            self._host.pool.websocket(target, self._headers, self._connected, self._try, now=now)
        else:
            ClientPipe(self._host, session, WAYS[way], self._opened, self._try).start(now)

    def _took_too_long(self, now: float) -> None:
        self.abort(now=now)
        self._host.pool.abort(now=now)
        self._try(ConnectError("the server does not open a session"), now)

    def _opened(self, pipe: ClientPipe, now: float) -> None:
        self._late.cancel()
        self._host.opened(pipe, now=now)

    # --- the owner of a WebSocket, until it has opened the session ---

    def _connected(self, carrier: WebSocketCarrier, now: float) -> None:
        self._carrier = carrier
        carrier.owner = self

    def received(self, data: str | bytes, *, now: float) -> None:
        carrier, self._carrier = self._carrier, None
        assert carrier is not None  # this is its owner
        if data == "o":
            self._late.cancel()
            pipe = ClientWebSocketPipe(self._host)
            pipe.carrier = carrier
            carrier.owner = pipe
            self._host.opened(pipe, now=now)
        else:
            discard(carrier, self._host, now=now)
            self._try(ConnectError(NOT_SOCKJS), now)

    def closed(self, code: int, reason: str, error: PrimusError | None, *, now: float) -> None:
        if self._carrier is not None:
            self._carrier = None
            self._try(ConnectError(NOT_SOCKJS if error is None else str(error)), now)
