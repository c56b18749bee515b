"""Heartbeats in the dialects `primus6` and `primus`, and how either is found out (protocol 3.3 to 3.5)."""

from __future__ import annotations

import itertools
import json
from typing import Any

import pytest

from primus_proto import ClientState, ConfigError, Limits, ServerConfig
from primus_proto import commands as cmd
from primus_proto import events as ev
from primus_proto.http.spec import spec_response
from tests.unit.sessions import START, ClientHost, ServerHost, epoch_ms, opened

HERE = "_primuscb=1"  # the query of clients that tell nothing
ENDING = ["readyStateChange", "disconnection", "end"]


# --- what a spec teaches a client ---

PINGING, ANSWERING = "pinging", "answering"
VALUES: list[Any] = ["30000", None, True, -1, float("nan"), float("inf"), 10**400, 1e15, [], {"a": {"b": []}}]
SPECS: list[tuple[Any, str, float | None]] = [
    ({}, PINGING, 25.0),
    ({"timeout": 35000}, PINGING, 25.0),
    ({"timeout": 10**12}, PINGING, 25.0),
    ({"timeout": 30000}, PINGING, 20.0),
    ({"timeout": 20001}, PINGING, 10.001),
    ({"timeout": 20000}, PINGING, 10.0),
    ({"timeout": 8000.5}, PINGING, 4.00025),
    ({"timeout": 1}, PINGING, 1.0),
    ({"timeout": False}, PINGING, 25.0),
    ({"timeout": 0}, PINGING, 25.0),
    ({"pingInterval": 30000}, ANSWERING, 45.0),
    ({"pingInterval": 1000, "timeout": 8000}, ANSWERING, 1.5),
    ({"pingInterval": 1}, ANSWERING, 1.0),
    ({"pingInterval": 3_600_000}, ANSWERING, 5400.0),
    ({"pingInterval": False}, ANSWERING, None),
    ({"pingInterval": 0}, ANSWERING, None),
    *(({name: value}, PINGING, 25.0) for name in ("timeout", "pingInterval") for value in VALUES),
]


@pytest.mark.parametrize(("spec", "kind", "timer"), SPECS)
@pytest.mark.parametrize("early", [False, True])
def test_what_a_spec_teaches(spec: Any, kind: str, timer: float | None, early: bool) -> None:
    host = ClientHost()
    if early:
        host.pump()
        host.client.learn(spec, now=host.now)
    host.open()
    if not early:
        host.client.learn(spec, now=host.now)
    host.commanded()
    assert host.client.next_timeout() == (None if timer is None else pytest.approx(START + timer))
    host.receive("primus::ping::7")  # a server that pings is one of `primus`, whatever was said
    assert host.sent() == ["primus::pong::7"]
    if kind == ANSWERING:
        assert host.client.next_timeout() == (None if timer is None else pytest.approx(START + timer))
    else:
        assert host.client.next_timeout() == START + 45.0
    host.receive("primus::pong::7")
    assert host.told()[-1] == "message ignored"


@pytest.mark.parametrize("dialect", ["happn", "primus6", "primus"])
def test_a_dialect_that_was_named_is_not_unlearned(dialect: str) -> None:
    host = opened(dialect=dialect)
    before = host.client.next_timeout()
    for spec in ({"pingInterval": 1000}, {"timeout": 8000}, {"timeout": False}):
        host.client.learn(spec, now=host.now)
        assert host.client.next_timeout() == before
    host.receive("primus::ping::1")
    assert host.sent() == (["primus::pong::1"] if dialect == "primus" else [])
    assert host.told() == ([] if dialect == "primus" else ["message ignored"])


@pytest.mark.parametrize("spec", [{"timeout": 8000}, {"timeout": False}])
@pytest.mark.parametrize("ping", [3.0, 60.0, False])
def test_a_ping_that_was_set_wins(ping: Any, spec: Any) -> None:
    host = opened(ping=ping)
    host.client.learn(spec, now=host.now)
    assert host.client.next_timeout() == (START + ping if ping else None)


@pytest.mark.parametrize("ping_timeout", [3.0, 600.5, False])
def test_a_ping_timeout_that_was_set_wins(ping_timeout: Any) -> None:
    expected = START + ping_timeout if ping_timeout else None
    host = opened(ping_timeout=ping_timeout)
    host.client.learn({"pingInterval": 8000}, now=host.now)
    assert host.client.next_timeout() == expected
    assert opened(dialect="primus", ping_timeout=ping_timeout).client.next_timeout() == expected


