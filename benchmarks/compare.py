"""Whole servers side by side: this project and the peers that are found installed. `make bench` runs it.

    python benchmarks/compare.py --rounds 5 --plot bench.svg

Every round measures every server, in turning order, so that what else the machine does meets all of them alike. The
table has the median over the rounds of the ratio to the first server of the same round: the server's CPU time per
message, per delivery of a broadcast and per handshake, and memory per idle connection. The smaller, the better.
The columns of this project without "speedups" are a base install: no uvloop, and Python's own JSON.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import shutil
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from load import Broken, Load, cpu_seconds, resident_bytes

HERE = Path(__file__).parent
NODE_MODULES = HERE.parent / "tests" / "interop"
OURS = [sys.executable, str(HERE / "server.py")]

Results = dict[tuple[str, str], list[float]]  # by case and server


def servers() -> Iterator[tuple[str, list[str], Path]]:
    """Those that can run here: name, command (the mode is appended), folder."""
    script = str(HERE / "peers" / "primus_server.js")
    node = shutil.which("node")
    for name, package, folder in (
        ("happn-primus 6", "happn-primus", NODE_MODULES),
        ("primus 8", "primus", NODE_MODULES / "primus8"),
    ):
        if node and (folder / "node_modules" / package).is_dir():
            yield name, [node, script, package], folder
    base = [*OURS, "--json", "stdlib"]
    yield "primus-proto", [*base, "--mode"], HERE
    yield "primus-proto (async for)", [*base, "--style", "iterate", "--mode"], HERE
    if importlib.util.find_spec("uvloop") and importlib.util.find_spec("orjson"):
        extras = [*OURS, "--loop", "uvloop"]
        yield "primus-proto (speedups)", [*extras, "--mode"], HERE
        yield "primus-proto (speedups; async for)", [*extras, "--style", "iterate", "--mode"], HERE
    for package in ("websockets", "picows"):
        if importlib.util.find_spec(package):
            yield package, [sys.executable, str(HERE / "peers" / f"{package}_server.py")], HERE


@contextmanager
def running(command: list[str], folder: Path, mode: str, core: int | None) -> Iterator[Load]:
    """A server in a process of its own, on a core of its own where there are two."""
    pin: Callable[[], None] | None = None if core is None else lambda: os.sched_setaffinity(0, {core})
    with subprocess.Popen([*command, mode], cwd=folder, stdout=subprocess.PIPE, text=True, preexec_fn=pin) as process:
        try:
            assert process.stdout is not None
            word, port, pid = process.stdout.readline().split()
            assert word == "READY"
            load = Load(int(port), int(pid))
            try:
                yield load
            finally:
                load.close()
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(5)
            except subprocess.TimeoutExpired:
                process.kill()


def settle(pid: int) -> None:
    """Wait until the server has nothing to do."""
    before = -1.0
    while cpu_seconds(pid) - before > 0.002:
        before = cpu_seconds(pid)
        time.sleep(0.2)


def measure(
    command: list[str], folder: Path, core: int | None, seconds: float, idle: int, many: int
) -> Iterator[tuple[str, float]]:
    """One round of one server: the cases and their figures."""
    with running(command, folder, "echo", core) as load:
        load.connect(500)
        load.close()
        settle(load.pid)
        yield "handshake", load.connect(100)
        for window, size in ((1, 64), (16, 64), (1, 4096)):
            yield f"echo {size} B, window {window}", load.echo(window=window, size=size, seconds=seconds)
            settle(load.pid)
    with running(command, folder, "echo", core) as load:
        load.connect(50)
        settle(load.pid)
        before = resident_bytes(load.pid)
        load.connect(idle)
        settle(load.pid)
        yield "idle connection", (resident_bytes(load.pid) - before) / idle
        if many > idle:
            load.connect(many - idle)
        settle(load.pid)
        yield f"echo 64 B, {len(load.sockets) - 50:,} connections", load.echo(window=1, size=64, seconds=seconds)
        settle(load.pid)
        yield f"ping each second, {len(load.sockets) - 50:,} connections", load.pings(seconds=2 * seconds)
    with running(command, folder, "bcast", core) as load:
        load.connect(1000)
        yield "broadcast 64 B to 1,000", load.broadcast(size=64, seconds=seconds)


def table(results: Results, names: list[str], cases: list[str]) -> str:
    """A Markdown table: the first server's own figures, then the ratios to it."""
    lines = ["| | " + " | ".join([f"{names[0]}, itself", *names]) + " |", "|---|" + "---:|" * (len(names) + 1)]
    for case in cases:
        base = results[case, names[0]]
        unit, factor = ("kB", 1e-3) if case == "idle connection" else ("µs", 1e6)
        cells = [f"{statistics.median(base) * factor:.1f} {unit}"]
        cells += [f"{ratio(results[case, name], base):.2f}" for name in names]
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
        ratios = [ratio(results[case, name], results[case, names[0]]) for name in names]
        parts.append(f'<text x="8" y="{y}" font-weight="bold">{case}</text>')
        for name, value in zip(names, ratios, strict=True):
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
    parser.add_argument("--many", type=int, default=5000, help="connections of the cases with many")
    parser.add_argument("--only", default="", help="names of servers, with commas between them")
    parser.add_argument("--plot", type=Path, help="a file for the picture, SVG")
    options = parser.parse_args()
    if not Path("/proc/self/schedstat").exists():
        parser.error("the CPU time of a server is read from /proc, as Linux has it")
    cores = sorted(os.sched_getaffinity(0))
    core = cores[0] if len(cores) > 1 else None
    if core is not None:
        os.sched_setaffinity(0, set(cores[1:]))
    wanted = [name.strip() for name in options.only.split(",") if name.strip()]
    found = [each for each in servers() if not wanted or each[0] in wanted]
    results: Results = {}
    cases: dict[str, None] = {}
    for number in range(options.rounds):
        turn = number % len(found)
        for name, command, folder in found[turn:] + found[:turn]:
            print(f"round {number + 1}: {name}", file=sys.stderr, flush=True)
            try:
                for case, figure in measure(command, folder, core, options.seconds, options.idle, options.many):
                    results.setdefault((case, name), []).append(figure)
                    cases[case] = None
            except Broken as error:
                sys.exit(f"{name}: {error}")
    names = [name for name, _, _ in found]
    print(table(results, names, list(cases)))
    if options.plot is not None:
        options.plot.write_text(plot(results, names, list(cases)))


if __name__ == "__main__":
    main()
