"""What transports over plain requests share: sessions that nobody comes back for, and batches in turns."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator

from primus_proto import Limits
from primus_proto.timers import Timers
from primus_proto.transports.pipe import Pipe
from primus_proto.transports.polling import REST, TURN, Inbox, Sessions


class Host:
    """The endpoint's part."""

    def __init__(self) -> None:
        self.timers = Timers()
        self.limits = Limits(unclaimed=2, handshake=10.0)
        self.rng = random.Random(1)

    def touch(self, pipe: Pipe) -> None: ...

    def defer(self, call: Callable[[float], None]) -> None: ...

    def opened(self, pipe: Pipe, *, now: float) -> None: ...


def test_sessions_that_nobody_comes_back_for() -> None:
    host = Host()
    sessions = Sessions[str](host)
    lapsed: list[tuple[str, float]] = []
    full = [sessions.full]
    for id in ("a", "b"):
        sessions.add(id, id.upper(), lambda now, id=id: lapsed.append((id, now)), now=0.0)  # type: ignore[misc]
        full.append(sessions.full)
    sessions.claim("a")
    sessions.claim("a")
    assert [*full, sessions.full] == [False, False, True, False]
    host.timers.fire(10.0)
    assert lapsed == [("b", 10.0)]
    assert (sessions.get("a"), list(sessions), len(sessions)) == ("A", ["A", "B"], 2)
    for id in ("a", "b", "b"):
        sessions.remove(id)
    sessions.add("c", "C", lambda now: lapsed.append(("c", now)), now=10.0)
    sessions.remove("c")
    host.timers.fire(100.0)
    assert (len(lapsed), len(sessions), host.timers.next()) == (1, 0, None)


class Reader:
    """Gets packets and pauses at some of them."""

    def __init__(self, pause_at: tuple[int, ...] = ()) -> None:
        self.timers = Timers()
        self.inbox = Inbox[int](self.timers, self.handle)
        self.got: list[object] = []
        self.pause_at = pause_at

    def handle(self, packet: int, now: float) -> None:
        self.got.append(packet)
        self.inbox.paused = packet in self.pause_at
        self.inbox.run(now=now)  # as a session that resumes in a listener does

    def put(self, *packets: int) -> None:
        self.inbox.put(packets, lambda now: self.got.append(f"done at {now:g}"), now=0.0)

    def resume(self, now: float) -> None:
        self.inbox.paused = False
        self.inbox.run(now=now)


def test_a_batch_stops_where_reading_is_paused_and_its_request_waits() -> None:
    reader = Reader(pause_at=(2, 3))
    reader.put(1, 2, 3)
    reader.put(4)
    assert reader.got == [1, 2]
    reader.resume(1.0)
    assert reader.got == [1, 2, 3]
    assert reader.inbox
    reader.resume(2.0)
    assert reader.got == [1, 2, 3, "done at 2", 4, "done at 2"]
    assert not reader.inbox


def test_a_large_batch_takes_turns() -> None:
    taken = 0

    def packets() -> Iterator[int]:
        nonlocal taken
        for number in range(2 * TURN):
            taken += 1
            yield number

    reader = Reader()
    reader.inbox.put(packets(), lambda now: reader.got.append(now), now=0.0)
    assert len(reader.got) == taken == TURN
    assert reader.timers.next() == REST
    reader.timers.fire(REST)
    assert reader.timers.next() == 2 * REST
    reader.timers.fire(2 * REST)
    assert reader.got == [*range(2 * TURN), 2 * REST]
    assert reader.timers.next() is None


def test_what_is_dropped_is_answered_too() -> None:
    reader = Reader()
    reader.put(*range(TURN + 1))
    reader.put(1)
    reader.inbox.clear(now=5.0)
    assert reader.got[TURN:] == ["done at 5"] * 2
    assert reader.timers.next() is None
    reader.put(7)
    assert reader.got[-2:] == [7, "done at 0"]
