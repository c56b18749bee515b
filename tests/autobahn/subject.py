"""Our end of an Autobahn run, as a process: a server or a client that echoes every WebSocket message as it came.

python -m tests.autobahn.subject asyncio serve          prints its port, and serves until its input ends
python -m tests.autobahn.subject asyncio connect PORT   runs the cases that the suite has there
"""

from __future__ import annotations

import asyncio
import logging
import sys
from functools import partial
from typing import Any

from primus_io import asyncio as on_asyncio
from primus_io import threads as on_threads
from primus_io import trio as on_trio
from primus_proto import Limits

AGENT = "primus-proto"
LIMITS = Limits(
    message=64 * 1024 * 1024,
    fragments=100_000,
    backlog=64 * 1024 * 1024,
    burst=64 * 1024 * 1024,
    queue=64 * 1024 * 1024,
)
BLOCK = 100_000


class RawParser:
    """Values are the WebSocket messages themselves."""

    name = "raw"
    binary = True

    def encode(self, value: Any) -> str | bytes:
        """Any text or bytes."""
        assert isinstance(value, str | bytes)
        return value

    def decode(self, data: str | bytes) -> Any:
        """The same."""
        return data


SERVE: dict[str, Any] = {
    "pathname": "/runCase", "parser": RawParser(), "limits": LIMITS, "dialect": "happn", "compression": True,
}  # fmt: skip


async def echo(spark: Any) -> list[str | bytes]:
    """Handle a session of a server, or of a client. Returns what it got."""
    values = []
    async for value in spark:
        values.append(value)
        await spark.send(value)
    return values


def echo_in_a_thread(spark: Any) -> None:
    """Do the same without async."""
    for value in spark:
        spark.send(value)


def request(port: str, path: str, case: int = 0) -> tuple[str, dict[str, Any]]:
    """Where and how a client connects: for the number of cases, for a case, or at the end."""
    url = f"ws://127.0.0.1:{port}?case={case}&agent={AGENT}"
    return url, {**SERVE, "pathname": path, "ping": False, "strategy": False, "wait": False}


async def serve(library: Any, wait: Any) -> None:
    """Serve with an async binding until the input ends."""
    async with library.serve(echo, "127.0.0.1", 0, **SERVE) as server:
        print(server.port, flush=True)
        await wait(sys.stdin.read)


async def connect(library: Any, port: str = "") -> None:
    """Run the cases with an async binding."""

    async def run(path: str, case: int = 0) -> list[str | bytes]:
        url, options = request(port, path, case)
        async with library.connect(url, **options) as primus:
            return await echo(primus)

    [count] = await run("/getCaseCount")
    for number in range(1, int(count) + 1):
        await run("/runCase", number)
    await run("/updateReports")


def serve_in_threads() -> None:
    """Serve with `primus_io.threads`."""
    with on_threads.serve(echo_in_a_thread, "127.0.0.1", 0, **SERVE) as server:
        print(server.port, flush=True)
        sys.stdin.read()


def connect_in_threads(port: str) -> None:
    """Run the cases with `primus_io.threads`."""

    def run(path: str, case: int = 0) -> list[str | bytes]:
        url, options = request(port, path, case)
        values: list[str | bytes] = []
        with on_threads.connect(url, **options, manual=True) as primus:

            @primus.on("data")
            def data(value: str | bytes) -> None:
                values.append(value)
                primus.send(value)

            primus.open()
            primus.wait_ended()
        return values

    [count] = run("/getCaseCount")
    for number in range(1, int(count) + 1):
        run("/runCase", number)
    run("/updateReports")


def main(binding: str, role: str, *more: str) -> None:
    """Run one end on one binding."""
    logging.disable()  # most cases are violations, which our ends warn of
    if binding == "threads":
        serve_in_threads() if role == "serve" else connect_in_threads(*more)
    elif binding == "trio":
        import trio

        if role == "serve":
            trio.run(serve, on_trio, trio.to_thread.run_sync)
        else:
            trio.run(partial(connect, on_trio, *more))
    elif role == "serve":
        asyncio.run(serve(on_asyncio, partial(asyncio.to_thread)))
    else:
        asyncio.run(connect(on_asyncio, *more))


if __name__ == "__main__":
    main(*sys.argv[1:])
