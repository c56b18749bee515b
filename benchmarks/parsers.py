"""How long the parsers take beside the npm packages, as a table in Markdown; and how much memory hostile messages cost.

    python benchmarks/parsers.py

It needs Node.js, and the packages of tests/interop (`make setup`).
"""

from __future__ import annotations

import base64
import contextlib
import json
import subprocess
import time
import tracemalloc
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from primus_proto import DecodeError
from primus_proto.parsers import BinaryParser, EJSONParser, JSONParser, get_parser
from primus_proto.parsers.json import FastJSONParser

RECORD = {"id": 17, "name": "temperature", "values": [21.5, 22.25, None], "ok": True, "unit": "°C"}
VALUES = {"small": RECORD, "4 KiB": [RECORD] * 45, "1 MiB": [RECORD] * 11_500}
PARSERS: dict[str, tuple[str, Any]] = {
    "json": ("json", JSONParser()),
    "json, with `speedups`": ("json", FastJSONParser()),
    "ejson": ("ejson", EJSONParser()),
    "binary": ("binary", BinaryParser()),
    "msgpack": ("msgpack", get_parser("msgpack")),
}
MIB = 1024 * 1024
# Near the limit on values, and far beyond it.
HOSTILE: dict[str, list[str | bytes]] = {
    "json": ["[" + ",".join(f'{{"{n:x}":1}}' for n in range(124_000)) + "]", "[" + "[]," * (3 * MIB) + "[]]"],
    "ejson": [
        "[" + ",".join(f'{{"{n:x}":{{"$date":1}}}}' for n in range(80_000)) + "]",
        "[" + "[]," * (3 * MIB) + "[]]",
    ],
    "binary": [b"\xdd\x00\x01\xe4\x00" + b"\x81\xb0\x01" * 0x1E400, b"\xdd\xff\xff\xff\xff" * MIB],
    "msgpack": [b"\xdd\x00\x01\xe4\x00" + b"\x81\xa0\x01" * 0x1E400, b"\xdd\x00\x90\x00\x00" + b"\x90" * (9 * MIB)],
}


def best(act: Callable[[], object]) -> float:
    """Seconds that a call takes."""
    count, least, rounds = 1, float("inf"), 0
    while rounds < 3:
        start = time.perf_counter()
        for _ in range(count):
            act()
        seconds = time.perf_counter() - start
        if seconds < 0.05 and rounds == 0:
            count *= 2
        else:
            least = min(least, seconds / count)
            rounds += 1
    return least


def original(messages: dict[str, list[bytes]]) -> dict[str, list[tuple[float | None, float]]]:
    """Seconds that the npm packages take to encode and decode."""
    question = {name: [base64.b64encode(data).decode() for data in each] for name, each in messages.items()}
    script = str(Path(__file__).with_suffix(".js"))
    answer = subprocess.run(["node", script], input=json.dumps(question), capture_output=True, text=True, check=True)
    times: dict[str, list[tuple[float | None, float]]] = json.loads(answer.stdout)
    return times


def peak(parser: Any, data: str | bytes) -> float:
    """MiB allocated while a message is decoded, or refused."""
    tracemalloc.start()
    with contextlib.suppress(DecodeError):
        parser.decode(data)
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return most / MIB


def main() -> None:
    encoded = {title: [parser.encode(value) for value in VALUES.values()] for title, (_, parser) in PARSERS.items()}
    plain = {name: encoded[title] for title, (name, _) in PARSERS.items()}
    theirs = original({name: [m.encode() if isinstance(m, str) else m for m in each] for name, each in plain.items()})
    print("| parser |", " | ".join(f"{size}: write | read" for size in VALUES), "|")
    print("|---|" + "---|" * 2 * len(VALUES))
    for title, (name, parser) in PARSERS.items():
        cells = []
        for value, message, (encode, decode) in zip(VALUES.values(), encoded[title], theirs[name], strict=True):
            write, read = best(partial(parser.encode, value)), best(partial(parser.decode, message))
            cells += [f"{write / encode:.1f}" if encode else "–", f"{read / decode:.1f}"]
        print(f"| {title} |", " | ".join(cells), "|")
    for name, messages in HOSTILE.items():
        print(name, "at most", f"{max(peak(get_parser(name), data) for data in messages):.0f} MiB")


if __name__ == "__main__":
    main()
