"""The driver on blocking pipes: with its own child, with children that misbehave, with both ends in this process."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from time import monotonic
from typing import Any, TypeVar

import pytest

from over_pipes import Channel, Driver, fresh, spawn
from primus_proto import ByteClient, ByteServer, ClientConfig, Limits, ServerConfig
from primus_proto import events as ev
from tests.examples.programs import EXAMPLES, descriptors, program, python_path
from tests.interop.peers import WAIT

PIECE = "x" * 64 * 1024
Process = subprocess.Popen[bytes]


P = TypeVar("P", bound="Parent")


@pytest.fixture(autouse=True)
def find_the_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", python_path())


def fail() -> None:
    raise AssertionError("not in time")


class Parent:
    """A client whose server `start` starts; what it heard, and the processes there were."""

    def __init__(self, start: Callable[[], Process] = spawn, **options: Any) -> None:
        self.seen: list[Any] = []
        self.processes: list[Process] = []
        self.start = start
        config = ClientConfig(url="http://child", **{"dialect": "happn", "min": 0.01, **options})
        self.endpoint = ByteClient(config, **fresh())
        self.client = self.endpoint.client
        self.driver = self.make_driver()

    def make_driver(self) -> Driver:
        return Driver(self.endpoint, self.seen.append, self.spawn)

    def spawn(self) -> Process:
        self.processes.append(self.start())
        return self.processes[-1]

    def run(self, done: Callable[[], object]) -> None:
        self.driver.run(done)

    def until(self, kind: type[ev.Event], count: int = 1) -> Any:
        self.run(lambda: len(self.all(kind)) >= count)
        return self.all(kind)[count - 1]

    def all(self, kind: type[ev.Event]) -> list[Any]:
        return [event for event in self.seen if type(event) is kind]

    def values(self) -> list[Any]:
        return [event.data for event in self.all(ev.DataReceived)]

    def end(self) -> None:
        self.client.end()
        self.run(lambda: not self.driver.channels)
        self.driver.finish()
        assert not any(thread.is_alive() for thread in self.driver.threads)


@contextlib.contextmanager
def ended(parent: P) -> Iterator[P]:
    """Ended after the test, with a deadline: no process, thread or descriptor is left."""
    before = descriptors()
    timer = threading.Timer(3 * WAIT, lambda: parent.driver.inbox.put(fail))
    timer.start()
    try:
        yield parent
        parent.end()
    finally:
        timer.cancel()
        for process in parent.processes:
            if process.poll() is None:
                process.kill()
    assert descriptors() == before


def test_messages_both_ways_and_the_parents_end() -> None:
    with ended(Parent()) as parent:
        for number in range(100):
            parent.client.write(f"line {number}")
        parent.until(ev.DataReceived, 100)
        assert [value["text"] for value in parent.values()] == [f"LINE {number}" for number in range(100)]
        assert {value["pid"] for value in parent.values()} == {parent.processes[0].pid}
    assert [process.returncode for process in parent.processes] == [0]
    assert parent.seen[-1].reason.kind == "local"


def test_a_child_that_cannot_be_started_says_why() -> None:
    with ended(Parent(lambda: subprocess.Popen([str(EXAMPLES / "no such program")]), strategy=False)) as parent:
        error = parent.until(ev.Ended).reason.error
        assert "cannot start the server" in str(error)


def stubborn(code: str) -> Callable[[], Process]:
    """A child that serves nothing by itself."""
    command = [sys.executable, "-c", f"import sys, time; sys.path.insert(0, {str(EXAMPLES)!r}); {code}"]
    pipe = subprocess.PIPE
    return lambda: subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL, bufsize=0)


def test_a_child_that_does_not_answer_is_killed_at_once() -> None:
    started = monotonic()
    limits = Limits(close=3 * WAIT)
    with ended(Parent(stubborn("time.sleep(60)"), timeout=0.1, strategy=False, limits=limits)) as parent:
        assert parent.until(ev.Ended).reason.kind == "timeout"
    assert monotonic() - started < 2 * WAIT
    assert parent.processes[0].returncode == -9


def test_a_child_that_does_not_leave_is_killed_in_time() -> None:
    code = "import over_pipes; over_pipes.serve(); time.sleep(60)"
    with ended(Parent(stubborn(code), limits=Limits(close=0.3))) as parent:
        parent.until(ev.Opened)
        started = monotonic()
    assert 0.3 <= monotonic() - started < 3 * WAIT
    assert parent.processes[0].returncode == -9


def test_what_a_child_prints_does_not_come_between() -> None:
    code = "import over_pipes; over_pipes.os.getpid = lambda: print('noise', flush=True) or 7; over_pipes.serve()"
    with ended(Parent(stubborn(code))) as parent:
        parent.client.write("hello")
        assert parent.until(ev.DataReceived).data == {"pid": 7, "text": "HELLO"}
        assert not parent.all(ev.Closed)


# --- both ends here ---


class InProcess(Parent):
    """The server is a thread of this process, at the other ends of two pipes."""

    def __init__(self, **options: Any) -> None:
        self.heard: list[Any] = []
        self.servers: list[threading.Thread] = []
        super().__init__(**options)

    def make_driver(self) -> Driver:
        parent = self

        class Piped(Driver):
            def open(self, number: int) -> None:
                upward, downward = os.pipe(), os.pipe()
                self.channels[number] = Channel(self, number, *ends(upward[0], downward[1]))
                parent.servers.append(threading.Thread(target=parent.serve, args=ends(downward[0], upward[1])))
                parent.servers[-1].start()
                parent.endpoint.channel_opened(number, now=monotonic())

        return Piped(self.endpoint, self.seen.append)

    def serve(self, source: Any, sink: Any) -> None:
        def on_event(event: ev.Event) -> None:
            if isinstance(event, ev.SparkData):
                event.spark.write(event.data)
                if event.spark.needs_drain:
                    event.spark.pause()
            elif isinstance(event, ev.SparkDrained):
                event.spark.resume()
            self.heard.append(event)
            self.driver.inbox.put(lambda: None)  # so that who waits for it looks

        endpoint = ByteServer(ServerConfig(), **fresh())
        driver = Driver(endpoint, on_event)
        number = endpoint.channel_accepted(now=monotonic())
        driver.channels[number] = Channel(driver, number, source, sink)
        driver.run(lambda: not driver.channels)
        driver.finish()

    def end(self) -> None:
        super().end()
        for server in self.servers:
            server.join(WAIT)
            assert not server.is_alive()


def ends(source: int, sink: int) -> tuple[Any, Any]:
    return os.fdopen(source, "rb", buffering=0), os.fdopen(sink, "wb", buffering=0)


def test_megabytes_both_ways_at_once_do_not_lock_each_other_out() -> None:
    """Each end writes more than the pipes hold while the other one does so too."""
    with ended(InProcess()) as parent:
        for _ in range(100):
            assert parent.client.write(PIECE)
        parent.until(ev.DataReceived, 100)
        assert parent.values() == [PIECE] * 100


def test_what_a_slow_reader_has_not_read_stops_the_writer() -> None:
    with ended(InProcess()) as parent:
        parent.until(ev.Opened)
        parent.client.pause()
        for _ in range(200):
            assert parent.client.write(PIECE)
        spark = next(event.spark for event in parent.heard if isinstance(event, ev.SparkConnected))
        parent.run(lambda: spark.needs_drain)
        assert parent.values() == []
        assert sum(type(event) is ev.SparkData for event in parent.heard) < 100
        parent.client.resume()
        parent.until(ev.DataReceived, 200)


def test_a_peer_that_vanishes_while_it_is_not_read_from_is_noticed() -> None:
    """By what is written to it, since nobody reads."""
    with ended(Parent()) as parent:
        parent.until(ev.Opened)
        parent.client.pause()
        parent.client.write("the answer is the last thing that is read")
        [channel] = parent.driver.channels.values()
        parent.run(lambda: channel.owed)
        parent.processes[0].kill()
        parent.processes[0].wait()
        parent.client.write("anybody there?")
        assert parent.until(ev.Closed).reason.kind == "lost"


# --- the program ---


def test_the_program_runs_as_it_stands() -> None:
    async def main() -> None:
        async with asyncio.timeout(4 * WAIT), program("over_pipes.py") as parent:
            assert await parent.status() == 0
            said = [re.sub(r"\d+", "0", report["text"].strip()) for report in parent.reports]
            assert said == [
                *("* open", "< {'pid': 0, 'text': 'IS ANYBODY THERE?'}", "* close", "* reconnect scheduled"),
                *("* open", "< {'pid': 0, 'text': 'STILL THERE?'}", "< BYE!", "* close", "* end"),
            ]
            assert parent.complaints == []

    asyncio.run(main())
