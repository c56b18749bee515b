"""What floods cost a server: memory for each connection, and the latency of an honest echo beside them.

    python -m tests.faults.floods [--binding asyncio] [--floods ping,tiny] [--rounds 3] [--seconds 3]

Prints a table. Each flood runs in a process of its own, against a server in another. They run in turn, several times,
so that a machine that is busy for a while is so for all of them. The CPU time that a server uses until its echo comes
does not depend on what else the machine does, as the time until then does.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import platform
import select
import socket
import statistics
import subprocess
import sys
import time
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from tests.conformance.peers import RawPeer, frame, handshake
from tests.faults.processes import ROOT, Server
from tests.faults.subject import BINDINGS

DEFLATE = "Sec-WebSocket-Extensions: permessage-deflate\r\n"
Flood = Callable[[int], Iterator[None]]

FLOODS: dict[str, tuple[str, str, int, Flood]] = {}


def flood(title: str, limit: str, connections: int) -> Callable[[Flood], Flood]:
    """Register a flood: what it is, which limit bounds it, and how many connections it has."""

    def register(function: Flood) -> Flood:
        FLOODS[function.__name__] = (title, limit, connections, function)
        return function

    return register


def peers(port: int, count: int, headers: str = "") -> list[RawPeer]:
    """Peers with a session, that read nothing from now on."""
    found = []
    for _ in range(count):
        peer = RawPeer(port).connect()
        peer.request(headers=headers)
        assert peer.head().startswith(b"HTTP/1.1 101"), "a session"
        found.append(peer)
    return found


def pour(members: list[RawPeer], data: bytes, *, read: bool = False) -> Iterator[None]:
    """Send the same again and again on all connections, as fast as they take it."""
    rest = {peer.sock: memoryview(data) for peer in members}
    for sock in rest:
        sock.setblocking(False)
    while True:
        readable, writable, _ = select.select(list(rest) if read else [], list(rest), [], 0.05)
        for sock in readable:
            with contextlib.suppress(OSError):
                sock.recv(1 << 18)
        for sock in writable:
            try:
                rest[sock] = rest[sock][sock.send(rest[sock]) :] or memoryview(data)
            except BlockingIOError:
                pass
            except OSError:
                del rest[sock]
        yield


@flood("none", "", 0)
def none(port: int) -> Iterator[None]:
    yield from hold([], b"")


@flood("connections that say nothing", "`handshake`", 200)
def silent(port: int) -> Iterator[None]:
    yield from hold([RawPeer(port).connect() for _ in range(200)], b"")


@flood("heads of 16 KiB that do not end", "`head`, `handshake`", 200)
def heads(port: int) -> Iterator[None]:
    members = [RawPeer(port).connect() for _ in range(200)]
    yield from hold(members, b"GET /primus HTTP/1.1\r\nHost: x\r\nX: " + b"x" * 16_000)


@flood("sessions that say nothing", "`connections`", 200)
def idle(port: int) -> Iterator[None]:
    yield from hold(peers(port, 200), b"")


@flood("messages of 10 MiB but for a byte", "`message`", 10)
def unfinished(port: int) -> Iterator[None]:
    yield from hold(peers(port, 10), frame(b'"' + b"x" * (10 * 1024 * 1024 - 2) + b'"')[:-1])


@flood("messages in 1,000 fragments, without the last", "`fragments`", 100)
def fragments(port: int) -> Iterator[None]:
    first, more = bytearray(frame(b'"x')), bytearray(frame(b"x", 0))
    first[0] = 0x01
    more[0] = 0x00
    yield from hold(peers(port, 100), bytes(first + more * 999))


def hold(members: list[RawPeer], data: bytes) -> Iterator[None]:
    """Send something once on each connection, and stay."""
    for peer in members:
        peer.send(data)
    while True:
        time.sleep(0.05)
        yield


@flood("echoes that are not read", "`backlog`, `stall`, `burst`", 20)
def unread(port: int) -> Iterator[None]:
    yield from pour(peers(port, 20), frame(b"1") * 1000)


@flood("tiny messages, read", "the size of reads, turns", 5)
def tiny(port: int) -> Iterator[None]:
    yield from pour(peers(port, 5), frame(b"1") * 1000, read=True)


@flood("the same by many", "the size of reads, turns", 100)
def crowd(port: int) -> Iterator[None]:
    yield from pour(peers(port, 100), frame(b"1") * 1000, read=True)


@flood("WebSocket pings", "`replies`", 5)
def ping(port: int) -> Iterator[None]:
    yield from pour(peers(port, 5), frame(b"x" * 100, 9) * 100, read=True)


@flood("`primus::ping::`", "`replies`", 5)
def primus_ping(port: int) -> Iterator[None]:
    yield from pour(peers(port, 5), frame(b'"primus::ping::1"') * 100, read=True)


@flood("messages that are not JSON", "the log's rate", 5)
def broken(port: int) -> Iterator[None]:
    yield from pour(peers(port, 5), frame(b"{") * 1000, read=True)


@flood("messages of 250,000 values", "`values`", 5)
def values(port: int) -> Iterator[None]:
    yield from pour(peers(port, 5), frame(b"[" + b"[]," * 124_990 + b"1]"), read=True)


@flood("10 MiB that were 10 kB before they were inflated", "`message`", 5)
def bombs(port: int) -> Iterator[None]:
    deflate = zlib.compressobj(9, zlib.DEFLATED, -15)
    data = deflate.compress(b'"' + b"x" * (10 * 1024 * 1024 - 2) + b'"') + deflate.flush(zlib.Z_SYNC_FLUSH)
    bomb = bytearray(frame(data[:-4]))
    bomb[0] |= 0x40
    yield from pour(peers(port, 5, DEFLATE), bytes(bomb), read=True)


@flood("connections that break a rule at once", "`drain`", 1)
def violations(port: int) -> Iterator[None]:
    yield from again(port, handshake() + frame(b"1", masked=False))


@flood("handshakes", "`connections_per_address`", 1)
def handshakes(port: int) -> Iterator[None]:
    yield from again(port, handshake())


def again(port: int, data: bytes) -> Iterator[None]:
    """Connect again and again."""
    while True:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 5) as sock:
            sock.sendall(data)
            sock.recv(1 << 16)
        yield


@dataclass
class Cost:
    """What a flood cost, in all rounds."""

    memory: float = 0.0  # MB, at most
    waits: list[float] = field(default_factory=list)  # milliseconds until an honest echo came
    work: list[float] = field(default_factory=list)  # milliseconds of the server's CPU time meanwhile

    def row(self) -> str:
        """The last columns of the table."""
        return " | ".join(f"{each(of):.1f} ms" for of in (self.waits, self.work) for each in (statistics.median, max))


def echoes(server: Server, peer: RawPeer, seconds: float, cost: Cost) -> None:
    """Measure honest echoes; a hundred a second are tried."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        began, used = time.monotonic(), server.cpu
        peer.send(frame(b'"honest"'))
        assert peer.frame() == (1, b'"honest"')
        cost.waits.append((time.monotonic() - began) * 1000)
        cost.work.append((server.cpu - used) * 1000)
        time.sleep(0.01)


