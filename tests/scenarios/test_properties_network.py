"""Properties of whole sessions under any trouble: messages in order and once, and two ends that agree in the end."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import note
from hypothesis import strategies as st
from hypothesis.stateful import initialize, invariant, precondition, rule

from primus_proto import ClientState, Limits, ReadyState, Spark
from primus_proto import events as ev
from primus_proto.testing import VirtualClient, VirtualNetwork, VirtualServer
from primus_proto.transports.pipe import Pipe
from tests.scenarios.worlds import Carried, Direction, Machine, channel_of, number, numbers, run_machine
from tests.unit.sessions import heeded

PING, PONG = 4.0, 2.0
OPTIONS: dict[str, Any] = {"ping": PING, "pong": PONG, "ping_timeout": 9.0, "retries": 10**6, "max": 3.0}
SERVER_OPTIONS: dict[str, Any] = {"timeout": 7.0, "ping_interval": 6.0, "detect_after": 7.0}
DIALECTS = [
    *(("happn", "happn"), ("auto", "auto"), ("auto", "happn"), ("auto", "primus6"), ("auto", "primus")),
    *(("happn", "auto"), ("primus6", "auto"), ("primus", "auto"), ("primus6", "primus6"), ("primus", "primus")),
]
"""Dialects of client and server that can make a session."""
seconds = st.one_of(st.sampled_from([0.0, 0.01, 0.1, 1.0, 6.0, 20.0, 60.0]), st.floats(0.0, 30.0))
sizes = st.lists(st.sampled_from([0, 50, 3000]), min_size=1, max_size=4)


class Sessions(Machine):
    """One client, a server that may be killed and replaced, and a network that does its worst.

    The books: what the client wrote and was told to have been taken is either `pending`, or on one connection, and so
    is all that the sparks wrote. What arrived, what the drivers were given and what was reported as lost is judged
    against them by `books_balance`.
    """

    def __init__(self) -> None:
        super().__init__()
        self.count = 0
        self.pending: list[int] = []  # written while there was no connection
        self.channels: list[int] = []  # of the client's connections
        self.ups: list[Direction] = []  # each connection's way from the client
        self.downs: dict[Spark, Direction] = {}
        self.received: list[list[int]] = []  # by the client, on each connection
        self.heard: dict[Spark, list[int]] = {}
        self.servers: list[VirtualServer] = []
        self.carriers: dict[VirtualServer, Carried] = {}

    @initialize(
        seed=st.integers(0, 99),
        latency=st.sampled_from([0.0, 0.01, 0.4]),
        jitter=st.sampled_from([0.0, 0.3]),
        cut=st.sampled_from([None, 40]),
        window=st.sampled_from([None, 2000, 100]),
        queue=st.sampled_from([None, 3]),
        limits=st.sampled_from([Limits(), Limits(backlog=1000, stall=2.0)]),
        dialects=st.sampled_from(DIALECTS),
    )
    def begin(
        self,
        seed: int,
        latency: float,
        jitter: float,
        cut: int | None,
        window: int | None,
        queue: int | None,
        limits: Limits,
        dialects: tuple[str, str],
    ) -> None:
        self.network = VirtualNetwork(seed=seed, latency=latency, jitter=jitter, cut=cut, window=window)
        dialect, server_dialect = dialects
        self.options = heeded(server_dialect, **SERVER_OPTIONS, limits=limits)
        self.serve()
        options = heeded(dialect, **OPTIONS, manual=True, queue_size=queue)
        self.client = self.network.connect("http://server", on_event=self.told, **options)
        self.carried = Carried(self.client)
        opened = self.client.endpoint.opened

        def note_channel(pipe: Pipe, *, now: float) -> None:
            self.channels.append(channel_of(pipe))
            opened(pipe, now=now)

        self.client.endpoint.opened = note_channel  # type: ignore[method-assign]
        self.client.client.open()
        self.network.run(0.0)

    # --- the books ---

    def told(self, node: VirtualClient, event: ev.Event) -> None:
        if isinstance(event, ev.Logged):
            return  # what an end could not send is reported after it
        before = [earlier for _, earlier in node.events[:-1] if not isinstance(earlier, ev.Logged)]
        assert not before or not isinstance(before[-1], ev.Ended) or self.reopened, "after the end"
        self.reopened = False
        self.reached[type(event)] += 1
        match event:
            case ev.Opened():
                self.ups.append(Direction(self.pending, self.carried, self.channels[len(self.ups)]))
                self.received.append([])
                self.pending = []
            case ev.DataReceived(data):
                self.received[-1].append(number(data))
            case ev.Closed(reason) if self.ups and not self.ups[-1].over:
                self.ups[-1].over = reason.kind
            case ev.MessagesDropped(payloads, "the connection is gone"):
                self.ups[-1].lose(payloads)
            case ev.MessagesDropped(payloads, "the connection ended before they could be sent"):
                first = numbers(payloads)[0]  # the client may be open again
                next(up for up in self.ups if first in up.written).lose(payloads)
            case ev.MessagesDropped(payloads):
                dropped = numbers(payloads)
                assert dropped == self.pending[: len(dropped)], "the oldest go, and are told of once"
                self.pending = self.pending[len(dropped) :]

    reopened = False

    def server_told(self, node: VirtualServer, event: ev.Event) -> None:
        self.reached[type(event)] += 1
        match event:
            case ev.SparkConnected(spark):
                self.heard[spark] = []
                self.downs[spark] = Direction([], self.carriers[node], channel_of(spark.pipe))
            case ev.SparkData(spark, data):
                self.heard[spark].append(number(data))
            case ev.SparkDisconnected(spark, reason):
                self.downs[spark].over = reason.kind
            case ev.SparkMessagesDropped(spark, payloads):
                self.downs[spark].lose(payloads)

    def next(self, size: int) -> str:
        self.count += 1
        return f"{self.count}:{'x' * size}"

    # --- the application: of an end that is suspended it does nothing either ---

    def awake(self, node: VirtualClient | VirtualServer) -> bool:
        return not self.network.faults.is_suspended(node)

    @rule(sizes=sizes, pump=st.booleans())
    def client_writes(self, sizes: list[int], pump: bool) -> None:
        client = self.client.client
        for size in sizes if self.awake(self.client) else ():
            connected = client.ready_state is ReadyState.OPEN
            text = self.next(size)
            if not connected and not client.state.over:
                self.pending.append(self.count)
            if client.write(text) and connected:
                self.ups[-1].written.append(self.count)
            if pump:
                self.network.run(0.0)

    @rule(sizes=sizes, pump=st.booleans())
    def sparks_write(self, sizes: list[int], pump: bool) -> None:
        for size in sizes if self.awake(self.server) else ():
            for spark in self.server.server:
                if spark.write(self.next(size)):
                    self.downs[spark].written.append(self.count)
            if pump:
                self.network.run(0.0)

    @precondition(lambda self: self.count > 5 and self.awake(self.server))
    @rule(reconnect=st.booleans())
    def sparks_end(self, reconnect: bool) -> None:
        for spark in self.server.server:
            spark.end(reconnect=reconnect)
        self.network.run(0.0)

    @precondition(lambda self: self.count > 5 and self.awake(self.client))
    @rule()
    def client_ends(self) -> None:
        self.client.end()
        self.network.run(0.0)

    @precondition(lambda self: self.client.client.state.over and self.awake(self.client))
    @rule()
    def client_opens(self) -> None:
        self.reopened = True
        self.client.client.open()
        self.network.run(0.0)

    @rule(who=st.sampled_from(["client", "spark"]), resume=st.booleans())
    def pause(self, who: str, resume: bool) -> None:
        if self.awake(self.client if who == "client" else self.server):
            for one in [self.client.client] if who == "client" else [*self.server.server]:
                one.resume() if resume else one.pause()

    @precondition(lambda self: self.awake(self.client))
    @rule(back=st.booleans())
    def host_tells_of_the_network(self, back: bool) -> None:
        client = self.client.client
        self.reopened = True  # what the host says is passed on, also after the end
        client.network_online() if back else client.network_offline()
        self.network.run(0.0)
        self.reopened = False

    # --- the network ---

    @rule(seconds=seconds)
    def time_passes(self, seconds: float) -> None:
        self.network.run(seconds)

    @rule(
        act=st.sampled_from(["freeze", "thaw", "suspend", "resume", "drop", "half_open", "partition", "heal"]),
        client=st.booleans(),
        seconds=seconds,
    )
    def trouble(self, act: str, client: bool, seconds: float) -> None:
        node = self.client if client else self.server
        getattr(self.network, act)(*([] if act in ("partition", "heal") else [node]))
        self.network.run(seconds)

    @rule(way=st.sampled_from(["in", "out"]), client=st.booleans(), seconds=seconds)
    def trouble_one_way(self, way: Any, client: bool, seconds: float) -> None:
        self.network.partition(self.client if client else self.server, way=way)
        self.network.run(seconds)

    @rule(count=st.integers(0, 4000), sent=st.booleans())
    def will_break(self, count: int, sent: bool) -> None:
        self.network.break_after(self.client, **{"sent" if sent else "received": count})

    @rule(latency=st.sampled_from([0.0, 0.05, 1.0, 5.0]), bandwidth=st.sampled_from([None, 500.0, 20_000.0]))
    def line_changes(self, latency: float, bandwidth: float | None) -> None:
        self.network.latency, self.network.bandwidth = latency, bandwidth

    @rule(seconds=st.floats(-1e10, 1e10))
    def wall_clock_jumps(self, seconds: float) -> None:
        self.network.jump(seconds, self.client)

    @rule()
    def server_dies_and_another_takes_its_place(self) -> None:
        self.network.kill(self.server)
        self.network.thaw(self.server)
        self.network.resume(self.server)
        self.serve()

    def serve(self) -> None:
        self.server = self.network.serve(on_event=self.server_told, **self.options)
        self.servers.append(self.server)
        self.carriers[self.server] = Carried(self.server)
        self.network.run(0.0)

    # Without this few runs would see more than one connection.
    @rule(seconds=seconds, opens=st.booleans(), sizes=sizes)
    def trouble_ends(self, seconds: float, opens: bool, sizes: list[int]) -> None:
        """Paused ends read again, too."""
        self.network.break_after(self.client)
        self.network.latency, self.network.bandwidth = 0.01, None
        self.network.heal()
        for node in (self.client, self.server):
            self.network.thaw(node)
            self.network.resume(node)
        if opens and self.client.client.state.over:
            self.client_opens()
        for one in (self.client.client, *self.server.server):
            one.resume()
        self.network.run(seconds)
        self.client_writes(sizes, False)
        self.sparks_write(sizes, False)

    # --- what always holds ---

    @invariant()
    def one_connection_at_a_time(self) -> None:
        if not hasattr(self, "client") or not self.awake(self.client):
            return
        client = self.client
        attempt = client.endpoint._attempt
        state = client.client.state
        assert (attempt is not None) <= (state in (ClientState.CONNECTING, ClientState.RECONNECTING))
        begun = client.names.count("reconnect")
        ended = client.seen(ev.Reconnected) + client.names.count("reconnect timeout")
        assert begun >= ended
        if state.over or state is ClientState.WAITING:
            assert attempt is None
            assert all(not link.directions[client].closed for link in client.links.values())
        assert client.endpoint.next_timeout() is not None or state.over, "it may hang for ever"

    @invariant()
    def books_balance(self) -> None:
        """What arrived on a connection is the beginning of what was carried on it: in order, once, without a gap."""
        if not hasattr(self, "client"):
            return
        try:
            for ways, readers in ((self.ups, self.heard.values()), ([*self.downs.values()], self.received)):
                carried = {way.carried[0]: way.carried for way in ways if way.carried}
                arrived = [read for read in readers if read]
                assert len({read[0] for read in arrived}) == len(arrived), "one connection's came on two"
                for read in arrived:
                    assert read == carried[read[0]][: len(read)]
                for way in ways:
                    way.check()
        except BaseException:
            note(self.network.trace_tail(80))
            raise

    def teardown(self) -> None:
        """All trouble ends; then the two ends agree, and nothing that was sent on a living connection is missing."""
        if not hasattr(self, "client"):
            return
        network, client = self.network, self.client
        network.break_after(client)
        network.latency, network.jitter, network.bandwidth = 0.01, 0.0, None
        for node in (client, *self.servers):
            network.resume(node)
        client.client.resume()
        for spark in self.server.server:
            spark.resume()
        network.heal()
        for node in (client, *self.servers):
            network.thaw(node)
        try:
            network.run(3 * (PING + PONG / 2) + 60.0)
            assert client.client.state is ClientState.OPEN or client.client.state.over
            live = list(self.server.server)
            assert len(live) == client.endpoint.channels == (client.client.state is ClientState.OPEN)
            assert [server.endpoint.channels for server in self.servers][:-1] == [0] * (len(self.servers) - 1)
            assert self.server.endpoint.channels == len(live)
            if live:
                assert (self.pending, client.client.buffered, live[0].buffered) == ([], 0, 0)
                assert self.heard[live[0]] == self.ups[-1].carried == self.ups[-1].written
                assert self.received[-1] == self.downs[live[0]].carried == self.downs[live[0]].written
            else:
                assert self.pending == []
                assert client.endpoint.next_timeout() is None
            self.books_balance()
        except BaseException:
            note(network.trace_tail(80))
            raise


@pytest.mark.hypothesis
def test_sessions_in_any_trouble() -> None:
    run_machine(
        Sessions,
        often=[
            *(ev.Opened, ev.DataReceived, ev.MessagesDropped, ev.Closed, ev.Ended, ev.WentOffline, ev.WentOnline),
            *(ev.ReconnectScheduled, ev.Reconnected, ev.SparkConnected, ev.SparkData, ev.SparkHeartbeat),
        ],
        rarely=[
            *(ev.ReconnectTimedOut, ev.ConnectTimedOut, ev.HeartbeatSkipped, ev.Flatlined),
            *(ev.SparkDrained, ev.SparkError, ev.SparkMessagesDropped),
        ],
    )
