"""Transforms of a server: for each spark, or shared by all in a broadcast."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from primus_proto import DROP, EncodeError, LocalProtocolError, Packet, SparkState
from primus_proto.session.messages import Message
from tests.unit.session.test_transforms import heard, later, rename, wrap
from tests.unit.session.test_transforms_end import slowly
from tests.unit.sessions import ServerHost, opened


def test_a_transform_of_the_server_applies_to_open_sparks_and_new_ones_before_their_own() -> None:
    host = ServerHost()
    old = host.connect()
    old.transform("outgoing", wrap)
    host.server.transform("outgoing", rename)
    new = host.connect()
    host.commanded()
    for spark in (old, new):
        spark.write("x")
    assert host.sent() == [[{"was": "x"}], {"was": "x"}]
    host.server.transform("incoming", wrap)
    host.receive(new, "y")
    assert heard(host) == [["y"]]


def test_a_broadcast_is_transformed_for_each_spark_from_a_copy() -> None:
    host = ServerHost()
    sparks = [host.connect() for _ in range(3)]
    host.commanded()

    def number(packet: Packet) -> None:
        packet.data["to"].append(sparks.index(packet.session))

    host.server.transform("outgoing", number)
    value: dict[str, list[int]] = {"to": []}
    assert host.server.write(value, exclude=[sparks[1]]) == 2
    assert host.sent() == [{"to": [0]}, {"to": [2]}]
    host.server.close(value)
    assert [sent for sent in host.sent() if isinstance(sent, dict)] == [{"to": [0]}, {"to": [1]}, {"to": [2]}]
    assert value == {"to": []}


@pytest.mark.parametrize("own", [False, True])
def test_a_shared_transform_is_called_once_for_a_broadcast_and_the_value_encoded_once(own: bool) -> None:
    host = ServerHost()
    sparks = [host.connect() for _ in range(3)]
    host.commanded()
    seen: list[Any] = []

    def stamp(packet: Packet) -> None:
        seen.append(packet.session)
        packet.data["stamp"] = len(seen)

    host.server.transform("outgoing", stamp, shared=True)
    if own:
        sparks[0].transform("outgoing", wrap)
    value: dict[str, int] = {}
    assert host.server.write(value) == 3
    assert host.sent() == [[{"stamp": 1}] if own else {"stamp": 1}, {"stamp": 1}, {"stamp": 1}]
    assert (seen, value) == ([None], {})
    sparks[1].write({})
    assert seen == [None, sparks[1]]


@pytest.mark.parametrize(
    ("transform", "count"),
    [(lambda packet: DROP, 2), (lambda packet: 1 / 0, 0), (later, 0), (slowly, 0)],
    ids=["drop", "fail", "async", "coroutine function"],
)
def test_a_shared_transform_that_drops_or_fails_drops_the_broadcast(transform: Callable[..., Any], count: int) -> None:
    host = ServerHost()
    for _ in range(2):
        host.connect()
    host.commanded()
    host.server.transform("outgoing", transform, shared=True)
    host.told()
    assert host.server.write("x") == count
    assert host.sent() == []
    assert host.told() == ["log"] * (count == 0)


def test_what_one_sparks_transform_makes_of_a_broadcast_does_not_keep_it_from_the_others() -> None:
    host = ServerHost()
    sparks = [host.connect() for _ in range(3)]
    host.commanded()
    sparks[1].transform("outgoing", lambda packet: setattr(packet, "data", {1}))
    host.told()
    assert host.server.write("x") == 2
    assert host.sent() == ["x", "x"]
    assert host.told() == ["error", "log"]
    with pytest.raises(EncodeError):
        host.server.write({1}, to=sparks[:1])


def test_a_value_that_cannot_be_copied_is_refused() -> None:
    class Single:
        def __deepcopy__(self, memo: object) -> Any:
            raise TypeError("there is only one")

    host = ServerHost()
    host.connect()
    host.server.transform("outgoing", wrap)
    with pytest.raises(EncodeError, match="copy"):
        host.server.write(Single())


@pytest.mark.parametrize(("direction", "function"), [("in", wrap), (None, wrap), ("incoming", 5), ("incoming", None)])
def test_mistakes_are_named(direction: Any, function: Any) -> None:
    host = ServerHost()
    spark = host.connect()
    for each in (host.server, spark, opened().client):
        with pytest.raises(LocalProtocolError, match="transform"):
            each.transform(direction, function)
    assert spark.state is SparkState.OPEN


def test_a_broadcast_to_a_spark_that_ended_before_there_were_transforms() -> None:
    host = ServerHost()
    spark = host.connect()
    spark.end()
    host.server.transform("outgoing", wrap)
    assert host.server.write("x", to=[spark]) == 0


def test_messages_that_were_encoded_elsewhere_keep_their_order() -> None:
    """Those of a binding with threads, in which a transform may be added meanwhile."""
    host = opened()
    passed = [host.client.has_outgoing]
    host.client.transform("outgoing", wrap)
    assert [*passed, host.client.has_outgoing] == [False, True]
    assert host.client.write(1)
    assert host.client.write_message(Message("2"))
    assert host.sent() == [[1], 2]
    server = ServerHost()
    spark = server.connect()
    server.commanded()
    spark.transform("outgoing", wrap)
    spark.end_with(Message("2"), reconnect=True)
    assert server.sent() == [2]
