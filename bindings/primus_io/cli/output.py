"""What the command prints: events on stdout, one a line, and notes on stderr.

A thread does the writing, so that the event loop never waits for a reader: a connection stays alive behind a pager. The
amount of text that waits to be written is bounded.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import select
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Any, TextIO

from .._emitter import Emitter
from .formatting import event_fields, json_line, printable, text_line

if TYPE_CHECKING:
    from prompt_toolkit.patch_stdout import StdoutProxy

HIGH = 1024 * 1024  # bytes that wait to be written, above which `needs_drain` is true
LIMIT = 16 * HIGH  # above which printing blocks, the event loop included

# How the system says that the reader of a pipe or a terminal has gone (EINVAL: on Windows).
GONE = {errno.EPIPE, errno.EIO, errno.EINVAL, errno.ECONNRESET, errno.EBADF}


def is_terminal(stream: TextIO | None) -> bool:
    """Whether the stream is a terminal."""
    return stream is not None and not stream.closed and stream.isatty()


@dataclass(eq=False)
class Output:
    """Prints events: as text, as JSON (`json`), or only the values of messages (`values`)."""

    program: str
    json: bool = False
    values: bool = False
    verbose: bool = False
    timestamps: bool = False

    needs_drain: bool = False
    """Whether so much waits to be written that `drain` should be awaited before more is printed."""
    error: OSError | None = field(default=None, init=False)
    """Why stdout cannot be written to, unless its reader has just gone."""
    proxy: StdoutProxy | None = field(default=None, init=False)
    """Prints what goes to the terminal, above a prompt."""

    loop: asyncio.AbstractEventLoop | None = field(default=None, init=False)
    on_broken: Callable[[], object] = field(default=lambda: None, init=False)
    """Called in the loop when stdout cannot be written to any more."""

    def __post_init__(self) -> None:
        plain = os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb"
        self._colour = is_terminal(sys.stdout) and not plain and (sys.platform != "win32" or "WT_SESSION" in os.environ)
        self._queue: deque[tuple[TextIO, bytes]] = deque()
        self._size = 0
        self._closing = False
        self._broken: set[TextIO | None] = {None}  # streams that cannot be written to; a closed one is None
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._write_all, name="primus-output", daemon=True)
        self._drained = asyncio.Event()
        self._thread.start()

    def event(self, event: str, /, **fields: Any) -> None:
        """Print an event."""
        if self.json:
            now = {"time": round(time.time(), 3)} if self.timestamps else {}
            self._put(sys.stdout, json_line({"event": event, **now, **fields}))
        elif self.values:
            if event == "data":
                self._put(sys.stdout, json_line(fields.get("data", fields)))
        elif event != "readyStateChange" or self.verbose:
            self.text(text_line(event, fields, colour=self._colour))

    def print_events(
        self, session: Emitter, listeners: dict[str, Callable[..., object]] | None = None, **more: Any
    ) -> None:
        """Print all events of a client, server or spark, with more fields; these listeners replace that for some."""

        def happened(name: str, *args: Any) -> None:
            self.event(name, **more, **event_fields(session, name, *args))

        for name in sorted(session.NAMES):
            session._on(name, (listeners or {}).get(name) or partial(happened, name))

    def text(self, line: str) -> None:
        """Print a line of text, which must be safe for a terminal; not with --json."""
        if not self.json:
            self._put(sys.stdout, self._time() + line)

    def note(self, text: str) -> None:
        """Print a note on stderr."""
        self._put(sys.stderr, f"{self._time()}{self.program}: {printable(text)}")

    def debug(self, text: str) -> None:
        """Print notes on stderr, one for each line, with --verbose."""
        for line in text.splitlines() if self.verbose else ():
            self.note(line)

    async def drain(self) -> None:
        """Wait until little waits to be written."""
        while self.needs_drain:
            self._drained.clear()
            await self._drained.wait()

    def close(self) -> None:
        """Wait until everything is written."""
        if self.proxy is not None:
            self.proxy.close()
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        while self._thread.is_alive():
            self._thread.join(1)  # with a timeout, so that Ctrl-C works on Windows

    def _time(self) -> str:
        return f"{datetime.now():%H:%M:%S.%f} " if self.timestamps else ""

    def _put(self, stream: TextIO | None, line: str) -> None:
        if stream is None or stream in self._broken:
            return
        if self.proxy is not None and is_terminal(stream):
            self.proxy.write(f"{line}\n")
            return
        data = f"{line}\n".encode(stream.encoding or "utf-8", "backslashreplace")
        with self._changed:
            self._changed.wait_for(lambda: self._size <= LIMIT)
            self._queue.append((stream, data))
            self._size += len(data)
            self.needs_drain = self.needs_drain or self._size > HIGH
            self._changed.notify_all()

    def _write_all(self) -> None:
        """Write what is queued; runs in the thread."""
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._queue or self._closing)
                if not self._queue:
                    return
                stream, data = self._queue.popleft()
            if stream not in self._broken:
                try:
                    _write(stream, data)
                except (OSError, ValueError) as error:
                    self._broken.add(stream)
                    if stream is sys.stdout:
                        self.error = error if isinstance(error, OSError) and error.errno not in GONE else None
                        self._call(self.on_broken)
            with self._changed:
                self._size -= len(data)
                self._changed.notify_all()
                if self.needs_drain and self._size <= HIGH // 2:
                    self.needs_drain = False
                    self._call(self._drained.set)

    def _call(self, function: Callable[[], object]) -> None:
        if self.loop is not None:
            with contextlib.suppress(RuntimeError):  # it is closed
                self.loop.call_soon_threadsafe(function)


def _write(stream: TextIO, data: bytes) -> None:
    """Write below Python's buffers, whose locks would keep the process from ending while this blocks."""
    raw = getattr(stream.buffer, "raw", stream.buffer)
    view = memoryview(data)
    while view:
        written = raw.write(view)
        if written is None:  # another process has made the pipe non-blocking
            select.select([], [raw], [])
        else:
            view = view[written:]
