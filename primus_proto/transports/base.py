"""The interfaces around a transport: the exchanges, carriers and host that it is given, and its two halves.

The pipe, which a transport gives to a session, is in `pipe`. The law kept here: what the *endpoint* calls takes a
keyword-only `now`, and what the *session* calls does not. Nothing outside `transports/` knows which transport runs.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from ..commands import Write
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
    "refusal_error",
]

HeaderPairs = Iterable[tuple[str, str]]

# How many bytes of the body of an answer that refuses a connection are kept for the error.
ERROR_BODY = 64 * 1024


# --- the exchange seam ---


class Exchange(Protocol):
    """One request, to be answered once. A host that speaks HTTP itself brings its own implementation."""

    request: Request
    extra_headers: tuple[tuple[str, str], ...]
    """Header fields to add to the answer, whichever it is, and to the acceptance of a WebSocket. Empty at first.

    A field that the answer has itself is left out, unless it may be repeated (`without_headers`).
    """
    on_gone: Callable[[float], None] | None
    """Called with `now`, at most once, if the peer leaves before the answer is complete."""
    on_drained: Callable[[float], None] | None
    """Called with `now`, once, when all that was written has left the core. Set it before you write or answer."""

    @property
    def open(self) -> bool:
        """Whether the answer is incomplete and the peer is still connected."""

    @property
    def sent(self) -> int:
        """How many bytes of the answer's body have been given so far."""

    @property
    def buffered(self) -> int:
        """Bytes that have not left the core."""

    @property
    def blocked(self) -> bool:
        """Whether a part written now would wait in the core. Then a stream's owner keeps it until `on_drained`."""

    def read(self, limit: int, handler: Callable[[bytes, float], None], *, now: float) -> None:
        """Read the body, and call `handler(body, now)` when it is complete.

        A body that is larger than `limit` bytes, late or malformed is answered 413, 408 or 400 here, and `handler` is
        not called.
        """

    def respond(
        self, status: int, headers: HeaderPairs = (), body: bytes = b"", close: bool = False, *, now: float
    ) -> None:
        """Send a whole answer."""

    def stream(self, status: int, headers: HeaderPairs = (), *, now: float) -> None:
        """Begin a streamed answer, of unknown length."""

    def write(self, data: bytes, *, now: float) -> None:
        """Send a part of a streamed answer."""

    def finish(self, *, now: float) -> None:
        """End a streamed answer."""

    def abort(self, *, now: float) -> None:
        """Drop the connection without an answer, or without the rest of it."""

    def accept_websocket(
        self,
        owner: CarrierOwner,
        limit: int,
        headers: HeaderPairs = (),
        subprotocols: Iterable[str] = (),
        *,
        now: float,
    ) -> WebSocketCarrier | None:
        """Turn the exchange into a WebSocket. An invalid handshake is answered 400 or 426 here; then None is returned.

        The first of `subprotocols` that the client offers is chosen, or none.
        """


class CarrierOwner(Protocol):
    """What a WebSocket carrier reports to."""

    def closing(self) -> bool:
        """The peer has closed or broken a rule, and all that came before was handed out. Return whether to wait.

        If so, the carrier may still send, and the end follows `resume`, or comes after `Limits.close`.
        """

    def received(self, data: str | bytes, *, now: float) -> None:
        """A whole message came.

        Of an owner that has ``received_all(messages, now=)`` too, that is called for several of one read.
        """

    def pinged(self, *, now: float) -> None:
        """A WebSocket ping came, and was answered; after `close`, any ping or pong."""

    def drained(self, *, now: float) -> None:
        """The carrier is no longer blocked; or what was sent has left the core, after `report_drained`."""

    def closed(self, code: int, reason: str, error: PrimusError | None, *, now: float) -> None:
        """The WebSocket is closed; called once. `error` is set if the peer broke a rule or the connection was lost."""


class WebSocketCarrier(Protocol):
    """An open WebSocket."""

    owner: CarrierOwner
    """May be replaced at any time: a session that moves to a WebSocket takes it over."""

    @property
    def subprotocol(self) -> str | None:
        """The subprotocol that both ends agreed on; None: none."""

    @property
    def buffered(self) -> int:
        """Bytes that have not left the core."""

    @property
    def blocked(self) -> bool:
        """Whether a message sent now would wait in the core. Then the owner keeps it until `drained`."""

    def send(self, messages: Sequence[Message], *, now: float) -> None:
        """Send messages, each in a WebSocket message of its own; after a close nothing is sent."""

    def make_write(self, messages: Sequence[Message]) -> Write | None:
        """Make the `Write` that `send` would lead to. None, and nothing is sent, if there would be more to do."""

    def make_text_write(self, frames: Sequence[bytes]) -> Write | None:
        """`make_write` for texts in unmasked frames."""

    def ping(self, payload: bytes = b"", *, now: float) -> None:
        """Send a WebSocket ping of at most 125 bytes."""

    def close(self, code: int = 1000, reason: str = "", *, now: float) -> None:
        """Begin or complete the closing handshake."""

    def abort(self, *, now: float) -> None:
        """Drop the connection at once."""

    def pause(self) -> None:
        """Stop reading."""

    def resume(self) -> None:
        """Read again."""

    def check_peer(self) -> None:
        """While reading is paused, find out whether the peer is gone, if that can be told, and then read on."""

    def report_drained(self) -> None:
        """Have the owner told, once, when what was sent has left the core."""


# --- a transport's endpoint ---


