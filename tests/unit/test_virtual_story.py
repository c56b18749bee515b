"""What a failed test shows of a trace: the network to make it again, and each thing once, however often it came."""

from __future__ import annotations

import pytest

from primus_io.asyncio import connect, serve
from primus_io.testing import run
from primus_proto import events as ev
from primus_proto.testing import VirtualNetwork
from primus_proto.testing.story import story


def lines(*texts: str) -> list[str]:
    return [f"{number:12.3f}  {text}" for number, text in enumerate(texts)]


def test_what_does_not_repeat_is_told_as_it_is() -> None:
    trace = lines(*"abcdefgh")
    assert story(trace, 3) == trace[-3:]
    assert story(trace, 100) == trace
    assert story([], 3) == []
    assert story(trace, 0) == []


def test_what_repeats_is_told_once_and_counted() -> None:
    trace = lines("first", *["ping", "pong"] * 1001, "last")
    assert story(trace, 10) == [
        *trace[:3],
        "              … these 2 lines 1,000 times more, until 2002.000",
        trace[-1],
    ]
    assert story(trace, 2) == ["              … these 2 lines 1,000 times more, until 2002.000", trace[-1]]
    trace = lines("first", *["tick"] * 8)
    assert story(trace, 10) == [*trace[:2], "              … this line 7 times more, until 8.000"]


def test_little_is_left_as_it_is() -> None:
    for trace in (lines(*["tick"] * 6), lines(*"abcabc"), lines(*"abcaba")):
        assert story(trace, 10) == trace


def test_it_begins_with_the_network_and_its_seed() -> None:
    network = VirtualNetwork(seed=5, latency=0.5)
    network.note("test", "one")
    network.note("test", "two")
    assert network.story(1).splitlines() == ["VirtualNetwork(seed=5, latency=0.5)", "       0.000  test: two"]
    with pytest.raises(AssertionError, match=r"the condition never held:\nVirtualNetwork\(seed=5, latency=0.5\)"):
        network.run_until(lambda: False, limit=1.0)


def test_heartbeats_do_not_hide_what_went_before_a_wait_that_never_ends() -> None:
    async def main() -> None:
        async with serve(None, "server", 80), connect("http://server") as primus:
            await primus.receive()

    with pytest.raises(AssertionError, match="not over after 86400 s") as caught:
        run(main(), VirtualNetwork(seed=3), limit=86400)
    told = str(caught.value)
    assert "VirtualNetwork(seed=3)" in told
    assert "client1: Opened()" in told
    assert "times more, until 863" in told


def test_the_trace_tells_what_the_lines_do() -> None:
    network = VirtualNetwork()
    server = network.serve()
    lost = network.connect("http://serve:81", strategy=False)
    client = network.connect("http://server", dialect="happn")
    network.run(1)
    assert lost.seen(ev.Ended)
    told = network.story(100)
    assert "client1: refused: nobody listens at serve:81, only at server:80" in told
    client.end()
    network.run(1)
    assert "server -> client2: end of stream" in network.story(100)
    network.kill(server)
    client.client.open()
    network.run(0.1)
    assert "client2: refused: nobody listens at server:80, nor anywhere else" in network.story(100)


def test_the_trace_tells_a_reset_from_an_end() -> None:
    network = VirtualNetwork(latency=1.0)
    network.serve()
    client = network.connect("http://server", dialect="happn", timeout=2.5)
    network.run(10)
    assert client.seen(ev.ConnectTimedOut)
    assert "client1 -> server: reset" in network.story(100)
