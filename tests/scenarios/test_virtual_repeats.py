"""A run in virtual time, on asyncio and on trio, is decided by its seed: the same trace again, here and in others."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

import pytest

# Six clients with a mind of their own, every kind of trouble at random times, and a server that has to cut off, in the
# end, clients that hang and handlers that do not return.
PROGRAM = """
import hashlib
import random

from primus_io.testing import VirtualNetwork
from primus_proto import Limits, PrimusError

network = VirtualNetwork(seed=5, latency=0.05, jitter=0.1, bandwidth=20_000, cut=700, window=4096)


async def handler(spark):
    try:
        async for value in spark:
            await sleep(0.01 * (value % 7))
            await spark.send([value, "x" * value])
        await sleep(1000)
    finally:
        network.note("handler", spark.id)


async def use(rng):
    async with connect("http://server", ping=5.0, min=0.1) as primus:
        for _ in range(20):
            await sleep(rng.random())
            primus.write(rng.randrange(3000))
        await sleep(30)


async def trouble(rng):
    nodes = ["server", *(f"client{n}" for n in range(1, 7))]
    while True:
        await sleep(rng.random() * 5)
        some = rng.sample(nodes, 2)
        match rng.randrange(10):
            case 0:
                network.drop(some[0])
            case 1:
                network.half_open(some[0])
            case 2:
                network.partition(*some)
            case 3:
                network.freeze(some[0])
                network.thaw(some[1])
            case 4:
                network.break_after(some[0], sent=rng.randrange(1000))
            case 5 | 8 | 9:
                for node in nodes:
                    network.thaw(node)
                    network.resume(node)
                network.heal()
            case 6:
                network.partition(some[0], way=rng.choice(["in", "out"]))
            case 7:
                network.suspend(some[0])
                network.resume(some[1])


async def hang():
    hanging = [network.connect("http://server") for _ in range(20)]
    await sleep(10)
    for client in hanging:
        network.freeze(client)
"""

ASYNCIO = """
import asyncio
from asyncio import sleep

from primus_io.asyncio import connect, serve
from primus_io.testing import run


async def main():
    async with serve(handler, "server", 80, limits=Limits(close=0.5)):
        making = asyncio.create_task(trouble(random.Random(1)))
        await asyncio.gather(*(use(random.Random(n)) for n in range(6)), return_exceptions=True)
        making.cancel()
        network.heal()
        network.resume("server")
        await hang()


run(main(), network)
"""

TRIO = """
import trio
from trio import sleep

from primus_io.trio import connect, serve
from primus_io.testing import run_trio


async def use_or_give_up(rng):
    try:
        await use(rng)
    except PrimusError:
        pass


async def main():
    async with serve(handler, "server", 80, limits=Limits(close=0.5)):
        async with trio.open_nursery() as making:
            making.start_soon(trouble, random.Random(1))
            async with trio.open_nursery() as using:
                for n in range(6):
                    using.start_soon(use_or_give_up, random.Random(n))
            making.cancel_scope.cancel()
        network.heal()
        network.resume("server")
        await hang()


run_trio(main, network)
"""

END = """
story = "\\n".join(network.trace)
print(len(network.trace), story.count(" Reconnected("), hashlib.sha256(story.encode()).hexdigest())
"""

on_both = pytest.mark.parametrize("library", [ASYNCIO, TRIO], ids=["asyncio", "trio"])


def in_processes(program: str) -> set[str]:
    """What it says in several that differ in hashes and addresses."""
    said = set()
    for seed in ("1", "2", "3"):
        done = subprocess.run(
            [sys.executable, "-c", f"kept = [object() for _ in range({seed} * 12345)]\n{program}"],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        said.add(done.stdout)
    return said


@on_both
def test_in_every_process(library: str) -> None:
    """Whatever the addresses and the hashes of objects are."""
    [line] = in_processes(f"{PROGRAM}{library}{END}")
    lines, reconnected, _ = line.split()
    assert int(lines) > 1000
    assert int(reconnected) > 5


@on_both
def test_in_one_process(library: str) -> None:
    def once() -> list[str]:
        space: dict[str, Any] = {}
        exec(PROGRAM + library, space)
        trace: list[str] = space["network"].trace
        return trace

    traces = [once() for _ in range(3)]
    assert traces[1:] == traces[:-1]


def test_in_trios_own_order_of_tasks() -> None:
    """Those that wait for one event are a set, in order of address; deadlines that are the same are no better."""
    program = """
import random
import trio
from primus_io.testing import run_trio

kept = [bytes(size) for size in range(64, 512, 8) for _ in range(200)]
random.Random(hash("other addresses")).shuffle(kept)
del kept[::2]

async def main():
    async def one(number):
        await (event.wait() if number % 2 else trio.sleep(1))
        said.append(number)

    said, event = [], trio.Event()
    async with trio.open_nursery() as nursery:
        for number in range(100):
            nursery.start_soon(one, number)
        await trio.sleep(1)
        event.set()
    return said

said = run_trio(main)
print(said == sorted(said), said)
"""
    [line] = in_processes(program)
    assert line.startswith("False [")
