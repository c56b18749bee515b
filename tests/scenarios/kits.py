"""Virtual time for each library that has it, under one name, so that a test of what is the same is written once."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from typing import Any

import anyio

from primus_io import asyncio as primus_asyncio
from primus_io import trio as primus_trio
from primus_io.testing import VirtualNetwork, run, run_trio

__all__ = ["AsyncioKit", "Collector", "Kit", "TrioKit", "echo"]


async def echo(spark: Any) -> None:
    async for value in spark:
        await spark.send(value)


class Collector:
    """A handler that keeps what it gets."""

    def __init__(self) -> None:
        self.got: list[Any] = []
        self.ends: list[str] = []

    async def __call__(self, spark: Any) -> None:
        async for value in spark:
            self.got.append(value)
        self.ends.append(spark.close_reason.kind)


class Kit(ABC):
    """A library, and the binding and the virtual time for it."""

    connect: Any
    serve: Any
    late: float
    """Seconds by which the binding sets its timers later than asked."""

    @abstractmethod
    def run(self, main: Callable[[], Awaitable[Any]], network: VirtualNetwork, **options: Any) -> Any: ...

    @abstractmethod
    async def settle(self) -> None:
        """See that both ends have left nothing behind, but what the network carries."""

    def on(
        self, network: VirtualNetwork, handler: Any, *, handlers_may_raise: bool = False, **options: Any
    ) -> Callable[..., None]:
        """Decorates `async def test(server, primus)`: runs it with one client connected, and looks for what it left."""

        def decorate(test: Callable[[Any, Any], Awaitable[None]]) -> None:
            async def main() -> None:
                serving, connecting = self.serve(handler, "server", 80), self.connect("http://server", **options)
                async with serving as server, connecting as primus:
                    await test(server, primus)
                await self.settle()
                assert not network._links

            self.run(main, network, handlers_may_raise=handlers_may_raise)

        return decorate


class AsyncioKit(Kit):
    connect, serve, late = primus_asyncio.connect, primus_asyncio.serve, 0.0005

    def run(self, main: Callable[[], Awaitable[Any]], network: VirtualNetwork, **options: Any) -> Any:
        return run(main(), network, **options)  # type: ignore[arg-type]  # it is a coroutine

    async def settle(self) -> None:
        await asyncio.sleep(0)
        assert asyncio.all_tasks() == {asyncio.current_task()}


class TrioKit(Kit):
    connect, serve, late = primus_trio.connect, primus_trio.serve, 0.0

    def run(self, main: Callable[[], Awaitable[Any]], network: VirtualNetwork, **options: Any) -> Any:
        return run_trio(main, network, **options)

    async def settle(self) -> None:
        await anyio.sleep(60)  # what was still on its way when both had left
