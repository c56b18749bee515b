"""asyncio transports on a virtual network.

As on a real loop, protocols are called from the loop's queue, never from inside a delivery or one of their own calls.
The exception is `pause_writing`, which comes from inside `write`.
"""

from __future__ import annotations

import asyncio
import errno
from collections import deque
from collections.abc import Callable
from typing import Any

from .nodes import ListenerNode, LoopNode, system_error

__all__ = ["Stream", "StreamServer"]

HIGH = 64 * 1024  # asyncio's own default


class Stream(asyncio.Transport):
    """One end of a connection."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        node: LoopNode,
        number: int,
        protocol: asyncio.BaseProtocol,
        extra: dict[str, Any],
    ) -> None:
        super().__init__({**extra, "has_ended": self._has_ended})
        self._loop = loop
        self._node = node
        self._number = number
        self._protocol = protocol
        self._incoming: deque[memoryview | OSError | None] = deque()  # None: EOF
        self._outgoing = bytearray()
        self._error: OSError | None = None
        self._reading = False  # `_read` is about to run
        self._paused = self._closing = self._is_over = self._stopped = False
        self.set_write_buffer_limits()
        self.soon(self._protocol.connection_made, self)

    def __repr__(self) -> str:
        return f"<Stream of {self._node.name} with {self.get_extra_info('peername')}>"

    def soon(self, call: Callable[..., object], *args: Any) -> None:
        """Call a function in the next turn of the loop, in the context of the node."""
        self._loop.call_soon(call, *args, context=self._node.context)

    # --- for the network ---

    def arrived(self, data: bytes) -> None:
        """Take bytes from the network."""
        if not self._closing:
            self._incoming.append(memoryview(data))
            self._go_on_reading()

    def ended(self, broken: bool) -> None:
        """The other end closed, or the connection broke. A protocol that neither reads nor writes notices nothing."""
        error = system_error(errno.ECONNRESET) if broken else None
        if self._closing or (error and self._outgoing):
            self._finish(error)
        else:
            self._error = error
            self._incoming.append(error)
            self._go_on_reading()

    def writable(self) -> None:
        """The network has room for more."""
        self._flush()
        if self._stopped and len(self._outgoing) <= self._low:
            self._stopped = False
            self.soon(self._protocol.resume_writing)

    # --- reading ---

    def _go_on_reading(self) -> None:
        if self._incoming and not (self._reading or self._paused):
            self._reading = True
            self.soon(self._read)

    def _read(self) -> None:
        """Give the protocol one buffer of data, as one turn of a real loop does."""
        self._reading = False
        if self._closing or self._paused:
            return
        data = self._incoming.popleft()
        try:
            if isinstance(data, OSError):
                self._finish(data)
                return
            if data is None:
                if not self._protocol.eof_received():  # type: ignore[attr-defined]
                    self.close()
                return
            if isinstance(self._protocol, asyncio.BufferedProtocol):
                buffer = memoryview(self._protocol.get_buffer(-1))
                size = min(len(buffer), len(data))
                buffer[:size] = data[:size]
                if size < len(data):
                    self._incoming.appendleft(data[size:])
                self._node.has_read(self._number, size)
                self._protocol.buffer_updated(size)
            else:
                self._node.has_read(self._number, len(data))
                self._protocol.data_received(bytes(data))  # type: ignore[attr-defined]
        except Exception as error:
            what = {"message": "a protocol raised an exception for data it received", "exception": error}
            self._loop.call_exception_handler({**what, "transport": self, "protocol": self._protocol})
            self._finish(error)
        self._go_on_reading()

    def pause_reading(self) -> None:
        self._pause(True)

    def resume_reading(self) -> None:
        self._pause(False)
        self._go_on_reading()

    def is_reading(self) -> bool:
        return not (self._paused or self._closing)

    def _has_ended(self) -> bool:
        """Whether the other end has closed, however much is still to be read."""
        link = self._node.links.get(self._number)
        return None in self._incoming or link is None or link.has_ended(self._node)

    def _pause(self, paused: bool) -> None:
        if not self._closing and paused != self._paused:
            self._paused = paused
            if self._number in self._node.links:
                self._node.links[self._number].pause(self._node, paused)

    # --- writing ---

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if not isinstance(data, bytes | bytearray | memoryview):
            raise TypeError(f"data argument must be a bytes-like object, not {type(data).__name__}")
        if self._closing:
            return
        self._outgoing += data
        self._flush()
        if not self._stopped and len(self._outgoing) > self._high:
            self._stopped = True
            self._protocol.pause_writing()

    def _flush(self) -> None:
        link = self._node.links.get(self._number)
        if link is None and self._outgoing:  # the other end is gone
            self._outgoing.clear()
            if self._error is not None:
                self._finish(self._error)
        elif link is not None and self._outgoing:
            del self._outgoing[: link.offer(self._node, self._outgoing)]
        if self._closing and not self._outgoing:
            self._finish(None)

    def get_write_buffer_size(self) -> int:
        return len(self._outgoing)

    def get_write_buffer_limits(self) -> tuple[int, int]:
        return self._low, self._high

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        if high is None:
            high = HIGH if low is None else 4 * low
        if low is None:
            low = high // 4
        if not high >= low >= 0:
            raise ValueError(f"high ({high!r}) must be >= low ({low!r}) must be >= 0")
        self._high, self._low = high, low

    def can_write_eof(self) -> bool:
        return False

    def write_eof(self) -> None:
        raise NotImplementedError("a connection on a virtual network closes in both directions at once: use close()")

    # --- the end ---

    def is_closing(self) -> bool:
        return self._closing

    def close(self) -> None:
        self._closing = True
        self._incoming.clear()
        self._flush()

    def abort(self) -> None:
        self._outgoing.clear()
        self._finish(None, abort=True)

    def _finish(self, error: Exception | None, *, abort: bool = False) -> None:
        if self._is_over:
            return
        self._is_over = self._closing = True
        self._incoming.clear()
        self._outgoing.clear()
        self._node.streams.pop(self._number, None)
        link = self._node.links.pop(self._number, None)
        if link is not None:
            link.close(self._node, abort or error is not None)
        self.soon(self._protocol.connection_lost, error)

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self._protocol = protocol

    def get_protocol(self) -> asyncio.BaseProtocol:
        return self._protocol


class StreamServer(asyncio.AbstractServer):
    """The result of `create_server`."""

    def __init__(self, loop: asyncio.AbstractEventLoop, node: ListenerNode) -> None:
        self._loop = loop
        self._node = node
        self.sockets = (self,)

    def getsockname(self) -> tuple[str, int]:
        """The address."""
        return self._node.address

    def get_loop(self) -> asyncio.AbstractEventLoop:
        return self._loop

    def is_serving(self) -> bool:
        return self._node.listening

    def close(self) -> None:
        self._node.listening = False

    async def start_serving(self) -> None:
        """Do nothing: it serves already."""

    async def serve_forever(self) -> None:
        try:
            await self._loop.create_future()
        finally:
            self.close()

    async def wait_closed(self) -> None:
        """Do nothing: there is nothing to wait for."""
