"""Transforms: what they may do to a message, in which order, and what is left of one that fails or never returns."""

from __future__ import annotations

from asyncio import CancelledError
from collections.abc import Coroutine
from enum import Enum
from typing import Any

import pytest

from primus_proto import (
    DROP,
    EncodeError,
    Limits,
    Packet,
    Spark,
    TransformError,
)
from primus_proto import commands as cmd
from primus_proto import events as ev
from primus_proto.session.work import Held
from tests.unit.sessions import Host, ServerHost, needs_drain, opened

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
