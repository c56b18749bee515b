"""Long texts that a spark delivers undecoded, for a binding whose values are only taken."""

from __future__ import annotations

import pytest

from primus_proto import NOTHING, Spark
from primus_proto import events as ev
from tests.unit.sessions import ServerHost

LONG = "[" + ",".join("0" * 1000) + "]"


@pytest.mark.parametrize("dialect", ["happn", "primus6"])
def test_long_texts_keep_their_place_and_are_decoded_when_they_are_taken(dialect: str) -> None:
    host = ServerHost(dialect=dialect)
    spark = host.connect()
    spark.takes_text = print
    for message in ("1", LONG, f'"{LONG}"', LONG[:-1]):
        spark.receive_message(message, now=host.now)
    kinds = [ev.SparkData, ev.Delivery, ev.SparkData, ev.Delivery]
    events = [event for event in host.server.poll(now=host.now) if type(event) in kinds]
    assert [type(event) for event in events] == kinds
    assert spark.decode_late(LONG) == [0] * 1000
    assert spark.decode_late(LONG[:-1]) is NOTHING
    assert host.told() == ["error", "log"]


def test_after_the_end_none_is_delivered() -> None:
    host = ServerHost()
    spark: Spark = host.connect()
    spark.takes_text = print
    spark.end()
    host.told()
    spark.receive_message(LONG, now=host.now)
    assert host.told() == []
