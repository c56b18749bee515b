"""The request pipeline: the named layers that every request under the pathname walks (protocol 2 and 6).

A layer is a function of the `Request`. It returns a `Response` to answer it, `Headers` to add to any later answer, or
None to pass it on. A layer that has to wait returns `HOLD`; the request then waits for `Requests.resume`.

The law kept here: all three seams walk the same list. `Pipeline` walks it for the message seam, which has no exchanges,
and `Requests` for the byte and exchange seams.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, NamedTuple, Protocol

from .. import events as ev
from ..config import ServerConfig
from ..errors import LocalProtocolError
from ..limits import Limits
from ..timers import Timer, Timers
from ..transports.base import Exchange, Route, ServerTransport
from .model import CLOSING, Headers, Request, Response, check_extra_header, error_response
from .spec import answer_client_library, answer_foreign_path, answer_spec, answer_unclean_path

__all__ = ["HOLD", "Layer", "Outcome", "Pipeline", "PipelineHost", "Requests"]

FAILED = error_response(500, "internal error")


class _Hold:
    """The type of `HOLD`."""


HOLD: Final = _Hold()
"""Returned by a layer that has to wait."""

LayerFunction = Callable[[Request], Response | Headers | _Hold | None]


class PipelineHost(Protocol):
    """What the pipeline needs of its server."""

    config: ServerConfig
    limits: Limits
    timers: Timers

    @property
    def closing(self) -> bool:
        """Whether the server takes no more sessions."""

    def emit(self, event: ev.Event) -> None: ...


@dataclass(slots=True)
class Layer:
    """One named layer. It sees plain requests if `http` is set, and requests to upgrade if `upgrade` is set."""

    name: str
    run: LayerFunction
    http: bool = True
    upgrade: bool = True


class Outcome(NamedTuple):
    """The result of a walk: an answer, the number of the layer that holds the request, or neither for a pass."""

    answer: Response | None
    headers: tuple[tuple[str, str], ...] = ()
    """Header fields to add to the answer, or to what the transport answers."""
    held: int | None = None


class Pipeline:
    """The ordered list of layers."""

    def __init__(self, host: PipelineHost) -> None:
        self._host = host
        config = host.config
        self.layers: list[Layer] = [
            Layer("pathname", lambda request: answer_foreign_path(config, request)),
            Layer("clean-path", lambda request: answer_unclean_path(config, request)),
            Layer("primus.js", lambda request: answer_client_library(config, request), upgrade=False),
            Layer("spec", lambda request: answer_spec(config, request, host.closing), upgrade=False),
            Layer("closing", self._refuse_while_closing),
            Layer("authorization", self._ask),
        ]

    def insert(self, layer: Layer, *, before: str) -> None:
        """Insert a layer before the one named `before`."""
        self.layers.insert([each.name for each in self.layers].index(before), layer)

    def walk(self, request: Request, start: int = 0) -> Outcome:
        """Walk a request through the layers, from number `start` on. If one fails, log it and answer 500."""
        upgrade = request.is_upgrade
        headers: tuple[tuple[str, str], ...] = ()
        for index in range(start, len(self.layers)):
            layer = self.layers[index]
            if not (layer.upgrade if upgrade else layer.http):
                continue
            try:
                result = layer.run(request)
                if result is not HOLD:
                    check_answer(result)
            except Exception as error:
                self._host.emit(ev.Logged("error", f"layer {layer.name}: {error!r}"))
                result = FAILED
            if isinstance(result, Response):
                return Outcome(result, headers)
            if isinstance(result, Headers):
                headers += result.pairs
            elif result is HOLD:
                return Outcome(None, headers, index)
        return Outcome(None, headers)

    # --- the built-in layers that depend on the server's state ---

    def _refuse_while_closing(self, request: Request) -> Response | None:
        return CLOSING if self._host.closing and request.opens_session else None

    def _ask(self, request: Request) -> _Hold | None:
        which = self._host.config.authorization
        return HOLD if which == "all" or (which and request.opens_session) else None


def check_answer(answer: object) -> None:
    """Raise LocalProtocolError for something that must not be returned by a layer, or given to `resume`."""
    if isinstance(answer, Headers):
        for name, value in answer.pairs:
            check_extra_header(name, value)
    elif not (answer is None or isinstance(answer, Response)):
        raise LocalProtocolError(f"a request is answered with a Response, Headers or None; got {answer!r}")


@dataclass(slots=True)
class _Held:
    exchange: Exchange
    layer: int
    timer: Timer

    @property
    def opens_session(self) -> bool:
        """Whether the transport has seen the request, and it asks for a new session."""
        request = self.exchange.request
        return request.route is not None and request.opens_session


class Requests:
    """Requests that arrive as exchanges. Each walks the pipeline, and the transport serves those that pass."""

    def __init__(self, host: PipelineHost, pipeline: Pipeline, transport: ServerTransport) -> None:
        self._host = host
        self._pipeline = pipeline
        self._transport = transport
        self._last_id = 0
        self._held: dict[int, _Held] = {}
        self.resumed: list[tuple[_Held, Response | Headers | None]] = []
        """Requests for `run` to walk on with."""
        pipeline.insert(Layer("transport", self._route), before="closing")

    def request(self, exchange: Exchange, *, now: float) -> None:
        """A request's head is complete."""
        self._walk(exchange, 0, False, now)

    def resume(self, id: int, answer: Response | Headers | None = None) -> bool:
        """See `ByteServer.resume`."""
        check_answer(answer)
        if not 0 < id <= self._last_id:
            raise LocalProtocolError(f"no request {id} was ever held")
        held = self._forget(id)
        if held is None:
            return False
        self.resumed.append((held, answer))
        return True

    def run(self, *, now: float) -> None:
        """Walk on with the requests that were resumed."""
        resumed, self.resumed = self.resumed, []
        for held, answer in resumed:
            exchange = held.exchange
            if not exchange.open:
                continue  # the peer has left since
            if isinstance(answer, Headers):
                exchange.extra_headers += answer.pairs
            if isinstance(answer, Response):
                _respond(exchange, answer, True, now)
            elif self._host.closing and held.opens_session:
                _respond(exchange, CLOSING, True, now)
            else:
                self._walk(exchange, held.layer + 1, True, now)

    def close(self, *, now: float) -> None:
        """The server is closing: turn away held requests for a new session."""
        for id in [id for id, held in self._held.items() if held.opens_session]:
            self._turn_away(id, CLOSING, now)

    # --- inside ---

    def _walk(self, exchange: Exchange, start: int, close: bool, now: float) -> None:
        answer, headers, held = self._pipeline.walk(exchange.request, start)
        exchange.extra_headers += headers
        if held is not None:
            answer = self._hold(exchange, held, now)
        elif answer is None:
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

    def _hold(self, exchange: Exchange, layer: int, now: float) -> Response | None:
        limits = self._host.limits
        name = self._pipeline.layers[layer].name
        if len(self._held) >= limits.authorizations:
            return error_response(503, f"too many requests wait for {name}")
        self._last_id += 1
        id = self._last_id
        late = error_response(503, f"{name} took too long")
        timer = self._host.timers.new(lambda now: self._turn_away(id, late, now))
        timer.set(now + limits.authorization)
        self._held[id] = _Held(exchange, layer, timer)
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

    def _gone(self, id: int) -> None:
        self._forget(id)

    def _turn_away(self, id: int, answer: Response, now: float) -> None:
        held = self._forget(id)
        assert held is not None
        _respond(held.exchange, answer, True, now)


def _respond(exchange: Exchange, answer: Response, close: bool, now: float) -> None:
    exchange.respond(answer.status, answer.headers, answer.body, close=close, now=now)
