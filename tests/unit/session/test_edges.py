"""The edges of both sessions: what lies exactly at a limit, what is left at its default, what an event carries.

Each of these was a change to the code that no other test noticed (`make mutants`).
"""

from __future__ import annotations

import random
from typing import Any

import pytest

from primus_proto import (
    Client,
    ClientConfig,
    CloseReason,
    ConnectError,
    ConnectionLost,
    EncodeError,
    Limits,
    LocalProtocolError,
    Server,
)
from primus_proto import commands as cmd
from primus_proto import events as ev
from tests.unit.sessions import (
    START,
    ClientHost,
    ServerHost,
    SlowPipe,
    commanded,
    needs_drain,
    opened,
    polled,
    request,
    slow,
    story,
)

AT = Limits(queue=100, backlog=100)


class Fussy:
    """A parser that refuses the protocol's own strings."""

    name = "fussy"

    binary = False

    def encode(self, value: Any) -> str:
        if str(value).startswith("primus::"):
            raise EncodeError(f"not {value}")
        return str(value)

    def decode(self, data: str | bytes) -> Any:
        return data


# --- defaults ---


def test_without_an_offset_the_drivers_clock_is_unix_time() -> None:
    client = Client(ClientConfig(url="http://server"), rng=random.Random(1))
    polled(client, now=0.0)
    client.opened(now=0.0)
    client.handle_timeout(now=25.0)
    assert commanded(client, now=25.0) == [cmd.SendMessage('"primus::ping::25000"')]
    server = Server(rng=random.Random(1))
    spark = server.open_spark(request(), now=0.0)
    server.handle_timeout(now=30.0)
    assert commanded(server, now=30.0) == [cmd.SendMessage('"primus::pong::30000"', spark)]


def test_a_context_is_nothing_until_a_binding_makes_it_something() -> None:
    assert ClientHost().client.context is None
    assert ServerHost().connect().context is None


# --- exactly at a limit ---


def test_a_client_takes_what_fits_up_to_the_limit_and_beyond_it_by_one_message() -> None:
    host, pipe = slow(limits=AT)
    assert host.client.write("x" * 98)
    assert pipe.buffered == 100
    assert host.client.write("y")
    assert not host.client.write("z")


def test_half_of_a_clients_limit_is_not_crowded() -> None:
    host, pipe = slow(limits=AT)
    host.client.write("x" * 48)
    assert (needs_drain(host.client), pipe.high) == (False, False)
    host.client.write("y")
    assert (needs_drain(host.client), pipe.high) == (True, True)
    pipe.take()
    host.client.drained()
    assert (needs_drain(host.client), pipe.high) == (False, False)


def test_a_client_at_its_limit_still_pings_and_beyond_it_later() -> None:
    for size, kept in ((100, False), (101, True)):
        host, pipe = slow(limits=AT)
        host.client.write("x" * (size - 2))
        host.run(25.0)
        assert len(pipe.payloads()) == 1 + (not kept)


def test_half_of_a_sparks_limit_is_not_crowded() -> None:
    host = ServerHost(limits=AT)
    for size, full in ((50, False), (51, True)):
        spark = host.connect(pipe=SlowPipe())
        spark.write("x" * (size - 2))
        assert needs_drain(spark) is full


def test_a_last_value_goes_out_from_a_backlog_at_the_limit() -> None:
    host = ServerHost(limits=AT)
    pipe = SlowPipe()
    spark = host.connect(pipe=pipe)
    spark.write("x" * 98)
    spark.end("bye")
    assert pipe.payloads()[1:] == ['"bye"', '"primus::server::close"']


def test_a_spark_at_its_limit_still_answers_and_beyond_it_later() -> None:
    host = ServerHost(limits=AT)
    for size, kept in ((100, False), (101, True)):
        pipe = SlowPipe()
        spark = host.connect(pipe=pipe)
        spark.write("x" * (size - 2))
        host.ping(spark)
        assert len(pipe.payloads()) == 1 + (not kept)


@pytest.mark.parametrize(("timeout", "ping"), [(20000, 10.0), (20500, 10.5), (21000, 11.0)])
def test_the_ping_for_a_timeout_around_twenty_seconds(timeout: int, ping: float) -> None:
    host = opened()
    host.client.learn({"timeout": timeout}, now=host.now)
    assert host.client.next_timeout() == START + ping


