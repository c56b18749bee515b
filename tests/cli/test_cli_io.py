"""What the command runs on: each library waits as the command expects, and with each the command says the same."""

from __future__ import annotations

import contextlib
import math
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Coroutine
from typing import Any

import pytest

from primus_io.cli.runtime import RUNTIMES, Changes, Runtime, load
from primus_proto import Limits
from tests.cli import command
from tests.cli.command import WAIT, Command, each_io, environment, run, serving
from tests.cli.peers import free_port, raw_client

# --- the command ---


def conversation() -> list[Any]:
    """What is said at each end and on stderr, refusals and a reconnect included, without what changes with each run."""
    port, said = free_port(), []
    nobody = run("connect", f"http://127.0.0.1:{port}", "--json", "--retries", "1", "--min", "0.02")
    spec = run("spec", f"http://127.0.0.1:{port}", "--json")
    with serving("--require", "token=t", port=port) as (server, url):
        refused = run("connect", url, "--json")
        told = run("spec", url, "--json")
        options = ("--json", "--min", "0.02", "--max", "0.02", "--retries", "1000")
        with Command("connect", f"{url}/?token=t", *options) as client:
            client.write("1", "nonsense", '{"a": ["ü", null]}')
            for end in (server, client):
                end.wait("data", data={"a": ["ü", None]})
            server.kill()
            client.wait("reconnect scheduled")
            with serving("--require", "token=t", "--mode", "relay", port=port) as (again, _):
                client.wait("reconnected")
                client.wait("open")
                busy = run("serve", "--port", str(port))
                again.signal(signal.SIGTERM)
                assert (again.status(), client.status()) == (0, 2)
                said = [nobody, spec, refused, told, server, client, again, busy]
    lines = [line for one in said for line in (str(one.process.returncode), *one.lines, *one.notes)]
    changing = r'(?<="id": ")\w+|(?<="_primuscb": ")[\w-]+|(?<="start": )[\d.]+|(?<="duration": )[\d.]+'
    lines = [re.sub(changing, "…", line.replace(str(port), "PORT")) for line in lines]
    # How often it tried while nobody was there is a matter of time.
    return [line for line in lines if not re.search(r'"attempt": (?!1,)|"state": "(opening|end)"', line)]


@pytest.mark.skipif(sys.platform == "win32", reason="signals are sent as on POSIX")
def test_the_same_is_said_on_every_library(monkeypatch: pytest.MonkeyPatch) -> None:
    said = {}
    for name in RUNTIMES:
        monkeypatch.setattr(command, "IO", name)
        said[name] = conversation()
    expected = said["asyncio"]
    assert len(expected) > 40
    for name in RUNTIMES:
        assert said[name] == expected, name


@pytest.mark.parametrize("name", ["serve", "connect", "spec", "demo"])
def test_a_library_that_is_not_installed(name: str) -> None:
    code = "import sys; sys.modules['trio'] = None; from primus_io.__main__ import main; sys.exit(main(sys.argv[1:]))"
    url = ["http://localhost"] if name in ("connect", "spec") else []
    done = subprocess.run(
        [sys.executable, "-c", code, name, *url, "--io", "trio"], env=environment(), capture_output=True, text=True
    )
    assert done.returncode == 2
    sentence = f"primus {name}: --io trio: primus_io.trio needs trio: pip install 'primus-proto[trio]'"
    assert done.stderr == f"{sentence}\nSee 'primus {name} --help'.\n"


# --- the runtimes ---


@pytest.fixture
def runtime(io: str) -> Runtime:
    return load(io)


class Left(Exception):
    """What one of two raises."""


@each_io
def test_the_first_that_ends_ends_the_others(runtime: Runtime) -> None:
    log: list[str] = []

    async def wait(name: str) -> str:
        try:
            await runtime.sleep(math.inf)
        finally:
            log.append(f"{name} ends")
        return name

    async def first() -> str:
        await runtime.sleep(0.01)
        return "first"

    async def inner() -> str:
        return await runtime.race(lambda: wait("one"), lambda: wait("two"))

    async def main() -> str:
        result = await runtime.race(lambda: wait("three"), first, inner)
        log.append("over")
        return result

    assert runtime.run(main) == "first"
    assert sorted(log[:-1]) == ["one ends", "three ends", "two ends"]
    assert log[-1] == "over"


