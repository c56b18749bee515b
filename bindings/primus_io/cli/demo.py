"""``primus demo``: a conversation over real sockets, in a few seconds, in which every step is checked."""

from __future__ import annotations

import argparse
import asyncio
import shutil
import sys
import time
from collections.abc import Callable, Coroutine
from typing import Any

import primus_proto as pp

from ..asyncio import Spark, connect, serve
from .output import Output
from .running import race, stopping

USAGE = "[options]"
SUMMARY = "see it work: a server, two clients, a heartbeat, a reconnect"
DESCRIPTION = """\
A server and two clients talk to each other over local sockets, in a few seconds: messages in both directions,
a broadcast, a heartbeat, a connection that is dropped and comes back, and a clean end."""
STATUS = "0 every step worked, 1 a step failed"

STEP = 3.0  # seconds a step may take
PING = 1.0  # seconds until the clients' first heartbeat; with the default of 25 the demo would be long
AWAY = 0.3  # seconds until a client that was disconnected tries again


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add nothing: the demo has no flags of its own."""


async def run(args: argparse.Namespace, output: Output) -> int:
    """Run this subcommand; returns the exit status."""
    steps, started = 0, time.monotonic()

    def done(what: str, seen: str) -> None:
        nonlocal steps
        steps += 1
        output.event("step", step=steps, what=what, seen=seen)

    output.text("A Primus server and two clients, over local sockets:\n")
    try:
        with stopping(output) as stop:
            await race(_run_steps(done), stop.wait())
    except (StepFailed, OSError, pp.PrimusError) as error:
        output.event("missing", step=steps + 1, message=str(error))
        output.note(f"step {steps + 1} failed: {error}")
        return 1
    if stop.is_set():
        output.note("stopped before the end")
        return 1
    duration, called = time.monotonic() - started, sys.argv[0]
    command = called if called.endswith("primus") and not shutil.which("primus") else "primus"
    if output.json:
        output.event("done", steps=steps, duration=round(duration, 3))
    output.text(f"\nEvery step worked, in {duration:.1f} seconds. Now try it yourself: run '{command} serve' and,")
    output.text(f"in another terminal, '{command} connect http://127.0.0.1:8080'.")
    return 0


class StepFailed(Exception):
    """What a step should have done did not happen."""


async def _expect(waiting: Coroutine[Any, Any, object], expected: object, what: str) -> None:
    """Await a result. Raises StepFailed when it is late or not the expected one."""
    try:
        async with asyncio.timeout(STEP):
            value = await waiting
    except TimeoutError:
        raise StepFailed(f"{what}: nothing within {STEP:g} s") from None
    if value != expected:
        raise StepFailed(f"{what}: expected {expected!r}, got {value!r}")


async def _run_steps(done: Callable[[str, str], None]) -> None:
    sparks: dict[str, Spark] = {}  # the server's side of each client, by the client's name
    received: asyncio.Queue[tuple[str, Any]] = asyncio.Queue()  # by the server: from whom, and what
    connected: asyncio.Queue[str] = asyncio.Queue()
    heartbeat, away = asyncio.Event(), asyncio.Event()

    async def handle(spark: Spark) -> None:
        name = spark.query["name"]
        sparks[name] = spark
        connected.put_nowait(name)
        spark.on("heartbeat", heartbeat.set)
        async for value in spark:
            received.put_nowait((name, value))

    async with serve(handle) as server:
        done("A server starts on a free port.", server.url)
        async with (
            connect(f"{server.url}/?name=anna", ping=PING, min=AWAY) as anna,
            connect(f"{server.url}/?name=ben", ping=PING, min=AWAY) as ben,
        ):
            opened = anna.latency
            await _expect(connected.get(), "anna", "anna's connection")
            await _expect(connected.get(), "ben", "ben's connection")
            done("Two clients connect: anna and ben.", f"{len(server.sparks)} connections")

            anna.write({"hello": "from anna"})
            await _expect(received.get(), ("anna", {"hello": "from anna"}), "anna's message")
            done("anna sends a message to the server.", '{"hello": "from anna"}')

            sparks["ben"].write(["hello", "ben", 1, None, True])
            await _expect(ben.receive(), ["hello", "ben", 1, None, True], "the message to ben")
            done("The server sends a message to ben.", '["hello", "ben", 1, null, true]')

            count = server.write("to everyone")
            await _expect(anna.receive(), "to everyone", "the broadcast to anna")
            await _expect(ben.receive(), "to everyone", "the broadcast to ben")
            done("The server broadcasts a message.", f'"to everyone", received by {count}')

            before = sparks["anna"].id
            await _expect(heartbeat.wait(), True, "anna's heartbeat")
            await _expect(anna.id(), before, "the id of anna's connection")  # comes after the heartbeat's answer
            if anna.latency is None or anna.latency == opened:
                raise StepFailed("the server has not answered anna's heartbeat")
            done(f"anna sends a heartbeat after {PING:g} s; the server answers.", f"in {anna.latency * 1000:.2f} ms")

            anna.on("reconnect scheduled", lambda _: away.set())
            sparks["anna"].end(reconnect=True)
            await _expect(away.wait(), True, "the loss of anna's connection")
            anna.write("written while disconnected")
            done("The server disconnects anna; she writes a message.", f"next attempt in {AWAY:g} s")

            await _expect(received.get(), ("anna", "written while disconnected"), "anna's message")
            after = sparks["anna"].id
            await _expect(anna.id(), after, "the id of anna's new connection")
            done("anna reconnects by herself, and the message arrives.", f"id {before[:6]} became {after[:6]}")

            await server.close("goodbye")
            for client in (anna, ben):
                await _expect(client.receive(), "goodbye", "the server's goodbye")
                await _expect(client.wait_ended(), None, "the end of a client")
                if client.close_reason is None or client.close_reason.kind != "server":
                    raise StepFailed(f"a client does not know that the server ended on purpose: {client.close_reason}")
            done("The server sends a last message and closes for good.", f"{len(server.sparks)} connections")