def test_what_is_learned_late_counts_from_the_open() -> None:
    host = opened()
    host.run(9.0)
    host.client.learn({"timeout": 30000}, now=host.now)
    assert host.client.next_timeout() == START + 20.0
    host.run(11.0)
    assert host.sent() == [f"primus::ping::{epoch_ms(START + 20.0)}"]
    host.client.learn({"timeout": 4000}, now=host.now)
    host.run(2.0)
    assert len(host.sent()) == 1, "two seconds after the ping before"


def test_what_is_learned_when_a_ping_is_overdue_by_it_pings_at_once() -> None:
    host = opened()
    host.run(9.0)
    host.client.learn({"timeout": 4000}, now=host.now)
    host.run(0.0)
    assert len(host.sent()) == 1


def test_what_is_learned_between_two_connections_starts_no_timer() -> None:
    """An answer that is read in the same breath as the loss of the connection."""
    host = opened(min=1000.0)
    host.lose("gone")
    for spec in ({"pingInterval": 10000}, {"timeout": 8000}):
        host.client.learn(spec, now=host.now)
        assert host.client.next_timeout() == START + 1000.0


def test_what_is_learned_after_a_ping_of_the_servers_counts_from_that() -> None:
    host = opened()
    host.run(20.0)
    host.receive("primus::ping::1")
    host.run(1.0)
    host.client.learn({"timeout": 35000}, now=host.now)
    assert host.client.next_timeout() == START + 45.0


def test_a_ping_under_way_is_forgotten_where_the_server_pings() -> None:
    host = opened()
    host.run(25.0)
    host.receive("primus::ping::1")
    assert len(host.sent()) == 2
    host.run(44.999)
    assert host.told() == []
    assert host.sent() == []
    host.run(0.001)
    assert host.told()[0] == "offline"


@pytest.mark.parametrize("spec", [{"timeout": 35000}, {"timeout": False}])
@pytest.mark.parametrize("ping", [None, 20.0])
def test_what_was_learned_of_another_server_is_unlearned(spec: Any, ping: float | None) -> None:
    """And the ping counts from the open, whatever was believed at first."""
    host = opened(ping=ping)
    host.client.learn({"pingInterval": 30000}, now=host.now)
    host.lose()
    host.run(0.5)
    host.open()
    opened_at = host.now
    host.run(4.0)
    host.client.learn(spec, now=host.now)
    assert host.client.next_timeout() == opened_at + (ping or 25.0)
    host.run(21.0)
    host.receive(host.sent()[0].replace("ping", "pong"))
    host.run(9.0)
    assert host.client.state is ClientState.OPEN


@pytest.mark.parametrize("spec", [{}, {"timeout": None}, {"pingInterval": None, "timeout": 35000}])
def test_a_spec_that_does_not_tell_leaves_it_at_what_was_learned(spec: Any) -> None:
    host = opened()
    host.client.learn({"pingInterval": 10000}, now=host.now)
    host.client.learn(spec, now=host.now)
    assert host.client.next_timeout() == START + 15.0


def test_what_is_known_already_disturbs_no_ping_under_way() -> None:
    host = opened(ping=5.0)
    host.run(5.0)
    host.client.learn({"timeout": 35000}, now=host.now)
    assert host.client.next_timeout() == START + 15.0, "its pong is still waited for"
    host.run(10.0)
    assert host.told()[0] == "offline"


@pytest.mark.parametrize(
    ("spec", "sign", "timer"),
    [({"pingInterval": 10000}, "primus::ping::1", 15.0), ({"timeout": 10000}, "primus::pong::1", 5.0)],
)
def test_what_was_learned_holds_for_one_connection_after_one_that_bore_it_out(
    spec: Any, sign: str, timer: float
) -> None:
    """Else another server may be there by now, and may not be asked."""
    host = opened(max=0.5)
    host.client.learn(spec, now=host.now)
    host.receive(sign)
    for expected in (timer, 25.0):
        host.lose()
        host.run(0.5)
        host.open()
        assert host.client.next_timeout() == host.now + expected


def test_the_url_is_as_it_was_whatever_was_learned() -> None:
    host = opened()
    host.client.learn({"pingInterval": 10000}, now=host.now)
    host.receive("primus::ping::1")
    host.lose()
    host.run(0.5)
    (connect,) = [command for command in host.done if isinstance(command, cmd.Connect)][1:]
    assert "ping=25000" in connect.url
    host.open()
    assert host.client.next_timeout() == host.now + 15.0


