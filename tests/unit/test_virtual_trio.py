"""trio in virtual time: its clock, who comes first when all wait, what is refused, and whose the order of tasks is."""

from __future__ import annotations

import math
import socket
import subprocess
import sys
import threading
import time
from collections.abc import AsyncGenerator
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing
from functools import partial
from typing import Any

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from primus_io.testing import VirtualNetwork, run_trio
from primus_io.trio import connect, serve
from primus_proto import ConfigError, ConnectError, LocalProtocolError


async def stay(spark: Any) -> None:
    await spark.wait_ended()


async def nothing() -> None:
    """A main function that is over at once."""


# --- time ---


def test_time_goes_straight_to_what_is_due_and_to_nothing_before() -> None:
    async def main() -> list[Any]:
        said: list[Any] = []

        async def one(name: str, *pauses: float) -> None:
            for pause in pauses:
                await trio.sleep(pause)
                said.append((name, trio.current_time()))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(one, "a", 10, 10)
            nursery.start_soon(one, "b", 15, 1e5)
            nursery.start_soon(one, "c", 0, 0.1)
        return said

    started = time.process_time()
    network = VirtualNetwork()
    said = run_trio(main, network)
    assert said == [("c", 0.0), ("c", 0.1), ("a", 10.0), ("b", 15.0), ("a", 20.0), ("b", 100_015.0)]
    assert network.now == 100_015.0
    assert time.process_time() - started < 5


@pytest.mark.parametrize("now", [0.0, 0.1, 12345.678, 1e9, 1e12])
def test_a_deadline_is_met_at_its_time_however_late_it_is(now: float) -> None:
    """Also where a second is hardly more than what the clock can tell apart."""

    async def main() -> None:
        for delay in (0.3, 1.0, 1 / 3):
            due = trio.current_time() + delay
            await trio.sleep_until(due)
            assert trio.current_time() == due

    network = VirtualNetwork()
    network.run(now)
    run_trio(main, network)
    assert network.now == pytest.approx(now + 1.3 + 1 / 3)


def test_network_and_trio_share_one_time() -> None:
    async def main() -> None:
        network.call_at(3.0, lambda: said.append((network.now, trio.current_time())))
        await trio.sleep(5)

    said: list[Any] = []
    network = VirtualNetwork()
    network.run(1)
    run_trio(main, network)
    assert said == [(3.0, 3.0)]
    network.run(1)
    run_trio(main, network)
    assert (network.now, said[1:]) == (12.0, [(7.0, 7.0)])


def test_timeouts_are_in_virtual_time() -> None:
    async def main() -> float:
        with pytest.raises(trio.TooSlowError):
            with trio.fail_after(3600):
                await trio.sleep_forever()
        with trio.move_on_after(86400) as scope:
            await trio.sleep_forever()
        assert scope.cancelled_caught
        return trio.current_time()

    assert run_trio(main) == 3600 + 86400


def test_who_waits_until_all_others_do_goes_on_before_time_does() -> None:
    """Whatever trio's order of tasks is."""

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.sleep, 1)
            for _ in range(20):
                await wait_all_tasks_blocked()
                assert trio.current_time() == 0
            nursery.cancel_scope.cancel()

    for seed in range(5):
        run_trio(main, VirtualNetwork(seed=seed))


def test_memory_channels_and_events_take_no_time() -> None:
    async def main() -> None:
        send, receive = trio.open_memory_channel[int](0)

        async def produce() -> None:
            async with send:
                for number in range(100):
                    await send.send(number)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(produce)
            assert [number async for number in receive] == list(range(100))
        assert trio.current_time() == 0

    run_trio(main)


def test_what_runs_in_a_thread_takes_no_virtual_time() -> None:
    async def main() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(tick)
            gate = threading.Event()
            nursery.start_soon(wait_in_thread, gate)
            assert await trio.to_thread.run_sync(threading.get_ident) != threading.get_ident()
            assert trio.current_time() == 0
            gate.set()
            await trio.sleep(20)
            nursery.cancel_scope.cancel()

    async def wait_in_thread(gate: threading.Event) -> None:
        await trio.to_thread.run_sync(gate.wait)

    async def tick() -> None:
        while True:
            await trio.sleep(10)
            said.append(trio.current_time())

    said: list[float] = []
    run_trio(main)
    assert said[:1] == [10]