# --- what events and reasons carry ---


def test_an_event_of_data_knows_its_size() -> None:
    host = ServerHost()
    host.receive(host.connect(), "four")
    (event,) = [event for event in host.seen if isinstance(event, ev.SparkData)]
    assert event.size == 6
    client = opened()
    client.receive("four")
    (received,) = [event for event in client.seen if isinstance(event, ev.DataReceived)]
    assert received.size == 6


@pytest.mark.parametrize("how", ["message", "nothing"])
def test_what_a_lost_client_tells_of_it(how: str) -> None:
    host = opened()
    if how == "message":
        host.lose("reset by peer", code=1001)
    else:
        host.lose(code=1001)
    reason = host.client.close_reason
    assert reason is not None
    assert (reason.kind, reason.code, reason.reason) == ("lost", 1001, "")
    assert isinstance(reason.error, ConnectionLost)
    assert str(reason.error) == ("reset by peer" if how == "message" else "the connection was lost (code 1001)")
    assert reason.error.code == 1001
    closed, scheduled = host.fresh()[1:]
    assert closed == ev.Closed(reason)
    assert isinstance(scheduled, ev.ReconnectScheduled)
    assert scheduled.error is reason.error


def test_what_a_lost_spark_tells_of_it() -> None:
    host = ServerHost()
    spark = host.connect()
    spark.connection_lost("reset by peer", code=1001, now=host.now)
    assert spark.close_reason is not None
    assert spark.close_reason.reason == ""
    error = spark.close_reason.error
    assert isinstance(error, ConnectionLost)
    assert (str(error), error.code) == ("reset by peer", 1001)


def test_what_a_failed_first_connect_tells_of_it() -> None:
    host = ClientHost(retries=1)
    host.pump()
    host.lose()
    error, _, scheduled = host.fresh()[-3:]
    assert isinstance(error, ev.ErrorOccurred)
    assert isinstance(scheduled, ev.ReconnectScheduled)
    assert str(error.error) == "the connection could not be opened"
    assert scheduled.error is error.error
    host.run(0.5)
    host.lose("refused")
    failed, ended = host.fresh()[-2:]
    assert isinstance(failed, ev.ReconnectFailed)
    assert str(failed.error) == "refused"
    assert ended == ev.Ended(CloseReason("retries", 1006, "", failed.error))


def test_what_a_first_connect_that_took_too_long_tells_of_it() -> None:
    host = ClientHost(timeout=3.0)
    host.run(3.0)
    (scheduled,) = [event for event in host.seen if isinstance(event, ev.ReconnectScheduled)]
    assert isinstance(scheduled.error, ConnectError)
    assert str(scheduled.error) == "no answer in time"
    host = ClientHost(timeout=3.0, strategy=False)
    host.run(3.0)
    ended = host.seen[-1]
    assert isinstance(ended, ev.Ended)
    assert str(ended.reason) == "timeout (1006): no answer in time"
    assert ended.reason == CloseReason("timeout", 1006, "", ended.reason.error)


def test_what_cannot_be_said_is_an_error_with_its_cause() -> None:
    client = opened(parser=Fussy())
    client.run(25.0)
    (event,) = client.fresh()
    assert isinstance(event, ev.ErrorOccurred)
    assert str(event.error).startswith("not primus::ping::")
    host = ServerHost(parser=Fussy())
    spark = host.connect()
    spark.receive_message("primus::id::", now=host.now)
    told, logged = host.fresh()
    assert isinstance(logged, ev.Logged)
    assert isinstance(told, ev.SparkError)
    assert told.spark is spark
    assert str(told.error) == f"not primus::id::{spark.id}"


def test_whose_backlog_it_was() -> None:
    host = ServerHost(limits=AT)
    spark = host.connect(pipe=SlowPipe())
    spark.write("x" * 200)
    spark.write("y")
    first = host.fresh()[0]
    assert isinstance(first, ev.SparkError)
    assert first.spark is spark
    assert spark.close_reason is not None
    assert first.error is spark.close_reason.error


def test_the_words_for_an_id_that_cannot_be_asked_for() -> None:
    with pytest.raises(LocalProtocolError) as caught:
        ClientHost().client.request_id()
    assert str(caught.value) == "the id can only be asked for while the connection is open"


# --- what is remembered, and what not ---


