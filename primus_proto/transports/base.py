"""The seams around a transport: what it is given (exchanges, carriers, a host); what it gives is in `pipes`.

The law kept here: whatever the *endpoint* calls takes keyword-only `now`; whatever the *session* calls never
does. Nothing outside `transports/` knows which transport runs.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, Protocol

from ..errors import ConnectError, PrimusError
from ..http.model import Answer, Request, Response
from ..limits import Limits
from ..session.messages import Message
from ..timers import Timers
from .pipe import Pipe

__all__ = [
    "CarrierOwner",
    "ClientHost",
    "ClientTransport",
    "Exchange",
    "HttpPool",
    "PipeHost",
    "Route",
    "ServerHost",
    "ServerTransport",
    "WebSocketCarrier",
    "unwelcome",
]

HeaderPairs = Iterable[tuple[str, str]]

# How much of an unwelcome answer's body is kept for the error: enough for a message, not for an attack.
ERROR_BODY = 64 * 1024


# --- what a transport stands on: the exchange seam ---


class Exchange(Protocol):
    """One request, to be answered once. A host that speaks HTTP itself gives objects of its own."""

    request: Request
    extra_headers: tuple[tuple[str, str], ...]
    """Header fields to add to whatever answers it, the acceptance of a WebSocket included. Empty at first."""
    on_gone: Callable[[float], None] | None
    """Called with `now`, at most once, if the peer leaves before the answer is complete."""
    on_drained: Callable[[float], None] | None
    """Called with `now`, once, when what was written has left the core; set it again for the next time."""

    @property
    def open(self) -> bool:
        """Whether the answer is not complete and the peer is still there."""

    @property
    def sent(self) -> int:
        """Bytes of answer body given so far."""

    @property
    def buffered(self) -> int:
        """Bytes that have not left the core."""

    def read(self, limit: int, handler: Callable[[bytes, float], None], *, now: float) -> None:
        """Read the body, `handler(body, now)` when it is whole.

        One that is larger than `limit` bytes, late or broken is answered here (413, 408, 400), and nobody is called.
        """

    def respond(
        self, status: int, headers: HeaderPairs = (), body: bytes = b"", close: bool = False, *, now: float
    ) -> None:
        """The whole answer at once."""

    def stream(self, status: int, headers: HeaderPairs = (), *, now: float) -> None:
        """Begin an answer of unknown length."""

    def write(self, data: bytes, *, now: float) -> None:
        """A part of a streamed answer."""

    def finish(self, *, now: float) -> None:
        """The end of a streamed answer."""

    def abort(self, *, now: float) -> None:
        """Drop the connection without (the rest of) an answer."""

    def accept_websocket(
        self,
        owner: CarrierOwner,
        limit: int,
        headers: HeaderPairs = (),
        subprotocols: Iterable[str] = (),
        *,
        now: float,
    ) -> WebSocketCarrier | None:
        """Turn the exchange into a WebSocket; None where it was no valid handshake, and is answered 400 or 426.

        Of `subprotocols` the first that the client offers is taken, or none.
        """


class CarrierOwner(Protocol):
    """Who a WebSocket carrier reports to."""

    def received(self, data: str | bytes, *, now: float) -> None:
        """A whole message came."""

    def pinged(self, *, now: float) -> None:
        """A WebSocket ping came, and was answered."""

    def drained(self, *, now: float) -> None:
        """The carrier is no longer blocked; or what was sent has left the core, after `report_drained`."""

    def closed(self, code: int, reason: str, error: PrimusError | None, *, now: float) -> None:
        """The WebSocket is closed to both; called once. `error` where the peer broke a rule or vanished."""


class WebSocketCarrier(Protocol):
    """An open WebSocket. `owner` is a plain attribute: an upgrade re-assigns it."""

    owner: CarrierOwner

    @property
    def subprotocol(self) -> str | None:
        """The subprotocol that both ends agreed on."""

    @property
    def buffered(self) -> int:
        """Bytes that have not left the core."""

    @property
    def blocked(self) -> bool:
        """Whether what is sent now would only wait here. The owner keeps it until `drained`, to know what was lost."""

    def send(self, messages: Sequence[Message], *, now: float) -> None:
        """Send messages, each in a WebSocket message of its own; after a close nothing is sent."""

    def ping(self, payload: bytes = b"", *, now: float) -> None:
        """Send a WebSocket ping of at most 125 bytes."""

    def close(self, code: int = 1000, reason: str = "", *, now: float) -> None:
        """Begin, or complete, the closing handshake."""

    def abort(self, *, now: float) -> None:
        """Drop the connection at once."""

    def pause(self) -> None:
        """Stop reading."""

    def resume(self) -> None:
        """Read again."""

    def report_drained(self) -> None:
        """Have the owner told, once, when what was sent has left the core."""


# --- what a transport asks of its endpoint ---


class PipeHost(Protocol):
    """What a transport of either end may ask of the endpoint."""

    timers: Timers
    limits: Limits
    rng: random.Random

    def touch(self, pipe: Pipe) -> None:
        """`pipe` has something to flush."""

    def opened(self, pipe: Pipe, *, now: float) -> None:
        """A new session begins on `pipe`, whose `session` is set here. From here on the pipe reports to that."""


# --- a server's transport ---


@dataclass(frozen=True, slots=True)
class Route:
    """Where a request goes. `opens`: it asks for a new session, so it needs authorization. `body`: bytes to read."""

    opens: bool
    body: int = 0
    target: Any = field(default=None, repr=False)


class ServerHost(PipeHost, Protocol):
    """What the server's endpoint offers a transport."""

    options: Any
    """The transport's own options, from the configuration."""

    @property
    def pathname(self) -> str:
        """What the path of every request begins with."""

    def new_id(self) -> str:
        """A fresh id with 128 bits of randomness."""


