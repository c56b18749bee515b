"""The property of loss (protocol 4.3): all that a `write` took was given to the driver or is reported, in order, once.

The sessions here are short, their readers slow and their ends sudden: about half of the examples lose something.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from hypothesis import event as noted
from hypothesis import given
from hypothesis import strategies as st

from primus_proto import Limits
from primus_proto import events as ev
from primus_proto.testing import VirtualClient, VirtualNetwork, VirtualServer
from tests.scenarios.worlds import Carried, Direction, channel_of, number, told

HOURS = 3 * 3600.0
ENDS = ["drop", "half-open client", "half-open server", "freeze", "kill", "client ends", "spark ends", "server closes"]
# Who writes how much, and how long it is until the next; without time, not even a pump.
act = st.tuples(st.booleans(), st.sampled_from([3000, 50, 0]), st.sampled_from([None, 0.0, 0.015, 1.0]))
acts = st.lists(act, min_size=1, max_size=12)


class Books:
    """A session, and what becomes of all that either end writes."""

    def __init__(self, **network: Any) -> None:
        self.count = 0
        self.network = VirtualNetwork(latency=0.01, **network)
        self.server = self.network.serve(limits=Limits(backlog=8000, close=3.0), on_event=self.server_told)
        self.by_server = Carried(self.server)
        options: dict[str, Any] = {"dialect": "happn", "ping": 4.0, "pong": 2.0, "strategy": False}
        limits = Limits(queue=8000, close=3.0)
        self.client = self.network.connect("http://server", on_event=self.told, limits=limits, manual=True, **options)
        self.by_client = Carried(self.client)
        self.client.client.open()
        self.network.run_until(lambda: self.client.seen(ev.Opened) == 1)
        (self.spark,) = self.server.server
        pipe = self.client.client._pipe
        assert pipe is not None
        self.up = Direction([], self.by_client, channel_of(pipe))
        self.down = Direction([], self.by_server, channel_of(self.spark.pipe))

    def told(self, node: VirtualClient, event: ev.Event) -> None:
        match event:
            case ev.Closed(reason):
                self.up.over = reason.kind
            case ev.MessagesDropped(payloads):
                self.up.lose(payloads)

    def server_told(self, node: VirtualServer, event: ev.Event) -> None:
        match event:
            case ev.SparkDisconnected(_, reason):
                self.down.over = reason.kind
            case ev.SparkMessagesDropped(_, payloads):
                self.down.lose(payloads)

    def act(self, acts: Iterable[tuple[bool, int, float | None]]) -> None:
        for by_client, size, wait in acts:
            self.count += 1
            text = f"{self.count}:{'x' * size}"
            if self.client.write(text) if by_client else self.spark.write(text):
                (self.up if by_client else self.down).written.append(self.count)
            if wait is not None:
                self.network.run(wait)

    def end(self, how: str) -> None:
        network = self.network
        match how:
            case "drop":
                network.drop(self.client)
            case "half-open client":
                network.half_open(self.client)
            case "half-open server":
                network.half_open(self.server)
            case "freeze":
                network.freeze(self.client)
            case "kill":
                network.kill(self.server)
            case "client ends":
                self.client.end()
            case "spark ends":
                self.spark.end(reconnect=True)
            case "server closes":
                self.server.server.close()


@given(
    st.lists(act, min_size=6, max_size=12),
    acts,
    st.sampled_from(ENDS),
    st.sampled_from([100, 2000]),
    st.booleans(),
    st.booleans(),
    st.none() | st.integers(0, 8000),
)
def test_all_that_was_written_was_carried_or_is_reported(
    before: Any, after: Any, how: str, window: int, client_reads: bool, spark_reads: bool, breaks: int | None
) -> None:
    """Nothing is both, and each end tells of what it lost before its own end."""
    books = Books(window=window)
    network = books.network
    with told(network):
        if not client_reads:
            books.client.client.pause()
        if not spark_reads:
            books.spark.pause()
        network.break_after(books.client, sent=breaks)
        books.act(before)
        books.end(how)
        books.act(after)
        network.run(1.0)
        books.client.client.resume()
        books.spark.resume()
        network.run(HOURS)
        for way, node, arrived in (
            (books.up, books.client, books.server.all(ev.SparkData)),
            (books.down, books.server, books.client.all(ev.DataReceived)),
        ):
            assert way.over, "three hours are enough to find out"
            way.check()
            read = [number(event.data) for event in arrived]
            assert read == way.carried[: len(read)], "in order, once, without a gap"
            assert node.names[-1] in ("end", "flatline", "close")
            noted("loses something" if way.lost else "loses nothing")
        ended = books.down if how in ("spark ends", "server closes") else books.up if how == "client ends" else None
        if ended is not None and ended.over == "local" and client_reads and spark_reads and breaks is None:
            assert ended.carried == ended.written, "an end is the end of what was written before it"
