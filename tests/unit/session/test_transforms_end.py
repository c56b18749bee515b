"""Transforms and the end of a session: what is still handled or sent, and what is left behind."""

from __future__ import annotations

from typing import Any

import pytest

from primus_proto import ConnectionLost, Limits, Packet, Spark
from primus_proto import commands as cmd
from primus_proto import events as ev
from tests.unit.session.test_transforms import End, Later, failures, heard, held, later, wrap
from tests.unit.sessions import ClientHost, ServerHost, ended, opened
from tests.unit.wires import ServerWire, close_frame


@pytest.fixture(params=["spark", "client"])
def end(request: pytest.FixtureRequest) -> End:
    return End(request.param)


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
