"""A run in virtual time is decided by its seed: the same trace again, in this process and in others."""

from __future__ import annotations

import os
import subprocess
import sys

# Six clients, every kind of trouble at random times, and a server that finally has to cut off clients that hang and
# handlers that do not return.
PROGRAM = """
import asyncio
import hashlib
import random
from asyncio import sleep

from primus_io.asyncio import connect, serve
from primus_io.testing import VirtualNetwork, run
from primus_proto import Limits

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

END = """
trace = "\\n".join(network.trace)
print(len(network.trace), trace.count(" Reconnected("), hashlib.sha256(trace.encode()).hexdigest())
"""


def test_a_run_repeats_in_every_process() -> None:
    """Whatever the addresses and hashes of objects are."""
    outputs = set()
    for seed in ("1", "2"):
        done = subprocess.run(
            [sys.executable, "-c", f"kept = [object() for _ in range({seed} * 12345)]\n{PROGRAM}{END}"],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        outputs.add(done.stdout)
    [output] = outputs
    lines, reconnected, _ = output.split()
    assert int(lines) > 1000
    assert int(reconnected) > 5