@pytest.mark.parametrize("limiter", [None, trio.CapacityLimiter(1)])
def test_whoever_limits_the_threads(limiter: trio.CapacityLimiter | None) -> None:
    async def main() -> None:
        with trio.move_on_after(100) as scope:
            await trio.to_thread.run_sync(time.sleep, 0.05, limiter=limiter)
        assert not scope.cancelled_caught
        assert trio.current_time() == 0

    run_trio(main)


def test_a_thread_that_waits_for_trio_has_time_pass() -> None:
    def work() -> float:
        trio.from_thread.run(trio.sleep, 3600)
        time.sleep(0.05)
        trio.from_thread.run(trio.to_thread.run_sync, time.sleep, 0.05)
        return trio.from_thread.run_sync(trio.current_time)

    async def numbers() -> AsyncGenerator[float, None]:
        yield await trio.to_thread.run_sync(work)

    async def main() -> None:
        with trio.move_on_after(5000):
            async with aclosing(numbers()) as several:
                assert [number async for number in several] == [3600]

    run_trio(main)


def test_a_thread_that_was_given_up_has_time_pass() -> None:
    async def main() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(partial(trio.to_thread.run_sync, gate.wait, abandon_on_cancel=True))
            await trio.testing.wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
        await trio.sleep(3600)

    gate = threading.Event()
    run_trio(main)
    gate.set()


def test_a_thread_may_take_long(monkeypatch: pytest.MonkeyPatch) -> None:
    """Longer than time may stand still otherwise: it is looked at some thousand times a second."""
    monkeypatch.setattr("primus_io._virtual.trio.PATIENCE", 100)

    async def main() -> None:
        await trio.to_thread.run_sync(time.sleep, 0.3)

    run_trio(main)


def test_who_keeps_a_token_of_trios_keeps_no_time() -> None:
    async def main() -> None:
        async with trio.to_thread.current_default_thread_limiter():
            await trio.sleep(50)

    run_trio(main)


# --- what is refused ---


def test_main_is_a_function() -> None:
    wrong: Any = nothing()
    with pytest.raises(TypeError, match=r"give it the async function, run_trio\(main\)"):
        run_trio(wrong)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (None, "needs an async function without parameters, not None"),
        (list, r"needs an async function, and <class 'list'> is none: it returned \[\]"),
    ],
)
def test_and_an_async_one(wrong: Any, words: str) -> None:
    with pytest.raises(TypeError, match=words):
        run_trio(wrong)


@pytest.mark.parametrize("limit", [0, -1, math.nan, None, "1"])
def test_a_limit_that_is_none_leaves_the_network_alone(limit: Any) -> None:
    network = VirtualNetwork()
    with pytest.raises(ConfigError, match="it takes seconds of virtual time, more than 0"):
        run_trio(nothing, network, limit=limit)
    run_trio(nothing, network, limit=math.inf)


def test_there_is_one_run_at_a_time_and_nobody_else_has_time_pass() -> None:
    async def main() -> None:
        with pytest.raises(RuntimeError, match="trio is running here already: await main"):
            run_trio(nothing)
        with pytest.raises(LocalProtocolError, match="an event loop runs this network: wait in there"):
            network.run(1)
        with pytest.raises(RuntimeError, match="another loop runs this network"):
            await trio.to_thread.run_sync(run_trio, nothing, network)
        await trio.sleep(1)

    network = VirtualNetwork()
    run_trio(main, network)
    run_trio(main, network)
    assert network.now == 2


