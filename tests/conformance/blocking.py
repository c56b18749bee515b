"""What the tests of the binding that blocks share: plain functions that use it, many threads, nothing left behind."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from primus_io._loop_thread import loop_thread
from primus_io.threads import Client, Server, Spark, connect, serve
from primus_proto import Limits
from tests.conformance.hosts import sockets

__all__ = ["CLOSE", "DEADLINE", "LIMITS", "both", "echo", "in_threads", "nothing_left", "stay", "until"]

IDLE = ("primus-worker", "asyncio_")  # threads that end by themselves: ours, and those that look up host names
DEADLINE = 10.0  # seconds; for everything that blocks
CLOSE = 0.2
LIMITS = Limits(close=CLOSE)


@pytest.fixture(autouse=True)
def nothing_left() -> Iterator[None]:
    """With all servers and clients left there are no more sockets than before, and no threads but idle ones."""
    loop_thread()
    threads, open_before = set(threading.enumerate()), sockets()
    yield
    until(lambda: all(name.startswith(IDLE) for name in {each.name for each in set(threading.enumerate()) - threads}))
    until(lambda: sockets() <= open_before)


def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < deadline, "not in time"
        time.sleep(0.001)


def echo(spark: Spark) -> None:
    for value in spark:
        spark.send(value)


def stay(spark: Spark) -> None:
    spark.wait_ended()


@contextlib.contextmanager
def both(handler: Any = echo, **options: Any) -> Iterator[tuple[Server, Client]]:
    with serve(handler, **options) as server, connect(server.url, ping=False) as primus:
        yield server, primus


def in_threads(count: int, function: Callable[[int], object]) -> None:
    """Run `function(0)`, `function(1)`, … at the same time."""
    with ThreadPoolExecutor(count) as pool:
        for done in [pool.submit(function, number) for number in range(count)]:
            done.result()
