"""`Sparks`: what `server.sparks` is."""

from __future__ import annotations

from collections.abc import Callable, ItemsView, Iterator, Mapping, ValuesView
from typing import TypeVar

import primus_proto as pp

__all__ = ["Sparks"]

T = TypeVar("T")


class Sparks(Mapping[str, T]):
    """The open sparks of a server by id. Each look shows those open now; `values()` and `items()` are copies."""

    def __init__(self, cores: Callable[[], dict[str, pp.Spark]], spark_of: Callable[[pp.Spark], T]) -> None:
        self._cores = cores
        self._spark_of = spark_of

    def __getitem__(self, id: str) -> T:
        return self._spark_of(self._cores()[id])

    def __iter__(self) -> Iterator[str]:
        return iter(self._cores().copy())

    def __len__(self) -> int:
        return len(self._cores())

    def values(self) -> ValuesView[T]:
        """The sparks open now."""
        return self._now().values()

    def items(self) -> ItemsView[str, T]:
        """The sparks open now, each with its id."""
        return self._now().items()

    def _now(self) -> dict[str, T]:
        # Copied in one step, because another thread may add and remove sparks.
        return {id: self._spark_of(core) for id, core in self._cores().copy().items()}
