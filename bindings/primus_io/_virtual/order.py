"""The order in which trio takes the tasks that can go on: of a run in virtual time it comes from its seed.

The law kept here: it is that run's alone. Others that go on meanwhile, each in a thread of its own, keep theirs, and
once there is none in virtual time any more, trio is as it was.
"""

from __future__ import annotations

import contextlib
import importlib
import threading
import warnings
from collections.abc import Iterator
from random import Random
from typing import Any

import trio

__all__ = ["repeating"]

# trio has no public way to repeat a run: it takes the tasks that can go on in random order, drawn from this generator,
# which is private. Its own plugin for hypothesis uses the same two names: one to seed it, one to make the order before
# it is shuffled independent of where in memory the tasks are.
SCHEDULER = "trio._core._run"
RANDOM, ORDERED = "_r", "_ALLOW_DETERMINISTIC_SCHEDULING"


class Draws(Random):
    """trio's generator while there are runs that repeat: each thread's own, where it has one."""

    def __init__(self, others: Random) -> None:
        self._others = others
        self._here = threading.local()
        super().__init__()

    def seed(self, *args: object) -> None:
        """It draws nothing itself."""

    def random(self) -> float:
        return self._source().random()

    def getrandbits(self, k: int, /) -> int:
        return self._source().getrandbits(k)

    def use(self, rng: Random | None) -> None:
        """What this thread draws from; None: as all others do."""
        self._here.rng = rng

    def _source(self) -> Random:
        return getattr(self._here, "rng", None) or self._others


class Patch:
    """What is put in the place of trio's own, by whoever comes first until whoever goes last."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._users = 0
        self._before: dict[str, Any] = {}
        self._draws: Draws

    def enter(self, rng: Random) -> None:
        """Raises AttributeError where trio has no such names."""
        scheduler: Any = importlib.import_module(SCHEDULER)
        with self._lock:
            if not self._users:
                self._before = {name: getattr(scheduler, name) for name in (RANDOM, ORDERED)}
                self._draws = Draws(self._before[RANDOM])
                setattr(scheduler, RANDOM, self._draws)
                setattr(scheduler, ORDERED, True)
            self._users += 1
            self._draws.use(rng)

    def leave(self) -> None:
        scheduler: Any = importlib.import_module(SCHEDULER)
        with self._lock:
            self._draws.use(None)
            self._users -= 1
            if not self._users:
                for name, value in self._before.items():
                    setattr(scheduler, name, value)


PATCH = Patch()


@contextlib.contextmanager
def repeating(rng: Random) -> Iterator[None]:
    """Have trio draw its order of tasks from `rng`, in this thread."""
    try:
        PATCH.enter(rng)
    except AttributeError:
        words = f"trio {trio.__version__} schedules in a way of its own, so this run may not repeat with its seed"
        warnings.warn(words, RuntimeWarning, stacklevel=5)
        yield
        return
    try:
        yield
    finally:
        PATCH.leave()
