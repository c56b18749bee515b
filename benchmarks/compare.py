"""Servers and clients side by side: this project and the peers that are found installed. `make bench` runs it.

    python benchmarks/compare.py --rounds 5 --plot bench.svg

Every round measures every server, in turning order, so that what else the machine does meets all of them alike. The
table has the median over the rounds of the ratio to the first server of the same round: the server's CPU time per
message, per delivery of a broadcast and per handshake, and memory per idle connection. The smaller, the better.
The columns of this project without "speedups" are a base install: no uvloop, and Python's own JSON.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import os
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from load import Broken, ClientLoad, Load, cpu_seconds, resident_bytes

HERE = Path(__file__).parent
PEERS = HERE / "peers"
NODE_MODULES = HERE.parent / "tests" / "interop"
OURS = [sys.executable, str(HERE / "server.py")]
CLIENTS = 10
SIZES = ((1, 64), (16, 64), (1, 4096))  # windows and bytes of messages

Results = dict[tuple[str, str], list[float]]  # by case and name


@dataclass
class Contender:
    """What is measured: a server, to which the mode is passed, and perhaps a client, which gets a port and a number."""

    name: str
    server: list[str]
    client: list[str] = field(default_factory=list)
    folder: Path = HERE
    few: bool = False
    """Whether only the cases with 100 connections and the broadcast are of interest."""


def contenders() -> Iterator[Contender]:
    """Those that can run here."""
    node = shutil.which("node")
    for name, package, folder in (
        ("happn-primus 6", "happn-primus", NODE_MODULES),
        ("primus 8", "primus", NODE_MODULES / "primus8"),
    ):
        if node and (folder / "node_modules" / package).is_dir():
            commands = [[node, str(PEERS / f"primus_{end}.js"), package] for end in ("server", "client")]
            yield Contender(name, *commands, folder)
    base, fast = ["--base"], ["--loop", "uvloop"]
    iterate = ["--style", "iterate"]
    yield Contender("primus-proto", [*OURS, *base, "--mode"], [sys.executable, str(HERE / "client.py"), *base])
    yield Contender("primus-proto (async for)", [*OURS, *base, *iterate, "--mode"])
    if all(map(importlib.util.find_spec, ("uvloop", "orjson", "tornado"))):
        client = [sys.executable, str(HERE / "client.py"), *fast]
        yield Contender("primus-proto (speedups)", [*OURS, *fast, "--mode"], client)
        yield Contender("primus-proto (speedups; async for)", [*OURS, *fast, *iterate, "--mode"])
    for package, io in (("trio", "trio"), ("", "threads"), ("uvicorn", "asgi")):
        if not package or importlib.util.find_spec(package):
            yield Contender(f"primus-proto ({io})", [*OURS, *base, "--io", io, "--mode"], few=True)
    for package in ("uvicorn", "websockets", "picows"):
        if importlib.util.find_spec(package):
            client = [sys.executable, str(PEERS / "websockets_client.py")] if package == "websockets" else []
            server = [sys.executable, str(PEERS / f"{package}_server.py")]
            yield Contender(package, server, client, few=package == "uvicorn")


@contextmanager
def started(command: list[str], folder: Path, core: int | None) -> Iterator[subprocess.Popen[str]]:
    """A process, on a core of its own where there are two."""
    pin: Callable[[], None] | None = None if core is None else lambda: os.sched_setaffinity(0, {core})
    with subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, text=True, preexec_fn=pin) as process:
        try:
            yield process
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(5)
            except subprocess.TimeoutExpired:
                process.kill()


@contextmanager
def running(contender: Contender, mode: str, core: int | None) -> Iterator[Load]:
    """A server, and the load for it."""
    with started([*contender.server, mode], contender.folder, core) as process:
        assert process.stdout is not None
        word, port, pid = process.stdout.readline().split()
        assert word == "READY"
        with contextlib.closing(Load(int(port), int(pid))) as load:
            yield load


def settle(pid: int) -> None:
    """Wait until the server has nothing to do."""
    before = -1.0
    while cpu_seconds(pid) - before > 0.002:
        before = cpu_seconds(pid)
        time.sleep(0.2)


Cases = Iterator[tuple[str, Callable[[], float]]]
"""Names of cases, and how to get the figure of each."""


def few(contender: Contender, core: int | None, options: argparse.Namespace) -> Cases:
    """The cases with 100 connections, and large messages."""
    with running(contender, "echo", core) as load:
        load.connect(500)
        load.close()
        settle(load.pid)
        yield "handshake", lambda: load.connect(100)
        for window, size in SIZES:
            yield f"echo {size} B, window {window}", partial(load.echo, window, size, options.seconds)
            settle(load.pid)
        load.close(keep=10)
        yield "echo 1 MiB, 10 connections", partial(load.echo, 1, 1 << 20, options.seconds)


def broadcast(contender: Contender, core: int | None, options: argparse.Namespace) -> Cases:
    """The cases with a broadcast."""
    with running(contender, "bcast", core) as load:
        load.connect(1000)
        yield "broadcast 64 B to 1,000", partial(load.broadcast, size=64, seconds=options.seconds)


def clients(contender: Contender, core: int | None, options: argparse.Namespace) -> Cases:
    """The cases in which clients are measured."""
    if contender.client:
        listener = socket.create_server(("127.0.0.1", 0), backlog=CLIENTS)
        command = [*contender.client, str(listener.getsockname()[1]), str(CLIENTS)]
        with listener, started(command, contender.folder, core) as process:
            load = ClientLoad(listener, process.pid, CLIENTS)
            for window, size in SIZES:
                settle(load.pid)
                yield (
                    f"{CLIENTS} clients: echo {size} B, window {window}",
                    partial(load.echo, window, size, options.seconds),
                )
            load.close()


def many(contender: Contender, core: int | None, options: argparse.Namespace) -> Cases:
    """The cases with many connections."""
    if contender.few:
        return
    with running(contender, "echo", core) as load:
        load.connect(50)
        settle(load.pid)

        def connect(count: int) -> float:
            before = resident_bytes(load.pid)
            load.connect(count)
            settle(load.pid)
            return (resident_bytes(load.pid) - before) / count

        yield "idle connection", partial(connect, options.idle)
        connect(max(options.many - options.idle, 1))
        yield f"echo 64 B, {options.many:,} connections", partial(load.echo, 1, 64, options.seconds)
        connect(max(options.pinging - options.many, 1))
        yield f"ping each second, {options.pinging:,} connections", partial(load.pings, seconds=2 * options.seconds)


GROUPS = {"few": few, "many": many, "broadcast": broadcast, "clients": clients}


def table(results: Results, names: list[str], cases: list[str]) -> str:
    """A Markdown table: the first one's own figures, then the ratios to it."""
    lines = ["| | " + " | ".join([f"{names[0]}, itself", *names]) + " |", "|---|" + "---:|" * (len(names) + 1)]
    for case in cases:
        base = results[case, names[0]]
        unit, factor = ("kB", 1e-3) if case == "idle connection" else ("µs", 1e6)
        cells = [f"{statistics.median(base) * factor:.1f} {unit}"]
        cells += [f"{ratio(results[case, name], base):.2f}" if (case, name) in results else "" for name in names]
        lines.append(f"| {case} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def ratio(figures: list[float], base: list[float]) -> float:
    """The median over rounds of the ratio within a round."""
    return statistics.median(mine / other for mine, other in zip(figures, base, strict=True))


def plot(results: Results, names: list[str], cases: list[str]) -> str:
    """The ratios as bars, in SVG."""
    row, left, width = 18, 190, 560
    height = len(cases) * (len(names) + 2) * row + row
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{left + width + 60}" height="{height}" '
        'font-family="sans-serif" font-size="12">',
        f'<rect width="100%" height="100%" fill="white"/><title>Ratios to {names[0]}</title>',
    ]
    y = row
    for case in cases:
        found = [name for name in names if (case, name) in results]
        ratios = [ratio(results[case, name], results[case, names[0]]) for name in found]
        parts.append(f'<text x="8" y="{y}" font-weight="bold">{case}</text>')
        for name, value in zip(found, ratios, strict=True):
            y += row
            length = value / max(*ratios, 1.0) * width
            color = "#2a6f97" if name.startswith("primus-proto") else "#adb5bd"
            parts.append(f'<text x="{left - 6}" y="{y + 4}" text-anchor="end">{name}</text>')
            parts.append(f'<rect x="{left}" y="{y - 7}" width="{length:.0f}" height="13" fill="{color}"/>')
            parts.append(f'<text x="{left + length + 5:.0f}" y="{y + 4}">{value:.2f}</text>')
        y += 2 * row
    return "\n".join([*parts, "</svg>", ""])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=1.0, help="of each case")
    parser.add_argument("--idle", type=int, default=2000, help="connections of the idle case")
    parser.add_argument("--many", type=int, default=5000, help="connections of the echo with many")
    parser.add_argument("--pinging", type=int, default=10000, help="connections that ping")
    parser.add_argument("--only", default="", help="names of columns, with commas between them")
    parser.add_argument("--groups", default=",".join(GROUPS), help="of cases, with commas between them; default: all")
    parser.add_argument("--plot", type=Path, help="a file for the picture, SVG")
    options = parser.parse_args()
    if not Path("/proc/self/schedstat").exists():
        parser.error("the CPU time of a server is read from /proc, as Linux has it")
    cores = sorted(os.sched_getaffinity(0))
    core = cores[0] if len(cores) > 1 else None
    if core is not None:
        os.sched_setaffinity(0, set(cores[1:]))
    only, groups = ([part for part in given.split(",") if part] for given in (options.only, options.groups))
    found = [each for each in contenders() if not only or each.name in only]
    results: Results = {}
    cases: dict[str, None] = {}
    for number in range(options.rounds):
        turn = number % len(found)
        for contender in found[turn:] + found[:turn]:
            print(f"round {number + 1}: {contender.name}", file=sys.stderr, flush=True)
            try:
                for group in groups:
                    for case, figure in GROUPS[group](contender, core, options):
                        results.setdefault((case, contender.name), []).append(figure())
                        cases[case] = None
            except (Broken, OSError) as error:
                sys.exit(f"{contender.name}: {error}")
    names = [each.name for each in found]
    print(table(results, names, list(cases)))
    if options.plot is not None:
        options.plot.write_text(plot(results, names, list(cases)))


if __name__ == "__main__":
    main()
