"""Functions of users in threads: which are refused, when each is called, and those that do not return."""

from __future__ import annotations

import contextlib
import threading
import time
from typing import Any

import pytest

from primus_io._loop_thread import loop_thread
from primus_io.threads import Spark, connect, serve
from primus_proto import ConfigError, ConnectError, LocalProtocolError
from primus_proto.events import SparkConnected
from tests.conformance.blocking import CLOSE, DEADLINE, LIMITS, both, echo, nothing_left, until
from tests.conformance.hosts import SOON

__all__ = ["nothing_left"]


async def wrong(_: object) -> None:
    """What this binding cannot call."""


class Wrong:
    async def __call__(self, _: object) -> None: ...


@pytest.mark.parametrize("function", [wrong, Wrong()], ids=["function", "object"])
def test_an_async_function_is_refused_not_forgotten(function: Any) -> None:
    """Above all as authorization: a coroutine is no False."""
    with pytest.raises(ConfigError, match="the handler must be a plain function, not the async function"):
        serve(function)
    with pytest.raises(ConfigError, match="authorize= must be a plain function"):
        serve(None, authorize=function)
    with both() as (server, primus):
        for emitter in (server, primus):
            with pytest.raises(ConfigError, match="a listener must be a plain function"):
                emitter.on("close", function)


def test_a_function_that_only_returns_a_coroutine_is_a_fault(caplog: pytest.LogCaptureFixture) -> None:
    def function(_: object) -> object:
        return wrong(_)

    with serve(function) as server, connect(server.url, strategy=False) as primus:
        primus.wait_ended(DEADLINE)
    assert "returned a coroutine: primus_io.threads takes only plain functions" in caplog.text
    with serve(echo, authorize=function) as server:
        with pytest.raises(ConnectError) as caught, connect(server.url, strategy=False):
            pass
        assert caught.value.status == 500


def test_what_is_the_users_never_runs_in_the_thread_that_does_the_io() -> None:
    names: set[str] = set()
    heard = threading.Event()

    def note(*_: object) -> None:
        names.add(threading.current_thread().name)

    def handler(spark: Spark) -> None:
        note()
        echo(spark)

    with serve(handler, authorize=note) as server:
        server.on("connection", note)
        server.on("close", note)
        with connect(server.url, manual=True) as primus:
            primus.on("open", note)
            primus.on("data", note)
            primus.on("data", lambda value: heard.set())
            primus.open()
            primus.write(1)
            assert heard.wait(DEADLINE)
    assert names == {"primus-worker"}


def test_a_handler_that_blocks_keeps_nobody_else_waiting() -> None:
    gate, count = threading.Event(), 40

    def handler(spark: Spark) -> None:
        if not gate.wait(DEADLINE) or not spark.query.get("patient"):
            return
        echo(spark)

    with serve(handler) as server, contextlib.ExitStack() as stack:
        for _ in range(count):
            stack.enter_context(connect(server.url, wait=False, strategy=False))
        until(lambda: len(server.sparks) == count)
        server.on("connection", lambda spark: spark.write("hello"))
        with connect(server.url) as primus:
            assert primus.receive(DEADLINE) == "hello", "while forty handlers block"
        gate.set()


def test_in_the_loops_own_thread_one_may_write_but_not_wait() -> None:
    """A logging handler runs there, for one."""
    with both(None) as (server, primus):

        def on_loop() -> None:
            server.write("hello")
            with pytest.raises(LocalProtocolError, match="would block the thread that does the IO: make it in another"):
                server.serve_forever(timeout=DEADLINE)

        loop_thread().do(on_loop)
        assert primus.receive(DEADLINE) == "hello"
        with pytest.raises(ConfigError, match="timeout must be a number of seconds or None; got 'soon'"):
            primus.receive("soon")  # type: ignore[arg-type]


# --- what cannot be stopped ---


def test_a_handler_that_does_not_return_is_given_up(caplog: pytest.LogCaptureFixture) -> None:
    """After `Limits.close` and a second, once; whatever it still does with its spark comes back at once."""
    gate, said = threading.Event(), list[Any]()

    def stubborn(spark: Spark) -> None:
        assert gate.wait(DEADLINE)
        said.extend([spark.write(1), spark.send(1), list(spark), spark.state])
        spark.wait_ended()
        said.append("done")

    try:
        with serve(stubborn, limits=LIMITS) as server, connect(server.url, ping=False):
            until(lambda: server.sparks)
            started = time.monotonic()
            server.close()
            assert CLOSE + 1 <= time.monotonic() - started < CLOSE + 1 + SOON
            started = time.monotonic()
            server.close()  # again: that waits for it no more
        assert time.monotonic() - started < CLOSE + 1
    finally:
        gate.set()
    until(lambda: said and said[-1] == "done")
    assert said == [False, False, [], "closed", "done"]
    [warning] = [record.getMessage() for record in caplog.records]
    name = "test_a_handler_that_does_not_return_is_given_up.<locals>.stubborn"
    assert warning == f"no longer waiting for {name}, which has not returned; its thread keeps running"


def test_listeners_of_a_client_are_waited_for_and_given_up_with_all_behind_them() -> None:
    gate, said = threading.Event(), list[str]()

    with both() as (_, primus):
        primus.on("close", lambda: time.sleep(0.1))
        primus.on("close", lambda: said.append("close"))
        primus.on("end", lambda: said.append("end"))
    assert said == ["close", "end"]

    said.clear()
    try:
        with serve(echo) as server, connect(server.url, limits=LIMITS) as primus:
            primus.on("close", lambda: said.append(f"close {gate.wait(DEADLINE)}"))
            primus.on("end", lambda: said.append("end"))
    finally:
        gate.set()
    until(lambda: said)
    assert said == ["close True"], "the end was not to be heard any more"


@pytest.mark.parametrize("event", ["connection", SparkConnected])
def test_a_client_that_was_quicker_than_whoever_listens_is_told_of_all_the_same(event: Any) -> None:
    """Once, with what it has said meanwhile; not one that has left, nor one that was told of already."""
    told: list[str] = []
    late: list[str] = []
    said: list[Any] = []

    def connected(what: Any) -> None:
        spark = what if isinstance(what, Spark) else what.spark
        told.append(spark.id)
        spark.on("data", said.append)

    with serve(None) as server:
        with connect(server.url):
            until(lambda: server.sparks)
        until(lambda: not server.sparks)
        with connect(server.url) as primus:
            primus.write("early")
            until(lambda: server.sparks)
            server.on(event, connected)
            until(lambda: said == ["early"])
            with connect(server.url) as other:
                ids = [primus.id(DEADLINE), other.id(DEADLINE)]
                until(lambda: len(told) == 2)
                server.on(event, lambda what: late.append("too late"))
                other.write("now")
                until(lambda: said == ["early", "now"])
                assert (told, late) == (ids, [])


def test_a_slow_reader_gets_on_while_more_keeps_arriving() -> None:
    got: list[int] = []
    never = threading.Event()

    def handler(spark: Spark) -> None:
        for value in spark:
            never.wait(0.0005)
            got.append(value)

    with serve(handler) as server, connect(server.url) as primus:
        end = time.monotonic() + DEADLINE
        while len(got) < 500 and time.monotonic() < end:
            primus.send(len(got))
        assert len(got) >= 500
