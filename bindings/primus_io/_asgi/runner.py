"""What runs a Primus server that has calls instead of sockets, on asyncio or trio.

The law kept here: what is started belongs to the task group that the lifespan holds, and nothing outlives it.
"""

from __future__ import annotations

import asyncio
import contextlib
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

from .._driver import Deliver, Endpoint, Listening, Reach
from .._environment import Environment
from .._running import Job, RunningDriver
from .._session import Waitable
from .call import Call

__all__ = ["Runner"]


# Seconds for calls to end that have been cancelled. A host may not let its `send` be cancelled, as hypercorn on trio;
# then the call is the host's to end, and nobody here waits for it any longer.
STUBBORN = 1.0


class Runner(RunningDriver):
    """Runs a server whose channels are calls of the host's; the `IO` of the objects users hold."""

    endpoint: pp.ByteServer
    open: set[Call]

    def __init__(self, endpoint: Endpoint, deliver: Deliver, reach: Reach) -> None:
        super().__init__(endpoint, deliver, reach)
        self.endpoint.watch_host(lambda: bool(self.open))
        self._due = math.inf
        self._wanted = anyio.Event()
        self._alarm = anyio.CancelScope()
        self._on_asyncio = anyio.get_cancelled_exc_class() is asyncio.CancelledError
        self._group: anyio.abc.TaskGroup

    @classmethod
    async def begin(cls, endpoint: Endpoint, deliver: Deliver, reach: Reach) -> Self:
        runner = cls(endpoint, deliver, reach)
        runner._group = await anyio.create_task_group().__aenter__()
        runner._group.start_soon(runner._clockwork, name="primus_io.asgi clockwork")
        return runner

    @staticmethod
    def environment() -> Environment:
        return Environment(anyio.current_time)

    def event(self) -> Waitable:
        return anyio.Event()

    def schedule(self) -> None:
        if not self.pumping:
            self._wanted.set()

    def long_run(self) -> bool:
        return not self._on_asyncio or super().long_run()  # asyncio asks for no checkpoint

    async def checkpoint(self) -> None:
        await anyio.lowlevel.checkpoint()

    async def begun(self) -> None:
        await anyio.lowlevel.checkpoint()

    def shield(self) -> AbstractContextManager[object]:
        return anyio.CancelScope(shield=True)

    async def within(self, seconds: float, wait: Callable[[], Awaitable[object]]) -> None:
        with anyio.move_on_after(seconds):
            await wait()

    async def release(self) -> None:
        self._group.cancel_scope.cancel()
        await self._group.__aexit__(None, None, None)

    async def run_call(self, call: Call) -> None:
        """Serve one call of the application."""
        self.open.add(call)
        try:
            await call.run()
        finally:
            self.open.discard(call)
            self.note_change()
            self.pump()

    # --- inside ---

    async def _end_all(self) -> None:
        for call in self.open:
            call.stop()
        await self.within(STUBBORN, self._emptied)
        self.open.clear()
        await super()._end_all()

    def spawn(self, job: Job) -> None:
        scope = anyio.CancelScope()
        job.cancel = scope.cancel
        self._group.start_soon(self._run_job, job, scope, name=job.name)

    async def _run_job(self, job: Job, scope: anyio.CancelScope) -> None:
        if self._on_asyncio:
            # Cancelled once, as its tasks expect it: a scope would go on cancelling what cleans up.
            task = asyncio.current_task()
            assert task is not None
            job.cancel = task.cancel
            with contextlib.suppress(asyncio.CancelledError):  # or one of its own: it ends, and nothing else must
                await job.run()
        else:
            with scope:
                await job.run()

    async def _clockwork(self) -> None:
        while True:
            with anyio.CancelScope(deadline=self._due) as self._alarm:
                await self._wanted.wait()
            self._wanted = anyio.Event()
            if self._alarm.cancelled_caught:
                self._due = math.inf  # a timer that has fired is off
                # Where all of us stood still, what came meanwhile first: a ping that lies there is not a missed one.
                await anyio.lowlevel.checkpoint()
                self.timeout()
            else:
                self.pump()

    def _arm(self, due: float | None) -> None:
        self._due = self._alarm.deadline = math.inf if due is None else due

    async def _listen(self, where: Listening, sock: socket.socket | None) -> NoReturn:
        raise AssertionError("it is the host that listens")

    def _open(self, command: cmd.OpenChannel) -> Any:
        raise AssertionError("a server opens no channels")