def measure(binding: str, name: str, seconds: float, cost: Cost) -> None:
    """Run one flood, or none."""
    with Server(binding) as server, contextlib.closing(server.peer()) as honest:
        echoes(server, honest, 0.3, Cost())
        before = server.memory
        command = [sys.executable, "-m", "tests.faults.floods", "--port", str(server.port), "--floods", name]
        with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE) as process:
            try:
                assert process.stdout is not None
                assert process.stdout.readline() == b"ready\n"
                time.sleep(2)  # in which the server learns who is much work
                echoes(server, honest, seconds, cost)
            finally:
                process.kill()
        cost.memory = max(cost.memory, server.peak_memory - before)


def main() -> None:
    """Print the table, or run a flood against a port."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--binding", choices=BINDINGS, default="asyncio")
    parser.add_argument("--floods", default=",".join(FLOODS), help="which; `none` is measured in any case")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=3.0, help="of each flood, in each round")
    parser.add_argument("--port", type=int, help="flood a server there")
    options = parser.parse_args()
    if options.port:
        for number, _ in enumerate(FLOODS[options.floods][3](options.port)):
            if number == 0:
                print("ready", flush=True)
        return
    costs = {name: Cost() for name in dict.fromkeys(["none", *options.floods.split(",")])}
    for _ in range(options.rounds):
        for name, cost in costs.items():
            measure(options.binding, name, options.seconds, cost)
    print("| flood | connections | memory for each | bounded by | echo: median | worst | of it CPU: median | worst |")
    print("|---|---:|---:|---|---:|---:|---:|---:|")
    for name, cost in costs.items():
        title, limit, count, _ = FLOODS[name]
        each = f"{cost.memory * 1000 / count:,.0f} kB" if count > 1 else ""
        many = count if count > 1 else "in turn" if count else ""
        print(f"| {title} | {many} | {each} | {limit} | {cost.row()} |")
    load = os.getloadavg()[1]
    print(f"\n{options.binding}, Python {platform.python_version()}, {os.cpu_count()} CPUs, load average {load:.1f}")


if __name__ == "__main__":
    main()
