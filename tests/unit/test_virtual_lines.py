"""How deliveries travel on the virtual network: latency, jitter, bandwidth; in order, and no sooner than they can."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest

from primus_proto import events as ev
from primus_proto.testing import VirtualNetwork
from tests.unit.test_virtual_trouble import data, pair


def test_latency_may_differ_by_direction() -> None:
    network = VirtualNetwork(latency=(0.25, 1.0))
    server, client = pair(network, timeout=False)
    assert network.now == 2 * 1.25
    client.write("x")
    network.run(0.25)
    assert server.seen(ev.SparkData) == 1


def test_jitter_is_seeded_bounded_and_never_reorders() -> None:
    def times(seed: int) -> list[float]:
        network = VirtualNetwork(seed=seed, latency=0.1, jitter=0.5)
        server, client = pair(network)
        for number in range(50):
            client.write(number)
            network.run(0.125)
        network.run(1.0)
        assert data(server) == list(range(50))
        arrived = [when for when, event in server.events if isinstance(event, ev.SparkData)]
        sent = arrived[0]
        assert all(later >= earlier for earlier, later in pairwise(arrived))
        assert len({round(when - sent - 0.125 * number, 6) for number, when in enumerate(arrived)}) > 10
        return arrived

    assert times(1) == times(1) != times(2)


def test_bandwidth_makes_a_large_message_delay_what_is_behind_it() -> None:
    network = VirtualNetwork(latency=0.5, bandwidth=(1000.0, None))
    server, client = pair(network, ping=False)
    (spark,) = server.server
    start = network.now
    client.write("x" * 9984)  # with its quotes and the frame's head of 14 bytes, 10,000
    client.write("y")
    spark.write("z")
    network.run(60.0)
    (large, small) = [when - start for when, event in server.events if isinstance(event, ev.SparkData)]
    assert large == pytest.approx(0.5 + 10.0, abs=0.05)
    assert small == pytest.approx(large, abs=0.02)
    (down,) = [when - start for when, event in client.events if isinstance(event, ev.DataReceived)]
    assert down == 0.5, "the other direction has no limit"
    network.bandwidth = None
    start = network.now
    client.write("x" * 100_000)
    network.run(60.0)
    assert max(when for when, _ in server.events) == start + 0.5


def test_what_is_before_a_large_message_does_not_wait_for_it() -> None:
    """Also where both were written in one breath, and so in one piece."""
    network = VirtualNetwork(latency=0.5, bandwidth=1000.0)
    server, client = pair(network, ping=False)
    start = network.now
    client.write("small")
    client.write("x" * 10_000)
    network.run(6.0)
    assert [event.data for event in server.all(ev.SparkData)] == ["small"]
    (small,) = [when - start for when, event in server.events if isinstance(event, ev.SparkData)]
    assert small < 0.5 + 1.5, "a packet is the least that arrives"
    network.drop(client)
    assert data(server) == ["small"], "and it has arrived, whatever becomes of the rest"


def test_a_break_in_a_large_message_comes_when_its_byte_does() -> None:
    network = VirtualNetwork(bandwidth=1000.0)
    server, client = pair(network, ping=False, strategy=False)
    start = network.now
    network.break_after(client, sent=4000)
    client.write("x" * 10_000)
    network.run(60.0)
    (ended,) = [when - start for when, event in server.events if isinstance(event, ev.SparkEnded)]
    assert 4.0 <= ended <= 5.5


def test_a_fast_line_is_cut_into_no_more_pieces_than_it_has_to() -> None:
    network = VirtualNetwork(bandwidth=1_000_000.0)
    server, client = pair(network, dialect="happn", ping=False)
    pieces: list[int] = []
    receive = server.endpoint.receive_data

    def count(channel: int, data: Any, *, now: float) -> None:
        pieces.append(len(data))
        receive(channel, data, now=now)

    server.endpoint.receive_data = count  # type: ignore[method-assign]
    client.write("x" * 1_000_000)
    network.run(60.0)
    assert pieces[:-1] == [100_000] * 10


def test_a_line_that_rested_is_free() -> None:
    network = VirtualNetwork(bandwidth=1000.0)
    server, client = pair(network, ping=False)
    for number in range(3):
        network.run(100.0 - network.now % 100.0)
        client.write(str(number) * (1000 - 10))
    network.run(60.0)
    arrived = [when for when, event in server.events if isinstance(event, ev.SparkData)]
    assert [round(when % 100.0, 2) for when in arrived] == [1.0, 1.0, 1.0]
