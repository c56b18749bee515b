"""How a run of trio in virtual time ends: what comes out of it, and who may still clean up."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import AsyncGenerator
from typing import Any

import pytest
import trio

from primus_io.testing import VirtualNetwork, run_trio
from primus_io.trio import connect, serve


async def stay(spark: Any) -> None:
    await spark.wait_ended()


def test_what_main_returns_and_raises() -> None:
    async def good() -> str:
        return "result"

    async def bad() -> None:
        raise ZeroDivisionError

    assert run_trio(good) == "result"
    with pytest.raises(ZeroDivisionError):
        run_trio(bad)


def test_where_nothing_is_due_any_more_it_says_who_waits_and_what_was_before() -> None:
    async def hangs() -> None:
        await trio.sleep_forever()

    async def main() -> None:
        network.note("test", "the last thing that happened")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(hangs, name="hanging")
            await trio.Event().wait()

    network = VirtualNetwork()
    with pytest.raises(AssertionError) as caught:
        run_trio(main, network)
    text = str(caught.value)
    assert text.startswith("nothing is due any more, and these still wait:\n")
    here = main.__code__.co_firstlineno
    assert f"  main: {main.__qualname__}:{here + 4} > Event.wait:" in text
    assert f"  hanging: {hangs.__qualname__}:{here - 2} > sleep_forever:" in text
    assert text.endswith("test: the last thing that happened")
    assert network.runner is None


def test_who_is_left_over_by_that_may_clean_up() -> None:
    async def main() -> None:
        try:
            await trio.sleep_forever()
        finally:
            with trio.CancelScope(shield=True):
                await trio.sleep(60)
            said.append(trio.current_time())

    said: list[float] = []
    with pytest.raises(AssertionError, match="nothing is due"):
        run_trio(main)
    assert said == [60]


@pytest.mark.parametrize(
    ("stubborn", "words"),
    [("trio.sleep_forever", "nothing is due any more"), ("spin", "time stands still")],
)
def test_whom_no_cancellation_ends_is_left_behind(stubborn: str, words: str) -> None:
    """Rather than to wait for ever, for real. In a process of its own, for trio minds, in many words."""
    program = f"""
import trio
from primus_io.testing import run_trio

async def spin():
    while True:
        await trio.lowlevel.cancel_shielded_checkpoint()

async def main():
    with trio.CancelScope(shield=True):
        await {stubborn}()

async def after():
    await trio.sleep(1)

try:
    run_trio(main)
except AssertionError as error:
    print(error)
    print(error.__cause__)
run_trio(after)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.startswith(f"{words}, and these still wait:\n  main: main:")
    assert done.stdout.count(words) == 2, "what it was cancelled for is the cause"


def test_what_goes_on_for_ever_has_a_limit() -> None:
    """A heartbeat keeps things happening, so that nobody would ever notice."""

    async def main() -> None:
        async with serve(stay, "server", 80), connect("http://server") as primus:
            await primus.wait_ended()

    network = VirtualNetwork()
    with pytest.raises(AssertionError, match="not over after 3600 s, its `limit`, and these still wait:") as caught:
        run_trio(main, network, limit=3600)
    assert "Session.wait_ended" in str(caught.value)
    assert "SparkHeartbeat" in str(caught.value)
    assert 3600 < network.now < 3600 + 60

    async def sleeps() -> None:
        await trio.sleep(1e9)

    with pytest.raises(AssertionError, match="not over after 172800 s"):
        run_trio(sleeps)


def test_going_round_in_circles_is_noticed() -> None:
    async def main() -> None:
        try:
            while True:
                await trio.sleep(0)
        finally:
            cleaned.append(1)

    cleaned: list[int] = []
    with pytest.raises(AssertionError, match=r"^time stands still, and these still wait:\n  main: .*main:\d+ > sleep:"):
        run_trio(main)
    assert cleaned == [1]


def test_so_is_a_network_that_does() -> None:
    async def main() -> None:
        network.call_at(1.0, again)
        await trio.sleep(2)

    def again() -> None:
        network.call_at(network.now, again)

    network = VirtualNetwork()
    with pytest.raises(AssertionError, match=r"^time stands still, and these still wait:\n  main: "):
        run_trio(main, network)


