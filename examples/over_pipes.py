"""Primus over the stdin and stdout of a child process, as language servers use them: the child is the server.

    python examples/over_pipes.py

The law kept here: one thread calls the core. Pipes block, so each has a thread that only reads it or writes it. These
threads put what they have into the inbox of the core's thread, which waits for its inbox and for the clock.
"""

from __future__ import annotations

import contextlib
import os
import queue
import random
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from functools import partial
from time import monotonic, time
from typing import IO, Any

from primus_proto import ByteClient, ByteServer, ClientConfig
from primus_proto import commands as cmd
from primus_proto import events as ev

LONGEST_WAIT = 3600.0  # waking early is harmless


class Driver:
    """Runs one endpoint. For a client, `spawn` starts the process at the other end of a channel."""

    def __init__(
        self,
        endpoint: ByteServer | ByteClient,
        on_event: Callable[[Any], object],
        spawn: Callable[[], subprocess.Popen[bytes]] | None = None,
    ) -> None:
        self.endpoint, self.on_event, self.spawn = endpoint, on_event, spawn
        self.inbox = queue.SimpleQueue[Callable[[], object]]()
        self.channels: dict[int, Channel] = {}
        self.threads: list[threading.Thread] = []

    def run(self, done: Callable[[], object]) -> None:
        """Run until `done()`."""
        while True:
            self.turn()
            if done():
                return
            due = self.endpoint.next_timeout()
            wait = LONGEST_WAIT if due is None else min(max(0.0, due - monotonic()), LONGEST_WAIT)
            with contextlib.suppress(queue.Empty):
                self.inbox.get(timeout=wait)()

    def turn(self) -> None:
        """Handle timeouts, then pump: give events to the application and commands to the pipes until there are none."""
        self.endpoint.handle_timeout(now=monotonic())
        for item in self.endpoint.poll(now=monotonic()):
            if isinstance(item, ev.Event):
                self.on_event(item)
            else:
                self.obey(item)

    def obey(self, command: cmd.Command) -> None:
        match command:
            case cmd.OpenChannel(channel=number):
                self.open(number)
            case cmd.Write(channels=numbers, data=data):
                for number in numbers:
                    self.channels[number].write(data)
            case cmd.EndWriting(channel=number):
                self.channels[number].outbox.put(None)
            case cmd.PauseReading(channel=number) | cmd.ResumeReading(channel=number):
                self.channels[number].read_on(isinstance(command, cmd.ResumeReading))
            case cmd.CloseChannel(channel=number, abort=abort):
                if number in self.channels:  # not for one that failed to open
                    self.channels.pop(number).close(abort)

    def open(self, number: int) -> None:
        assert isinstance(self.endpoint, ByteClient)
        assert self.spawn is not None
        try:
            process = self.spawn()
        except OSError as error:
            self.endpoint.channel_closed(number, f"cannot start the server: {error}", now=monotonic())
            return
        assert process.stdout is not None
        assert process.stdin is not None
        self.channels[number] = Channel(self, number, process.stdout, process.stdin, process)
        self.endpoint.channel_opened(number, now=monotonic())

    def start(self, target: Callable[[], object]) -> None:
        self.threads = [thread for thread in self.threads if thread.is_alive()]
        self.threads.append(threading.Thread(target=target, daemon=True))
        self.threads[-1].start()

    def finish(self) -> None:
        """Wait, for a limited time, until everything written has left; call it after the last channel was closed."""
        deadline = monotonic() + 2 * self.endpoint.limits.close
        for thread in self.threads:
            thread.join(max(0.0, deadline - monotonic()))


