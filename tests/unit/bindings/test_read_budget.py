"""The size of the next read: peers of several kinds, each read by the rule, with made-up costs of their bytes.

Of that the laws are proved: how long anybody else waits for one read, and what share of the time is lost to a peer that
knows the rule.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import pytest

from primus_io._read_budget import FIRST_READ, MANY_EVENTS, MAX_READ, MIN_READ, REGROW_DELAY, SLOW_READ, ReadBudget

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

    def flood(self, most: int = MAX_READ) -> float:
        """A read that is full of the smallest frames; returns the seconds it took."""
        size = min(self.budget.size, most)
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


def test_a_flood_that_does_not_fill_the_buffer(reader: Reader) -> None:
    grown(reader)
    took = [reader.flood(most=MAX_READ // 2) for _ in range(100)]
    assert max(took[4:]) <= SLOW_READ


def test_large_messages_are_read_at_the_largest_size(reader: Reader) -> None:
    grown(reader).reads = 0
    for _ in range(20):
        reader.message(10 << 20, work=0.1)
    assert reader.reads < 20 * (10 << 20) / MAX_READ * 1.05


@pytest.mark.parametrize("work", [0.001, 0.005, 0.02])
def test_messages_that_are_each_a_lot_of_work(reader: Reader, work: float) -> None:
    """To read less than one message at once helps nobody. What it costs is little beside the work."""
    grown(reader).reads = 0
    for _ in range(100):
        reader.message(2 * MAX_READ, work)
    assert (reader.reads - 200) * TURN < 0.02 * 100 * work


def test_a_new_channel_has_the_largest_size_at_once(reader: Reader) -> None:
    reader.message(1 << 20, work=0.0)
    assert reader.budget.size == MAX_READ
    assert reader.reads < (1 << 20) / MAX_READ + 5


def test_a_read_that_was_not_full_asks_for_no_more(reader: Reader) -> None:
    for _ in range(100):
        reader.budget.record(FIRST_READ - 1, 0.0, 1, now=reader.now)
    assert reader.budget.size == FIRST_READ


def test_neither_does_one_that_was_nearly_too_long(reader: Reader) -> None:
    for _ in range(100):
        reader.budget.record(FIRST_READ, SLOW_READ * 0.75, 1, now=reader.now)
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


def test_a_peer_that_alternates_gains_little(reader: Reader) -> None:
    """It waits until its reads are large again and only then sends what is much work; that costs it no bytes to speak
    of, but time."""
    held_up = 0.0
    while reader.now < 120.0:
        if reader.budget.size == MAX_READ:
            seconds = reader.flood()
            held_up += seconds
        else:
            reader.bulk()
    assert held_up < 0.06 * reader.now
    assert held_up > 0.01 * reader.now, "it must have tried, or this proves nothing"


def test_few_events_are_no_flood(reader: Reader) -> None:
    """What was long once is no reason for patience unless many messages were the reason."""
    for events in range(MANY_EVENTS):
        grown(reader)
        reader.budget.record(MAX_READ, 4 * SLOW_READ, events, now=reader.now)
        assert reader.budget.size == MAX_READ // 4
    grown(reader)
    reader.budget.record(MAX_READ, 4 * SLOW_READ, MANY_EVENTS, now=reader.now)
    reader.bulk()
    assert reader.budget.size == MAX_READ // 4


def test_nothing_changes_where_work_takes_no_time(reader: Reader) -> None:
    """So it is on a virtual clock: there is no read after which the next could be smaller."""
    for _ in range(4):
        reader.budget.record(reader.budget.size, 0.0, 5000, now=0.0)
    assert reader.budget.size == MAX_READ