def test_what_raises_while_that_is_cleaned_up_is_noted() -> None:
    async def main() -> None:
        for when in (1.0, 2.0):
            network.call_at(when, fail)
        try:
            await trio.sleep_forever()
        finally:
            with trio.CancelScope(shield=True):
                await trio.sleep(5)
            cleaned.append(trio.current_time())

    def fail() -> None:
        raise AssertionError(f"at {network.now}")

    network = VirtualNetwork()
    cleaned: list[float] = []
    with pytest.raises(AssertionError, match=r"^at 1\.0") as caught:
        run_trio(main, network)
    assert caught.value.__notes__ == [
        "While this was cleaned up, a function for call_at raised AssertionError('at 2.0')"
    ]
    assert cleaned == [6]


# --- after main ---


async def generator() -> AsyncGenerator[None, None]:
    try:
        yield
    finally:
        with trio.CancelScope(shield=True):
            await trio.sleep(60)
            await trio.to_thread.run_sync(time.sleep, 0.05)
            await trio.testing.wait_all_tasks_blocked()
        cleaned_after_main.append(trio.current_time())


cleaned_after_main: list[float] = []


async def generate(suspended: list[Any]) -> None:
    suspended.append(generator())
    await anext(suspended[0])


async def system_task() -> None:
    """It waits to be cancelled, as trio does with such when the main task is over."""
    async for _ in (suspended := generator()):
        try:
            await trio.sleep_forever()
        finally:
            with trio.CancelScope(shield=True):
                await suspended.aclose()


@pytest.mark.parametrize("how", ["generator", "system task"])
def test_who_cleans_up_after_main_has_time_pass(how: str) -> None:
    async def main() -> None:
        if how == "generator":
            await generate(suspended)
        else:
            trio.lowlevel.spawn_system_task(system_task)
        await trio.sleep(1)

    suspended: list[Any] = []
    cleaned_after_main.clear()
    run_trio(main)
    assert cleaned_after_main == [61]


def test_who_never_ends_after_main_is_told() -> None:
    """In a process of its own, for trio minds, in many words."""
    program = """
import trio
from primus_io.testing import VirtualNetwork, run_trio

async def stubborn():
    with trio.CancelScope(shield=True):
        await trio.sleep_forever()

async def main():
    trio.lowlevel.spawn_system_task(stubborn)

async def after():
    network.call_at(network.now + 1, lambda: 1 / 0)
    await main()

network = VirtualNetwork()
for one in (main, after):
    try:
        run_trio(one, network)
    except Exception as error:
        print(repr(error))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    first, second = done.stdout.splitlines()
    assert first.startswith(
        "AssertionError('nothing is due any more, and these still wait:\\n  <init>: Runner.init:"
    ), first
    assert "\\n  __main__.stubborn: stubborn:7 > sleep_forever" in first
    assert second == "ZeroDivisionError('division by zero')"


# --- what a handler raises, and what is left open ---


def test_what_a_handler_raises_fails_the_run_unless_it_may() -> None:
    async def fragile(spark: Any) -> None:
        raise ZeroDivisionError(spark.query["name"])

    async def good() -> str:
        async with serve(fragile, "server", 80):
            for name in ("ann", "bob"):
                async with connect(f"http://server?name={name}"):
                    await trio.sleep(1)
        return "done"

    async def bad() -> None:
        await good()
        raise AssertionError("of main")

    with pytest.raises(ZeroDivisionError, match="ann"):
        run_trio(good)
    assert run_trio(good, handlers_may_raise=True) == "done"
    with pytest.raises(AssertionError, match="of main"):
        run_trio(bad)


def test_what_is_left_open_is_told() -> None:
    async def main() -> None:
        [listener] = await trio.open_tcp_listeners(80, host="server")
        kept.extend([listener, await trio.open_tcp_stream("server", 80), await listener.accept()])

    kept: list[Any] = []
    with pytest.warns(
        ResourceWarning, match=r"left open: <listener at server>, <Socket of server .*<Socket of client1"
    ):
        run_trio(main)


def test_who_fails_is_not_told_that_too(recwarn: pytest.WarningsRecorder) -> None:
    async def main() -> None:
        await trio.open_tcp_listeners(80, host="server")
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        run_trio(main)
    assert list(recwarn) == []
