"""``primus demo``: a conversation in a few seconds, over real sockets, in which every step is checked.

The law kept here: a step is shown as done only once what it promises has been seen; the first that is not ends the
demo.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

from .._awaiting import AsyncClient as Client
from .._awaiting import AsyncServer as Server
from .._awaiting import AsyncSpark as Spark
from .job import Job
from .output import Output
from .runtime import Changes, Runtime
from .signals import stopping

__all__ = ["DESCRIPTION", "NAME", "STATUS", "SUMMARY", "add_arguments", "prepare"]

NAME = "demo"
SUMMARY = "see it work: a server, two clients, a heartbeat, a reconnect"
DESCRIPTION = """\
A server and two clients talk to each other over sockets of this machine, in a few seconds: messages both ways,
a broadcast, a heartbeat, a connection that is cut and comes back, and a polite end."""
STATUS = "0 all of it happened, 1 something did not"

STEP = 3.0  # seconds a step may take
PING = 1.0  # seconds until the clients' first heartbeat: the default of 25 would be a long demo
AWAY = 0.3  # seconds until a client that was cut off tries again


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The demo has no flags of its own."""


def prepare(args: argparse.Namespace, runtime: Runtime) -> Job:
    """There is nothing to check."""
    return partial(_demo, runtime)


class Missing(Exception):
    """Something that should have happened did not."""


async def _demo(runtime: Runtime, output: Output) -> int:
    with stopping(runtime) as stop:
        happened = await runtime.race(_Tour(runtime, output).run, stop.wait)
    if happened is None:
        output.note("stopped before the end")
    return 0 if happened else 1


class _Heard:
    """What has happened so far, and waiting for more of it."""

    def __init__(self, runtime: Runtime) -> None:
        self.seen: list[tuple[str, ...]] = []
        self._runtime = runtime
        self._changes = Changes(runtime)

    def say(self, *what: str) -> None:
        self.seen.append(what)
        self._changes.note()

    async def wait(self, *what: str, times: int = 1) -> None:
        """Until that was said so many times."""
        seen = partial(self._changes.until, lambda: self.seen.count(what) >= times)
        if not await self._runtime.within(STEP, seen):
            raise Missing(f"not seen within {STEP:g} s: {' '.join(what)}" + (f", {times} times" if times > 1 else ""))


