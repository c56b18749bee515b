"""The heap of timers does not grow with what is off, and tidying it changes nothing else."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from primus_proto import timers as module
from primus_proto.timers import Timers
from tests.unit.test_timers import COUNT, Watched, changes, steps


@given(steps, st.lists(st.lists(changes, max_size=3), min_size=COUNT, max_size=COUNT))
def test_as_the_naive_model_when_tidied_all_the_time(
    script: list[tuple[str, int, int]], reactions: list[list[tuple[str, int, int]]]
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "SMALL", 0)
        watched = Watched(reactions)
        for what, i, after in script:
            if what == "fire":
                watched.fire(after)
            else:
                watched.change(what, i, after)
            assert len(watched.timers._heap) <= 2 * len(watched.model)


def test_timers_that_are_off_are_let_go() -> None:
    timers = Timers()
    timers.new(lambda now: None).set(1.0)
    for number in range(10_000):
        timer = timers.new(lambda now: None)
        timer.set(100.0 + number)
        timer.cancel()
        assert len(timers._heap) <= module.SMALL + 1
    assert timers.next() == 1.0


def test_timers_that_are_moved_to_earlier_are_not_kept_twice() -> None:
    timers = Timers()
    timers.new(lambda now: None).set(1.0)
    timer = timers.new(lambda now: None)
    for number in range(10_000):
        timer.set(100_000.0 - number)
        assert len(timers._heap) <= module.SMALL + 1
    assert timer.due == 90_001.0
