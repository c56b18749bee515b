"""What the original loses without a word, ours reports: each message arrives, or an event or a result says that not.

The recordings beside which these tests stand show the silence: tests/golden/queue-*, undecodable, unknown,
write-after-end, write-then-end-waiting.
"""

from __future__ import annotations

import json
from typing import Any

import pytest

from primus_proto import DecodeError, Limits
from primus_proto import events as ev
from primus_proto.testing import VirtualClient, VirtualNetwork, VirtualServer
from tests.golden.lines import load, recorded
from tests.golden.replay import Raw, RawParser, Replay


class Stage:
    """A server and a client, not open yet; both can send what no parser gives."""

    def __init__(self, **options: Any) -> None:
        self.network = VirtualNetwork(latency=0.01)
        self.server: VirtualServer = self.network.serve(parser=RawParser())
        self.node: VirtualClient = self.network.connect("http://server", manual=True, parser=RawParser(), **options)
        self.client = self.node.client

    def open(self) -> None:
        self.client.open()
        self.network.run(1.0)

    @property
    def arrived(self) -> list[Any]:
        return [event.data for event in self.server.all(ev.SparkData)]

    @property
    def dropped(self) -> list[Any]:
        """The values of all that was reported as dropped, in order."""
        self.network.run(0.0)
        return [json.loads(payload) for event in self.node.all(ev.MessagesDropped) for payload in event.payloads]


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


@pytest.mark.parametrize("size", [0, 1, 3])
def test_what_a_full_queue_drops_is_reported_oldest_first(size: int) -> None:
    stage = Stage(queue_size=size)
    values = [f"early {index}" for index in range(5)]
    assert [stage.client.write(value) for value in values] == [size > 0] * 5
    assert stage.dropped == values[: 5 - size]
    assert {event.reason for event in stage.node.all(ev.MessagesDropped)} == {"the queue is full"}
    stage.open()
    assert stage.arrived == values[5 - size :]


def test_what_exceeds_the_queues_bytes_is_reported() -> None:
    stage = Stage(limits=Limits(queue=100))
    values = ["a" * 40, "b" * 40, "c" * 40, "d" * 200, "e"]
    assert [stage.client.write(value) for value in values] == [True, True, True, False, True]
    # The third pushes the first out; the fourth would not fit into an empty queue, and pushes nobody out.
    assert stage.dropped == ["a" * 40, "d" * 200]
    stage.open()
    assert stage.arrived == ["b" * 40, "c" * 40, "e"]


def test_what_is_queued_at_the_end_is_reported_before_it() -> None:
    stage = Stage()
    stage.open()
    stage.network.kill(stage.server)
    assert stage.client.write("one")
    assert stage.client.write("two")
    stage.client.end("last")
    assert stage.dropped == ["one", "two", "last"]
    assert stage.node.names[-2:] == ["messages dropped", "end"]
    (event,) = stage.node.all(ev.MessagesDropped)
    assert event.reason == "the client ended"
    assert event.name == "messages dropped"
    assert event.args == (event.payloads, event.reason)


def test_what_is_queued_when_reconnecting_is_given_up_is_reported_before_the_end() -> None:
    stage = Stage(retries=2)
    stage.open()
    stage.network.kill(stage.server)
    assert stage.client.write("kept for long")
    stage.network.run(3600)
    assert stage.dropped == ["kept for long"]
    assert stage.node.names[-3:] == ["reconnect failed", "messages dropped", "end"]


def test_a_write_after_the_end_says_false_and_is_not_kept() -> None:
    stage = Stage()
    stage.open()
    (spark,) = stage.server.server
    stage.client.end()
    stage.network.run(1.0)
    assert stage.client.write("after end") is False
    assert spark.write("after end") is False
    stage.open()
    stage.client.write("next")
    stage.network.run(1.0)
    assert stage.arrived == ["next"]
    assert stage.node.seen(ev.DataReceived) == 0
    assert stage.dropped == []
    stage.client.destroy()
    assert stage.client.write("after destroy") is False


@pytest.mark.parametrize("text", ["{bad", "", "NaN", "1e999"])
def test_an_undecodable_message_is_an_error_in_its_place_on_both_ends(text: str) -> None:
    stage = Stage()
    stage.open()
    (spark,) = stage.server.server
    for end in (stage.client, spark):
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
IGNORED_BY_BOTH = ["primus::", "primus::foo", "primus::foo::bar", "primus::ping", "primus::server::open"]
IGNORED_BY_CLIENT = ["primus::id::", "primus::id::not-asked-for"]
IGNORED_BY_SERVER = ["primus::server::close", "primus::pong::1", "primus::id::mine", "primus::ping::" + "9" * 65]


@pytest.mark.parametrize("text", [*IGNORED_BY_BOTH, *IGNORED_BY_CLIENT])
def test_a_protocol_message_that_means_nothing_to_a_client_is_reported(text: str) -> None:
    stage = Stage()
    stage.open()
    (spark,) = stage.server.server
    spark.write(Raw({"text": json.dumps(text)}))
    spark.write("after")
    stage.network.run(1.0)
    assert [event.text for event in stage.node.all(ev.MessageIgnored)] == [text]
    assert [event.data for event in stage.node.all(ev.DataReceived)] == ["after"]
    assert stage.node.names[-2:] == ["message ignored", "data"]


@pytest.mark.parametrize("text", [*IGNORED_BY_BOTH, *IGNORED_BY_SERVER])
def test_a_protocol_message_that_means_nothing_to_a_server_is_reported(text: str) -> None:
    stage = Stage()
    stage.open()
    stage.client.write(Raw({"text": json.dumps(text)}))
    stage.client.write("after")
    stage.network.run(1.0)
    (event,) = stage.server.all(ev.SparkMessageIgnored)
    assert event.text == text
    assert event.spark is stage.server.all(ev.SparkConnected)[0].spark
    assert stage.arrived == ["after"]
    assert stage.server.names[-2:] == ["message ignored", "data"]
