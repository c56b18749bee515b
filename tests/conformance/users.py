"""What users of the library do in most scenarios: echo, collect, write down what happened."""

from __future__ import annotations

import gc
import importlib
import pkgutil
import tracemalloc
from collections.abc import Callable
from typing import Any, Self

import primus_proto
from tests.conformance.hosts import Host

__all__ = ["Diary", "Gate", "Memory", "echo", "mebibytes", "take", "why"]


async def echo(spark: Any) -> None:
    """A handler."""
    async for value in spark:
        await spark.send(value)


async def take(source: Any, count: int) -> list[Any]:
    """The next so many values that a spark or client gets; fewer if it ends."""
    taken: list[Any] = []
    if count:
        async for value in source:
            taken.append(value)
            if len(taken) == count:
                break
    return taken


def why(session: Any) -> str | None:
    """The kind of its close reason."""
    return None if session.close_reason is None else str(session.close_reason.kind)


def mebibytes(count: int) -> str:
    """A value of so many MiB."""
    return "0123456789abcdef" * (count << 16)


class Diary:
    """What an emitter said, in order: names, and what came with them."""

    def __init__(self, host: Host, emitter: Any, *names: str) -> None:
        self._host = host
        self.entries: list[tuple[str, Any]] = []
        for name in names:
            emitter.on(name, self._writer(name))

    def _writer(self, name: str) -> Callable[..., None]:
        return lambda *args: self.entries.append((name, args[0] if len(args) == 1 else args))

    @property
    def names(self) -> list[str]:
        return [f"{name}({what})" if name == "readyStateChange" and what else name for name, what in self.entries]

    def all(self, name: str) -> list[Any]:
        """What came with each event of that name."""
        return [what for entry, what in self.entries if entry == name]

    async def says(self, names: list[str]) -> None:
        """See that just these are the events so far."""
        await self._host.told(lambda: len(self.names) >= len(names))
        assert self.names == names

    async def wait(self, name: str, count: int = 1) -> Any:
        """Wait for the `count`th event of that name; returns what came with it."""
        try:
            await self._host.until(lambda: len(self.all(name)) >= count)
        except AssertionError:
            raise AssertionError(f"no {count} × {name!r} among {self.names}") from None
        return self.all(name)[count - 1]


class Memory:
    """Measures what all of this process keeps in Python's memory, both ends and their transports included."""

    def __enter__(self) -> Self:
        for module in pkgutil.walk_packages(primus_proto.__path__, "primus_proto."):
            importlib.import_module(module.name)  # what is imported at its first use is kept too
        tracemalloc.start()
        self._base = self._now()
        return self

    def __exit__(self, *_: object) -> None:
        tracemalloc.stop()

    def grown(self) -> int:
        """Bytes more than at the beginning."""
        return self._now() - self._base

    def _now(self) -> int:
        gc.collect()
        return tracemalloc.get_traced_memory()[0]


class Gate:
    """Something that handlers wait for."""

    def __init__(self, host: Host) -> None:
        self._event = host.event()

    def open(self) -> None:
        self._event.set()

    async def wait(self) -> None:
        await self._event.wait()
