"""What the command reads: stdin, line by line, from a terminal, a pipe or a file alike.

The law kept here: reading never blocks the loop, and nothing is read before it is wanted, so that a slow connection
slows down whoever writes. A thread does the reading below Python's buffers; it holds nothing that the end of the
process would have to wait for.
"""

from __future__ import annotations

import select
import threading
from collections.abc import AsyncGenerator
from typing import TextIO

from .._session import Waitable
from .runtime import Runtime

__all__ = ["Chunks", "lines"]

CHUNK = 64 * 1024


class Chunks:
    """The bytes of a stream as they come; `read` gives b"" at its end."""

    def __init__(self, stream: TextIO | None, runtime: Runtime) -> None:
        self._stream = stream
        self._runtime = runtime
        self._wanted = threading.Semaphore(0)
        self._arrived: Waitable | None = None  # what was asked for; None: nothing
        self._data = b""
        self.error: OSError | None = None
        """Why reading ended, where it was not the end of the stream."""
        if stream is not None:
            threading.Thread(target=self._read_all, name="primus-input", daemon=True).start()

    async def read(self) -> bytes:
        """The next bytes. What a cancelled call would have got, the next one gets."""
        if self._stream is None:
            return b""
        if self._arrived is None:
            self._arrived = self._runtime.event()
            self._wanted.release()
        await self._arrived.wait()
        self._arrived = None
        return self._data

    def _read_all(self) -> None:
        """The thread: one chunk each time that one is wanted."""
        assert self._stream is not None
        buffer = self._stream.buffer
        raw = getattr(buffer, "raw", buffer)
        data: bytes | None = None
        while data != b"":
            self._wanted.acquire()
            try:
                while (data := raw.read(CHUNK)) is None:  # somebody made the pipe non-blocking
                    select.select([raw], [], [])
            except (OSError, ValueError) as error:
                self.error = error if isinstance(error, OSError) else OSError(str(error))
                data = b""
            assert self._arrived is not None
            self._data = data
            self._runtime.soon(self._arrived.set)


async def lines(chunks: Chunks) -> AsyncGenerator[bytes, None]:
    """The lines of a stream, without what ends them; the last one needs no end."""
    parts: list[bytes] = []
    while data := await chunks.read():
        first, *others = data.split(b"\n")
        parts.append(first)
        for part in others:
            yield b"".join(parts)
            parts = [part]
    if last := b"".join(parts):
        yield last
