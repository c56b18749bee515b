"""The server half of Engine.IO: where a request goes, and how a session begins (protocol 8.1).

The law kept here: a session exists only once its first request has passed the pipeline, and a request that names one
goes to it only in the form that suits the session's state.
"""

from __future__ import annotations

import json

from ...http.model import Request, Response, error_response, json_response
from ...session.messages import Message
from ..base import Exchange, Route, ServerHost
from ..polling import Sessions
from .options import EngineIOOptions
from .packets import BINARY3, OPEN, TEXT3, TEXT3_ONCE, jsonp_body
from .polls import answer_poll
from .sessions import ServerPipe

__all__ = ["EngineIOServer"]

TRANSPORT_UNKNOWN, SESSION_UNKNOWN, BAD_METHOD, BAD_REQUEST, BAD_PROTOCOL = (
    json_response(400, {"code": code, "message": message})
    for code, message in (
        (0, "Transport unknown"),
        (1, "Session ID unknown"),
        (2, "Bad handshake method"),
        (3, "Bad request"),
        (5, "Unsupported protocol version"),
    )
)
FULL = error_response(503, "too many sessions wait for their clients")


class EngineIOServer:
    """Sessions by id, and the requests for them."""

    options: EngineIOOptions

    def __init__(self, host: ServerHost) -> None:
        self._host = host
        self.options = host.options
        self.sessions = Sessions[ServerPipe](host)

    @property
    def busy(self) -> bool:
        return len(self.sessions) > 0

    def route(self, request: Request) -> Route | Response:
        query = request.query
        transport = query.get("transport", "")
        if transport not in self.options.transports:
            return TRANSPORT_UNKNOWN
        websocket = transport == "websocket"
        sid = query.get("sid")
        if sid is None:
            if request.method != "GET":
                return BAD_METHOD
            if websocket is not request.is_upgrade:
                return BAD_REQUEST
            if self.options.protocol not in (None, _protocol(query)):
                return BAD_PROTOCOL
            return Route(opens=True)
        pipe = self.sessions.get(sid)
        if pipe is None:
            return SESSION_UNKNOWN
        if request.is_upgrade:
            allowed = websocket and self.options.upgrades and pipe.may_upgrade
        else:
            allowed = not websocket and request.method in ("GET", "POST") and pipe.polling
        if not allowed:
            return BAD_REQUEST
        return Route(opens=False, body=self._body if request.method == "POST" else 0, target=pipe)

    @property
    def _body(self) -> int:
        """The largest body that is read: encoding text twice, or bytes as text, makes a message so much longer."""
        return max(self._host.limits.body, 2 * self._host.limits.message)

    def handle(self, exchange: Exchange, route: Route, body: bytes, *, now: float) -> None:
        pipe: ServerPipe | None = route.target
        if pipe is None:
            self._open(exchange, now)
            return
        checked = self.route(exchange.request)  # again: the session may have ended or moved meanwhile
        if isinstance(checked, Response):
            exchange.respond(checked.status, checked.headers, checked.body, now=now)
            return
        self.sessions.claim(pipe.sid)
        if exchange.request.is_upgrade:
            pipe.probe(exchange, now)
        elif exchange.request.method == "GET":
            pipe.poll(exchange, now)
        else:
            self._post(exchange, pipe, body, now)

    def close(self, *, now: float) -> None:
        """Sessions end by themselves."""

    # --- inside ---

    def _open(self, exchange: Exchange, now: float) -> None:
        request = exchange.request
        query = request.query
        protocol = _protocol(query)
        base64_only = "b64" in query
        sid = self._host.new_id()
        pipe = ServerPipe(self._host, self.options, self.sessions, sid, protocol, request, base64_only=base64_only)
        hello = OPEN + json.dumps(self._hello(pipe, request.is_upgrade), separators=(",", ":"))
        if self.options.cookie is not None:
            cookie = f"{self.options.cookie}={sid}; Path=/; HttpOnly; SameSite=Lax"
            exchange.extra_headers += (("Set-Cookie", cookie),)
        if request.is_upgrade:
            carrier = exchange.accept_websocket(pipe, pipe.frame_limit, now=now)
            if carrier is not None:
                pipe.carrier = carrier
                carrier.send([Message(hello)], now=now)
                self.sessions.add(sid, pipe, pipe.unclaimed, now=now)
                self.sessions.claim(sid)
                pipe.start(now)
        elif self.sessions.full:
            exchange.respond(FULL.status, FULL.headers, FULL.body, now=now)
        else:
            if protocol == 3:
                text = TEXT3 if self.options.encode_twice else TEXT3_ONCE
                pipe.framing = text if base64_only or "j" in query else BINARY3
            self.sessions.add(sid, pipe, pipe.unclaimed, now=now)
            pipe.start(now)
            framing = pipe.framing
            answer_poll(exchange, framing, framing.packet(hello), now=now)

    def _hello(self, pipe: ServerPipe, websocket: bool) -> dict[str, object]:
        options = self.options
        hello: dict[str, object] = {
            "sid": pipe.sid,
            "upgrades": ["websocket"] if options.upgrades and not websocket else [],
            "pingInterval": round(options.ping_interval * 1000),
            "pingTimeout": round(options.patience(pipe.protocol) * 1000),
        }
        if pipe.protocol == 4:
            hello["maxPayload"] = self._host.limits.message
        return hello

    def _post(self, exchange: Exchange, pipe: ServerPipe, body: bytes, now: float) -> None:
        kind = exchange.request.headers.get("content-type", "").partition(";")[0].strip().lower()
        binary = kind == "application/octet-stream"
        if binary and pipe.protocol == 4:
            exchange.respond(BAD_REQUEST.status, BAD_REQUEST.headers, BAD_REQUEST.body, now=now)
            return
        if "j" in exchange.request.query:
            body = jsonp_body(body)
        pipe.posted(exchange, body, binary, now)


def _protocol(query: dict[str, str]) -> int:
    return 4 if query.get("EIO") == "4" else 3
