"""`pump` and `relay`: values from somewhere else into a session, and from one session into another."""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Iterable
from typing import Any, Protocol

import primus_proto as pp

__all__ = ["Pumping", "check_source"]


class Sending(Protocol):
    """A session that values are sent to."""

    async def pump(self, source: AsyncIterable[Any] | Iterable[Any]) -> int: ...


def check_source(source: object, kinds: tuple[type, ...], what: str) -> None:
    """Raise LocalProtocolError for a source that has no values to send."""
    if not isinstance(source, kinds) or isinstance(source, str | bytes | bytearray | memoryview):
        raise pp.LocalProtocolError(f"a source must be {what}; got {type(source).__name__}")


class Pumping:
    """A session that can be connected to something else."""

    async def send(self, data: Any) -> bool:
        raise NotImplementedError

    def __aiter__(self) -> AsyncIterator[Any]:
        raise NotImplementedError

    async def pump(self, source: AsyncIterable[Any] | Iterable[Any]) -> int:
        """Send each value of `source`, as fast as the peer reads. Returns how many were sent.

        Stops at the end of `source`, and when a value is not accepted, because the session has ended. Does not end the
        session. Raises what `source` raises, and EncodeError if a value cannot be encoded.
        """
        check_source(source, (AsyncIterable, Iterable), "an iterable or async iterable of values")
        count = 0
        if isinstance(source, AsyncIterable):
            async for value in source:
                if not await self.send(value):
                    break
                count += 1
        else:
            for value in source:
                if not await self.send(value):
                    break
                count += 1
        return count

    async def relay(self, other: Sending) -> int:
        """Send each value that arrives here to another client or spark, as fast as its peer reads.

        Stops when one of the two has ended. Returns how many values were sent.
        """
        if not hasattr(other, "pump"):
            raise pp.LocalProtocolError(f"relay takes a client or spark to send to; got {type(other).__name__}")
        return await other.pump(self)
