"""Transforms: what they may do to a message, in which order, and what is left of one that fails or never returns."""

from __future__ import annotations

from asyncio import CancelledError
from collections.abc import Coroutine
from enum import Enum
from typing import Any

import pytest

from primus_proto import (
    DROP,
    ConnectionLost,
    EncodeError,
    Limits,
    Packet,
    Spark,
    TransformError,
)
from primus_proto import commands as cmd
from primus_proto import events as ev
from primus_proto.session.work import Held
from tests.unit.sessions import ClientHost, Host, ServerHost, ended, needs_drain, opened
from tests.unit.wires import ServerWire, close_frame

VALUES: list[Any] = [None, False, 0, "", [], {}, "x", {"a": [None]}]
DATA = (ev.SparkData, ev.DataReceived)


class Later:
    """An awaitable that a test answers."""

    def __await__(self) -> Any:
        raise AssertionError("the core does not wait")


def later(packet: Packet) -> Any:
    """An asynchronous transform."""
    return Later()


def held(host: Host) -> Held:
    """The step that waits now."""
    host.pump()
    steps = [event.held for event in host.seen if isinstance(event, ev.StepHeld)]
    return next(step for step in reversed(steps) if not step.over)


def heard(host: Host) -> list[Any]:
    """The values that arrived since the last call."""
    return [event.data for event in host.fresh() if isinstance(event, DATA)]


def failures(host: Host) -> list[Any]:
    """The errors of a spark or client since the last call."""
    return [event.error for event in host.fresh() if isinstance(event, ev.SparkError | ev.ErrorOccurred)]


class End:
    """A client or a spark, for what both do alike."""

    def __init__(self, kind: str, **limits: Any) -> None:
        self.host: Any
        self.core: Any
        if kind == "spark":
            self.host = ServerHost(limits=Limits(**limits))
            self.core = self.host.connect()
            self.host.commanded()
        else:
            self.host = opened(limits=Limits(**limits))
            self.core = self.host.client

    def receive(self, value: Any) -> None:
        args = (self.core, value) if isinstance(self.core, Spark) else (value,)
        self.host.receive(*args)


@pytest.fixture(params=["spark", "client"])
def end(request: pytest.FixtureRequest) -> End:
    return End(request.param)


def wrap(packet: Packet) -> None:
    packet.data = [packet.data]


def rename(packet: Packet) -> None:
    packet.data = {"was": packet.data}


@pytest.mark.parametrize("value", VALUES, ids=repr)
def test_transforms_change_what_goes_in_and_out_in_their_order(end: End, value: Any) -> None:
    for direction in ("incoming", "outgoing"):
        for function in (wrap, rename, wrap):  # the second time changes nothing
            end.core.transform(direction, function)
    assert end.core.write(value) is True
    assert end.host.sent() == [{"was": [value]}]
    end.receive(value)
    assert heard(end.host) == [{"was": [value]}]


def test_a_transform_sees_the_value_the_message_and_the_session(end: End) -> None:
    seen: list[tuple[Any, ...]] = []

    def look(packet: Packet) -> None:
        seen.append((packet.data, packet.raw, packet.session))
        assert repr(packet).startswith("<Packet incoming" if packet.raw else "<Packet outgoing")

    end.core.transform("incoming", look)
    end.core.transform("outgoing", look)
    end.core.write(None)
    end.receive(None)
    assert seen == [(None, None, end.core), (None, "null", end.core)]


@pytest.mark.parametrize(("answer", "kept"), [(DROP, False), (False, False), (None, True), (True, True)], ids=repr)
def test_only_drop_and_false_drop(end: End, answer: object, kept: bool) -> None:
    for direction in ("incoming", "outgoing"):
        end.core.transform(direction, lambda packet: answer)
    assert end.core.write("x") is True
    end.receive("x")
    assert (end.host.sent(), heard(end.host)) == (["x"] * kept, ["x"] * kept)


@pytest.mark.parametrize("answer", [0, "", {"a": 1}, ZeroDivisionError("oops"), CancelledError()], ids=repr)
def test_a_transform_that_fails_drops_its_message_and_says_so(end: End, answer: object) -> None:
    def broken(packet: Packet) -> object:
        if packet.data != "bad":
            return None
        if isinstance(answer, BaseException):
            raise answer
        return answer

    for direction in ("incoming", "outgoing"):
        end.core.transform(direction, broken)
    assert [end.core.write("bad"), end.core.write("good")] == [False, True]
    end.receive("bad")
    end.receive("good")
    events = end.host.fresh()
    assert [event.data for event in events if isinstance(event, DATA)] == ["good"]
    errors: list[Any] = [event.error for event in events if isinstance(event, ev.SparkError | ev.ErrorOccurred)]
    assert [(type(error), error.direction, error.data) for error in errors] == [
        (TransformError, direction, "bad") for direction in ("outgoing", "incoming")
    ]
    assert end.host.sent() == ["good"]


