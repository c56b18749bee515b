"""The address that a real client connects to: a TCP port behind which there is a server, silence, or nothing.

What is there can change from one moment to the next, without a process that has to start, so that a script decides
when a server is gone and when it is back.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket

__all__ = ["Address"]

HOST = "127.0.0.1"


class Address:
    """A port of its own that forwards to `target`, takes connections and says nothing, or refuses."""

    def __init__(self, target: int) -> None:
        self._target = target
        self._mode = "nobody"
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        # Bound but not listening: connections are refused, and nobody else can take the port.
        self._reserved = socket.socket()
        self._reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._reserved.bind((HOST, 0))
        self.port: int = self._reserved.getsockname()[1]

    async def become(self, mode: str) -> None:
        """What answers from now on: ``primus``, ``silent`` or ``nobody``. Connections there are stay as they are."""
        self._mode = mode
        if mode == "nobody":
            if self._server is not None:
                self._server.close()
                self._server = None
        elif self._server is None:
            listener = socket.socket()
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind((HOST, self.port))
            self._server = await asyncio.start_server(self._serve, sock=listener)

    def drop(self) -> None:
        """Every connection is lost at once, on both sides."""
        for writer in list(self._writers):
            writer.transport.abort()

    async def close(self) -> None:
        await self.become("nobody")
        self.drop()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._reserved.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self._writers.add(writer)
        try:
            with contextlib.suppress(OSError):
                await (self._ignore(reader) if self._mode == "silent" else self._join(reader, writer))
        finally:
            self._writers.discard(writer)
            self._tasks.discard(task)
            writer.close()

    async def _ignore(self, reader: asyncio.StreamReader) -> None:
        while await reader.read(65536):
            pass

    async def _join(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection(HOST, self._target)
        self._writers.add(far_writer)
        try:
            await asyncio.gather(self._forward(reader, far_writer), self._forward(far_reader, writer))
        finally:
            self._writers.discard(far_writer)
            far_writer.close()

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
            writer.write_eof()
        except OSError:
            writer.transport.abort()
