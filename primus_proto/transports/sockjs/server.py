"""The server half of SockJS: where a request goes, and how a session begins (protocol 9.1).

The law kept here: a session begins only with a request that has passed the pipeline as one that opens a session.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from ...http.model import UPGRADE_REQUIRED, Request, Response, error_response
from ..base import Exchange, Route, ServerHost
from ..polling import script_form
from .frames import body_limit, strings
from .options import SockJSOptions
from .pages import GREETING, ChunkingTest, answer_info, answer_options, iframe
from .receivers import RECEIVERS, FrameWriter, callback_of, cors, failure
from .sessions import ServerPipe, SessionsByKey
from .websocket import RawPipe, ServerWebSocketPipe

__all__ = ["SockJSServer"]

NOT_FOUND = failure("Not Found: no SockJS under this path", 404)
OTHER_TRANSPORT = failure("Bad Request: this is SockJS, whose WebSockets are under other paths", 400)
FULL = error_response(503, "too many sessions wait for their clients")
SENDERS = ("xhr_send", "jsonp_send")

# Paths behind the pathname, and the method for each. All may be asked about with OPTIONS.
IFRAME = re.compile(r"/iframe[a-z0-9._-]*\.html")
SESSION = re.compile(r"/[^/.]+/([^/.]+)/([a-z_]+)")


@dataclass(frozen=True, slots=True)
class Target:
    """What a request is for: its last segment, and the key of the session."""

    what: str
    key: str = ""


class SockJSServer:
    """Sessions over requests by their keys, and all requests."""

    def __init__(self, host: ServerHost) -> None:
        self._host = host
        self._options: SockJSOptions = host.options
        self.sessions = SessionsByKey(host, self._options.absence)
        allowed = set(self._options.transports)
        self._receivers = {what: each for what, each in RECEIVERS.items() if each.name in allowed}
        self._senders = {each.sender for each in self._receivers.values()}
        self._websocket = "websocket" in allowed

    @property
    def busy(self) -> bool:
        return len(self.sessions) > 0

    def route(self, request: Request) -> Route | Response:
        path = request.path[len(self._host.pathname.removesuffix("/")) :].removesuffix("/")
        if request.is_upgrade:
            return self._route_upgrade(path)
        if path == "":
            return _only(request, "GET") or GREETING
        if IFRAME.fullmatch(path):
            return _only(request, "GET") or iframe(request, self._options)
        if path == "/info":
            return _only(request, "GET") or Route(opens=False, target=Target("info"))
        if path == "/chunking_test":
            body = self._host.limits.body
            return _only(request, "POST") or Route(opens=False, body=body, target=Target("chunking_test"))
        match = SESSION.fullmatch(path)
        if self._websocket and (path == "/websocket" or (match and match[2] == "websocket")):
            return UPGRADE_REQUIRED
        return NOT_FOUND if match is None else self._route_session(request, Target(match[2], match[1]))

    def handle(self, exchange: Exchange, route: Route, body: bytes, *, now: float) -> None:
        target: Target = route.target
        if target.what == "info":
            answer_info(exchange, self._host, now=now)
        elif target.what == "chunking_test":
            ChunkingTest(exchange, self._host, now)
        elif target.what == "websocket":
            self._connect(exchange, ServerWebSocketPipe if target.key else RawPipe, now)
        elif target.what in SENDERS:
            self._post(exchange, target, body, now)
        else:
            self._receive(exchange, target, route.opens, now)

    def close(self, *, now: float) -> None:
        self.sessions.close()

    # --- inside ---

    def _route_upgrade(self, path: str) -> Route | Response:
        match = SESSION.fullmatch(path)
        if path == "":
            return OTHER_TRANSPORT
        if not self._websocket or not (path == "/websocket" or (match and match[2] == "websocket")):
            return NOT_FOUND
        return Route(opens=True, target=Target("websocket", match[1] if match else ""))

    def _route_session(self, request: Request, target: Target) -> Route | Response:
        what, key = target.what, target.key
        pipe = self.sessions.get(key)
        if what in self._senders:
            wrong = _only(request, "POST")
            if wrong is None and (pipe is None or pipe.receiver.sender != what) and not self.sessions.last_words(key):
                return _with_cors(failure("", 404), request)
            return wrong or Route(opens=False, body=body_limit(self._host.limits), target=target)
        receiver = self._receivers.get(what)
        if receiver is None:
            return NOT_FOUND
        wrong = _only(request, receiver.method)
        if wrong is None and receiver.callback:
            callback = callback_of(request)
            wrong = callback if isinstance(callback, Response) else None
        if wrong is None and pipe is not None and pipe.receiver is not receiver:
            wrong = _with_cors(failure("", 404), request)
        opens = pipe is None and self.sessions.last_words(key) is None
        body = self._host.limits.body if receiver.method == "POST" else 0  # it is read, and means nothing
        return wrong or Route(opens=opens, body=body, target=target)

    def _connect(self, exchange: Exchange, kind: type[RawPipe | ServerWebSocketPipe], now: float) -> None:
        host = self._host
        pipe = kind(host, exchange.request, self._options.heartbeat)
        limit = host.limits.message if kind is RawPipe else body_limit(host.limits)
        carrier = exchange.accept_websocket(pipe, limit, now=now)
        if carrier is not None:
            pipe.carrier = carrier
            pipe.start(now)

    def _receive(self, exchange: Exchange, target: Target, opens: bool, now: float) -> None:
        receiver = self._receivers[target.what]
        pipe = self.sessions.get(target.key)
        last = self.sessions.last_words(target.key)
        if pipe is not None and pipe.receiver is receiver:
            self.sessions.claim(target.key)
            pipe.receive(exchange, now)
        elif pipe is None and last is not None:
            FrameWriter(exchange, receiver).whole(last, now=now)
        elif pipe is not None or not opens:  # it has begun or ended while authorization took its time
            _respond(exchange, failure("", 404), now)
        elif self.sessions.full and receiver.prelude is None:
            _respond(exchange, FULL, now)
        else:
            ServerPipe(self._host, self.sessions, target.key, receiver, exchange.request).open(exchange, now)

    def _post(self, exchange: Exchange, target: Target, body: bytes, now: float) -> None:
        if target.what == "jsonp_send":
            done = Response(200, (("Content-Type", "text/plain; charset=UTF-8"),), b"ok")
            kind = exchange.request.headers.get("content-type", "")
            if kind.partition(";")[0].strip().lower() == "application/x-www-form-urlencoded":
                body = script_form(body)
        else:
            done = Response(204, (("Content-Type", "text/plain; charset=UTF-8"),))
        pipe = self.sessions.get(target.key)
        try:
            text = body.decode()
            if text.lstrip()[:1] != "[":
                _respond(exchange, failure("Payload expected." if _is_value(text) else "Broken JSON encoding."), now)
                return
            texts = strings(text, self._host.limits)  # nothing of it is handled unless all of it can be
        except ValueError:
            _respond(exchange, failure("Broken JSON encoding."), now)
            return
        if pipe is None:  # it has ended, and its client is about to learn it
            _respond(exchange, done, now)
        else:
            self.sessions.claim(target.key)
            pipe.posted(exchange, body, texts, lambda now: _respond(exchange, done, now), now)


def _only(request: Request, method: str) -> Response | None:
    """The answer to a request with another method."""
    if request.method == method or (method == "GET" and request.method == "HEAD"):
        return None
    if request.method == "OPTIONS":
        return answer_options(request, method)
    return Response(405, (("Allow", f"OPTIONS, {method}"), *cors(request)))


def _respond(exchange: Exchange, answer: Response, now: float) -> None:
    answer = _with_cors(answer, exchange.request)
    exchange.respond(answer.status, answer.headers, answer.body, now=now)


def _with_cors(answer: Response, request: Request) -> Response:
    return Response(answer.status, (*answer.headers, *cors(request)), answer.body)


def _is_value(text: str) -> bool:
    """Whether this may be JSON other than an array, or nothing at all."""
    return text.lstrip()[:1] in ("", *'{"tfn-0123456789')