def test_what_cannot_be_decoded_passes_no_transform(end: End) -> None:
    end.core.transform("incoming", wrap)
    for message in ("{", "[1]"):
        end.core.receive_message(message, now=end.host.now)
    events = end.host.fresh()
    assert [event.data for event in events if isinstance(event, DATA)] == [[[1]]]
    assert [event.error.payload for event in events if isinstance(event, ev.SparkError | ev.ErrorOccurred)] == ["{"]  # type: ignore[attr-defined]


def test_an_interrupt_in_a_transform_drops_its_message_only(end: End) -> None:
    def interrupted(packet: Packet) -> None:
        if packet.data == "bad":
            raise KeyboardInterrupt

    for direction in ("incoming", "outgoing"):
        end.core.transform(direction, interrupted)
    for call in (end.core.write, end.receive):
        with pytest.raises(KeyboardInterrupt):
            call("bad")
        call("good")
    assert (end.host.sent(), heard(end.host)) == (["good"], ["good"])


class Reserved(Enum):
    CLOSE = "primus::server::close"


@pytest.mark.parametrize("made", ["primus::server::close", Reserved.CLOSE, {1}, float("nan")], ids=repr)
def test_the_result_is_checked_before_it_is_sent(end: End, made: object) -> None:
    end.core.transform("outgoing", lambda packet: setattr(packet, "data", made))
    with pytest.raises(EncodeError):
        end.core.write("x")
    assert end.host.sent() == []


def test_protocol_messages_pass_no_transform_and_wait_for_none(end: End) -> None:
    end.core.transform("outgoing", later)
    end.core.transform("incoming", later)
    end.receive("held")
    end.receive("primus::ping::5" if isinstance(end.core, Spark) else "primus::pong::5")
    end.core.write("held")
    if isinstance(end.core, Spark):
        assert end.host.sent()[0].startswith("primus::pong::")
        assert [type(event) for event in end.host.fresh()].count(ev.SparkHeartbeat) == 1
    else:
        assert end.host.sent() == []


def test_what_waits_keeps_its_order_in_both_directions(end: End) -> None:
    slow = {"slow"}

    def sometimes(packet: Packet) -> Any:
        return Later() if packet.data in slow else None

    for direction in ("incoming", "outgoing"):
        end.core.transform(direction, sometimes)
    for value in ("fast", "slow", "behind", "slow", "last"):
        assert end.core.write(value) is True
        end.receive(value)
    assert (end.host.sent(), heard(end.host)) == (["fast"], ["fast"])
    for expected in (["slow", "behind"], ["slow", "last"]):
        steps = [event.held for event in end.host.seen if isinstance(event, ev.StepHeld) and not event.held.over]
        for step in steps:
            step.resume(now=end.host.now)
            step.resume(now=end.host.now)  # once is enough
        assert (end.host.sent(), heard(end.host)) == (expected, expected)


@pytest.mark.parametrize("error", [ZeroDivisionError("oops"), KeyboardInterrupt(), TimeoutError("too long")], ids=repr)
def test_an_asynchronous_step_that_fails_drops_its_message_only(end: End, error: BaseException) -> None:
    end.core.transform("incoming", lambda packet: Later() if packet.data == "bad" else None)
    end.receive("bad")
    end.receive("good")
    held(end.host).fail(error, now=end.host.now)
    events = end.host.fresh()
    assert [event.data for event in events if isinstance(event, DATA)] == ["good"]
    [failure] = [event.error for event in events if isinstance(event, ev.SparkError | ev.ErrorOccurred)]
    assert isinstance(failure, TransformError)
    assert failure.data == "bad"


def test_a_value_that_cannot_be_encoded_after_a_wait_is_an_error_event(end: End) -> None:
    async def slow(packet: Packet) -> None:
        packet.data = {1}

    end.core.transform("outgoing", slow)
    assert end.core.write("x") is True
    step = held(end.host)
    assert isinstance(step.awaitable, Coroutine)
    with pytest.raises(StopIteration):
        step.awaitable.send(None)
    step.resume(now=end.host.now)
    assert [type(error) for error in failures(end.host)] == [EncodeError]
    assert end.host.sent() == []


