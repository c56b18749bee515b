"""What the command prints: events on stdout, a line each, and diagnostics on stderr.

The law kept here: a line is on its way before the next one is made, the loop never waits for whoever reads them, and
what a peer sent cannot drive the terminal. A thread of its own does the writing, so that a connection outlives a pager
that does not read on; what waits to be written is bounded. Any thread may print, and lines stay whole.
"""

from __future__ import annotations

import errno
import json
import select
import sys
import threading
from collections import deque
from collections.abc import Callable
from typing import Any, Protocol, TextIO

from .report import detail, printable
from .runtime import Changes, Runtime

__all__ = ["Output", "Row"]

HIGH = 1024 * 1024  # bytes waiting above which whoever can should wait
LIMIT = 16 * HIGH  # above which everything waits, the loop included

# How the other end of a pipe or terminal says that it has gone (EINVAL is Windows').
GONE = {errno.EPIPE, errno.EIO, errno.EINVAL, errno.ECONNRESET, errno.EBADF}


class Row(Protocol):
    """The row of a terminal in which a person is typing: lines go above it."""

    def erased(self) -> str:
        """What makes the row empty, with the cursor at its beginning."""

    def shown(self) -> str:
        """What draws the row where the cursor is."""


class Output:
    """Prints for one command, as text or as JSON lines."""

    def __init__(self, program: str, runtime: Runtime, *, json: bool = False, verbose: bool = False) -> None:
        self.program = program
        self.json = json
        self.verbose = verbose
        self.screen = threading.RLock()
        """Held while lines are put around the row, and by whoever changes what that shows."""
        self.on_gone: Callable[[], None] = lambda: None
        """Called on the loop when stdout cannot be written to any more."""
        self.failure: OSError | None = None
        """Why stdout could not be written to, unless it is just that its reader left."""
        self._runtime = runtime
        self._relief = Changes(runtime)
        self._row: Row | None = None
        self._queue: deque[tuple[TextIO, bytes]] = deque()
        self._size = 0
        self._crowded = False
        self._closing = False
        self._gone: set[TextIO | None] = {None}  # what cannot be written to; a stream that is closed is None
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None

    def event(self, event: str, /, **fields: Any) -> None:
        """Print an event."""
        if self.json:
            self._line(sys.stdout, _json_line({"event": event, **fields}))
        else:
            self._line(sys.stdout, detail(event, fields))

    def text(self, line: str) -> None:
        """Print a line for a person; it may not hold what a peer sent."""
        self._line(sys.stdout, line)

    def note(self, text: str) -> None:
        """Say something on stderr."""
        self._line(sys.stderr, f"{self.program}: {printable(text)}")

    def remark(self, text: str) -> None:
        """A note for whoever asked for more of them."""
        if self.verbose:
            self.note(text)

    def trace(self, text: str) -> None:
        """Print a traceback on stderr, line by line."""
        for line in text.splitlines():
            self._line(sys.stderr, printable(line))

    def draw(self, text: str) -> None:
        """Send something to the terminal as it is."""
        self._put(sys.stdout, text)

    def show(self, row: Row) -> None:
        """From now on there is this row below the lines."""
        with self.screen:
            self._row = row
            self.draw(row.shown())

    def hide(self, text: str = "") -> None:
        """From now on there is none; draw that in its place."""
        with self.screen:
            self._row = None
            self.draw(text)

    @property
    def crowded(self) -> bool:
        """Whether so much waits to be written that `room` should be awaited before there is more."""
        return self._crowded

    async def room(self) -> None:
        """Wait until there is room."""
        await self._relief.until(lambda: not self._crowded)

    def close(self) -> None:
        """Wait until all is written."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        while self._thread is not None and self._thread.is_alive():
            self._thread.join(1)  # in slices, between which Windows takes notice of Ctrl-C

    # --- inside ---

    def _line(self, stream: TextIO | None, line: str) -> None:
        with self.screen:
            row = self._row
            if row is None:
                self._put(stream, line + "\n")
            elif stream is sys.stdout:
                self._put(stream, f"{row.erased()}{line}\n{row.shown()}")
            else:
                self._put(sys.stdout, row.erased())
                self._put(stream, line + "\n")
                self._put(sys.stdout, row.shown())

    def _put(self, stream: TextIO | None, text: str) -> None:
        if not text or stream is None or stream in self._gone:
            return
        data = text.encode(stream.encoding or "utf-8", "backslashreplace")
        with self._changed:
            if self._thread is None:
                self._thread = threading.Thread(target=self._write_all, name="primus-output", daemon=True)
                self._thread.start()
            while self._size > LIMIT:
                self._changed.wait()
            self._queue.append((stream, data))
            self._size += len(data)
            self._crowded = self._size > HIGH
            self._changed.notify_all()

    def _write_all(self) -> None:
        """The thread: write what is queued until `close`."""
        while True:
            with self._changed:
                while not self._queue:
                    if self._closing:
                        return
                    self._changed.wait()
                stream, data = self._queue.popleft()
                size = len(data)
                if self._queue and self._queue[0][0] is stream:  # what has gathered meanwhile goes in one write
                    parts = [data]
                    while self._queue and self._queue[0][0] is stream and size < HIGH:
                        parts.append(self._queue.popleft()[1])
                        size += len(parts[-1])
                    data = b"".join(parts)
            if stream not in self._gone:
                try:
                    _write(stream, data)
                except (OSError, ValueError) as error:
                    self._lost(stream, error)
            with self._changed:
                self._size -= size
                relieved = self._crowded and self._size <= HIGH // 2
                if relieved:
                    self._crowded = False
                self._changed.notify_all()
            if relieved:
                self._runtime.soon(self._relief.note)

    def _lost(self, stream: TextIO, error: OSError | ValueError) -> None:
        self._gone.add(stream)
        if stream is sys.stdout:
            if isinstance(error, OSError) and error.errno not in GONE:
                self.failure = error
            self._runtime.soon(lambda: self.on_gone())


def _write(stream: TextIO, data: bytes) -> None:
    """Write below Python's buffers: no lock of theirs is held should the process end while this waits."""
    buffer = stream.buffer
    raw = getattr(buffer, "raw", buffer)
    view = memoryview(data)
    while view:
        written = raw.write(view)
        if written is None:  # somebody made the pipe non-blocking
            select.select([], [raw], [])
        else:
            view = view[written:]


def _json_line(record: dict[str, Any]) -> str:
    """One line of ASCII, whatever is in it."""
    try:
        return json.dumps(record, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        kept = {key: value for key, value in record.items() if key != "data"}
        return json.dumps({**kept, "message": f"cannot be shown as JSON: {error}"})
