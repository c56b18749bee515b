"""What the original loses without a word, ours reports: each message arrives, or an event or a result says that not.

The recordings beside which these tests stand show the silence: tests/golden/queue-*, undecodable, unknown,
write-after-end, write-then-end-waiting.
"""

from __future__ import annotations

import json
from typing import Any

import pytest

from primus_proto import DecodeError
from primus_proto import events as ev
from primus_proto.testing import VirtualClient, VirtualNetwork, VirtualServer
from tests.golden.lines import load, recorded
from tests.golden.replay import Raw, RawParser, Replay


class Stage:
    """A server and a connected client; both can send what no parser gives."""

    def __init__(self) -> None:
        self.network = VirtualNetwork(latency=0.01)
        self.server: VirtualServer = self.network.serve(parser=RawParser())
        self.node: VirtualClient = self.network.connect("http://server", parser=RawParser())
        self.client = self.node.client
        self.network.run(1.0)
        (self.spark,) = self.server.server

    @property
    def arrived(self) -> list[Any]:
        return [event.data for event in self.server.all(ev.SparkData)]


def with_writes() -> list[str]:
    """The scripts in which the client writes something."""
    names = [name for name in recorded() if name.endswith(".client")]
    return [name for name in names if any((step["by"], step["do"]) == ("client", "write") for step in load(name).steps)]


@pytest.mark.parametrize("name", with_writes())
def test_every_write_of_a_script_arrives_or_its_loss_is_told(name: str) -> None:
    replay = Replay(load(name))
    replay.run()
    written = [step["value"] for step in replay.recording.steps if (step["by"], step["do"]) == ("client", "write")]
    mine, theirs = replay.books["client"].lines, replay.books["server"].lines
    results = [line["result"] for line in mine if "reply" in line]
    refused = {value for value, result in zip(written, results, strict=True) if not result}
    dropped = {json.loads(text) for line in mine for text in line.get("payloads", ())}
    arrived = [line["value"] for line in theirs if line.get("event") == "data" and isinstance(line["value"], str)]
    assert set(written) == {*arrived, *dropped, *refused}
    assert not {*dropped, *refused} & set(arrived)
    assert arrived == [value for value in written if value in arrived]


@pytest.mark.parametrize("text", ["{bad", "", "NaN", "1e999"])
def test_an_undecodable_message_is_an_error_in_its_place_on_both_ends(text: str) -> None:
    stage = Stage()
    for end in (stage.client, stage.spark):
        for value in ("before", Raw({"text": text}), "after"):
            assert end.write(value)
    stage.network.run(1.0)
    assert stage.node.names[-3:] == ["data", "error", "data"]
    assert stage.server.names[-4:] == ["data", "error", "log", "data"]
    errors = [stage.node.all(ev.ErrorOccurred)[0].error, stage.server.all(ev.SparkError)[0].error]
    for error in errors:
        assert isinstance(error, DecodeError)
        assert error.payload == text
    assert stage.client.write("lives on")
    stage.network.run(1.0)
    assert stage.arrived == ["before", "after", "lives on"]


# Unknown, in the wrong direction, or the answer to what nobody asked (protocol 1).
IGNORED = [
    *("primus::", "primus::foo", "primus::foo::bar", "primus::ping", "primus::server::open"),
    *("primus::server::close", "primus::pong::1", "primus::id::mine", "primus::ping::" + "9" * 65),
]


@pytest.mark.parametrize("text", IGNORED)
def test_a_protocol_message_that_means_nothing_to_a_server_is_reported(text: str) -> None:
    stage = Stage()
    stage.client.write(Raw({"text": json.dumps(text)}))
    stage.client.write("after")
    stage.network.run(1.0)
    (event,) = stage.server.all(ev.SparkMessageIgnored)
    assert event.text == text
    assert event.spark is stage.spark
    assert stage.arrived == ["after"]
    assert stage.server.names[-2:] == ["message ignored", "data"]
