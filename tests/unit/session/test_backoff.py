"""Delays and attempts of reconnecting (protocol 4.6)."""

from __future__ import annotations

import math
import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from primus_proto import ClientConfig, ConnectionLost
from primus_proto.session.backoff import LONGEST_DELAY, Backoff, reconnect_delay


class Drawn(random.Random):
    """Draws what it is told to."""

    def __init__(self, value: float) -> None:
        super().__init__()
        self.value = value

    def random(self) -> float:
        return self.value


def delay(attempt: int, draw: float = 0.0, min: float = 0.5, max: float = math.inf, factor: float = 2.0) -> float:
    return reconnect_delay(attempt, min=min, max=max, factor=factor, rng=Drawn(draw))


def test_the_first_waits_exactly_min() -> None:
    assert delay(1, draw=0.9) == 0.5


@pytest.mark.parametrize(
    ("attempt", "least", "most"), [(2, 1.0, 2.0), (3, 2.0, 4.0), (4, 4.0, 8.0), (10, 256.0, 512.0)]
)
def test_later_ones_grow_and_are_spread(attempt: int, least: float, most: float) -> None:
    assert delay(attempt, draw=0.0) == least
    assert delay(attempt, draw=0.999999999) == most
    assert delay(attempt, draw=0.5) == (least + most) / 2


def test_whole_milliseconds() -> None:
    assert delay(2, draw=0.123456789) == 1.123


def test_never_above_max() -> None:
    assert delay(2, draw=0.5, max=1.2) == 1.2
    assert delay(500, max=60.0) == 60.0


@pytest.mark.parametrize("factor", [2.0, 2, 1e300])
def test_a_power_that_overflows_still_ends_in_a_finite_delay(factor: float) -> None:
    assert delay(100_000, factor=factor) == LONGEST_DELAY
    assert delay(100_000, factor=factor, max=7.0) == 7.0


def test_a_product_that_overflows_too() -> None:
    assert delay(2, min=1e308, factor=1e308) == LONGEST_DELAY


@given(st.integers(1, 50), st.floats(0, 100), st.floats(0.01, 10), st.integers(0, 2**32))
def test_bounds(attempt: int, min: float, factor: float, seed: int) -> None:
    seconds = reconnect_delay(attempt, min=min, max=max(min, 300.0), factor=factor, rng=random.Random(seed))
    assert 0 <= seconds <= max(min, 300.0)
    if attempt > 1:
        floor = min * factor ** (attempt - 1)
        assert seconds <= 2 * floor + 0.001
        assert seconds >= 300.0 or seconds >= floor - 0.001


def recovery(**options: Any) -> Backoff:
    return Backoff(ClientConfig(url="http://h", **options), Drawn(0.0))


def test_counts_up_to_retries() -> None:
    recover = recovery(retries=3)
    recover.begin(None, now=10.0, lasted=0.0)
    assert [recover.next() for _ in range(5)] == [0.5, 1.0, 2.0, None, None]
    assert recover.progress(12.5) == (3, 3, 2.0, 10.0, 2.5)


def test_none_never_gives_up() -> None:
    recover = recovery(retries=None, max=30.0)
    recover.begin(None, now=10.0, lasted=0.0)
    assert [recover.next() for _ in range(2000)] == [0.5, 1.0, 2.0, 4.0, 8.0, 16.0, *[30.0] * 1994]
    assert recover.progress(10.0) == (2000, None, 30.0, 10.0, 0.0)


def test_no_retries() -> None:
    recover = recovery(retries=0)
    recover.begin(None, now=10.0, lasted=0.0)
    assert recover.next() is None
    assert recover.progress(10.0) == (0, 0, 0.0, 10.0, 0.0)


@pytest.mark.parametrize(
    ("least", "lasted", "counted_on"),
    [(0.5, 0.0, True), (0.5, 4.999, True), (0.5, 5.0, False), (8.0, 7.999, True), (8.0, 8.0, False)],
)
def test_counts_anew_only_after_a_stable_connection(least: float, lasted: float, counted_on: bool) -> None:
    recover = recovery(min=least)
    recover.begin(None, now=10.0, lasted=0.0)
    recover.next()
    recover.begin(None, now=100.0, lasted=lasted)
    recover.next()
    assert recover.progress(100.0)[0] == (2 if counted_on else 1)
    assert recover.progress(101.0)[3:] == (100.0, 1.0)


def test_reset_forgets() -> None:
    recover = recovery()
    recover.begin(ConnectionLost("gone"), now=10.0, lasted=0.0)
    recover.next()
    recover.reset()
    assert recover.error is None
    assert recover.progress(20.0)[:3] == (0, 10, 0.0)
