"""Processes of ours and their peers, for fault runs. They read /proc, so they need Linux."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryFile
from typing import Self

from tests.conformance.peers import RawPeer, frame

__all__ = ["DEADLINE", "ROOT", "Server", "Subject", "echo", "eventually"]

DEADLINE = 60.0
ROOT = Path(__file__).parents[2]


class Subject:
    """A process of ours."""

    def __init__(self, *arguments: str) -> None:
        self._log = TemporaryFile()  # noqa: SIM115  # closed by __exit__
        command = [sys.executable, "-m", "tests.faults.subject", *arguments]
        self.process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=self._log, text=True)
        self.pid = self.process.pid
        self._lines: queue.SimpleQueue[str] = queue.SimpleQueue()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._lines.put(line.rstrip())

    def line(self) -> str:
        """The next line of its output."""
        return self._lines.get(timeout=DEADLINE)

    def until(self, wanted: str) -> None:
        """Read lines until one is `wanted`."""
        while self.line() != wanted:
            pass

    @property
    def log(self) -> bytes:
        """What it has logged."""
        size = os.fstat(self._log.fileno()).st_size
        return os.pread(self._log.fileno(), size, 0)

    @property
    def cpu(self) -> float:
        """Seconds of CPU it has used."""
        return time.clock_gettime(~self.pid << 3 | 2)  # the clock of another process, as clock_getcpuclockid(3) has it

    @property
    def descriptors(self) -> int:
        """How many it has open."""
        return len(os.listdir(f"/proc/{self.pid}/fd"))

    @property
    def memory(self) -> float:
        """Resident memory, MB."""
        pages = int(Path(f"/proc/{self.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / 1e6

    @property
    def peak_memory(self) -> float:
        """The most resident memory so far, MB."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        return int(status.partition("VmHWM:")[2].split()[0]) * 1024 / 1e6

    def end(self, signum: signal.Signals = signal.SIGKILL) -> float:
        """Send a signal, and wait. Returns the seconds it took."""
        began = time.monotonic()
        self.process.send_signal(signum)
        self.process.wait(DEADLINE)
        return time.monotonic() - began

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()
        self._log.close()


class Server(Subject):
    """A server, and peers of it."""

    def __init__(self, binding: str, *arguments: str) -> None:
        super().__init__(binding, "serve", *arguments)
        self.port = int(self.line())
        self.binding = binding

    def peer(self, target: str = "/primus?ping=false") -> RawPeer:
        """A peer with a session."""
        deadline = time.monotonic() + DEADLINE
        while True:
            try:
                return RawPeer(self.port).open(target)
            except OSError:  # uvicorn says its port before it listens
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.05)

    @property
    def ended_well(self) -> bool:
        """Whether it has ended by itself. uvicorn passes the signal on."""
        return self.process.returncode == (-signal.SIGTERM if self.binding == "asgi" else 0)

    def sparks(self) -> int:
        """How many sparks it has, but for that which asks."""
        with contextlib.closing(self.peer()) as peer:
            peer.send(frame(b'"sparks"'))
            while not (payload := peer.frame()[1]).startswith(b'["sparks"'):
                assert payload
            return int(json.loads(payload)[1]) - 1

    def settles(self, sparks: int, descriptors: int) -> None:
        """Wait until it has no more sparks and descriptors than that."""
        eventually(lambda: self.sparks() == sparks, f"{sparks} sparks")
        eventually(lambda: self.descriptors <= descriptors, f"{descriptors} descriptors")


def eventually(holds: Callable[[], object], what: str) -> float:
    """Wait for something. Returns the seconds it took."""
    began = time.monotonic()
    while not holds():
        assert time.monotonic() < began + DEADLINE, f"not within {DEADLINE} s: {what}"
        time.sleep(0.02)
    return time.monotonic() - began


def echo(peer: RawPeer, value: object) -> None:
    """Have a value echoed."""
    text = json.dumps(value).encode()
    peer.send(frame(text))
    answer = peer.frame()
    assert answer == (1, text), answer