# --- a client of `primus` ---


def test_each_ping_is_answered_by_its_own_value_at_once() -> None:
    host = opened(dialect="primus")
    for value in ("1795369060554", "007", "abc", "a:b::c", "", "1" * 64):
        host.run(10.0)
        host.receive(f"primus::ping::{value}")
        assert host.sent() == [f"primus::pong::{value}"]
        assert host.client.next_timeout() == host.now + 45.0
    host.receive("primus::ping::" + "1" * 65)
    assert host.sent() == []
    assert host.told() == ["message ignored"]


def test_without_a_ping_it_is_offline() -> None:
    host = opened(dialect="primus", ping_timeout=2.0)
    host.receive({"other": "data"})
    host.client.receive_ping(now=host.now)
    host.run(1.999)
    assert host.told() == ["data"]
    host.run(0.001)
    assert host.told() == ["offline", "rsc(end)", "close", "reconnect scheduled"]


def test_while_it_does_not_read_it_says_that_it_lives_and_holds_nothing_against_the_server() -> None:
    host = opened(dialect="primus")
    host.run(1.0)
    host.client.pause()
    host.run(299.0)
    said = [float(text.removeprefix("primus::pong::")) / 1000 for text in host.sent()]
    gaps = [later - earlier for earlier, later in itertools.pairwise(said)]
    assert said[0] == epoch_ms(START + 45.0) / 1000, "before the second ping, at 60 s"
    assert set(gaps) == {22.5}
    assert host.told() == []
    host.client.resume()
    host.run(59.999)
    assert host.told() == [], "the whole time again"
    host.run(0.001)
    assert host.told()[0] == "offline"


def test_learned_while_it_does_not_read() -> None:
    host = opened()
    host.client.pause()
    host.client.learn({"pingInterval": 10000}, now=host.now)
    host.run(100.0)
    assert host.told() == []
    assert len(host.sent()) == 12


# --- a spark of `primus6` ---


def test_every_message_is_a_heartbeat_and_sets_the_timer() -> None:
    host = ServerHost(dialect="primus6", timeout=35.0)
    spark = host.connect(HERE)
    assert (spark.dialect, spark.heartbeat_timeout) == ("primus6", 35.0)
    for value in ("x", {"a": 1}, "primus::ping::007", "primus::id::", "primus::strange"):
        host.run(34.0)
        host.receive(spark, value)
        assert host.fresh()[0] == ev.SparkHeartbeat(spark)
        assert host.server.next_timeout() == host.now + 35.0
    assert host.sent() == ["primus::pong::007", f"primus::id::{spark.id}"]
    host.run(34.0)
    spark.receive_message("not JSON", now=host.now)
    spark.receive_ping(now=host.now)
    assert host.told() == ["heartbeat", "error", "log", "heartbeat"]
    host.commanded()
    host.run(34.999)
    assert host.told() == []
    host.run(0.001)
    assert host.told() == ENDING
    assert host.commanded() == [cmd.Close(1000, "", spark)], "and nothing that tells it to stay away"


def test_every_ping_has_its_own_pong() -> None:
    host = ServerHost(dialect="primus6")
    spark = host.connect()
    for value in "123":
        host.ping(spark, value)
    assert host.sent() == ["primus::pong::1", "primus::pong::2", "primus::pong::3"]


def test_a_pause_excuses_and_then_the_time_runs() -> None:
    host = ServerHost(dialect="primus6")
    spark = host.connect(HERE)
    spark.pause()
    host.run(350.0)
    spark.resume()
    host.run(69.0)
    assert host.told() == []
    host.run(1.0)
    assert host.told() == ENDING


# --- a spark of `primus` ---


def test_it_is_pinged_and_has_until_the_next_ping_to_answer() -> None:
    host = ServerHost(dialect="primus")
    spark = host.connect(HERE)
    for count in (1, 2, 3):
        host.run(30.0)
        (text,) = host.sent()
        assert text == f"primus::ping::{epoch_ms(START + 30.0 * count)}"
        host.receive(spark, text.replace("ping", "pong"))
        assert host.told() == ["heartbeat"]
    host.receive(spark, "data is no sign of life")
    host.run(59.999)
    assert len(host.sent()) == 1
    assert host.told() == ["data"]
    host.run(0.001)
    assert host.told() == ENDING
    assert host.commanded() == [cmd.Close(1000, "", spark)]