class _Tour:
    """The demo itself."""

    def __init__(self, runtime: Runtime, output: Output) -> None:
        self._runtime = runtime
        self._output = output
        self._heard = _Heard(runtime)
        self._steps = 0
        self._open_took: dict[str, float | None] = {}  # each client's latency before any heartbeat

    async def run(self) -> bool:
        """Every step; True if all of it happened."""
        started = time.monotonic()
        if not self._output.json:
            self._output.text("A Primus server and two clients, over sockets of this machine:\n")
        try:
            await self._talk()
        except (Missing, OSError) as missing:  # OSError: there is no network at all
            self._output.event("missing", step=self._steps + 1, message=str(missing))
            self._output.note(f"step {self._steps + 1} did not happen: {missing}")
            return False
        seconds = time.monotonic() - started
        if self._output.json:
            self._output.event("done", steps=self._steps, duration=round(seconds, 3))
        else:
            self._output.text(
                f"\nAll of it happened, in {seconds:.1f} seconds. Now try it yourself: '{_command()} serve' and,"
            )
            self._output.text(f"in another terminal, '{_command()} connect http://127.0.0.1:8080'.")
        return True

    def _done(self, what: str, how: str) -> None:
        self._steps += 1
        if self._output.json:
            self._output.event("step", step=self._steps, what=what, seen=how)
        else:
            self._output.text(f"{self._steps:2}  {what:<55} {how}")

    async def _talk(self) -> None:
        heard, connect = self._heard, self._runtime.connect
        async with self._runtime.serve(None) as server:
            self._watch_server(server)
            self._done("A server listens, on a port that was free.", server.url)
            options: dict[str, Any] = {"ping": PING, "min": AWAY, "wait": False, "manual": True}
            async with (
                connect(f"{server.url}/?name=anna", **options) as anna,
                connect(f"{server.url}/?name=ben", **options) as ben,
            ):
                for name, client in (("anna", anna), ("ben", ben)):
                    self._watch_client(name, client)
                    client.open()
                    await heard.wait(name, "open")
                    await heard.wait("server", "connection", name)
                self._done("Two clients connect, anna and ben.", f"{len(server.sparks)} sparks")
                await self._messages(server, anna, ben)
                await self._heartbeat(anna)
                await self._reconnect(server, anna)
                await self._goodbye(server, anna, ben)

    async def _messages(self, server: Server, anna: Client, ben: Client) -> None:
        heard = self._heard
        anna.write({"hello": "from anna"})
        await heard.wait("server", "data", "anna", "{'hello': 'from anna'}")
        self._done("anna sends the server a message.", '{"hello": "from anna"}')

        self._spark(server, "ben").write(["hello", "ben", 1, None, True])
        await heard.wait("ben", "data", "['hello', 'ben', 1, None, True]")
        self._done("The server sends ben one.", '["hello", "ben", 1, null, true]')

        count = server.write("to everyone")
        await heard.wait("anna", "data", "'to everyone'")
        await heard.wait("ben", "data", "'to everyone'")
        self._done("The server broadcasts: both get it.", f'"to everyone", to {count}')

    async def _heartbeat(self, anna: Client) -> None:
        await self._heard.wait("server", "heartbeat", "anna")
        await anna.id()  # answered behind the heartbeat's answer, which has come when this has
        if anna.latency is None or anna.latency == self._open_took["anna"]:
            raise Missing("an answer to anna's heartbeat")
        self._done(
            f"anna's heartbeat, {PING:g} s after she connected, is answered.", f"latency {anna.latency * 1000:.2f} ms"
        )

    async def _reconnect(self, server: Server, anna: Client) -> None:
        heard = self._heard
        before = self._spark(server, "anna").id
        self._spark(server, "anna").end(reconnect=True)
        await heard.wait("anna", "reconnect scheduled")
        anna.write("written while away")
        self._done("The server cuts anna off; what she writes now is kept.", f"trying again in {AWAY:g} s")

        await heard.wait("anna", "reconnected")
        await heard.wait("anna", "open", times=2)
        await heard.wait("server", "data", "anna", "'written while away'")
        after = await anna.id()
        if after == before or after not in server.sparks:
            raise Missing("a new spark for anna")
        self._done("anna has reconnected by herself, and sent it.", f"spark {before[:6]} became {after[:6]}")

    async def _goodbye(self, server: Server, anna: Client, ben: Client) -> None:
        heard = self._heard
        await server.close("goodbye")
        for name, client in (("anna", anna), ("ben", ben)):
            await heard.wait(name, "data", "'goodbye'")
            await heard.wait(name, "end")
            if client.close_reason is None or client.close_reason.kind != "server":
                raise Missing(f"an end for {name} that the server said on purpose")
        await heard.wait("server", "close")
        if ("ben", "reconnect scheduled") in heard.seen or heard.seen.count(("anna", "reconnect scheduled")) != 1:
            raise Missing("clients that know when not to come back")
        self._done("The server says goodbye and closes: nobody comes back.", f"{len(server.sparks)} sparks")

    # --- listening ---

    def _watch_server(self, server: Server) -> None:
        say = self._heard.say

        def connected(spark: Spark) -> None:
            name = spark.query.get("name", "")
            say("server", "connection", name)
            spark.on("data", lambda value: say("server", "data", name, repr(value)))
            spark.on("heartbeat", lambda: say("server", "heartbeat", name))

        server.on("connection", connected)
        server.on("close", lambda: say("server", "close"))

    def _watch_client(self, name: str, client: Client) -> None:
        say = self._heard.say
        client.on("open", lambda: self._open_took.setdefault(name, client.latency))
        for event in ("open", "end", "reconnected", "reconnect scheduled"):
            client.on(event, lambda *_, event=event: say(name, event))
        client.on("data", lambda value: say(name, "data", repr(value)))

    def _spark(self, server: Server, name: str) -> Spark:
        for spark in server.sparks.values():
            if spark.query.get("name") == name:
                return spark
        raise Missing(f"a spark of {name}")


def _command() -> str:
    """What this command can be called by here: after `make demo` it is in no PATH."""
    called = Path(sys.argv[0])
    return str(called) if called.stem == "primus" and shutil.which("primus") is None else "primus"