class PipeHost(Protocol):
    """What the endpoint offers a transport of either end."""

    timers: Timers
    limits: Limits
    rng: random.Random

    @property
    def touch(self) -> Callable[[Pipe], object]:
        """Called to have a pipe flushed at the next poll."""

    def defer(self, call: Callable[[float], None]) -> None:
        """Have `call(now)` made once the events so far were handed out and the pipes were flushed."""

    def opened(self, pipe: Pipe, *, now: float) -> None:
        """Begin a session on `pipe`. This sets `pipe.session`, to which the pipe reports from now on."""


# --- a server's transport ---


@dataclass(frozen=True, slots=True)
class Route:
    """What the transport will do with a request.

    `opens` says whether it asks for a new session, which may need authorization. `body` is how many bytes of body the
    transport wants to read at most. `target` is for the transport itself.
    """

    opens: bool
    body: int = 0
    target: Any = field(default=None, repr=False)


class ServerHost(PipeHost, Protocol):
    """What the server's endpoint offers a transport."""

    options: Any
    """The transport's own options, as `Transport.options` makes them."""

    @property
    def pathname(self) -> str:
        """The path with which the path of every request begins."""

    def new_id(self) -> str:
        """Make an id with 128 bits of randomness."""


class ServerTransport(Protocol):
    """A transport's server half."""

    @property
    def busy(self) -> bool:
        """Whether the server must still take plain requests while it is closing, for sessions that have not ended."""

    def route(self, request: Request) -> Route | Response:
        """Say where a request goes, by its head alone, or answer it. Pure."""

    def handle(self, exchange: Exchange, route: Route, body: bytes, *, now: float) -> None:
        """Serve a request that has passed the pipeline, and whose body was read."""

    def close(self, *, now: float) -> None:
        """The server is closing: drop what belongs to no session. Sessions end by themselves."""


# --- a client's transport ---


class HttpPool(Protocol):
    """Connections to one origin, for one attempt and the session that it leads to. Requests are not retried.

    If the attempt fails, the host drops them. Once the pipe is open they belong to the transport, which aborts the pool
    when the pipe is over. A connection that becomes a WebSocket leaves the pool.
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
        """Open a WebSocket and offer `subprotocols`. `opened(carrier, now)` must set the carrier's owner.

        An answer with a subprotocol that was not offered fails the attempt.
        """

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
        received: Callable[[bytes, float], None] | None = None,
        now: float,
    ) -> None:
        """Send a request. `answered(answer, now)` gets the whole answer.

        Its body has at most `limit` bytes (None: `Limits.body`); a larger one fails the request. With `received`, the
        body of a 200 is a stream: `received(data, now)` gets its parts as they come, and `limit` bounds their sum. Then
        the answer's own body is empty.
        """

    def pause(self) -> None:
        """Stop reading the streams of this pool."""

    def resume(self) -> None:
        """Read them again."""

    def abort(self, *, now: float) -> None:
        """Drop all connections of this pool at once."""


def refusal_error(answer: Answer, *, opened: bool = False) -> ConnectError:
    """Make the error of an attempt to connect that got this answer, or of a session that is `opened`."""
    body = answer.body[:ERROR_BODY]
    words = _own_words(body)
    text = _explain(answer.status, answer.headers.get("Location", ""), opened) + words
    if answer.status == 403 and not words:  # ASGI hosts answer so for a WebSocket under a path that they do not know
        text += ": a refusal, or no Primus under this pathname"
    return ConnectError(text, status=answer.status, headers=answer.headers.pairs, body=body)


def _own_words(body: bytes) -> str:
    """What a Primus server says in its refusal (protocol 6), short, and without characters that control a terminal."""
    try:
        said = json.loads(body)
        words = said.get("error", said.get("message"))  # the latter is Engine.IO's
    except (ValueError, AttributeError, RecursionError):
        return ""
    text = "".join(each if each.isprintable() else " " for each in words[:200]) if isinstance(words, str) else ""
    return f" (it said: {text})" if text.strip() else ""


def _explain(status: int, location: str, opened: bool) -> str:
    from http import HTTPStatus  # here, because it takes a while to import

    try:
        phrase = f"{status} {HTTPStatus(status).phrase}"
    except ValueError:
        phrase = str(status)
    if 300 <= status < 400:
        target = location.partition("?")[0][:200]  # a query may be secret
        where = f" {target}" if target.isascii() and target.isprintable() and target and "@" not in target else ""
        return f"the server answered {phrase}: redirects are not followed, connect to the new address{where}"
    if status in (502, 503, 504):
        return f"the server answered {phrase}: perhaps a proxy does, because the server behind it is down or closing"
    if status == 426:
        return (
            f"the server answered {phrase}: it did not see a WebSocket handshake; a proxy on the way may have removed "
            "'Upgrade', or it expects another transformer"
        )
    if opened and status in (400, 404):
        return f"the server answered {phrase}: it does not know the session; do all requests reach the same process?"
    if status == 404:
        return f"the server answered {phrase}: no Primus under this pathname?"
    if status in (200, 400, 405):
        return (
            f"the server answered {phrase} instead of a connection: is this a Primus server with the same transformer?"
        )
    return f"the server answered {phrase}"


class ClientHost(PipeHost, Protocol):
    """What the client's endpoint offers a transport."""

    options: Any
    """The transport's own options, as `Transport.options` makes them."""

    @property
    def pool(self) -> HttpPool:
        """The connections for this attempt."""

    def failed(self, error: ConnectError, *, now: float) -> None:
        """The attempt has failed before its pipe opened."""


class ClientTransport(Protocol):
    """A transport's client half, one object for each attempt. It uses the pool that the host has when it is made."""

    def start(self, *, now: float) -> None:
        """Begin to connect."""

    def abort(self, *, now: float) -> None:
        """Stop connecting. The host drops the pool's connections itself. Not called once the pipe is open."""
