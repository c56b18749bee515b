"""Ownership: user code runs in its own context, objects belong to their thread, exceptions reach the code at fault."""

from __future__ import annotations

import logging
from contextvars import ContextVar
from typing import Any

import pytest

from primus_proto import LocalProtocolError
from tests.conformance.hosts import Host, scenario

WHO: ContextVar[str] = ContextVar("who", default="nobody")


class Records(logging.Handler):
    """What the library logs meanwhile."""

    def __init__(self) -> None:
        super().__init__()
        self.levels: list[str] = []

    def __enter__(self) -> list[str]:
        logger = logging.getLogger("primus_io")
        self._level = logger.level
        logger.setLevel(logging.DEBUG)
        logger.addHandler(self)
        return self.levels

    def __exit__(self, *exc: object) -> None:
        logger = logging.getLogger("primus_io")
        logger.removeHandler(self)
        logger.setLevel(self._level)

    def emit(self, record: logging.LogRecord) -> None:
        self.levels.append(record.levelname)


@scenario(needs=["one thread"])
async def test_user_code_does_not_run_in_the_context_of_another_task(host: Host) -> None:
    """Neither after an async authorization, nor when a task that writes happens to do the work."""
    seen: dict[str, str] = {}

    async def authorize(request: Any) -> None:
        await host.pause(0.01)
        seen["authorize"] = WHO.get()

    async def handler(spark: Any) -> None:
        seen["handler"] = WHO.get()
        async for _ in spark:
            spark.write("answer")

    async with host.serve(handler, authorize=authorize) as server:
        server.on("connection", lambda spark: seen.update(connection=WHO.get()))
        stop: list[bool] = []

        async def broadcast() -> None:
            WHO.set("broadcast")
            while not stop:
                server.write("news" * 100_000)
                await host.pause(0.001)

        task = host.start(broadcast())
        async with host.connect(server.url) as primus:
            primus.on("data", lambda value: seen.update(data=WHO.get()))
            await host.until(lambda: len(seen) == 4)
            stop.append(True)
            await task.join()
    assert "broadcast" not in seen.values()


@scenario(needs=["one thread", "sockets"])
async def test_a_verb_in_the_wrong_thread_says_what_to_do(host: Host) -> None:
    async with host.serve(None) as server, host.connect(server.url) as primus:
        [spark] = server.sparks.values()
        writes = (lambda: server.write(1), lambda: spark.write(1), lambda: primus.write(1))
        listeners = (lambda: primus.on("data", print), lambda: spark.off("data", print))
        for verb in (*writes, *listeners, spark.end, primus.end):
            with pytest.raises(LocalProtocolError, match="call_soon_threadsafe"):
                await host.thread(verb)
        primus.write("here")
        assert await spark.receive() == "here"


@scenario()
async def test_the_sparks_may_leave_while_one_goes_through_them(host: Host) -> None:
    async with host.serve(None) as server, host.connect(server.url), host.connect(server.url) as second:
        await host.until(lambda: len(server.sparks) == 2)
        for view in (server.sparks.values, server.sparks.items, server.sparks.keys, lambda: iter(server.sparks)):
            count = 0
            for _ in view():
                second.end()
                await host.until(lambda: len(server.sparks) == 1)
                count += 1
            assert count in (1, 2)


@scenario()
async def test_a_goodbye_is_no_error(host: Host) -> None:
    """Neither when the client leaves, nor when the server closes."""

    async def handler(spark: Any) -> None:
        while True:
            await spark.send(await spark.receive())

    with Records() as levels:
        async with host.serve(handler) as server:
            async with host.connect(server.url) as primus:
                primus.write("hello")
                assert await primus.receive() == "hello"
            await host.until(lambda: not server.sparks)
            async with host.connect(server.url) as primus:
                await server.close()
                await primus.wait_ended()
    assert set(levels) <= {"DEBUG", "INFO"}


@scenario(needs=["accepting"])
async def test_a_client_that_loses_its_connection_says_so_once(host: Host) -> None:
    with Records() as levels:
        async with host.serve(None) as server, host.connect(server.url, min=0.01, retries=3) as primus:
            await host.until(lambda: server.sparks)
            [spark] = server.sparks.values()
            spark.end(reconnect=True)
            await host.until(lambda: len(server.sparks) == 1 and spark not in server.sparks.values())
            await host.until(lambda: primus.state == "open")
            assert [level for level in levels if level != "DEBUG"] == ["INFO", "INFO"], "lost, and back"
            await server.close(reconnect=True)
            await primus.wait_ended()
    assert [level for level in levels if level != "DEBUG"] == ["INFO", "INFO", "INFO", "WARNING"]
