"""Engine.IO and SockJS on networks that delay, reorder and cut their requests, and behind proxies that repeat them.

What must hold: everything arrives in order and once; within a session without a gap; and all of it, if no connection
breaks.
"""

from __future__ import annotations

from collections import deque
from typing import Any

import pytest
from hypothesis import event as noted
from hypothesis import given
from hypothesis import strategies as st

from primus_proto import Limits, ReadyState, Spark
from primus_proto import events as ev
from primus_proto.testing import VirtualNetwork
from tests.scenarios.worlds import told
from tests.unit.wires import ClientWire, Peer, ServerWire, replies

WAYS: list[dict[str, Any]] = [
    *(
        {"transformer": "engine.io", "transport": {"transports": carriers, "protocol": protocol}}
        for carriers in (["polling", "websocket"], ["polling"], ["websocket"])
        for protocol in (3, 4)
    ),
    *(
        {"transformer": "sockjs", "transport": {"transports": [way]}}
        for way in ("websocket", "xhr-streaming", "xhr-polling")
    ),
]
POLLING = [way for way in WAYS if way["transport"]["transports"] in (["polling"], ["xhr-polling"])]
# Who writes, how much, and the seconds until the next act.
acts = st.lists(
    st.tuples(st.booleans(), st.sampled_from([0, 10, 3000]), st.sampled_from([0.0, 0.001, 0.03, 0.3, 2.0])),
    min_size=1,
    max_size=25,
)


def numbers(events: list[Any]) -> list[int]:
    return [int(event.data.partition(":")[0]) for event in events]


@pytest.mark.parametrize("broken", [False, True], ids=["whole", "broken"])
@given(
    st.sampled_from(WAYS),
    acts,
    st.sampled_from([0.0, 0.05, 0.5]),
    st.sampled_from([None, 7, 50]),
    st.dictionaries(st.sampled_from(["sent", "received"]), st.integers(0, 6000), min_size=1),
    st.integers(0, 1000),
)
def test_messages_arrive_in_order_and_once(
    broken: bool, way: dict[str, Any], acts: Any, jitter: float, cut: int | None, breaks: dict[str, int], seed: int
) -> None:
    network = VirtualNetwork(latency=0.01, jitter=jitter, cut=cut, seed=seed)
    server = network.serve(limits=Limits(backlog=1_000_000), **way)
    client = network.connect("http://server", dialect="happn", min=0.1, factor=1.0, retries=None, **way)
    written: list[list[int]] = [[], []]
    with told(network):
        network.run(5.0)
        if broken:
            network.break_after(client, **breaks)
        for count, (by_client, size, wait) in enumerate(acts):
            text = f"{count}:{'x' * size}"
            sparks = list(server.server)
            if client.write(text) if by_client else sparks and sparks[-1].write(text):
                written[by_client].append(count)
            network.run(wait)
        network.run(200.0)
        up, down = numbers(server.all(ev.SparkData)), numbers(client.all(ev.DataReceived))
        lost = client.seen(ev.Closed)
        noted(f"{lost} connections lost")
        if not lost:
            assert up == written[True]
            assert down == written[False]
        by_spark: dict[Spark, list[int]] = {}
        for event in server.all(ev.SparkData):
            by_spark.setdefault(event.spark, []).extend(numbers([event]))
        for values in by_spark.values():
            first, last = values[0], values[-1]
            assert values == [each for each in written[True] if first <= each <= last], "no gap within a session"
        assert up == sorted(set(up))
        assert down == sorted(set(down))
        if broken:
            client.end()
            network.run(200.0)
            assert len(server.server) == 0