def test_a_client_that_gave_up_after_it_was_back_online_is_not_revived_again() -> None:
    """Only one that *offline* has ended comes back by *online* (protocol 4.4)."""
    host = opened(retries=1)
    host.client.network_offline()
    host.client.network_online()
    host.run(0.5)
    host.lose()
    assert host.told()[-1] == "end"
    host.client.network_offline()
    host.client.network_online()
    host.run(60.0)
    assert host.told() == ["offline", "online"]


def test_what_was_learned_and_never_borne_out_is_forgotten() -> None:
    host = opened()
    host.client.learn({"pingInterval": 10000}, now=host.now)
    host.lose()
    host.run(0.5)
    host.open()
    assert host.client.next_timeout() == host.now + 25.0


def test_a_ping_that_came_during_a_pause_leaves_its_excuse() -> None:
    """Another one may lie unread behind it."""
    host = opened(dialect="primus", ping_timeout=10.0)
    host.client.pause()
    host.run(1.0)
    host.receive("primus::ping::1")
    host.client.resume()
    host.run(10.0)
    assert host.told() == []
    host.run(10.0)
    assert host.told()[0] == "offline"


def test_a_heartbeat_that_came_during_a_pause_leaves_its_excuse() -> None:
    host = ServerHost()
    spark = host.connect()
    spark.pause()
    host.ping(spark)
    host.fresh()
    host.run(30.0)
    assert host.told() == []
    spark.resume()
    host.run(60.0)
    assert host.told() == ["heartbeat-skipped"]


# --- a server that is closing ---


@pytest.mark.parametrize("reconnect", [False, True])
def test_who_comes_while_it_closes_is_told_what_the_others_are(reconnect: bool) -> None:
    host = ServerHost()
    host.server.close("bye", reconnect=reconnect, timeout=5.0)
    spark = host.server.open_spark(request(), now=host.now)
    assert host.sent() == ["bye", *([] if reconnect else ["primus::server::close"])]
    assert story(host.fresh()) == ["connection", "readyStateChange", "disconnection", "end", "close"]
    assert not spark.is_open


def test_a_close_at_once_needs_no_timer() -> None:
    host = ServerHost()
    host.server.watch_busy(lambda: True)
    host.server.close()
    host.pump()
    assert host.server.next_timeout() is None


# --- an end amid the delivery of events ---


def test_a_client_that_ends_amid_events_gets_no_more_data() -> None:
    host = opened()
    for value in (1, 2, 3):
        host.client.receive_message(str(value), now=host.now)
    items = host.client.poll(now=host.now)
    assert next(items) == ev.DataReceived(1)
    with pytest.raises(EncodeError):
        host.client.end("primus::no")
    assert next(items) == ev.DataReceived(2)
    host.client.end()
    host.client.open()  # the data is withheld all the same: it belongs to the session before
    assert story(item for item in items if isinstance(item, ev.Event)) == ["rsc(end)", "close", "end", "rsc(opening)"]


def test_ending_what_its_peer_has_ended_withholds_data_too() -> None:
    clients, server = opened(strategy=False), ServerHost()
    spark = server.connect()
    clients.client.receive_message("1", now=clients.now)
    clients.client.connection_lost(now=clients.now)
    spark.receive_message("1", now=server.now)
    spark.connection_lost(now=server.now)
    clients.client.end()
    spark.end()
    server.pump()
    clients.pump()
    assert not [event for event in clients.seen + server.seen if isinstance(event, ev.DataReceived | ev.SparkData)]


@pytest.mark.parametrize("how", ["spark", "server"])
def test_a_spark_that_is_ended_amid_events_gets_no_more_data(how: str) -> None:
    host = ServerHost()
    spark, other = host.connect(), host.connect()
    for value in (1, 2):
        spark.receive_message(str(value), now=host.now)
        other.receive_message(str(value), now=host.now)
    items = host.server.poll(now=host.now)
    assert [next(items), next(items)] == [ev.SparkData(spark, 1), ev.SparkData(other, 1)]
    with pytest.raises(EncodeError):
        spark.end("primus::no")
    if how == "spark":
        spark.end("bye", reconnect=True)
    else:
        host.server.close()
    left = [item.spark for item in items if isinstance(item, ev.SparkData)]
    assert left == ([other] if how == "spark" else [])
