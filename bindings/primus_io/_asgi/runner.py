"""Runs a Primus server that has ASGI calls instead of sockets, on asyncio or trio.

The laws kept here: every task ends with the lifespan. On asyncio another task may end that than the one that began it,
so no cancel scope is held meanwhile.
"""

from __future__ import annotations

import asyncio
import math
import socket
from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager
from typing import Any, NoReturn, Self

import anyio
import anyio.abc
import anyio.lowlevel

import primus_proto as pp
from primus_proto import commands as cmd

from .._driver import Deliver, Endpoint, ListenAddress
from .._environment import Environment
from .._io import OTHER_TASK, AsyncEvent
from .._running import BackgroundTask, RunningDriver
from .._target import ConnectTarget
from .call import Call

__all__ = ["Runner"]


CLOCKWORK = "primus_io.asgi clockwork"
"""The name of the task that keeps the time."""
# Seconds that cancelled calls have to end. A host may protect its `send` from cancellation, as hypercorn does on trio.
# Then the host has to end the call, and this no longer waits for it.
STOP_GRACE = 1.0


class Runner(RunningDriver):
    """Runs a server whose channels are calls of the host."""

    endpoint: pp.ByteServer
    open: set[Call]

    def __init__(self, endpoint: Endpoint, deliver: Deliver, target: ConnectTarget) -> None:
        super().__init__(endpoint, deliver, target)
        self.endpoint.watch_host(lambda: bool(self.open))
        self._due = math.inf
        self._pump_wanted = anyio.Event()
        self._timer_scope = anyio.CancelScope()
        self._on_asyncio = anyio.get_cancelled_exc_class() is asyncio.CancelledError
        self._group: anyio.abc.TaskGroup | None = None  # on trio
        self._owner = anyio.get_current_task().id
        self._timer_task: asyncio.Task[None] | None = None

    @classmethod
    async def begin(cls, endpoint: Endpoint, deliver: Deliver, target: ConnectTarget) -> Self:
        runner = cls(endpoint, deliver, target)
        if runner._on_asyncio:
            runner._timer_task = asyncio.create_task(runner._run_timer(), name=CLOCKWORK)
        else:
            runner._group = await anyio.create_task_group().__aenter__()
            runner._group.start_soon(runner._run_timer, name=CLOCKWORK)
        return runner

    @staticmethod
    def environment() -> Environment:
        return Environment(anyio.current_time)

    def event(self) -> AsyncEvent:
        return anyio.Event()

    def schedule(self) -> None:
        if not self.pumping:
            self._pump_wanted.set()

    def should_yield(self) -> bool:
        return not self._on_asyncio or super().should_yield()  # asyncio needs no checkpoint each time

    async def checkpoint(self) -> None:
        await anyio.lowlevel.checkpoint()

    async def let_tasks_start(self) -> None:
        await anyio.lowlevel.checkpoint()

    def shield(self) -> AbstractContextManager[object]:
        return anyio.CancelScope(shield=True)

    async def within(self, seconds: float, wait: Callable[[], Awaitable[object]]) -> None:
        with anyio.move_on_after(seconds):
            await wait()

    async def release(self) -> None:
        group, timer = self._group, self._timer_task
        if timer is not None:
            self._timer_task = None
            timer.cancel()
            await asyncio.wait([timer])
            if not timer.cancelled():
                timer.result()
        elif group is not None:
            group.cancel_scope.cancel()
            if anyio.get_current_task().id != self._owner:
                raise pp.LocalProtocolError(OTHER_TASK)
            self._group = None
            await group.__aexit__(None, None, None)

    async def run_call(self, call: Call) -> None:
        """Run one call of the application."""
        self.open.add(call)
        try:
            await call.run()
        finally:
            self.open.discard(call)
            self.wake_waiters()
            self.pump()

    # --- inside ---

    async def _end_all(self) -> None:
        for call in self.open:
            call.stop()
        await self.within(STOP_GRACE, self._until_all_closed)
        self.open.clear()
        await super()._end_all()

    def spawn(self, task: BackgroundTask) -> None:
        if self._group is None:
            task.cancel = asyncio.create_task(task.run(), name=task.name).cancel
        else:
            scope = anyio.CancelScope()
            task.cancel = scope.cancel
            self._group.start_soon(self._run_in, scope, task.run, name=task.name)

    async def _run_in(self, scope: anyio.CancelScope, run: Callable[[], Awaitable[None]]) -> None:
        with scope:
            await run()

    async def _run_timer(self) -> None:
        while True:
            with anyio.CancelScope(deadline=self._due) as self._timer_scope:
                await self._pump_wanted.wait()
            self._pump_wanted = anyio.Event()
            if self._timer_scope.cancelled_caught:
                self._due = math.inf  # a timer fires once
                await self.settle()
                self.timeout()
            else:
                self.run_pump()

    def _arm(self, due: float | None) -> None:
        self._due = self._timer_scope.deadline = math.inf if due is None else due

    async def _listen(self, address: ListenAddress, sock: socket.socket | None) -> NoReturn:
        raise AssertionError("the host listens")

    def _open(self, command: cmd.OpenChannel) -> Any:
        raise AssertionError("a server opens no channels")
