"""The command on trio."""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

import trio

from ..trio import connect, fetch_spec, serve
from .runtime import Runtime

__all__ = ["TrioRuntime"]

T = TypeVar("T")


class TrioRuntime(Runtime):
    """trio's tasks and cancel scopes."""

    connect = connect
    serve = serve
    fetch_spec = staticmethod(fetch_spec)

    _token: trio.lowlevel.TrioToken | None = None
    _scope: trio.CancelScope

    def run(self, main: Callable[[], Coroutine[Any, Any, T]]) -> T:
        async def running() -> T:
            self._token = trio.lowlevel.current_trio_token()
            with trio.CancelScope() as self._scope:
                return await main()
            raise KeyboardInterrupt

        return trio.run(running)

    def give_up(self) -> None:
        self._scope.cancel()

    def soon(self, function: Callable[[], object]) -> None:
        if self._token is not None:
            with contextlib.suppress(trio.RunFinishedError):
                self._token.run_sync_soon(function)

    def event(self) -> trio.Event:
        return trio.Event()

    def clock(self) -> float:
        return trio.current_time()

    async def sleep(self, seconds: float) -> None:
        await trio.sleep(seconds)

    async def within(self, seconds: float, wait: Callable[[], Awaitable[object]]) -> bool:
        with trio.move_on_after(seconds) as scope:
            await wait()
        return not scope.cancelled_caught

    async def race(self, *waits: Callable[[], Awaitable[T]]) -> T:
        results: list[T] = []
        errors: list[Exception] = []

        async def run(wait: Callable[[], Awaitable[T]]) -> None:
            try:
                results.append(await wait())
            except Exception as error:
                if nursery.cancel_scope.cancel_called:
                    return  # as it was stopped
                errors.append(error)
            nursery.cancel_scope.cancel()

        async with trio.open_nursery() as nursery:
            for wait in waits:
                nursery.start_soon(run, wait)
        if errors:
            raise errors[0]
        return results[0]