def test_a_client_that_pings_it_speaks_another_dialect() -> None:
    host = ServerHost(dialect="primus")
    host.ping(host.connect())
    assert host.told() == ["message ignored"]
    assert host.sent() == []


def test_while_it_is_not_read_it_is_pinged_and_not_judged() -> None:
    host = ServerHost(dialect="primus")
    spark = host.connect(HERE)
    spark.pause()
    host.run(300.0)
    assert len(host.sent()) == 10
    spark.resume()
    host.run(30.0)
    assert spark.is_open
    host.run(30.0)
    assert not spark.is_open


# --- a spark that does not tell ---


def test_a_ping_decides() -> None:
    host = ServerHost()
    spark = host.connect(HERE)
    assert spark.dialect == "auto"
    assert host.server.next_timeout() == START + 35.0
    host.receive(spark, "no ping")
    spark.receive_ping(now=host.now)
    host.receive(spark, "primus::pong::1")
    assert host.told() == ["data", "heartbeat", "message ignored"]
    host.run(34.0)
    host.ping(spark, "1")
    assert (spark.dialect, spark.heartbeat_timeout) == ("primus6", 35.0)
    assert host.sent() == ["primus::pong::1"]
    assert host.told() == ["heartbeat"]
    assert host.server.next_timeout() == host.now + 35.0


def test_no_ping_decides_too() -> None:
    host = ServerHost(detect_after=5.0, ping_interval=10.0)
    spark = host.connect(HERE)
    host.run(5.0)
    assert spark.dialect == "primus"
    assert host.sent() == [f"primus::ping::{epoch_ms(START + 5.0)}"]
    assert host.server.next_timeout() == START + 15.0


def test_no_ping_decides_in_silence_where_the_server_does_not_ping() -> None:
    host = ServerHost(ping_interval=False)
    spark = host.connect(HERE)
    host.run(100.0)
    assert spark.dialect == "primus"
    assert host.sent() == []
    assert host.server.next_timeout() is None


def test_a_pause_puts_no_decision_off_and_is_remembered() -> None:
    host = ServerHost()
    spark = host.connect(HERE)
    spark.pause()
    host.run(200.0)
    assert spark.dialect == "primus"
    assert len(host.sent()) == 6
    assert spark.is_open


@pytest.mark.parametrize("query", ["ping=25000", "pong=1", "ping=", "ping=false", "pong=&pong="])
def test_ping_or_pong_in_the_url_is_happn(query: str) -> None:
    assert ServerHost().connect(query).dialect == "happn"


# --- options and specs ---


@pytest.mark.parametrize(
    ("options", "version", "member"),
    [
        ({}, "6.0.1", {"timeout": 35000}),
        ({"dialect": "happn", "timeout": False}, "6.0.1", {"timeout": 35000}),
        ({"dialect": "primus6"}, "6.1.0", {"timeout": 35000}),
        ({"dialect": "primus6", "timeout": 2.5}, "6.1.0", {"timeout": 2500}),
        ({"dialect": "primus6", "timeout": 0}, "6.1.0", {"timeout": False}),
        ({"dialect": "primus"}, "8.0.9", {"pingInterval": 30000}),
        ({"dialect": "primus", "ping_interval": 0.3}, "8.0.9", {"pingInterval": 300}),
        ({"dialect": "primus", "ping_interval": False}, "8.0.9", {"pingInterval": False}),
    ],
)
def test_the_spec_of_each_dialect(options: Any, version: str, member: dict[str, Any]) -> None:
    spec = json.loads(spec_response(ServerConfig(**options)).body)
    common = {"version": version, "pathname": "/primus", "parser": "json", "transformer": "websockets"}
    assert spec == {**common, **member}
    ((name, value),) = member.items()
    assert type(spec[name]) is type(value), "False is not 0"


@pytest.mark.parametrize("options", [{"detect_after": 0}, {"timeout": -1}, {"ping_interval": "x"}, {"dialect": "8"}])
def test_options_that_cannot_be(options: Any) -> None:
    with pytest.raises(ConfigError):
        ServerConfig(**options)


def test_limits_bound_what_a_server_asks_for() -> None:
    host = opened(limits=Limits(heartbeat_min=4.0))
    host.client.learn({"timeout": 10}, now=host.now)
    assert host.client.next_timeout() == START + 4.0