def test_who_waits_for_the_system_is_told_that_time_does_not() -> None:
    async def reads() -> None:
        here, there = socket.socketpair()
        with here, there:
            here.setblocking(False)
            await trio.lowlevel.wait_readable(here)

    async def runs() -> None:
        await trio.run_process([sys.executable, "-c", "import time; time.sleep(60)"], stdout=subprocess.DEVNULL)

    words = "^somebody waits for the system, as for a socket or a process, and virtual time does not, and these still"
    for main in (reads, runs):
        with pytest.raises(AssertionError, match=words):
            run_trio(main)


def test_a_unix_socket_is_none_of_the_networks() -> None:
    async def main() -> None:
        with pytest.raises(ConnectError, match="a virtual network has no sockets but those of TCP"):
            async with connect("http://server", unix="/tmp/nowhere"):
                pass

    run_trio(main)


# --- trio's order of tasks ---


async def order() -> list[int]:
    """In which tasks of one batch have run."""
    said: list[int] = []

    async def one(number: int) -> None:
        await trio.sleep(1)
        said.append(number)

    async with trio.open_nursery() as nursery:
        for number in range(20):
            nursery.start_soon(one, number)
    return said


def test_the_order_of_tasks_is_the_seeds() -> None:
    def once(seed: int) -> list[int]:
        return run_trio(order, VirtualNetwork(seed=seed))

    assert once(1) == once(1) != once(2)
    assert sorted(once(1)) == list(range(20))


def test_trio_is_afterwards_as_it_was() -> None:
    scheduler: Any = sys.modules["trio._core._run"]
    before = (scheduler._r, scheduler._ALLOW_DETERMINISTIC_SCHEDULING)
    run_trio(order)
    assert (scheduler._r, scheduler._ALLOW_DETERMINISTIC_SCHEDULING) == before


def test_runs_that_overlap_in_threads_have_each_their_own_order() -> None:
    """Whoever goes first, and whoever is there without virtual time."""

    def one(seed: int, here: threading.Event, there: threading.Event) -> list[int]:
        async def main() -> list[int]:
            here.set()
            assert there.wait(60)
            return await order()

        return run_trio(main, VirtualNetwork(seed=seed))

    async def for_real() -> None:
        async with trio.open_nursery() as nursery:
            for _ in range(20):
                nursery.start_soon(trio.lowlevel.checkpoint)

    scheduler: Any = sys.modules["trio._core._run"]
    before = (scheduler._r, scheduler._ALLOW_DETERMINISTIC_SCHEDULING)
    alone = [run_trio(order, VirtualNetwork(seed=seed)) for seed in (1, 2)]
    with ThreadPoolExecutor(3) as pool:
        first, second, last = (threading.Event() for _ in range(3))
        runs = [pool.submit(one, 1, first, second), pool.submit(one, 2, second, last)]
        assert runs[0].result(60) == alone[0]  # gone, and the other one has not begun with its tasks
        pool.submit(trio.run, for_real).result(60)
        last.set()
        assert runs[1].result(60) == alone[1]
    assert (scheduler._r, scheduler._ALLOW_DETERMINISTIC_SCHEDULING) == before


def test_what_a_handler_raises_is_told_to_its_own_run() -> None:
    """Not to one in another thread."""

    async def fragile(spark: Any) -> None:
        raise ZeroDivisionError

    async def bad() -> None:
        async with serve(fragile, "server", 80), connect("http://server") as primus:
            await primus.wait_ended()

    async def good() -> None:
        with pytest.raises(ZeroDivisionError):
            await trio.to_thread.run_sync(run_trio, bad)

    run_trio(good)


def test_where_trio_cannot_be_told_the_order_that_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("primus_io._virtual.order.RANDOM", "of another name")
    with pytest.warns(RuntimeWarning, match="so this run may not repeat with its seed"):
        assert sorted(run_trio(order)) == list(range(20))


def test_importing_the_kit_imports_no_trio() -> None:
    program = "import sys, primus_io.testing; sys.exit('trio' in sys.modules)"
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)


def test_where_there_is_no_trio_it_says_how_to_get_it() -> None:
    program = "import sys; sys.modules['trio'] = None; from primus_io.testing import run_trio; run_trio(None)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert "ImportError: primus_io.trio needs trio: pip install 'primus-proto[trio]'" in done.stderr
