"""The command as a subprocess: input, output line by line, and a deadline on every wait."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

ROOT = Path(__file__).resolve().parents[2]
WAIT = 10.0  # seconds; bounds what would otherwise hang, is never waited out by a test that passes
SIGNALS = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]
# Under nohup the command ignores SIGHUP, as it should.
SIGNALS = [number for number in SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]
# What is not closed or awaited shows on stderr, which most tests want empty.
PRIMUS = (sys.executable, "-W", "error", "-m", "primus_io")

Event = dict[str, Any]
T = TypeVar("T")


def environment(**more: str) -> dict[str, str]:
    """The environment in which the command is found, in this checkout."""
    paths = [os.environ.get("PYTHONPATH", ""), str(ROOT), str(ROOT / "bindings")]
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHONASYNCIO", "COLUMNS"))}
    return {**kept, "PYTHONPATH": os.pathsep.join(path for path in paths if path), **more}


class Command:
    """One run of the command. `wait` takes events out of turn, but each only once."""

    def __init__(self, *args: str, **options: Any) -> None:
        self.args = args
        self.lines: list[str] = []
        self.notes: list[str] = []
        self._taken: set[int] = set()
        self._changed = threading.Condition()
        self._readers: list[threading.Thread] = []
        self._over = 0  # readers that have come to the end
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        self.process = subprocess.Popen([*PRIMUS, *self.args], **{"env": environment(), **pipes, **options})
        for stream, into in ((self.process.stdout, self.lines), (self.process.stderr, self.notes)):
            if stream is not None:
                self._readers.append(threading.Thread(target=self._read, args=(stream, into), daemon=True))
                self._readers[-1].start()

    def __enter__(self) -> Command:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()
        if self.process.stdin is not None:
            with contextlib.suppress(OSError):
                self.process.stdin.close()
        for reader in self._readers:
            reader.join(WAIT)
        for stream in (self.process.stdout, self.process.stderr):
            if stream is not None:
                stream.close()

    def _read(self, stream: BinaryIO, into: list[str]) -> None:
        for line in stream:
            with self._changed:
                into.append(line.decode("utf-8").rstrip("\n"))
                self._changed.notify_all()
        with self._changed:
            self._over += 1
            self._changed.notify_all()

    # --- output ---

    @property
    def events(self) -> list[Event]:
        """The events so far, with --json."""
        return [json.loads(line) for line in list(self.lines)]

    @property
    def names(self) -> list[str]:
        """The events' names; `readyStateChange` with the state where there is one."""
        return [
            event["event"].replace("readyStateChange", "rsc") + (f"({event['state']})" if "state" in event else "")
            for event in self.events
        ]

    @property
    def stderr(self) -> str:
        return "\n".join(self.notes)

    def wait(self, name: str, **fields: Any) -> Event:
        """The first event of that name, with these fields, that no wait has taken yet."""

        def find() -> Event | None:
            for index, event in enumerate(self.events):
                wanted = {"event": name, **fields}.items()
                if index not in self._taken and all(event.get(key) == value for key, value in wanted):
                    self._taken.add(index)
                    return event
            return None

        return self.until(find, f"{name!r} {fields or ''}")

    def wait_note(self, part: str) -> str:
        """The first line on stderr with that in it."""
        return self.until(lambda: next((line for line in self.notes if part in line), None), f"{part!r} on stderr")

    def until(self, find: Callable[[], T | None], wanted: str) -> T:
        """The first true value of `find()`, tried after every line."""
        deadline = time.monotonic() + WAIT
        with self._changed:
            while not (found := find()):
                if self._over == len(self._readers):
                    raise AssertionError(f"it ended without {wanted}\n{self}")
                if not self._changed.wait(deadline - time.monotonic()):
                    raise AssertionError(f"not in time: {wanted}\n{self}")
        return found

    def __str__(self) -> str:
        said = [line[:300] for line in self.lines]
        return "\n".join(
            [f"--- primus {' '.join(self.args)} ({self.process.poll()})", *said, "--- stderr", *self.notes]
        )

    # --- input ---

    def write(self, *lines: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write("".join(f"{line}\n" for line in lines).encode())
        self.process.stdin.flush()

    def finish(self, *lines: str) -> int:
        """Write, end its input, and wait for its end; returns the exit status."""
        if lines:
            self.write(*lines)
        if self.process.stdin is not None:
            self.process.stdin.close()
        return self.status()

    def status(self) -> int:
        """Wait for its end."""
        try:
            status = self.process.wait(WAIT)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"it does not end\n{self}") from None
        for reader in self._readers:
            reader.join(WAIT)
        return status

    def signal(self, number: int) -> None:
        self.process.send_signal(number)

    def kill(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()


@contextlib.contextmanager
def serving(*args: str, port: int = 0) -> Iterator[tuple[Command, str]]:
    """`primus serve --json` on a free port, and its URL."""
    with Command("serve", "--json", "--port", str(port), *args) as server:
        yield server, server.wait("listening")["url"]


def port_of(url: str) -> int:
    return int(url.rpartition(":")[2])


def run(*args: str, stdin: str = "") -> Command:
    """Run the command to its end."""
    with Command(*args) as command:
        command.finish(*([stdin.removesuffix("\n")] if stdin else []))
    return command
