"""Delays and attempts of reconnecting (protocol 4.6)."""

from __future__ import annotations

import math
import random
from typing import Any

import pytest

from primus_proto import ClientConfig
from primus_proto.session.backoff import LONGEST_DELAY, Backoff, reconnect_delay


class Drawn(random.Random):
    """Always draws the same number."""

    def __init__(self, value: float) -> None:
        super().__init__()
        self.value = value

    def random(self) -> float:
        return self.value


@pytest.mark.parametrize(
    ("attempt", "draw", "options", "delay"),
    [
        (1, 0.9, {}, 0.5),
        (2, 0.0, {}, 1.0),
        (2, 0.5, {}, 1.5),
        (2, 0.999999999, {}, 2.0),
        (3, 0.0, {}, 2.0),
        (10, 0.999999999, {}, 512.0),
        (2, 0.123456789, {}, 1.123),
        (2, 0.5, {"max": 1.2}, 1.2),
        (500, 0.0, {"max": 60.0}, 60.0),
        (100_000, 0.0, {}, LONGEST_DELAY),
        (100_000, 0.0, {"factor": 2}, LONGEST_DELAY),
        (100_000, 0.0, {"factor": 1e300, "max": 7.0}, 7.0),
        (2, 0.0, {"min": 1e308, "factor": 1e308}, LONGEST_DELAY),
    ],
)
def test_delays_grow_within_max(attempt: int, draw: float, options: dict[str, float], delay: float) -> None:
    settings = {"min": 0.5, "max": math.inf, "factor": 2.0, **options}
    assert reconnect_delay(attempt, rng=Drawn(draw), **settings) == delay


def begun(**options: Any) -> Backoff:
    backoff = Backoff(ClientConfig(url="http://h", **options), Drawn(0.0))
    backoff.begin(None, now=10.0, lasted=0.0)
    return backoff


@pytest.mark.parametrize(
    ("retries", "delays", "progress"),
    [
        (0, [None], (0, 0, 0.0, 10.0, 2.5)),
        (3, [0.5, 1.0, 2.0, None, None], (3, 3, 2.0, 10.0, 2.5)),
        (None, [0.5, 1.0, 2.0, 4.0, *[5.0] * 1996], (2000, None, 5.0, 10.0, 2.5)),
    ],
)
def test_attempts_are_counted_up_to_retries(retries: int | None, delays: list[Any], progress: Any) -> None:
    backoff = begun(retries=retries, max=5.0)
    assert [backoff.next() for _ in delays] == delays
    assert backoff.progress(12.5) == progress
