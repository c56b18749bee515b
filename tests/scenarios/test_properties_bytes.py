"""Properties of bytes: how they are cut changes nothing, and wherever they stop, or break off, everything ends."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from functools import cache
from itertools import pairwise
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from primus_proto import ByteClient, ByteServer, ClientConfig, ServerConfig
from primus_proto import events as ev
from primus_proto.testing import VirtualClient, VirtualNetwork, VirtualServer
from tests.scenarios.worlds import told
from tests.unit.sessions import commanded, polled
from tests.unit.testing.virtual import data

PING, PONG = 4.0, 2.0
MESSAGES = ["", "x" * 10, ["ü", None, {"a": 1e3}], "y" * 200, 0, "z" * 70_000, "last"]


@dataclass
class Recording:
    """What either end of a session got to read, and what came out of it there."""

    to_server: bytes = b""
    to_client: bytes = b""
    server: list[str] = field(default_factory=list)
    client: list[str] = field(default_factory=list)


class Recorded(ByteServer):
    """Keeps what it read."""

    read = b""

    def receive_data(self, channel: int, data: Any, *, now: float) -> None:
        self.read += bytes(data)
        super().receive_data(channel, data, now=now)


class RecordedClient(ByteClient):
    """Keeps what it read."""

    read = b""

    def receive_data(self, channel: int, data: Any, *, now: float) -> None:
        self.read += bytes(data)
        super().receive_data(channel, data, now=now)


def server_end() -> Recorded:
    return Recorded(ServerConfig(), rng=random.Random(1), wall_offset=1e9)


def client_end() -> RecordedClient:
    config = ClientConfig(url="http://server", dialect="happn", ping=PING, pong=PONG, strategy=False)
    return RecordedClient(config, rng=random.Random(2), wall_offset=1e9)


@cache
def recording() -> Recording:
    """A session with every kind of message in both directions, ended by the client; all at time 0."""
    network = VirtualNetwork()
    server, client = VirtualServer(network, "server", server_end()), VirtualClient(network, "client", client_end())
    network.listen(server, "server", 80)
    server.on("connection", lambda spark: spark.on("data", spark.write))
    network.add(server)
    network.add(client)
    for value in MESSAGES:
        client.write(value)
    network.run(0.0)
    client.client.request_id()
    network.run(0.0)
    assert data(server) == data(client) == MESSAGES
    client.end()
    network.run(0.0)
    assert isinstance(server.endpoint, Recorded)
    assert isinstance(client.endpoint, RecordedClient)
    names = [shown(event) for _, event in server.events], [shown(event) for _, event in client.events]
    return Recording(server.endpoint.read, client.endpoint.read, *names)


def shown(event: ev.Event) -> str:
    """An event in a way that does not depend on which session it is of."""
    match event:
        case ev.SparkData(_, data) | ev.DataReceived(data):
            return f"data {data!r}"
        case ev.SparkDisconnected(_, reason) | ev.SparkEnded(_, reason) | ev.Ended(reason) | ev.Closed(reason):
            return f"{event.name} {reason}"
        case _:
            return event.name


def feed(end: ByteServer | ByteClient, channel: int, pieces: list[bytes]) -> list[str]:
    """Give an end these pieces, doing what it says in between; what came out."""
    seen: list[str] = []

    def pump() -> None:
        for item in end.poll(now=0.0):
            if isinstance(item, ev.Event):
                seen.append(shown(item))
            if isinstance(item, ev.SparkData):
                item.spark.write(item.data)

    for piece in pieces:
        pump()
        end.receive_data(channel, piece, now=0.0)
    pump()
    return seen


def pieces_of(data: bytes, cuts: list[float]) -> list[bytes]:
    places = sorted({0, len(data), *(int(cut * len(data)) for cut in cuts)})
    return [data[start:end] for start, end in pairwise(places)]


def opened_client() -> ByteClient:
    """A client that has sent its handshake. Its nonce is that of the recording."""
    end = client_end()
    commanded(end, now=0.0)
    end.channel_opened(1, now=0.0)
    return end


# Many cuts near the beginning, where the heads are, and anywhere.
cuts = st.lists(st.one_of(st.floats(0.0, 0.02), st.floats(0.0, 1.0)), max_size=30)


@given(cuts)
def test_a_server_reads_the_same_however_it_is_cut(cuts: list[float]) -> None:
    end = server_end()
    channel = end.channel_accepted(("10.0.0.1", 1025), now=0.0)
    assert feed(end, channel, pieces_of(recording().to_server, cuts)) == recording().server


@given(cuts)
def test_a_client_reads_the_same_however_it_is_cut(cuts: list[float]) -> None:
    end = opened_client()
    pieces = pieces_of(recording().to_client, cuts)
    seen = feed(end, 1, pieces)
    # The questions that this client did not ask: its id, and the end of which it does not know.
    expected = recording().client
    assert [line for line in seen if line.startswith("data ")] == [
        line for line in expected if line.startswith("data ")
    ]
    assert seen[:3] == expected[1:4]  # without the `readyStateChange` to opening


# --- silence and loss after any byte ---


@given(st.one_of(st.integers(0, 400), st.floats(0.0, 1.0)), cuts)
def test_a_server_whose_peer_falls_silent_after_any_byte_ends_everything(stop: float, cuts: list[float]) -> None:
    """No half-read request, message or close keeps a connection for ever, and no timer stays behind."""
    whole = recording().to_server
    end = server_end()
    channel = end.channel_accepted(("10.0.0.1", 1025), now=0.0)
    feed(end, channel, pieces_of(whole[: stop if isinstance(stop, int) else int(stop * len(whole))], cuts))
    assert falls_silent(end) <= 10.0 + 3 * (PING + PONG / 2) + 5.0
    assert end.channels == len(end.server) == 0


@given(st.one_of(st.integers(0, 200), st.floats(0.0, 1.0)), cuts)
def test_a_client_whose_peer_falls_silent_after_any_byte_ends(stop: float, cuts: list[float]) -> None:
    whole = recording().to_client
    end = opened_client()
    feed(end, 1, pieces_of(whole[: stop if isinstance(stop, int) else int(stop * len(whole))], cuts))
    assert falls_silent(end) <= 10.0 + PING + PONG
    assert end.channels == 0
    assert end.client.close_reason is not None


def falls_silent(end: ByteServer | ByteClient) -> float:
    """Only time passes; when the last timer has fired."""
    now = 0.0
    for _ in range(100):
        polled(end, now=now)
        due = end.next_timeout()
        if due is None:
            return now
        assert due >= now
        now = due
        end.handle_timeout(now=now)
    raise AssertionError("its timers never end")


@given(
    st.sampled_from(["sent", "received"]),
    st.one_of(st.integers(0, 400), st.integers(0, 90_000)),
    st.none() | st.integers(2000, 9000),
    st.integers(0, 9),
)
def test_a_connection_that_breaks_after_any_byte_is_made_anew(
    kind: str, count: int, cut: int | None, seed: int
) -> None:
    """What had arrived stays arrived, in order and whole; the ends agree again."""
    network = VirtualNetwork(seed=seed, latency=0.01, cut=cut)
    server = network.serve()
    server.on("connection", lambda spark: spark.on("data", spark.write))
    client = network.connect("http://server", dialect="happn", ping=PING, pong=PONG)
    network.break_after(client, **{kind: count})
    for value in MESSAGES:
        client.write(value)
    with told(network):
        network.run(30.0)
        broke = any("breaks here" in line for line in network.trace)
        assert client.seen(ev.ReconnectScheduled) == broke
        arrived = data(server)
        if client.seen(ev.Opened) == 1:
            assert arrived == MESSAGES
        else:
            assert arrived == MESSAGES[: len(arrived)]
        assert data(client) == arrived[: len(data(client))]
        assert client.names[-1] in ("open", "data")
        assert (len(server.server), server.endpoint.channels, client.endpoint.channels) == (1, 1, 1)