@each_io
def test_what_the_first_raises_is_raised_and_what_the_others_raise_is_not(runtime: Runtime) -> None:
    async def stubborn() -> None:
        try:
            await runtime.sleep(math.inf)
        finally:
            raise RuntimeError("because it was stopped")

    async def leave() -> None:
        await runtime.sleep(0.01)
        raise Left

    async def main() -> bool:
        with contextlib.suppress(Left):
            await runtime.race(stubborn, leave)
            return False
        return True

    assert runtime.run(main)


@each_io
def test_waiting_no_longer_than_wanted(runtime: Runtime) -> None:
    async def main() -> list[object]:
        began, happened, never = runtime.clock(), runtime.event(), runtime.event()
        happened.set()

        async def nested() -> None:
            assert not await runtime.within(0.01, never.wait)
            await never.wait()

        async def inner_is_longer() -> None:
            await runtime.within(60, never.wait)

        seen: list[object] = [
            await runtime.within(60, happened.wait),
            await runtime.within(0.02, never.wait),
            await runtime.within(0.03, nested),
            await runtime.within(0.02, inner_is_longer),
        ]
        assert 0.07 <= runtime.clock() - began < 60
        return seen

    assert runtime.run(main) == [True, False, False, False]


@each_io
def test_what_changes_is_seen_from_other_threads_too(runtime: Runtime) -> None:
    async def main() -> list[int]:
        changes, seen = Changes(runtime), list[int]()

        def change() -> None:
            seen.append(len(seen))
            changes.note()

        def often() -> None:
            for _ in range(100):
                runtime.soon(change)

        assert not await runtime.within(0.01, lambda: changes.until(lambda: bool(seen)))
        threading.Thread(target=often).start()
        assert await runtime.within(WAIT, lambda: changes.until(lambda: len(seen) == 100))
        return seen

    assert runtime.run(main) == list(range(100))
    runtime.soon(lambda: pytest.fail("it has ended"))


@each_io
def test_what_is_given_up_has_ended(runtime: Runtime) -> None:
    async def main() -> None:
        runtime.soon(runtime.give_up)
        with contextlib.suppress(Exception):
            await runtime.sleep(math.inf)

    with pytest.raises(KeyboardInterrupt):
        runtime.run(main)


@each_io
def test_what_fails_is_raised(runtime: Runtime) -> None:
    async def main() -> None:
        await runtime.sleep(0)
        raise Left

    with pytest.raises(Left):
        runtime.run(main)


def test_on_threads_too_nothing_happens_before_the_command_has_said_that_it_listens() -> None:
    runtime, heard = load("threads"), list[str]()

    async def main() -> list[str]:
        changes = Changes(runtime)

        def connected(spark: Any) -> None:
            heard.append(spark.id)
            changes.note()

        async with runtime.serve(None) as server:
            with raw_client(server.url):  # it has got its answer
                server.on("connection", connected)
                assert await runtime.within(WAIT, lambda: changes.until(lambda: bool(heard)))
                return list(server.sparks)

    assert runtime.run(main) == heard


@each_io
def test_a_listener_that_waits_does_not_hold_up_whoever_leaves(runtime: Runtime) -> None:
    async def main() -> float:
        changes, never, heard = Changes(runtime), runtime.event(), list[Any]()

        def received(value: Any) -> Coroutine[Any, Any, object]:
            heard.append(value)
            changes.note()
            return never.wait()

        async with runtime.serve(None) as server:
            server.on("connection", lambda spark: spark.write(1))
            async with runtime.connect(server.url, manual=True) as primus:
                primus.on("data", received)
                primus.open()
                await changes.until(lambda: bool(heard))
                leaving = runtime.clock()
            return runtime.clock() - leaving

    assert runtime.run(main) < Limits().close
