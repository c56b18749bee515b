"""Slow readers in whole sessions, and a server that closes."""

from __future__ import annotations

import pytest

from primus_proto import Limits
from primus_proto import events as ev
from primus_proto.testing import VirtualNetwork
from tests.unit.testing.virtual import data

SPARK_OVER = ["readyStateChange", "disconnection", "end"]


# --- who does not read ---


@pytest.mark.parametrize("by_server", [False, True])
def test_what_an_end_could_not_send_is_reported(by_server: bool) -> None:
    network = VirtualNetwork(latency=0.01, window=64 * 1024)
    server = network.serve()
    node = network.connect("http://server")
    network.run(1.0)
    (spark,) = server.server
    reader, writer = (node.client, spark) if by_server else (spark, node.client)
    reader.pause()
    network.run(0.1)
    for _ in range(50):
        writer.write("x" * 32 * 1024)
    writer.end()
    network.run(Limits().close - 1)
    reported = server if by_server else node
    assert reported.all(ev.Logged) == []
    network.run(1.1)
    (logged,) = reported.all(ev.Logged)
    # 64 KiB are on their way, and up to 256 KiB had left for the socket.
    count = int(logged.text.partition("after its end: ")[2].split()[0])
    assert 50 - 12 <= count < 50


def test_a_client_that_reads_again_drains() -> None:
    network = VirtualNetwork(latency=0.01, window=64 * 1024)
    server = network.serve()
    node = network.connect("http://server")
    network.run(1.0)
    (spark,) = server.server
    node.client.pause()
    network.run(0.1)
    count = 0
    while not spark.needs_drain:
        assert spark.write("x" * 10_000)
        count += 1
        network.run(0.0)
    assert spark.buffered > 512 * 1024
    node.client.resume()
    network.run(1.0)
    assert server.seen(ev.SparkDrained) == 1
    assert spark.buffered == 0
    assert len(data(node)) == count


# --- the server closes ---
