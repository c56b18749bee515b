"""Timers, compared with a naive model that looks at all of them each time; and the size of their heap."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from primus_proto import timers as module
from primus_proto.timers import Timers

COUNT = 4
times = st.integers(0, 12)
which = st.integers(0, COUNT - 1)
changes = st.one_of(
    st.tuples(st.just("set"), which, times),
    st.tuples(st.just("cancel"), which, st.just(0)),
)
steps = st.lists(st.one_of(changes, st.tuples(st.just("fire"), st.just(0), times)), max_size=40)


class Watched:
    """Some timers, and the model beside them. A timer that fires makes the next of its `reactions`."""

    def __init__(self, reactions: list[list[tuple[str, int, int]]]) -> None:
        self.timers = Timers()
        self.reactions = reactions
        self.real = [self.timers.new(lambda now, i=i: self.fired(i, now)) for i in range(COUNT)]  # type: ignore[misc]
        self.model: dict[int, float] = {}
        self.now = 0.0

    def change(self, what: str, i: int, after: int) -> None:
        if what == "set":
            self.real[i].set(self.now + after)
            self.model[i] = self.now + after
        else:
            self.real[i].cancel()
            self.model.pop(i, None)
        self.check()

    def fired(self, i: int, now: float) -> None:
        assert now == self.now
        due = self.model.pop(i)  # armed, or it could not fire
        assert due <= now
        assert due <= min(self.model.values(), default=math.inf), "one that was due earlier was passed over"
        self.check()
        if self.reactions[i]:
            self.change(*self.reactions[i].pop())

    def check(self) -> None:
        """`next` and `due` are right at any moment, inside a callback too, and `soonest` is not late."""
        due = min(self.model.values(), default=None)
        soonest = self.timers.soonest()
        assert due is None or (soonest is not None and soonest <= due)
        assert self.timers.next() == due
        assert self.timers.next() == due
        assert [timer.due for timer in self.real] == [self.model.get(i, math.inf) for i in range(COUNT)]

    def fire(self, after: int) -> None:
        self.now += after
        self.timers.fire(self.now)
        assert all(due > self.now for due in self.model.values()), "something due was left"
        assert self.timers.soonest() == min(self.model.values(), default=None)
        self.check()


@pytest.mark.parametrize("small", [module.SMALL, 0])
@given(steps, st.lists(st.lists(changes, max_size=3), min_size=COUNT, max_size=COUNT))
def test_timers_do_what_the_naive_model_does(
    small: int, script: list[tuple[str, int, int]], reactions: list[list[tuple[str, int, int]]]
) -> None:
    """Also where the heap is tidied all the time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "SMALL", small)
        patch.setattr(module, "MANY", 2)
        watched = Watched(reactions)
        for what, i, after in script:
            if what == "fire":
                watched.fire(after)
            else:
                watched.change(what, i, after)
            assert len(watched.timers._heap) <= max(small, 2 * len(watched.model))


def test_timers_due_at_the_same_instant_fire_in_the_order_of_arming() -> None:
    order: list[str] = []
    timers = Timers()
    for name in "abc":
        timers.new(lambda now, name=name: order.append(name)).set(5.0)  # type: ignore[misc]
    timers.fire(4.9)
    assert order == []
    timers.fire(5.0)
    assert order == ["a", "b", "c"]


def test_a_callback_that_raises_leaves_the_rest_in_order() -> None:
    timers = Timers()
    other = timers.new(lambda now: None)

    def fail(now: float) -> None:
        raise RuntimeError

    timers.new(fail).set(1.0)
    other.set(1.5)
    other.set(3.0)
    with pytest.raises(RuntimeError):
        timers.fire(2.0)
    assert timers.next() == 3.0


def test_many_timers_that_were_moved_fire_in_order() -> None:
    timers = Timers()
    fired: list[int] = []
    crowd = [timers.new(lambda now, n=n: fired.append(n)) for n in range(1000)]  # type: ignore[misc]
    for due in (0.0, 2000.0):
        for n, timer in enumerate(crowd):
            timer.set(due + (n * 7919) % 1000)
    timers.fire(1999.0)
    assert (fired, timers.soonest(), len(timers._heap)) == ([], 2000.0, 1000)
    timers.fire(3000.0)
    assert fired == sorted(range(1000), key=lambda n: (n * 7919) % 1000)


# --- the heap does not grow ---


@pytest.mark.parametrize("how", ["off", "earlier", "later"])
def test_timers_that_are_off_or_moved_do_not_grow_the_heap(how: str) -> None:
    timers = Timers()
    timers.new(lambda now: None).set(1.0)
    timer = timers.new(lambda now: None)
    for number in range(10_000):
        if how == "off":
            timer = timers.new(lambda now: None)
        timer.set(100_000.0 + number * (-1 if how == "earlier" else 1))
        if how == "off":
            timer.cancel()
        assert len(timers._heap) <= (2 if how == "later" else module.SMALL + 1)
    assert timers.next() == 1.0


def test_timers_fire_in_order_after_most_were_cancelled() -> None:
    timers = Timers()
    fired: list[int] = []
    crowd = [timers.new(lambda now, n=n: fired.append(n)) for n in range(1000)]  # type: ignore[misc]
    for n, timer in enumerate(crowd):
        timer.set(float((n * 7919) % 1000))
    for n, timer in enumerate(crowd):
        if n % 10:
            timer.cancel()
    assert len(timers._heap) <= 200
    crowd[1].set(1000.0)  # one that was off, and let go
    timers.fire(1000.0)
    assert fired == [*sorted(range(0, 1000, 10), key=lambda n: (n * 7919) % 1000), 1]


def test_a_loop_has_nothing_to_wait_for_when_the_last_timer_is_off() -> None:
    timers = Timers()
    timer = timers.new(lambda now: None)
    timer.set(5.0)
    assert timers.soonest() == 5.0
    timer.cancel()
    assert timers.soonest() is None
