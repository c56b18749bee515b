"""`AsyncSession`: what waits, of the clients and sparks of the async bindings."""

from __future__ import annotations

from collections.abc import AsyncIterator, Coroutine
from typing import Any

from primus_proto import events as ev
from primus_proto.plugins import Reply

from ._pumping import Pumping
from ._session import Session

__all__ = ["AsyncSession"]


class AsyncSession(Session, Pumping):
    """A session with methods that are awaited."""

    async def send(self, data: Any) -> bool:
        """`write`, then wait until there is room for more."""
        taken = self.write(data)
        await self.drain()
        return taken

    async def drain(self) -> None:
        """Wait until there is room for more."""
        if self._io.should_yield():
            await self._io.checkpoint()
        await self._until_drained()

    async def wait_for_reply(self, reply: Reply[Any]) -> None:
        """Wait until a reply of a plugin is done. Users await the reply."""
        event = self._io.event()
        reply.add_done_callback(event.set)
        if self._io.should_yield():
            await self._io.checkpoint()
        await event.wait()

    async def receive(self) -> Any:
        """Wait for the next value. Raises ConnectionLost once there will be no more."""
        return await self._receive()

    def __aiter__(self) -> AsyncIterator[Any]:
        self._begin_iterating()
        return self

    def __anext__(self) -> Coroutine[Any, Any, Any]:
        return self._take()

    async def wait_for(self, event: str | type[ev.Event], timeout: float | None = None) -> Any:
        """Wait for the next `event`. Returns what its listeners get: None, one value, or a tuple of several.

        Raises TimeoutError after `timeout` seconds, ConnectionLost if the session ends first, and LocalProtocolError
        for an unknown event.
        """
        return await self._wait_for(event, timeout)

    async def wait_ended(self) -> None:
        """Wait for the `end` event."""
        await self._until_ended()
