"""Blocks that are entered in one task and left in another, as fixtures, notebooks and supervisors do."""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable
from typing import Any

from tests.conformance.hosts import Host, needing, scenario
from tests.conformance.users import echo, take, why

pytestmark = needing("other tasks")


async def in_a_task(host: Host, function: Callable[[], Awaitable[Any]]) -> Any:
    """Call an async function in a task of its own."""

    async def call() -> Any:
        return await function()

    task = host.start(call())
    await task.join()
    return task.result()


@scenario()
async def test_each_step_in_a_task_of_its_own(host: Host) -> None:
    """As in a notebook, where each cell is a task."""
    stack = contextlib.AsyncExitStack()
    server = await in_a_task(host, lambda: stack.enter_async_context(host.serve(echo)))
    primus = await in_a_task(host, lambda: stack.enter_async_context(host.connect(server.url)))
    for turn in range(3):
        for number in range(3):
            primus.write((turn, number))
        assert await in_a_task(host, lambda: take(primus, 2)) == [[turn, 0], [turn, 1]]  # and breaks off
        assert await in_a_task(host, primus.receive) == [turn, 2]
    await in_a_task(host, server.close)
    await in_a_task(host, primus.wait_ended)
    assert why(primus) == "server"
    await in_a_task(host, stack.aclose)
    assert host.leftovers() == []


@scenario()
async def test_a_fixture_with_a_task_for_its_setup_and_one_for_its_teardown(host: Host) -> None:
    """Each half ends there, also where the body of the test has failed."""

    async def fixture() -> Any:
        async with host.serve(echo) as server, host.connect(server.url) as primus:
            yield server, primus

    for fails in (False, True):
        generator = fixture()
        server, primus = await in_a_task(host, lambda: anext(generator))  # noqa: B023
        primus.write(fails)
        assert await take(primus, 1) == [fails]
        error = ZeroDivisionError("in the test")

        async def tear_down() -> None:
            with contextlib.suppress(StopAsyncIteration, ZeroDivisionError):
                await (generator.athrow(error) if fails else anext(generator))  # noqa: B023

        await in_a_task(host, tear_down)
        assert (primus.state, list(server.sparks)) == ("closed", [])
    assert host.leftovers() == []


@scenario(needs=["cancellation"])
async def test_the_task_that_entered_may_be_gone_or_cancelled(host: Host) -> None:
    stack, entered = contextlib.AsyncExitStack(), list[Any]()

    async def supervised() -> None:
        server = await stack.enter_async_context(host.serve(echo))
        entered.append(await stack.enter_async_context(host.connect(server.url)))
        await host.pause(60)

    await host.cancelled(supervised(), lambda: entered)
    [primus] = entered
    primus.write(1)
    assert await take(primus, 1) == [1]
    leaving = [host.start(stack.aclose()), host.start(stack.aclose())]
    for task in leaving:
        await task.join()
        task.result()
    assert why(primus) == "local"
    assert host.leftovers() == []