class Channel:
    """Two unbuffered pipes: reads the peer's bytes from `source`, writes ours to `sink`."""

    def __init__(
        self,
        driver: Driver,
        number: int,
        source: IO[bytes],
        sink: IO[bytes],
        process: subprocess.Popen[bytes] | None = None,
    ) -> None:
        self.driver, self.endpoint, self.number = driver, driver.endpoint, number
        self.source, self.sink, self.process = source, sink, process
        self.may_read = threading.Semaphore(1)  # one read at a time, so that the inbox is bounded
        self.reading, self.owed, self.closed = True, False, False
        self.outbox = queue.SimpleQueue[bytes | None]()
        self.unsent = 0
        driver.start(self.reader)
        driver.start(self.writer)

    # --- in threads of their own ---

    def reader(self) -> None:
        data = b"?"
        with self.source:
            while data:
                if not self.closed:
                    self.may_read.acquire()
                data = self.source.read(65536)
                self.driver.inbox.put(partial(self.received, data))

    def writer(self) -> None:
        with self.sink:
            try:
                while (data := self.outbox.get()) is not None:
                    while data:
                        data = data[self.sink.write(data) :]
                    self.driver.inbox.put(self.written)
            except OSError as error:
                self.driver.inbox.put(partial(self.lost, str(error)))

    def reaper(self) -> None:
        """Kill the child if it has not exited after `Limits.close`. Once it is gone, no pipe blocks."""
        assert self.process is not None
        try:
            self.process.wait(self.endpoint.limits.close)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    # --- in the thread of the core ---

    def received(self, data: bytes) -> None:
        if data:
            self.endpoint.receive_data(self.number, data, now=monotonic())
            self.owed = True
            self.read_on(self.reading)
        else:
            self.lost(None)

    def lost(self, error: str | None) -> None:
        self.endpoint.channel_closed(self.number, error, now=monotonic())

    def read_on(self, reading: bool) -> None:
        self.reading = reading
        if reading and self.owed:
            self.owed = False
            self.may_read.release()

    def write(self, data: bytes) -> None:
        self.unsent += 1
        self.outbox.put(data)
        self.endpoint.channel_blocked(self.number)  # from now on output waits in the core, which counts it

    def written(self) -> None:
        self.unsent -= 1
        if not self.unsent:
            self.endpoint.channel_writable(self.number, now=monotonic())

    def close(self, abort: bool) -> None:
        self.closed = True
        self.may_read.release()  # read on to the end of the stream, which comes when the other end closes
        self.outbox.put(None)
        if self.process is not None:
            if abort:
                self.process.kill()
            self.driver.start(self.reaper)


# --- a server that answers in capitals, and its parent ---


def fresh() -> dict[str, Any]:
    """What an endpoint needs besides its options: unpredictable randomness, and Unix time minus our clock."""
    return {"rng": random.SystemRandom(), "wall_offset": time() - monotonic()}


def serve() -> None:
    """Run the child. Its stdout is for Primus alone, so other output goes to stderr."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent handles Ctrl-C
    source, sink = os.fdopen(os.dup(0), "rb", buffering=0), os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)

    def on_event(event: ev.Event) -> None:
        match event:
            case ev.SparkData(spark=spark, data="bye"):
                spark.end("BYE!")
            case ev.SparkData(spark=spark, data=str(text)):
                spark.write({"pid": os.getpid(), "text": text.upper()})
            case ev.SparkData(spark=spark):
                spark.write({"error": "say a string"})

    driver = Driver(endpoint := ByteServer(**fresh()), on_event)
    number = endpoint.channel_accepted(now=monotonic())
    driver.channels[number] = Channel(driver, number, source, sink)
    driver.run(lambda: not driver.channels)
    driver.finish()


def spawn() -> subprocess.Popen[bytes]:
    command = [sys.executable, *(f"-W{option}" for option in sys.warnoptions), __file__, "serve"]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0)


def main() -> None:
    """Talk to a child, kill it, talk to the child of the reconnected client, and end."""
    seen: list[Any] = []

    def on_event(event: ev.Event) -> None:
        seen.append(event)
        match event:
            case ev.DataReceived(data=data):
                print("<", data)
            case ev.Opened() | ev.Closed() | ev.ReconnectScheduled() | ev.Ended():
                print("*", event.name)

    # Named, because detecting it takes a second connection, which would be another child here.
    config = ClientConfig(url="http://child", dialect="happn", min=0.1)
    driver = Driver(endpoint := ByteClient(config, **fresh()), on_event, spawn)

    def answers() -> int:
        return sum(isinstance(event, ev.DataReceived) for event in seen)

    endpoint.client.write("is anybody there?")
    driver.run(lambda: answers() == 1)
    for channel in driver.channels.values():
        assert channel.process is not None
        channel.process.kill()
    driver.run(lambda: any(isinstance(event, ev.Closed) for event in seen))
    endpoint.client.write("still there?")
    driver.run(lambda: answers() == 2)
    endpoint.client.write("bye")
    driver.run(lambda: isinstance(seen[-1], ev.Ended) and not driver.channels)
    driver.finish()


if __name__ == "__main__":
    if sys.argv[1:] == ["serve"]:
        serve()
    else:
        main()