class Proxy:
    """Between a client and a server that poll: repeats requests, at once or late, and loses answers to copies."""

    def __init__(self, draw: st.DataObject, way: dict[str, Any]) -> None:
        self.draw = draw
        self.server = ServerWire(**way)
        self.client = ClientWire(ping=False, **way)
        self.jobs: dict[int, deque[tuple[bytes, bool]]] = {}
        """For each connection of the client: the copies of its request, and whether the answer is passed on."""
        self.late: list[tuple[int, int, bytes]] = []
        """Copies that are sent after so many other requests, with the client's connection."""
        self.peers: dict[int, list[tuple[Peer, bool]]] = {}
        self.up: set[int] = set()
        self.ports = iter(range(2000, 60000))

    def run(self) -> None:
        """Until nobody has anything to say."""
        moving = True
        while moving:
            self.client.pump()
            self.server.pump()
            moving = self._open() or self._forward() or self._answer() or self._close()

    def _open(self) -> bool:
        known = self.up | self.client.closed.keys()
        fresh = [each.channel for each in self.client.opening if each.channel not in known]
        for channel in fresh:
            self.up.add(channel)
            self.client.endpoint.channel_opened(channel, now=self.client.now)
        return bool(fresh)

    def _forward(self) -> bool:
        moved = False
        for channel in list(self.up - self.client.closed.keys()):
            if request := self.client.take(channel):
                how = self.draw.draw(st.sampled_from(["once", "both", "again", "late"]))
                first = how in ("once", "late") or (how == "both" and self.draw.draw(st.booleans()))
                self.jobs[channel] = deque([(request, first)] + [(request, not first)] * (how in ("both", "again")))
                self.peers.setdefault(channel, [])
                self._send(channel)
                if how == "both":
                    self._send(channel)
                elif how == "late":
                    self.late.append((self.draw.draw(st.integers(1, 4)), channel, request))
                self._send_late()
                moved = True
        return moved

    def _send(self, channel: int) -> None:
        request, passed_on = self.jobs[channel].popleft()
        self.peers[channel].append((self._connect(request), passed_on))

    def _send_late(self) -> None:
        self.late = [(count - 1, channel, request) for count, channel, request in self.late]
        for count, channel, request in self.late:
            if count == 0:
                self.peers.setdefault(channel, []).append((self._connect(request), False))

    def _connect(self, request: bytes) -> Peer:
        number = self.server.endpoint.channel_accepted(("192.0.2.9", next(self.ports)), now=self.server.now)
        peer = Peer(self.server, number)
        peer.send(request)
        return peer

    def _answer(self) -> bool:
        for channel, peers in self.peers.items():
            for peer, passed_on in list(peers):
                answer = self.server.take(peer.channel)
                if answer:
                    assert len(replies(answer)[0]) == 1
                    peers.remove((peer, passed_on))
                    if passed_on:
                        self.client.feed(channel, answer)
                    elif self.jobs[channel]:
                        self._send(channel)
                    return True
        return False

    def _close(self) -> bool:
        """Drop the requests whose client has left."""
        gone = self.peers.keys() & self.client.closed.keys()
        for channel in gone:
            for peer, _ in self.peers.pop(channel):
                peer.eof()
        return bool(gone)


# Who writes how many messages, and whether what was written travels before the next.
bursts = st.lists(st.tuples(st.booleans(), st.integers(1, 3), st.booleans()), max_size=12)


@given(st.data(), st.sampled_from(POLLING), bursts, st.booleans())
def test_a_proxy_that_repeats_requests_changes_nothing(
    data: st.DataObject, way: dict[str, Any], acts: list[tuple[bool, int, bool]], client_ends: bool
) -> None:
    proxy = Proxy(data, way)
    proxy.run()
    pipe = proxy.client.client._pipe
    assert pipe is not None
    # A repeated opening of Engine.IO has opened one more, for nobody.
    spark = proxy.server.server.spark(pipe.session_id) if pipe.session_id else next(iter(proxy.server.server))
    assert spark is not None
    written: list[list[int]] = [[], []]
    count = 0
    for by_client, many, run in acts:
        for _ in range(many):
            (proxy.client.client if by_client else spark).write(count)
            written[by_client].append(count)
            count += 1
        if run:
            proxy.run()
    proxy.run()
    assert spark.is_open
    assert proxy.client.client.ready_state is ReadyState.OPEN
    assert [event.data for event in proxy.client.all(ev.DataReceived)] == written[False]
    (proxy.client.client if client_ends else spark).end(count)
    written[client_ends].append(count)
    proxy.run()
    assert [event.data for event in proxy.server.all(ev.SparkData)] == written[True]
    got = [event.data for event in proxy.client.all(ev.DataReceived)]
    (closed,) = proxy.client.all(ev.Closed)
    if closed.reason.kind == "lost":  # the server did not hear of the proxy's failure, and has forgotten the session
        assert got in (written[False], written[False][:-1])
    else:
        assert got == written[False]
    assert proxy.server.all(ev.SparkEnded)[0].spark is spark
