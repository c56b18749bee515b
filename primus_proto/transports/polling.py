"""What transports over plain requests share: sessions by id, their pipes, batches in turns, and repeated requests.

The laws kept here: a session that its client does not come back for ends, and the number of those is bounded; the
packets of a batch are handled in order, none while reading is paused, and never so many at once that others wait long.
A session is notified of its end once, and a pipe that was closed is over after `Limits.close` at the latest.
"""

from __future__ import annotations

import re
from abc import abstractmethod
from binascii import a2b_qp
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from ..errors import PrimusError
from ..http.model import Address, Request
from ..session.messages import MESSAGE_OVERHEAD
from ..timers import Timer, Timers
from .base import Exchange, PipeHost, WebSocketCarrier
from .pipe import Pipe, SessionCore

__all__ = [
    "Answered", "Inbox", "PeerEnd", "PollingPipe", "Recent", "Sessions", "WithoutSession", "discard",
    "script_form", "stamp", "too_long",
]  # fmt: skip

A = TypeVar("A")
P = TypeVar("P")
S = TypeVar("S")

# How many packets of a batch are handled before others have a turn, and the seconds until the next.
TURN = 500
REST = 0.001

# How many requests of a session are known again if something on the way repeats them.
KEPT = 16


class Sessions(Generic[S]):
    """The sessions of a transport, by id.

    A session is *unclaimed* until its client has made a second request. That costs the client nothing, so
    `Limits.unclaimed` bounds their number and `Limits.handshake` their time.
    """

    def __init__(self, host: PipeHost) -> None:
        self._host = host
        self._sessions: dict[str, S] = {}
        self._unclaimed: dict[str, Timer] = {}

    def __len__(self) -> int:
        return len(self._sessions)

    def __iter__(self) -> Iterator[S]:
        """The sessions there are now; some may end while you iterate."""
        return iter(list(self._sessions.values()))

    @property
    def full(self) -> bool:
        """Whether so many sessions are unclaimed that there is no room for another."""
        return len(self._unclaimed) >= self._host.limits.unclaimed

    def get(self, id: str) -> S | None:
        """The session with this id."""
        return self._sessions.get(id)

    def add(self, id: str, session: S, lapsed: Callable[[float], None], *, now: float) -> None:
        """Add a session. `lapsed(now)` is called if it is not claimed in time; it stays until it is removed."""

        def expired(now: float) -> None:
            self.claim(id)
            lapsed(now)

        self._sessions[id] = session
        timer = self._unclaimed[id] = self._host.timers.new(expired)
        timer.set(now + self._host.limits.handshake)

    def claim(self, id: str) -> None:
        """The client has come back. To say it again does no harm."""
        timer = self._unclaimed.pop(id, None)
        if timer is not None:
            timer.cancel()

    def remove(self, id: str) -> None:
        """The session is over. To say it again does no harm."""
        self.claim(id)
        self._sessions.pop(id, None)


class Inbox(Generic[P]):
    """Batches of packets that have arrived and are not handled yet. A batch is best a lazy iterator."""

    __slots__ = ("_batches", "_handle", "_running", "_timer", "paused")

    def __init__(self, timers: Timers, handle: Callable[[P, float], None]) -> None:
        self.paused = False
        """Whether to handle nothing. Call `run` after setting it to False."""
        self._handle = handle
        self._batches: deque[tuple[Iterator[P], Callable[[float], None]]] = deque()
        self._timer = timers.new(lambda now: self.run(now=now))
        self._running = False

    def __bool__(self) -> bool:
        """Whether anything waits."""
        return bool(self._batches)

    def put(self, packets: Iterable[P], done: Callable[[float], None], *, now: float) -> None:
        """Handle the packets of a batch, now or later. `done(now)` is called once they have been handled or dropped.

        Answer the request then: until it is answered, a client sends no more.
        """
        self._batches.append((iter(packets), done))
        if len(self._batches) == 1:
            self.run(now=now)

    def run(self, *, now: float) -> None:
        """Handle what may be handled now."""
        if self._running:
            return
        self._running = True
        left = TURN
        try:
            while self._batches and not self.paused:
                if left == 0:
                    self._timer.set(now + REST)
                    return
                packets, done = self._batches[0]
                packet = next(packets, _END)
                if packet is _END:
                    self._batches.popleft()
                    done(now)
                else:
                    left -= 1
                    self._handle(packet, now)  # type: ignore[arg-type]  # mypy does not see that it is not _END
        finally:
            self._running = False

    def clear(self, *, now: float) -> None:
        """Drop what waits."""
        self._timer.cancel()
        batches, self._batches = self._batches, deque()
        for _, done in batches:
            done(now)