class ServerTransport(Protocol):
    """A transport's server half."""

    @property
    def busy(self) -> bool:
        """Whether sessions, or their goodbyes, still need channels for plain requests when the server is closing."""

    def route(self, request: Request) -> Route | Response:
        """Where a request goes, from its head alone; pure."""

    def handle(self, exchange: Exchange, route: Route, body: bytes, *, now: float) -> None:
        """Serve a request that middleware and authorization let pass, its body read."""

    def close(self, *, now: float) -> None:
        """The server is closing: let go of what waits and belongs to no session. Those end by themselves."""


# --- a client's transport ---


class HttpPool(Protocol):
    """One origin's connections, for one attempt and the session that comes of it. No retries.

    While connecting it is the host that drops them. Once the pipe is open they are the transport's: it aborts the
    pool, after its last request if it is polite, when the pipe is over. A WebSocket has left the pool.
    """

    def websocket(
        self,
        target: str,
        headers: HeaderPairs,
        opened: Callable[[WebSocketCarrier, float], None],
        failed: Callable[[ConnectError, float], None],
        *,
        subprotocols: Iterable[str] = (),
        now: float,
    ) -> None:
        """Open a WebSocket, offering `subprotocols`; `opened(carrier, now)` must set the carrier's owner."""

    def request(
        self,
        method: str,
        target: str,
        headers: HeaderPairs,
        body: bytes,
        answered: Callable[[Answer, float], None],
        failed: Callable[[ConnectError, float], None],
        *,
        limit: int | None = None,
        now: float,
    ) -> None:
        """Send a request; `answered` gets the whole answer, of at most `limit` bytes (None: `Limits.body`)."""

    def abort(self, *, now: float) -> None:
        """Drop every connection of this pool at once."""


def unwelcome(answer: Answer) -> ConnectError:
    """What a connection failed with that got this answer instead of what it asked for."""
    body = answer.body[:ERROR_BODY]
    return ConnectError(_explain(answer.status), status=answer.status, headers=answer.headers.pairs, body=body)


def _explain(status: int) -> str:
    try:
        phrase = f"{status} {HTTPStatus(status).phrase}"
    except ValueError:
        phrase = str(status)
    if 300 <= status < 400:
        return f"the server answered {phrase}: redirects are not followed, connect to the new address"
    if status == 404:
        return f"the server answered {phrase}: no Primus under this pathname?"
    if status in (200, 400, 405, 426):
        return (
            f"the server answered {phrase} instead of a connection: is this a Primus server with the same transformer?"
        )
    return f"the server answered {phrase}"


class ClientHost(PipeHost, Protocol):
    """What the client's endpoint offers a transport."""

    options: Any
    """The transport's own options, from the configuration."""

    @property
    def pool(self) -> HttpPool:
        """The connections of this attempt."""

    def failed(self, error: ConnectError, *, now: float) -> None:
        """The attempt failed before its pipe opened."""


class ClientTransport(Protocol):
    """A transport's client half: one object for each attempt, which keeps the `pool` that the host had at its start."""

    def start(self, *, now: float) -> None:
        """Begin to connect."""

    def abort(self, *, now: float) -> None:
        """Stop connecting; the host drops the pool's connections itself. Not called once the pipe is open."""
