"""What is special about threads: many of them at one client, and timeouts."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from typing import Any

import pytest

from primus_io._loop_thread import loop_thread
from primus_io.threads import Spark, connect, serve
from primus_proto import Limits
from tests.conformance.blocking import DEADLINE, LIMITS, both, echo, in_threads, nothing_left, stay, until
from tests.conformance.conftest import Certificates
from tests.conformance.hosts import SOON
from tests.conformance.peers import RawPeer

__all__ = ["nothing_left"]


# --- one client, many threads ---


@pytest.mark.parametrize("secure", [False, True], ids=["plain", "tls"])
def test_writes_of_many_threads_all_arrive_each_threads_in_order(tls: Certificates, secure: bool) -> None:
    writers, each = 8, 500
    got: list[list[int]] = []

    def collect(spark: Spark) -> None:
        got.extend(spark)

    serving = serve(collect, "localhost", ssl=tls.server if secure else None)
    with serving as server, connect(server.url, ssl=tls.client if secure else None) as primus:

        def write(writer: int) -> None:
            for number in range(each):
                assert primus.send([writer, number]) if number % 5 else primus.write([writer, number])

        in_threads(writers, write)
        until(lambda: len(got) == writers * each)
    for writer in range(writers):
        assert [number for one, number in got if one == writer] == list(range(each))


def test_threads_that_take_from_one_client_share_what_comes() -> None:
    got: list[int] = []

    def pour(spark: Spark) -> None:
        for number in range(2000):
            spark.send(number)

    with both(pour) as (_, primus):
        in_threads(4, lambda _: got.extend(primus))
    assert sorted(got) == list(range(2000))


def test_everything_at_once() -> None:
    """Broadcasts, echoes, ids, listeners that come and go, sessions that do, from all sides."""
    with serve(echo) as server, connect(server.url) as shared:
        heard: list[Any] = []

        def work(number: int) -> None:
            for turn in range(15):
                with connect(server.url) as primus:
                    listener = shared.on("data", heard.append)
                    assert primus.id(DEADLINE) in server.sparks
                    server.write(["all", number, turn])
                    primus.write("mine")
                    while primus.receive(DEADLINE) != "mine":
                        pass
                    assert all(spark.state for spark in server.sparks.values())
                    shared.off("data", listener)

        in_threads(6, work)
        until(lambda: len(server.sparks) == 1)


def test_broadcasts_that_outrun_the_loop_wait_for_it() -> None:
    """As `Spark.write` does: what is on its way to the loop is bounded."""
    backlog, gate, sent = 100_000, threading.Event(), list[int]()

    with serve(stay, limits=Limits(backlog=backlog)) as server, connect(server.url) as primus:
        until(lambda: server.sparks)

        def broadcast() -> None:
            for _ in range(50):
                sent.append(server.write("x" * 10_000))

        writing = threading.Thread(target=broadcast)
        loop_thread().post(gate.wait, DEADLINE)
        writing.start()
        until(lambda: len(sent) * 10_000 >= backlog // 4)
        time.sleep(0.1)
        assert len(sent) * 10_000 <= backlog, "it goes on without the loop"
        gate.set()
        writing.join()
        assert [len(primus.receive(DEADLINE)) for _ in range(50)] == [10_000] * 50


def test_two_hundred_clients_are_not_two_hundred_threads() -> None:
    before = threading.active_count()
    with serve(None) as server, contextlib.ExitStack() as stack:
        clients = [stack.enter_context(connect(server.url, ping=False)) for _ in range(200)]
        server.write("hello")
        assert {primus.receive(DEADLINE) for primus in clients} == {"hello"}
        until(lambda: threading.active_count() - before <= 16)


# --- timeouts ---


def test_whoever_waits_may_say_for_how_long() -> None:
    with serve(stay, limits=LIMITS) as server, connect(server.url, manual=True) as primus:
        for wait in (primus.receive, primus.wait_ended, primus.id, server.serve_forever):
            started = time.monotonic()
            with pytest.raises(TimeoutError, match=r"not within 0\.05 seconds"):
                wait(timeout=0.05)
            assert 0.05 <= time.monotonic() - started < SOON
            with pytest.raises(TimeoutError):
                wait(timeout=0)
        primus.open()
        assert primus.id(timeout=DEADLINE) in server.sparks


def test_entering_may_say_for_how_long() -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        entering = connect(f"http://127.0.0.1:{silent.getsockname()[1]}", wait=0.05)
        with pytest.raises(TimeoutError, match=r"not open within 0\.05 seconds"):
            entering.__enter__()


def test_a_send_that_took_too_long_was_written_all_the_same() -> None:
    with serve(stay, limits=Limits(backlog=100_000)) as server, RawPeer(server.port) as peer:
        peer.open()
        until(lambda: server.sparks)
        [spark] = server.sparks.values()
        while spark.buffered < 40_000:
            assert spark.send("x" * 10_000)
            loop_thread().do(lambda: None)  # what the socket takes does not count
        with pytest.raises(TimeoutError):
            spark.send("x" * 20_000, timeout=0.05)
        with pytest.raises(TimeoutError):
            spark.drain(timeout=0.05)
        assert spark.write("last")
        said = [peer.frame()]
        while said[-1] != (1, b'"last"'):
            said.append(peer.frame())
        assert len(said[-2][1]) == 20_002
        spark.drain(timeout=DEADLINE)