_END = object()

# The field `d` of a form, and a percent sign that begins no byte.
FIELD = re.compile(rb"(?:\A|&)d(?:=([^&]*))?(?![^&])")
STRAY = re.compile(rb"%(?![0-9A-Fa-f]{2})")
MANY = 1000


def script_form(form: bytes) -> bytes:
    """The field `d` of a form, as a client posts it that has only scripts. Empty if there is none.

    A form may be large and be made of nothing but escapes, so that nothing is done for each of them.
    """
    match = FIELD.search(form)
    value, strays = STRAY.subn(b"%25", (match and match[1]) or b"", MANY)
    if strays == MANY:
        return b""
    # An escape of a form is one of quoted-printable with another sign.
    return a2b_qp(value.replace(b"=", b"=3D").replace(b"%", b"=").replace(b"+", b" "))


class EndedByPeer(Protocol):
    """What `PeerEnd` needs of a pipe."""

    session: SessionCore
    ending: tuple[int, str] | None

    @property
    def paused(self) -> bool:
        """Whether the session does not read."""


class PeerEnd:
    """The end of a session that a message of its peer asks for, or causes by breaking a rule.

    It comes once what arrived before was handed out and answered, and not while the session is paused or busy with it,
    for at most `Limits.close`. So it does not depend on how the peer's bytes were cut.
    """

    __slots__ = ("_end", "_host", "_pipe", "_timer")

    def __init__(self, host: PipeHost, pipe: EndedByPeer, end: Callable[[float], None]) -> None:
        self._host = host
        self._pipe = pipe
        self._end: Callable[[float], None] | None = end
        self._timer: Timer | None = None
        self.look()

    def look(self) -> None:
        """The session may read again."""
        self._host.defer(self._look)

    def cancel(self) -> None:
        """The session has ended in another way."""
        self._end = None
        if self._timer is not None:
            self._timer.cancel()

    def _look(self, now: float) -> None:
        pipe = self._pipe
        if self._end is None or pipe.ending is not None or not (pipe.paused or pipe.session.connection_closing()):
            self.come(now)
        elif self._timer is None:
            self._timer = self._host.timers.new(self.come)
            self._timer.set(now + self._host.limits.close)

    def come(self, now: float) -> None:
        """Do not wait any longer. To say it again does no harm."""
        end = self._end
        self.cancel()
        if end is not None:
            end(now)


class PollingPipe(Pipe, Generic[P]):
    """A session over requests. What comes is handled in turns, and the end is bounded."""

    __slots__ = ("_host", "_inbox", "_linger", "_peer_end", "over")

    def __init__(self, host: PipeHost, request: Request | None = None) -> None:
        super().__init__(host.touch, request)
        self._host = host
        self.over = False
        """Whether nothing is left to be done."""
        self._inbox = Inbox[P](host.timers, self._handle)
        self._linger: Timer | None = None
        self._peer_end: PeerEnd | None = None

    # --- the session's side ---

    @property
    def buffered(self) -> int:
        return self._outbox_size + self._unread

    @property
    def paused(self) -> bool:
        """Whether the session does not read."""
        return self._inbox.paused

    def pause(self) -> None:
        self._inbox.paused = True

    def resume(self) -> None:
        self._inbox.paused = False
        self._touch()
        if self._peer_end is not None:
            self._peer_end.look()

    # --- the endpoint's side ---

    def flush(self, *, now: float) -> None:
        if self.over:
            return
        if self.aborted:
            self._drop(now)
            return
        if self.ending is not None and self._linger is None:
            self._linger = self._host.timers.new(self._drop)
            self._linger.set(now + self._host.limits.close)
            self._inbox.clear(now=now)
            self.resume()  # the peer's own end must get through
        if self._inbox:
            self._inbox.run(now=now)
        self._send(now)

    # --- each transport's part ---

    @property
    @abstractmethod
    def _unread(self) -> int:
        """Bytes that have left the outbox, and that the peer has not taken."""

    @abstractmethod
    def _send(self, now: float) -> None:
        """Send what can be sent."""

    @abstractmethod
    def _handle(self, packet: P, now: float) -> None:
        """A packet came, and it is its turn."""

    # --- inside ---

    def _left(self, now: float) -> None:
        """What was sent last has been taken."""
        if self.high and self.ending is None:
            self.session.drained()
        self._touch()

    def _ended_by_peer(self, code: int, reason: str, error: PrimusError | None) -> None:
        """A message of the peer ends it, in its turn."""
        if self._peer_end is None:
            self._peer_end = PeerEnd(self._host, self, lambda now: self._end(code, reason, error, now))

    def _end(self, code: int, reason: str, error: PrimusError | None, now: float) -> None:
        """The peer has ended it, or is gone."""
        if self.over:
            return
        self.over = True
        if self.ending is None:
            self.ending = (code, reason)
            self.session.connection_lost(error, code=code, reason=reason, now=now)
        self._release(now)

    def _drop(self, now: float) -> None:
        """Drop everything that is left."""
        if not self.over:
            self.over = True
            self._release(now)

    def _release(self, now: float) -> None:
        """Release requests and timers."""
        self._report_unsent()
        for waiting in (self._linger, self._peer_end):
            if waiting is not None:
                waiting.cancel()
        self._inbox.clear(now=now)


