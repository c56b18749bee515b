"""A dialect that was named wrongly: what each end is told, as the how-to on dialects has it (protocol 3)."""

from __future__ import annotations

import pytest

from primus_proto import events as ev
from primus_proto.testing import VirtualNetwork

# server, client: what the server sees, how its spark ends, what the client sees, and why it gave up.
CASES = {
    ("primus", "happn"): ("message ignored", "lost", "message ignored", "the server did not answer a ping in time"),
    ("primus", "primus6"): ("message ignored", "lost", "message ignored", "the server did not answer a ping in time"),
    ("happn", "primus"): ("heartbeat-skipped", "lost", "message ignored", "the server sent no ping in time"),
    ("primus6", "primus"): ("disconnection", "flatline", "close", "the connection was lost (code 1000)"),
}


@pytest.mark.parametrize(("dialects", "expected"), CASES.items(), ids=map("-".join, CASES))
def test_it_can_be_told_from_a_bad_network(dialects: tuple[str, str], expected: tuple[str, str, str, str]) -> None:
    network = VirtualNetwork(latency=0.01)
    server = network.serve(dialect=dialects[0])
    client = network.connect("http://server", dialect=dialects[1])
    network.run(60)
    sign, kind, told, why = expected
    assert sign in server.names
    assert not server.seen(ev.SparkHeartbeat)
    assert told in client.names
    assert [event.reason.kind for event in server.all(ev.SparkDisconnected)] == [kind]
    assert [str(event.reason.error) for event in client.all(ev.Closed)] == [why]
    assert client.seen(ev.WentOffline) == (kind == "lost")
    assert client.seen(ev.Reconnected) == 1