@pytest.mark.parametrize("kind", ["spark", "client"])
def test_what_waits_to_be_handled_pauses_the_reading(kind: str) -> None:
    end = End(kind, held=1000)
    end.core.pause()
    end.core.resume()
    end.core.transform("incoming", later)
    end.host.commanded()
    for number in range(10):
        end.receive("x" * 50 + str(number))
    assert [type(command) for command in end.host.commanded()] == [cmd.Pause]
    end.core.pause()
    end.core.resume()
    assert end.host.commanded() == []  # the application does not want a pause, what waits still does
    for _ in range(6):
        held(end.host).resume(now=end.host.now)
    assert [type(command) for command in end.host.commanded()] == [cmd.Resume]
    assert len(heard(end.host)) == 6


@pytest.mark.parametrize("kind", ["spark", "client"])
def test_what_waits_to_be_sent_counts_against_the_limit(kind: str) -> None:
    end = End(kind, backlog=4096, burst=4096, queue=4096)
    end.core.transform("outgoing", later)
    assert [end.core.write(number) for number in range(6)] == [True] * 5 + [False]
    assert needs_drain(end.core)
    assert end.core.buffered > 4096
    for _ in range(5):
        held(end.host).resume(now=end.host.now)
    assert not needs_drain(end.core)
    assert end.host.told().count("drain") == 1
    assert end.host.sent() == [0, 1, 2, 3, 4]
    assert end.core.write(5) is True


# --- the end of a session ---


def test_the_last_value_is_sent_before_the_close(end: End) -> None:
    end.core.transform("outgoing", later)
    end.core.write("first")
    end.core.end("last")
    assert end.core.write("too late") is False
    assert "end" in end.host.told()
    assert [type(command) for command in end.host.commanded()] == []
    held(end.host).resume(now=end.host.now)
    held(end.host).resume(now=end.host.now)
    commands = end.host.commanded()
    sent = [command.data for command in commands if isinstance(command, cmd.SendMessage)]
    assert sent[:2] == ['"first"', '"last"']
    assert isinstance(commands[-1], cmd.Close)
    assert sent[2:] == ['"primus::server::close"'] * isinstance(end.core, Spark)


def test_what_waits_when_the_peer_leaves_an_ended_session_is_reported() -> None:
    wire = ServerWire()
    peer, spark = wire.connect()
    spark.transform("outgoing", later)
    spark.write("first")
    spark.end(reconnect=True)
    peer.send(close_frame(1000))
    [step] = [event.held for event in wire.all(ev.StepHeld)]
    step.resume(now=wire.now)
    wire.pump()
    assert "1 written values were not sent: the connection is gone" in wire.all(ev.Logged)[-1].text


def test_a_step_that_never_returns_holds_up_the_close_for_a_while_only(end: End) -> None:
    end.core.transform("outgoing", later)
    end.core.write("stuck")
    end.core.end("last")
    step = held(end.host)
    end.host.run(4.9)
    assert end.host.commanded() == []
    end.host.run(0.2)
    assert isinstance(end.host.commanded()[-1], cmd.Close)
    assert step.over
    step.resume(now=end.host.now)
    assert end.host.commanded() == []
    [said] = end.host.fresh()[-1:]  # `end` is the last event with a name of a spark and of a client
    assert isinstance(said, ev.Logged)
    assert "2 written values were not sent" in said.text


def test_what_arrived_before_the_peers_end_is_handled_before_it_is_told(end: End) -> None:
    end.core.transform("incoming", later)
    end.receive("one")
    end.receive("two")
    end.host.told()
    end.core.connection_lost(None, code=1000, now=end.host.now)
    assert end.host.told() == []
    held(end.host).resume(now=end.host.now)
    held(end.host).resume(now=end.host.now)
    told = [name for name in end.host.told() if name != "step held"]
    assert told[:2] == ["data", "data"]
    assert ("end" if isinstance(end.core, Spark) else "close") in told


