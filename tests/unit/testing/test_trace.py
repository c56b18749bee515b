"""The trace of a virtual network, and the end of it that a failed test shows."""

from __future__ import annotations

from primus_proto.testing import VirtualNetwork
from primus_proto.testing.trace import summarize
from tests.unit.testing.virtual import pair


def lines(*texts: str) -> list[str]:
    return [f"{number:12.3f}  {text}" for number, text in enumerate(texts)]


def test_lines_that_do_not_repeat_are_shown_as_they_are() -> None:
    trace = lines(*"abcdefgh")
    assert summarize(trace, 3) == trace[-3:]
    assert summarize(trace, 100) == trace
    assert summarize([], 3) == summarize(trace, 0) == []
    for trace in (lines(*["tick"] * 6), lines(*"abcabc")):
        assert summarize(trace, 10) == trace, "too few repeats"


def test_repeats_are_shown_once_and_counted() -> None:
    trace = lines("first", *["ping", "pong"] * 1001, "last")
    counted = "              … these 2 lines 1,000 times more, until 2002.000"
    assert summarize(trace, 10) == [*trace[:3], counted, trace[-1]]
    assert summarize(trace, 2) == [counted, trace[-1]]
    trace = lines("first", *["tick"] * 8)
    assert summarize(trace, 10) == [*trace[:2], "              … this line 7 times more, until 8.000"]


def test_the_tail_begins_with_the_network_and_its_seed() -> None:
    network = VirtualNetwork(seed=5, latency=0.5)
    network.note("test", "one")
    network.note("test", "two")
    assert network.trace_tail(1).splitlines() == ["VirtualNetwork(seed=5, latency=0.5)", "       0.000  test: two"]


def test_the_trace_tells_of_trouble() -> None:
    network = VirtualNetwork()
    server, client = pair(network)
    network.freeze(client)
    network.partition("client1", "server", way="out")
    network.heal()
    network.drop(client)
    network.jump(-1.0, server)
    network.kill(server)
    network.connect("http://serve:81", strategy=False)
    client.write("x" * 1000)
    network.run(0.0)
    assert max(map(len, network.trace)) < 260
    assert [line.split("  ")[-1] for line in network.trace if "network: " in line] == [
        "network: partitioned from the rest: client1, server (nothing passes from them)",
        "network: healed",
    ]
    assert {line.split("  ")[-1] for line in network.trace} >= {
        "client1: frozen",
        "client1: its connections are lost",
        "server: the wall clock jumps by -1 s",
        "server: killed",
        "client2: refused: nobody listens at serve:81, nor anywhere else",
    }
