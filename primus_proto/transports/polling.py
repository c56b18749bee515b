"""What transports over plain requests share on a server: sessions by id, and batches that are handed over in turns.

The laws kept here: a session that its client does not come back for ends, and the number of those is bounded; the
packets of a batch are handled in order, none while reading is paused, and never so many at once that others wait long.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Generic, TypeVar

from ..errors import PrimusError
from ..timers import Timer, Timers
from .base import PipeHost, WebSocketCarrier

__all__ = ["Inbox", "Sessions", "discard"]

S = TypeVar("S")
P = TypeVar("P")

# How many packets of a batch are handled before others have a turn, and the seconds until the next.
TURN = 500
REST = 0.001


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


def discard(carrier: WebSocketCarrier, host: PipeHost, code: int = 1000, *, now: float) -> None:
    """Close a WebSocket that nobody needs any more. What still comes is ignored, and `Limits.close` bounds the rest."""
    carrier.owner = _Closing(carrier, host, now)
    carrier.resume()  # the peer's close must get through
    carrier.close(code, now=now)


class _Closing:
    """The owner of a WebSocket until it is closed."""

    __slots__ = ("_timer",)

    def __init__(self, carrier: WebSocketCarrier, host: PipeHost, now: float) -> None:
        self._timer = host.timers.new(lambda now: carrier.abort(now=now))
        self._timer.set(now + host.limits.close)

    def received(self, data: str | bytes, *, now: float) -> None:
        """Nobody wants it."""

    def pinged(self, *, now: float) -> None:
        """It has been answered."""

    def closing(self) -> bool:
        return False

    def drained(self, *, now: float) -> None:
        """Nothing waits for that."""

    def closed(self, code: int, reason: str, error: PrimusError | None, *, now: float) -> None:
        self._timer.cancel()