# --- requests that something on the way repeats ---


def stamp(exchange: Exchange) -> str:
    """What a client puts into the URL of each of its requests to tell it from all others; empty if it does not."""
    return exchange.request.query.get("t", "")


@dataclass(slots=True)
class Answered(Generic[A]):
    """The last poll that was answered. A repetition of it is given the same answer again."""

    stamp: str
    peers: set[Address]
    answer: A

    def repeated_by(self, exchange: Exchange) -> bool:
        """Whether this is the same request once more, on another connection.

        On the same connection nobody repeats what was answered, and clients with coarse stamps use one twice.
        """
        return bool(self.stamp) and self.stamp == stamp(exchange) and exchange.request.peer not in self.peers


class Recent:
    """The last requests of one kind, by their stamps: what shows that one is the copy of another, however late."""

    __slots__ = ("_seen",)

    def __init__(self) -> None:
        self._seen: dict[int, Address] | None = None

    def has(self, exchange: Exchange, body: bytes = b"") -> bool:
        """Whether it has this request from another connection. If not, it has it from now on.

        The body counts, because clients with coarse stamps may use one twice.
        """
        stamped, peer = stamp(exchange), exchange.request.peer
        if not stamped:
            return False
        if self._seen is None:
            self._seen = {}
        first = self._seen.setdefault(hash((stamped, body)), peer)
        if len(self._seen) > KEPT:
            del self._seen[next(iter(self._seen))]
        return first != peer


def too_long(data: str | bytes, limit: int) -> bool:
    """Whether a message is larger than `limit` bytes. Half of a surrogate pair, which JSON can carry, is 3 bytes."""
    if len(data) > limit:
        return True
    return isinstance(data, str) and not data.isascii() and len(data.encode(errors="surrogatepass")) > limit


class WithoutSession:
    """Base of the owners of a WebSocket that carries no session, or none yet."""

    __slots__ = ()

    def pinged(self, *, now: float) -> None:
        """It has been answered, and proves nothing here."""

    def closing(self) -> bool:
        return False

    def drained(self, *, now: float) -> None:
        """Nothing waits for that."""


def discard(carrier: WebSocketCarrier, host: PipeHost, code: int = 1000, *, now: float) -> None:
    """Close a WebSocket that nobody needs any more. `Limits.close` and `drain` bound what still comes, unheeded."""
    carrier.owner = _Closing(carrier, host, now)
    carrier.resume()  # the peer's close must get through
    carrier.close(code, now=now)


class _Closing(WithoutSession):
    """The owner of a WebSocket until it is closed."""

    __slots__ = ("_carrier", "_left", "_timer")

    def __init__(self, carrier: WebSocketCarrier, host: PipeHost, now: float) -> None:
        self._carrier = carrier
        self._left = host.limits.drain
        self._timer = host.timers.new(lambda now: carrier.abort(now=now))
        self._timer.set(now + host.limits.close)

    def received(self, data: str | bytes, *, now: float) -> None:
        self._left -= len(data) + MESSAGE_OVERHEAD
        if self._left < 0:
            self._carrier.abort(now=now)

    def pinged(self, *, now: float) -> None:
        self.received(b"", now=now)

    def closed(self, code: int, reason: str, error: PrimusError | None, *, now: float) -> None:
        self._timer.cancel()
