"""Applications that take no values (protocol 4.5): what is said about that, and what is noticed all the same."""

from __future__ import annotations

from typing import Any

import pytest

from primus_proto import events as ev
from primus_proto.session.neglect import PROBE
from primus_proto.testing import VirtualNetwork

PING, PONG = 9.0, 2.0
PATIENCE = {"client": PING, "spark": PING + PONG / 2}
LONG = 100.0
VALUES = 50


class Ends:
    """A client and a spark of which one takes no values: it is paused, and the other end sends some."""

    def __init__(self, which: str, **options: Any) -> None:
        self.network = network = VirtualNetwork(seed=1)
        receive = options.pop("receive", True)
        server_options = {"receive": receive} if which == "spark" else {}
        client_options = {"receive": receive} if which == "client" else {}
        self.server = network.serve(host="localhost", dialect="happn", **server_options)
        options |= {"dialect": "happn", "ping": PING, "pong": PONG, "min": 1}
        self.client = network.connect("http://localhost", **client_options, **options)
        network.run(1)
        [self.spark] = self.server.server.sparks.values()
        self.paused: Any = self.client.client if which == "client" else self.spark
        self.other: Any = self.spark if which == "client" else self.client.client
        self.pause()
        for number in range(VALUES):
            self.other.write(number)
        network.run(1)

    def pause(self) -> None:
        self.paused.pause()

    def leave(self, session: Any) -> None:
        """One end says goodbye, and its process ends."""
        session.end()
        self.network.run(0.1)
        node: Any = self.client if session is self.client.client else self.server
        for number in [*node.links]:
            node.links.pop(number).close(node, False)

    @property
    def warnings(self) -> list[str]:
        return [event.text for end in (self.server, self.client) for event in end.all(ev.Logged)]

    @property
    def heard(self) -> int:
        return len(self.client.all(ev.DataReceived)) + len(self.server.all(ev.SparkData))


WHICH = pytest.mark.parametrize("which", ["client", "spark"])


@WHICH
def test_it_is_said_once_until_values_are_taken_again(which: str) -> None:
    ends = Ends(which)
    ends.network.run(PATIENCE[which] - 2)
    assert ends.warnings == []
    ends.network.run(LONG)
    [warning] = ends.warnings
    assert f"nothing was read for {PATIENCE[which]:g} seconds" in warning
    assert ends.heard == 0
    ends.paused.resume()
    ends.network.run(1)
    assert (ends.heard, ends.paused.discarded) == (VALUES, 0)
    ends.pause()
    ends.network.run(LONG)
    assert len(ends.warnings) == 2


@WHICH
def test_an_application_that_takes_a_value_now_and_then_is_only_slow(which: str) -> None:
    """The other end may leave meanwhile: everything that it sent is handed out."""
    ends = Ends(which)
    ends.leave(ends.other)
    for _ in range(20):
        ends.pause()
        ends.network.run(PATIENCE[which] * 0.8)
    assert (ends.warnings, ends.heard) == ([], 0)
    ends.paused.resume()
    ends.network.run(1)
    assert ends.heard == VALUES


@WHICH
def test_the_end_is_noticed_all_the_same(which: str) -> None:
    """With its meaning, though it lies behind values that are dropped then."""
    ends = Ends(which, strategy="disconnect")
    ends.network.run(LONG)
    ends.leave(ends.other)
    ends.network.run(PROBE)
    assert ends.paused.close_reason is not None
    assert ends.paused.close_reason.kind == ("server" if which == "client" else "client")
    assert (ends.heard, ends.paused.discarded) == (0, VALUES)
    assert len(ends.client.all(ev.Ended)) == 1


@WHICH
@pytest.mark.parametrize("transformed", [False, True])
def test_without_receive_values_are_dropped_and_reading_goes_on(which: str, transformed: bool) -> None:
    ends = Ends(which, receive=False)
    if transformed:
        ends.paused.transform("incoming", lambda packet: None)
    ends.paused.resume()
    ends.network.run(LONG)
    assert (ends.heard, ends.paused.discarded, ends.warnings) == (0, VALUES, [])
    ends.other.end()
    ends.network.run(1)
    assert ends.paused.close_reason.kind == ("server" if which == "client" else "client")


def test_a_client_that_was_warned_is_asked_after_on_its_next_connection_too() -> None:
    ends = Ends("client")
    ends.network.run(LONG)
    ends.spark.end(reconnect=True)
    ends.network.run(LONG)
    assert len(ends.client.all(ev.Reconnected)) == 1
    [spark] = ends.server.server.sparks.values()
    ends.leave(spark)
    ends.network.run(PROBE)
    assert [event.reason.kind for event in ends.client.all(ev.Ended)] == ["server"]
    assert len(ends.warnings) == 2, "one for each connection"
