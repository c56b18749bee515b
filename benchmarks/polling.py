"""Servers of Engine.IO side by side: CPU time per message that is polled or travels on a WebSocket, and memory.

    python benchmarks/polling.py --rounds 5

The peers are the original (Primus 8 with engine.io 6) and, if it is installed, python-engineio on aiohttp, which has no
Primus around it: values are not decoded, and there are no heartbeats of Primus. Every round measures every server, in
turning order; the table has the median of the ratios within a round. Linux.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib.util
import json
import shutil
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from compare import HERE, NODE_MODULES, OURS, Results, running, table
from load import Broken, cpu_seconds, frame, payload, resident_bytes

SESSIONS = 20
QUERY = "/primus/?EIO=4&ping=600000&pong=600000"
HANDSHAKE = (
    f"GET {QUERY}&transport=websocket HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)


class Line:
    """One connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    @classmethod
    async def open(cls, port: int) -> Line:
        return cls(*await asyncio.open_connection("127.0.0.1", port, limit=1 << 24))

    def ask(self, method: str, target: str, body: bytes = b"") -> None:
        fields = f"Content-Type: text/plain\r\nContent-Length: {len(body)}\r\n" if method == "POST" else ""
        self.writer.write(f"{method} {target} HTTP/1.1\r\nHost: h\r\n{fields}\r\n".encode() + body)

    async def answer(self) -> bytes:
        head = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
        if not head.startswith("http/1.1 200"):
            raise Broken(head[:200])
        if "transfer-encoding" not in head:
            length = int(head.partition("content-length:")[2].partition("\r\n")[0])
            return await self.reader.readexactly(length)
        body = b""
        while size := int(await self.reader.readuntil(b"\r\n"), 16):
            body += (await self.reader.readexactly(size + 2))[:-2]
        await self.reader.readexactly(2)
        return body


class Polling:
    """A session that polls, on two connections."""

    def __init__(self, gets: Line, posts: Line, target: str) -> None:
        self.gets = gets
        self.posts = posts
        self.target = target

    @classmethod
    async def open(cls, port: int, *, post: bool = True) -> Polling:
        gets = await Line.open(port)
        gets.ask("GET", f"{QUERY}&transport=polling")
        sid = json.loads((await gets.answer()).partition(b"\x1e")[0][1:])["sid"]
        session = cls(gets, await Line.open(port) if post else gets, f"{QUERY}&transport=polling&sid={sid}")
        gets.ask("GET", session.target)
        return session

    async def echo(self, text: str, window: int) -> None:
        packet = b"4" + text.encode()
        self.posts.ask("POST", self.target, b"\x1e".join([packet] * window))
        missing = window
        while missing:
            packets = (await self.gets.answer()).split(b"\x1e")
            self.gets.ask("GET", self.target)
            missing -= packets.count(packet)
        await self.posts.answer()


class WebSocket:
    """A session on a WebSocket."""

    def __init__(self, line: Line) -> None:
        self.line = line

    @classmethod
    async def open(cls, port: int) -> WebSocket:
        line = await Line.open(port)
        line.writer.write(HANDSHAKE.encode())
        await line.reader.readuntil(b"\r\n\r\n")
        _, length = await line.reader.readexactly(2)
        await line.reader.readexactly(length if length < 126 else int.from_bytes(await line.reader.readexactly(2)))
        return cls(line)

    async def echo(self, text: str, window: int) -> None:
        reply = frame("4" + text, mask=False)
        self.line.writer.write(frame("4" + text, mask=True) * window)
        if await self.line.reader.readexactly(window * len(reply)) != reply * window:
            raise Broken("not the expected reply")


async def cost(
    port: int, pid: int, opening: Callable[[int], Awaitable[Polling | WebSocket]], window: int, seconds: float
) -> float:
    """The server's CPU seconds for each message."""
    sessions = [await opening(port) for _ in range(SESSIONS)]
    text, count, end = payload(64), 0, 0.0

    async def talk(session: Polling | WebSocket) -> None:
        nonlocal count
        while time.monotonic() < end:
            await session.echo(text, window)
            count += window

    for seconds_now in (seconds / 5, seconds):  # once to warm up
        count, end, before = 0, time.monotonic() + seconds_now, cpu_seconds(pid)
        await asyncio.gather(*map(talk, sessions))
    return (cpu_seconds(pid) - before) / count


async def memory(port: int, pid: int, count: int) -> float:
    """Bytes for each session whose poll waits."""
    keep = [await Polling.open(port, post=False) for _ in range(50)]
    before = resident_bytes(pid)
    keep += [await Polling.open(port, post=False) for _ in range(count)]
    await asyncio.sleep(0.5)
    return (resident_bytes(pid) - before) / count


def servers() -> list[tuple[str, list[str], Path]]:
    """Those that can run here: name, command, folder."""
    found = [("primus-proto", [*OURS, "--mode", "echo"], HERE)]
    node, folder = shutil.which("node"), NODE_MODULES / "primus8"
    if node and (folder / "node_modules" / "primus").is_dir():
        script = str(HERE / "peers" / "primus_server.js")
        found.append(("primus 8, engine.io 6", [node, script, "primus", "echo"], folder))
    if importlib.util.find_spec("engineio"):
        found.append(("python-engineio", [sys.executable, str(HERE / "peers" / "engineio_server.py")], HERE))
    return found


CASES: dict[str, tuple[Callable[[int], Awaitable[Polling | WebSocket]], int]] = {
    "polling, 1 message a POST": (Polling.open, 1),
    "polling, 16 messages a POST": (Polling.open, 16),
    "WebSocket, window 1": (WebSocket.open, 1),
    "WebSocket, window 16": (WebSocket.open, 16),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=1.0, help="of each case")
    parser.add_argument("--idle", type=int, default=500, help="sessions whose memory is measured")
    options = parser.parse_args()
    found = servers()
    results: Results = {}
    for number in range(options.rounds):
        turn = number % len(found)
        for name, command, folder in found[turn:] + found[:turn]:
            for case, (opening, window) in CASES.items():
                with running(command, folder, "engine.io", None) as load:
                    figure = asyncio.run(cost(load.address[1], load.pid, opening, window, options.seconds))
                results.setdefault((case, name), []).append(figure)
            with running(command, folder, "engine.io", None) as load:
                figure = asyncio.run(memory(load.address[1], load.pid, options.idle))
            results.setdefault(("idle connection", name), []).append(figure)
    print(table(results, [name for name, _, _ in found], [*CASES, "idle connection"]))


if __name__ == "__main__":
    main()