@pytest.mark.parametrize("ends", [False, True])
def test_what_a_new_connection_brings_is_not_given_up_for_an_earlier_one(ends: bool) -> None:
    client = End("client")
    client.core.transform("incoming", later)
    client.receive("one")
    client.core.connection_lost(ConnectionLost("gone"), now=client.host.now)
    if ends:
        client.core.end()
        client.core.open()
    else:
        held(client.host).resume(now=client.host.now)
    client.host.run(3)
    client.core.opened(now=client.host.now)
    client.receive("two")
    client.host.run(4)
    held(client.host).resume(now=client.host.now)
    assert heard(client.host) == ["two"] if ends else ["one", "two"]


def test_a_value_that_has_no_room_after_its_wait_is_reported() -> None:
    host = ServerHost(limits=Limits(backlog=4096, burst=4096))
    spark = host.connect()
    spark.connection_blocked()
    spark.transform("outgoing", later)
    for _ in range(2):
        assert spark.write("x" * 5000)
    for _ in range(2):
        held(host).resume(now=host.now)
    [dropped] = [event for event in host.fresh() if isinstance(event, ev.SparkMessagesDropped)]
    assert dropped.payloads == (f'"{"x" * 5000}"',)


def test_what_arrived_before_the_peers_end_is_given_up_after_a_while(end: End) -> None:
    end.core.transform("incoming", later)
    end.receive("stuck")
    end.host.told()
    end.core.connection_lost(ConnectionLost("gone"), now=end.host.now)
    end.host.run(4.9)
    assert end.host.told() == []
    end.host.run(0.2)
    told = end.host.told()
    assert told[0] == "error"
    assert ("end" if isinstance(end.core, Spark) else "reconnect scheduled") in told


def test_an_end_while_what_arrived_before_the_peers_end_is_handled(end: End) -> None:
    end.core.transform("incoming", later)
    end.receive(1)
    step = held(end.host)
    end.core.connection_lost(now=end.host.now)
    end.core.end()
    end.host.told()
    step.resume(now=end.host.now)
    assert end.host.told() == []


def test_each_of_several_asynchronous_transforms_is_waited_for(end: End) -> None:
    end.core.transform("incoming", later)
    end.core.transform("incoming", lambda packet: Later())
    end.receive(1)
    for _ in range(2):
        assert heard(end.host) == []
        held(end.host).resume(now=end.host.now)
    assert heard(end.host) == [1]


async def slowly(packet: Packet) -> None:
    """An asynchronous transform that nobody awaits."""


@pytest.mark.parametrize("transform", [later, slowly])
def test_an_end_of_this_end_withholds_what_waits(end: End, transform: Any) -> None:
    end.core.transform("incoming", transform)
    end.receive("one")
    end.receive("two")
    step = held(end.host)
    end.core.end()
    step.resume(now=end.host.now)
    assert step.over
    assert heard(end.host) == []


@pytest.mark.parametrize("direction", ["incoming", "outgoing"])
def test_a_transform_may_end_its_own_session(end: End, direction: Any) -> None:
    def leave(packet: Packet) -> Any:
        end.core.end()
        return Later()

    end.core.transform(direction, leave)
    if direction == "incoming":
        end.receive("x")
    else:
        end.core.write("x")
    assert heard(end.host) == []
    assert not end.core.write("y")


def test_a_transform_may_write(end: End) -> None:
    def twice(packet: Packet) -> None:
        if packet.data == "x":
            packet.session.write("again")

    end.core.transform("outgoing", twice)
    end.core.write("x")
    assert end.host.sent() == ["x", "again"]


def test_a_lost_spark_says_what_it_did_not_send() -> None:
    end = End("spark")
    end.core.transform("outgoing", later)
    end.core.write("lost")
    end.core.connection_lost(now=end.host.now)
    assert [str(error)[:31] for error in failures(end.host)] == ["1 written values were not sent:"]


def test_a_client_transforms_what_it_queues_once() -> None:
    host = ClientHost()
    host.client.transform("outgoing", wrap)
    assert host.client.write("early")
    host.open()
    assert host.sent() == [["early"]]
    host.lose()
    assert host.client.write("between")
    host.run(0.5)
    host.open()
    assert host.sent() == [["between"]]


def test_what_a_client_writes_goes_on_over_a_reconnect() -> None:
    host = opened()
    host.client.transform("outgoing", later)
    host.client.write("x")
    host.lose()
    held(host).resume(now=host.now)
    host.run(0.5)
    host.open()
    assert host.sent() == ["x"]


def test_an_ended_client_transforms_nothing() -> None:
    host = ended()
    host.client.transform("outgoing", lambda packet: pytest.fail("it is over"))
    assert host.client.write("x") is False
    host.client.end("x")
