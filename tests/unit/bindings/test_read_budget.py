"""The size of the next read: peers of several kinds, each read by the rule, with made-up costs of their bytes.

Of that the laws are proved: how long anybody else waits for one read, and what share of the time is lost to a peer that
knows the rule.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import pytest

from primus_io._read_budget import (
    FIRST_READ,
    MANY_EVENTS,
    MAX_READ,
    MEMORY,
    MIN_READ,
    REGROW_DELAY,
    REST_TURNS,
    SLOW_READ,
    TURN_WORK,
    WORK,
    ReadBudget,
    Turns,
    WorkMeter,
)

FRAME = 7  # bytes of the smallest frame that has a value in it
DEAR = 30e-6  # seconds of work for each of those
CHEAP = 4e-9  # and for one byte of a large message
TURN = 50e-6  # what each read costs besides


@dataclass
class Reader:
    """Reads what a peer sends, the rule's share at a time."""

    budget: ReadBudget
    now: float = 0.0
    reads: int = 0

    def flood(self) -> float:
        """A read that is full of the smallest frames; returns the seconds it took."""
        size = self.budget.size
        return self._read(size, size // FRAME * DEAR, size // FRAME)

    def bulk(self) -> float:
        """A read amid a large message."""
        return self._read(self.budget.size, self.budget.size * CHEAP, 0)

    def message(self, size: int, work: float) -> None:
        """A whole large message; the end of it makes it known, and that is the most work."""
        while size > 0:
            size -= (read := min(self.budget.size, size))
            self._read(read, read * CHEAP + (0.0 if size else work), 0 if size else 1)

    def _read(self, size: int, seconds: float, events: int) -> float:
        self.reads += 1
        self.now += TURN + seconds
        self.budget.record(size, seconds, events, now=self.now)
        return seconds


@pytest.fixture
def reader() -> Reader:
    return Reader(ReadBudget())


def grown(reader: Reader) -> Reader:
    """One whose peer has sent nothing but what is quick."""
    for _ in range(8):
        reader.bulk()
    assert reader.budget.size == MAX_READ
    return reader


def test_a_flood_from_the_beginning(reader: Reader) -> None:
    """No read of a new channel is much too long, and after the first few none is."""
    took = [reader.flood() for _ in range(100)]
    assert max(took) <= FIRST_READ // FRAME * DEAR
    assert max(took[2:]) <= SLOW_READ
    assert MIN_READ // FRAME * DEAR < SLOW_READ, "or the costs here prove nothing"


def test_a_flood_later_on(reader: Reader) -> None:
    """One read of the largest size can happen, and then a smaller one or two."""
    grown(reader)
    took = [reader.flood() for _ in range(100)]
    assert took[0] == MAX_READ // FRAME * DEAR
    assert sum(took[1:3]) < took[0] / 5
    assert max(took[3:]) <= SLOW_READ


def test_large_messages_are_read_at_the_largest_size(reader: Reader) -> None:
    grown(reader).reads = 0
    for _ in range(20):
        reader.message(10 << 20, work=0.1)
    assert reader.reads < 20 * (10 << 20) / MAX_READ * 1.05


def test_a_new_channel_has_the_largest_size_at_once(reader: Reader) -> None:
    reader.message(1 << 20, work=0.0)
    assert reader.budget.size == MAX_READ
    assert reader.reads < (1 << 20) / MAX_READ + 5


@pytest.mark.parametrize(
    ("size", "seconds"), [(FIRST_READ - 1, 0.0), (FIRST_READ, SLOW_READ * 0.75)], ids=["not full", "slow"]
)
def test_a_read_that_is_not_full_or_nearly_too_long_asks_for_no_more(reader: Reader, size: int, seconds: float) -> None:
    reader.budget.record(size, seconds, 1, now=reader.now)
    assert reader.budget.size == FIRST_READ


def test_trust_comes_back_with_time(reader: Reader) -> None:
    """A second for each doubling, however much is sent in it."""
    grown(reader)
    for _ in range(10):
        reader.flood()
    doublings = math.ceil(math.log2(MAX_READ / reader.budget.size))
    assert doublings >= 3
    last = reader.now  # of a read that was much work, or a little before the end of those
    for _ in range(100_000):
        if reader.budget.size == MAX_READ:
            break
        reader.bulk()
    assert reader.now - last == pytest.approx(doublings * REGROW_DELAY, rel=0.03)


def test_few_events_are_no_flood_if_their_bytes_are_in_proportion(reader: Reader) -> None:
    """A large message takes long; smaller reads would not help anyone."""
    for events in range(MANY_EVENTS):
        grown(reader)
        reader.budget.record(MAX_READ, 4 * SLOW_READ, events, now=reader.now)
        assert reader.budget.size == MAX_READ


def test_small_messages_of_much_work_are_read_one_by_one(reader: Reader) -> None:
    """10 kB that become 10 MiB: no read has two of them, though all other reads are quick."""
    for _ in range(10):
        reader.message(10_000, work=0.1)
    assert reader.budget.size == MIN_READ
    reader.reads = 0
    while reader.budget.size == MIN_READ:
        reader.bulk()
    assert reader.reads * MIN_READ == pytest.approx(MEMORY, rel=0.01), "then the bytes are in proportion"


def test_nothing_changes_where_work_takes_no_time(reader: Reader) -> None:
    """So it is on a virtual clock: there is no read after which the next could be smaller."""
    for _ in range(4):
        reader.budget.record(reader.budget.size, 0.0, 5000, now=0.0)
    assert reader.budget.size == MAX_READ


class Waiting:
    """A channel that waits, each of whose reads is so much work."""

    def __init__(self, turns: Turns, work: float) -> None:
        self.turns = turns
        self.work = work
        self.gone_on = self.has_rested = False

    def go_on(self) -> None:
        self.gone_on = True
        self.turns.add(self.work)

    def rested(self) -> None:
        self.has_rested = True


@pytest.fixture
def loop() -> list[Callable[[], None]]:
    """What is to be called in the next turn."""
    return []


def turn(loop: list[Callable[[], None]]) -> None:
    """Run one turn of the loop."""
    calls, loop[:] = list(loop), []
    for call in calls:
        call()


def test_a_turn_has_only_so_much_work(loop: list[Callable[[], None]]) -> None:
    """What other large reads bring waits until the loop has gone on, in which small ones and all else are served."""
    turns = Turns(loop.append)
    for _ in range(100):
        turns.add(WORK)
    assert loop == [], "reads that are no work need no turns"
    waiting = [Waiting(turns, TURN_WORK * 0.75) for _ in range(10)]
    while not turns.is_enough:
        turns.add(TURN_WORK / 4)
    for each in waiting:
        turns.wait(each)
    for count in (2, 4, 6, 8, 10, 10):
        turn(loop)
        assert sum(each.gone_on for each in waiting) == count
    assert not loop
    assert not turns.is_enough


def test_of_those_that_rest_one_reads_on_in_a_few_turns(loop: list[Callable[[], None]]) -> None:
    turns = Turns(loop.append)
    for _ in range(2):
        resting = [Waiting(turns, 0.0) for _ in range(3)]
        for each in resting:
            turns.rest(each)
        counts = []
        while loop:
            turn(loop)
            counts.append(sum(each.has_rested for each in resting))
        assert counts == [1] * REST_TURNS + [2] * REST_TURNS + [3]


def test_the_work_of_other_programs_does_not_count() -> None:
    clock = cpu = 0.0
    meter = WorkMeter(lambda: clock, lambda: cpu)
    measured = []
    for used, by_others in ((0.0001, 0.0), (0.0001, 0.5), (0.0001, 0.0), (0.3, 0.0), (0.3, 0.4)):
        meter.begin()
        clock, cpu = clock + used + by_others, cpu + used
        measured.append(meter.end())
    assert measured == pytest.approx([0.0001, 0.0001, 0.0001, 0.3, 0.3])
