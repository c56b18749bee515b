"""Requests as exchanges: each walks the pipeline, is held where a layer has to wait, and goes on to the transport."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from .. import events as ev
from ..config import ServerConfig
from ..errors import LocalProtocolError
from ..limits import Limits
from ..timers import Timer, Timers
from ..transports.base import Exchange, Route, ServerTransport
from .model import CLOSING, Headers, Request, Response, error_response, merge_headers
from .pipeline import Pipeline, Place, check_answer
from .strays import Strays

__all__ = ["Requests", "RequestsHost"]


class RequestsHost(Protocol):
    """What `Requests` needs of its server."""

    config: ServerConfig
    limits: Limits
    timers: Timers

    @property
    def closing(self) -> bool:
        """Whether the server takes no more sessions."""

    @property
    def emit(self) -> Callable[[ev.Event], None]: ...


@dataclass(slots=True)
class _Held:
    exchange: Exchange
    place: Place
    timer: Timer

    @property
    def opens_session(self) -> bool:
        """Whether the transport has seen the request, and it asks for a new session."""
        request = self.exchange.request
        return request.route is not None and request.opens_session


class Requests:
    """Requests that arrive as exchanges. Each walks the pipeline, and the transport serves those that pass."""

    def __init__(self, host: RequestsHost, pipeline: Pipeline, transport: ServerTransport) -> None:
        self._host = host
        self._pipeline = pipeline
        self._transport = transport
        self._strays = Strays(host.config, lambda text: host.emit(ev.Logged("warning", text)))
        self._last_id = 0
        self._held: dict[int, _Held] = {}
        self.resumed: list[tuple[_Held, Response | Headers | None]] = []
        """Requests for `run` to walk on with."""
        pipeline.route = self._route

    def request(self, exchange: Exchange, *, now: float) -> None:
        """A request's head is complete."""
        refusal = check_head(exchange.request, self._host.limits)
        if refusal is None:
            self._walk(exchange, None, False, now)
        else:
            _respond(exchange, refusal, True, now)

    def resume(self, id: int, answer: Response | Headers | None = None) -> bool:
        """See `ByteServer.resume`."""
        check_answer(answer)
        held = self._forget_known(id)
        if held is not None:
            self.resumed.append((held, answer))
        return held is not None

    def fail(self, id: int, error: BaseException) -> bool:
        """See `ByteServer.fail`."""
        held = self._forget_known(id)
        if held is not None:
            self.resumed.append((held, self._pipeline.failed(held.place.layer, error)))
        return held is not None

    def run(self, *, now: float) -> None:
        """Walk on with the requests that were resumed."""
        resumed = self.resumed.copy()
        self.resumed.clear()
        for held, answer in resumed:
            exchange = held.exchange
            if not exchange.open:
                continue  # the peer has left since
            if isinstance(answer, Headers):
                exchange.extra_headers = merge_headers(exchange.extra_headers, answer.pairs)
            if isinstance(answer, Response):
                _respond(exchange, answer, True, now)
            elif self._host.closing and held.opens_session:
                _respond(exchange, CLOSING, True, now)
            else:
                self._walk(exchange, held.place, True, now)

    def close(self, *, now: float) -> None:
        """The server is closing: turn away held requests for a new session."""
        for id in [id for id, held in self._held.items() if held.opens_session]:
            self._turn_away(id, CLOSING, now)

    # --- inside ---

    def _walk(self, exchange: Exchange, place: Place | None, close: bool, now: float) -> None:
        answer, headers, held = self._pipeline.walk(exchange.request, place)
        if headers:
            exchange.extra_headers = merge_headers(exchange.extra_headers, headers)
        if held is not None:
            answer = self._hold(exchange, held, now)
        else:
            self._strays.look(exchange.request, answer, now)
            if answer is None:
                self._pass_on(exchange, now)
        if answer is not None:
            _respond(exchange, answer, close, now)

    def _route(self, request: Request) -> Response | None:
        route = self._transport.route(request)
        if isinstance(route, Response):
            return route
        request.route = route
        request.opens_session = route.opens
        return None

    def _hold(self, exchange: Exchange, place: Place, now: float) -> Response | None:
        limits = self._host.limits
        name = place.layer.name
        if len(self._held) >= limits.authorizations:
            return error_response(503, f"too many requests wait for {name}")
        self._last_id += 1
        id = self._last_id
        late = error_response(503, f"{name} took too long")
        timer = self._host.timers.new(lambda now: self._turn_away(id, late, now))
        timer.set(now + limits.authorization)
        self._held[id] = _Held(exchange, place, timer)
        exchange.on_gone = lambda now: self._gone(id)
        self._host.emit(ev.RequestHeld(id, name, exchange.request))
        return None

    def _pass_on(self, exchange: Exchange, now: float) -> None:
        route: Route = exchange.request.route
        if route.body:
            exchange.read(
                route.body,
                lambda body, now: self._transport.handle(exchange, route, body, now=now),
                now=now,
            )
        else:
            self._transport.handle(exchange, route, b"", now=now)

    def _forget(self, id: int) -> _Held | None:
        held = self._held.pop(id, None)
        if held is not None:
            held.timer.cancel()
            held.exchange.on_gone = None
        return held

    def _forget_known(self, id: int) -> _Held | None:
        if not 0 < id <= self._last_id:
            raise LocalProtocolError(f"no request {id} was ever held")
        return self._forget(id)

    def _gone(self, id: int) -> None:
        self._forget(id)

    def _turn_away(self, id: int, answer: Response, now: float) -> None:
        held = self._forget(id)
        assert held is not None
        _respond(held.exchange, answer, True, now)


def _respond(exchange: Exchange, answer: Response, close: bool, now: float) -> None:
    fields = (*exchange.extra_headers, *answer.headers)
    if answer.status == 401 and not any(name.lower() == "cache-control" for name, _ in fields):
        # Requests to upgrade do not pass the layer that forbids caching.
        exchange.extra_headers = (*exchange.extra_headers, ("Cache-Control", "no-store"))
    exchange.respond(answer.status, answer.headers, answer.body, close=close, now=now)


def check_head(request: Request, limits: Limits) -> Response | None:
    """The answer to a request that is not served whatever it asks for."""
    if "transfer-encoding" in request.headers and "content-length" in request.headers:
        # Somebody in between may have taken the other for the end of the body (RFC 9112, 6.1).
        return error_response(400, "both Content-Length and Transfer-Encoding")
    # Each field or parameter is cheap to send and dear to keep.
    if len(request.headers.names) > limits.headers:
        return error_response(431, f"more than {limits.headers} header fields")
    if request.query_string.count("&") >= limits.parameters:
        return error_response(414, f"more than {limits.parameters} parameters in the query")
    return None
