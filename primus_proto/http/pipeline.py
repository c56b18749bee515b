"""What happens to a request before its transport sees it: path, spec, authorization (protocol 2 and 6).

It stands on the exchange seam alone, so a host that speaks HTTP itself passes its own exchanges through the same gate.
"""

from __future__ import annotations

from dataclasses import dataclass

from .. import events as ev
from ..errors import LocalProtocolError
from ..session.server import Server
from ..timers import Timer
from ..transports.base import Exchange, Route, ServerTransport
from .model import CLOSING, Response, error_response
from .spec import public_response

__all__ = ["Gate"]

LATE = error_response(503, "authorization took too long")


@dataclass(slots=True)
class _Pending:
    exchange: Exchange
    route: Route
    timer: Timer


class Gate:
    """Decides, for each request under the pathname, who answers it."""

    def __init__(self, server: Server, transport: ServerTransport) -> None:
        self._server = server
        self._transport = transport
        self._last_id = 0
        self._pending: dict[int, _Pending] = {}
        self._decided: list[tuple[_Pending, Response | None]] = []

    def request(self, exchange: Exchange, *, now: float) -> None:
        """A request's head is complete."""
        answer = self._answer(exchange, now)
        if answer is not None:
            exchange.respond(answer.status, answer.headers, answer.body, now=now)

    def accept(self, id: int) -> bool:
        """See `ByteServer.accept`."""
        return self._decide(id, None)

    def reject(self, id: int, message: str, *, status: int = 401, authenticate: str | None = None) -> bool:
        """See `ByteServer.reject`."""
        return self._decide(id, self._server.refusal(message, status=status, authenticate=authenticate))

    def run(self, *, now: float) -> None:
        """Carry out what was decided."""
        decided, self._decided = self._decided, []
        for pending, refusal in decided:
            if refusal is None and self._server.closing and pending.route.opens:
                refusal = CLOSING  # accepted in the same breath, and too late
            if refusal is None:
                self._admit(pending.exchange, pending.route, now)
            else:
                self._refuse(pending.exchange, refusal, now)

    def close(self, *, now: float) -> None:
        """The server is closing: nobody who wants a new session waits any longer."""
        for id in [id for id, pending in self._pending.items() if pending.route.opens]:
            self._turn_away(id, CLOSING, now)

    # --- inside ---

    def _answer(self, exchange: Exchange, now: float) -> Response | None:
        config = self._server.config
        answer = public_response(config, exchange.request, self._server.closing)
        if answer is not None:
            return answer
        route = self._transport.route(exchange.request)
        if isinstance(route, Response):
            return route
        if self._server.closing and route.opens:
            return CLOSING
        if config.authorization == "all" or (config.authorization and route.opens):
            return self._ask(exchange, route, now)
        self._admit(exchange, route, now)
        return None

    def _ask(self, exchange: Exchange, route: Route, now: float) -> Response | None:
        limits = self._server.limits
        if len(self._pending) >= limits.authorizations:
            return error_response(503, "too many requests wait for authorization")
        self._last_id += 1
        id = self._last_id
        timer = self._server.timers.new(lambda now: self._turn_away(id, LATE, now))
        timer.set(now + limits.authorization)
        self._pending[id] = _Pending(exchange, route, timer)
        exchange.on_gone = lambda now: self._gone(id)
        self._server.emit(ev.AuthorizationRequested(id, exchange.request))
        return None

    def _admit(self, exchange: Exchange, route: Route, now: float) -> None:
        if route.body:
            exchange.read(
                route.body,
                lambda body, now: self._transport.handle(exchange, route, body, now=now),
                now=now,
            )
        else:
            self._transport.handle(exchange, route, b"", now=now)

    def _decide(self, id: int, refusal: Response | None) -> bool:
        if not 0 < id <= self._last_id:
            raise LocalProtocolError(f"no authorization {id} was ever asked for")
        pending = self._forget(id)
        if pending is None:
            return False
        self._decided.append((pending, refusal))
        return True

    def _forget(self, id: int) -> _Pending | None:
        pending = self._pending.pop(id, None)
        if pending is not None:
            pending.timer.cancel()
            pending.exchange.on_gone = None
        return pending

    def _gone(self, id: int) -> None:
        self._forget(id)

    def _turn_away(self, id: int, why: Response, now: float) -> None:
        pending = self._forget(id)
        assert pending is not None
        self._refuse(pending.exchange, why, now)

    def _refuse(self, exchange: Exchange, answer: Response, now: float) -> None:
        exchange.respond(answer.status, answer.headers, answer.body, close=True, now=now)
