"""The example programs as a person runs them: a process that is spoken to and read line by line, with deadlines."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path

from tests.interop.peers import WAIT, Peer

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "examples"


class Program(Peer):
    """One run of an example. A line that it prints is a report, if it is JSON; else it is `noise` with its `text`."""

    async def say(self, *lines: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write("".join(f"{line}\n" for line in lines).encode())
        await self.process.stdin.drain()

    async def url(self) -> str:
        """Where it listens, which is the first thing that a server says."""
        text: str = (await self.wait("noise"))["text"]
        return text.split()[-1]

    async def heard(self, value: object) -> None:
        """Wait until it has printed this value, as JSON."""
        await self.until(lambda: value in self.reports, repr(value))

    async def status(self) -> int:
        """Wait for its end."""
        await self.until(lambda: self.over, "an exit status", WAIT)
        return await self.process.wait()

    @property
    def complaints(self) -> list[str]:
        """What it wrote to stderr; of use once it has ended."""
        return self._stderr


def python_path() -> str:
    """With which a program finds the packages of this checkout."""
    paths = [str(ROOT), str(ROOT / "bindings"), os.environ.get("PYTHONPATH", "")]
    return os.pathsep.join(path for path in paths if path)


@contextlib.asynccontextmanager
async def program(name: str, *args: str) -> AsyncIterator[Program]:
    """`python examples/<name> <args>`, every warning an error; gone when the block is left."""
    env = {**os.environ, "PYTHONPATH": python_path()}
    peer = Program(" ".join([name, *args]), [])
    await peer.start(sys.executable, "-W", "error", str(EXAMPLES / name), *args, env=env)
    try:
        yield peer
    finally:
        await peer.stop()


def descriptors() -> int:
    """How many this process has open; 0 where the system does not tell."""
    try:
        return len(os.listdir("/proc/self/fd"))
    except OSError:
        return 0
