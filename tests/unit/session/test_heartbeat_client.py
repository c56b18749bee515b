"""A client's heartbeat in each dialect (protocol 3.1 and 3.4), and what a spec teaches it (3.5)."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from primus_proto import Limits
from primus_proto import commands as cmd
from tests.unit.sessions import LOST, START, ClientHost, epoch_ms, opened


def ping_of(host: ClientHost) -> str:
    """The value of the one ping that was sent."""
    (text,) = host.sent()
    assert text.startswith("primus::ping::")
    return str(text.removeprefix("primus::ping::"))


def reopen(host: ClientHost) -> None:
    """The connection is lost, and the first reconnect attempt succeeds."""
    host.lose()
    host.run(0.5)
    host.open()
    host.told()
    host.commanded()


# --- happn and primus6: the client pings ---


def test_a_ping_is_sent_after_ping_seconds_with_the_unix_time_in_milliseconds() -> None:
    host = opened()
    assert host.client.next_timeout() == START + 25.0
    host.client.handle_timeout(now=host.now + 24.999)
    assert host.sent() == []
    host.run(25.0)
    assert ping_of(host) == str(epoch_ms(START + 25.0))
    assert host.client.next_timeout() == START + 35.0


def test_the_pong_restarts_the_timer_and_sets_the_latency_once() -> None:
    host = opened()
    host.run(25.0)
    value = ping_of(host)
    host.run(0.25)
    for _ in range(2):
        host.receive(f"primus::pong::{value}")
        assert host.client.latency == 0.25
        assert host.client.next_timeout() == host.now + 25.0
        host.run(5.0)
    assert host.told() == []


@pytest.mark.parametrize("outstanding", [False, True])
def test_any_pong_restarts_the_timer_but_only_the_right_one_sets_the_latency(outstanding: bool) -> None:
    host = opened()
    host.run(28.0 if outstanding else 10.0)
    pings = len(host.sent())
    for _ in range(20):
        host.run(1.7)
        host.receive("primus::pong::whatever:it::is")
        assert host.client.next_timeout() == host.now + 25.0
    assert host.client.latency == 0.0
    assert (pings, host.sent()) == (int(outstanding), [])


def test_data_is_no_sign_of_life() -> None:
    host = opened()
    for _ in range(34):
        host.run(1.0)
        host.receive("data")
    assert "offline" not in host.told()
    host.run(1.0)
    assert host.told() == ["offline", *LOST]


@pytest.mark.parametrize("off", [False, 0])
def test_ping_off_means_no_timer(off: Any) -> None:
    host = opened(ping=off)
    assert host.client.next_timeout() is None
    host.receive("primus::pong::1")
    assert host.client.next_timeout() is None


@pytest.mark.parametrize("after", [20.0, 26.0])
def test_each_connection_has_a_heartbeat_of_its_own(after: float) -> None:
    host = opened()
    host.run(after)
    host.lose()
    assert host.client.next_timeout() == host.now + 0.5
    host.run(0.5)
    host.open()
    assert host.client.next_timeout() == host.now + 25.0


# --- while the application does not read ---


@pytest.mark.parametrize(
    ("paused", "resumed", "pings", "offline"),
    [(0.0, 1000.0, 41, 1035.0), (25.0, 34.999, 2, 45.0), (0.0, 20.0, 1, 35.0)],
)
def test_while_paused_pings_are_sent_and_a_pause_since_the_last_ping_excuses(
    paused: float, resumed: float, pings: int, offline: float
) -> None:
    host = opened()
    host.run(paused)
    host.client.pause()
    host.run(resumed - paused)
    host.client.resume()
    host.run(offline - resumed - 0.001)
    assert host.told() == (["log"] if resumed > 900 else [])
    assert len(host.sent()) == pings
    host.run(0.001)
    assert host.told()[0] == "offline"


@pytest.mark.parametrize("proven", [False, True])
def test_a_pause_lasts_over_a_reconnect(proven: bool) -> None:
    host = opened()
    if proven:
        host.receive("primus::pong::1")
    host.client.pause()
    reopen(host)
    host.run(1000.0)
    assert len(host.sent()) == 40
    assert host.told() == ["log"]
    host.client.resume()
    host.run(100.0)
    assert "offline" in host.told()


@pytest.mark.parametrize(
    ("every", "read", "ping"), [(25.0, 20.0, 25.0), (25.0, 24.0, 25.0), (25.0, 24.5, 25.5), (0.5, 0.9, 1.15)]
)
def test_the_ping_after_a_pause_does_not_follow_a_pong_too_closely(every: float, read: float, ping: float) -> None:
    """It counts from the last ping, but a happn server would not answer it within a second of its last pong."""
    host = opened(ping=every)
    host.client.pause()
    host.run(read)
    host.client.resume()
    host.receive("primus::pong::1")
    host.sent()
    host.run(ping - read - 0.001)
    assert host.sent() == []
    host.run(0.002)
    ping_of(host)


@pytest.mark.parametrize("outstanding", [False, True])
@pytest.mark.parametrize("late", [0.0, 0.001, 20.0])
def test_a_pong_that_comes_when_a_timer_is_overdue_may_have_waited(outstanding: bool, late: float) -> None:
    """So the next ping does not count from it. Exactly due is not overdue."""
    host = opened()
    if outstanding:
        host.run(25.0)
        ping_of(host)
    host.now = START + (35.0 if outstanding else 25.0) + late
    due = max(START + (50.0 if outstanding else 25.0), host.now + 1.0) if late else host.now + 25.0
    for _ in range(2):
        host.receive("primus::pong::1")
        assert host.client.next_timeout() == due
    host.run(due - host.now)
    ping_of(host)
    host.receive("primus::pong::2")
    assert host.client.next_timeout() == host.now + 25.0, "that one did not wait"


# --- primus: the server pings ---


def test_each_ping_of_the_server_is_answered_at_once_with_its_value() -> None:
    host = opened(dialect="primus")
    for value in ("1795369060554", "007", "abc", "a:b::c", "", "1" * 64):
        host.run(10.0)
        host.receive(f"primus::ping::{value}")
        assert host.sent() == [f"primus::pong::{value}"]
        assert host.client.next_timeout() == host.now + 45.0
    host.receive("primus::ping::" + "1" * 65)
    assert host.sent() == []
    assert host.told() == ["message ignored"]


def test_of_a_flood_of_pings_a_hundred_are_answered_in_a_second_and_then_the_last() -> None:
    host = opened(dialect="primus")
    for number in range(5000):
        host.receive(f"primus::ping::{number}")
    assert len(host.sent()) == 100
    host.run(1.0)
    assert host.sent() == ["primus::pong::4999"]


def test_replies_to_a_lost_connection_do_not_reach_the_next() -> None:
    host = opened(dialect="primus", limits=Limits(replies=1))
    for number in range(3):
        host.receive(f"primus::ping::{number}")
    host.lose()
    host.run(0.5)
    host.client.opened(now=host.now)
    host.sent()
    host.run(2.0)
    assert host.sent() == []


def test_without_a_ping_of_the_server_the_client_is_offline() -> None:
    host = opened(dialect="primus", ping_timeout=2.0)
    host.receive({"other": "data"})
    host.run(1.999)
    assert host.told() == ["data"]
    host.run(0.001)
    assert host.told() == ["offline", *LOST]


def test_while_paused_a_client_of_primus_says_that_it_lives() -> None:
    host = opened(dialect="primus")
    host.run(1.0)
    host.client.pause()
    host.run(299.0)
    said = [float(text.removeprefix("primus::pong::")) / 1000 for text in host.sent()]
    assert said[0] == epoch_ms(START + 45.0) / 1000, "before the second ping, at 60 s"
    assert {later - earlier for earlier, later in itertools.pairwise(said)} == {22.5}
    assert host.told() == ["log"]
    host.client.resume()
    host.run(59.999)
    assert host.told() == [], "the whole time again"
    host.run(0.001)
    assert host.told()[0] == "offline"


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


# --- what a spec teaches ---

PINGING, ANSWERING = "pinging", "answering"
VALUES: list[Any] = ["30000", None, True, -1, float("nan"), float("inf"), 10**400, 1e15, {"a": {"b": []}}]
SPECS: list[tuple[Any, str, float | None]] = [
    *[(None, PINGING, 25.0), ([], PINGING, 25.0), ("pingInterval", PINGING, 25.0), ({}, PINGING, 25.0)],
    ({"timeout": 10**12}, PINGING, 25.0),
    ({"timeout": 30000}, PINGING, 20.0),
    ({"timeout": 20001}, PINGING, 10.001),
    ({"timeout": 20000}, PINGING, 10.0),
    ({"timeout": 8000.5}, PINGING, 4.00025),
    ({"timeout": 1}, PINGING, 1.0),
    ({"timeout": False}, PINGING, 25.0),
    ({"pingInterval": 30000}, ANSWERING, 45.0),
    ({"pingInterval": 1000, "timeout": 8000}, ANSWERING, 1.5),
    ({"pingInterval": 1}, ANSWERING, 1.0),
    ({"pingInterval": False}, ANSWERING, None),
    ({"pingInterval": 0}, ANSWERING, None),
    *(({name: value}, PINGING, 25.0) for name in ("timeout", "pingInterval") for value in VALUES),
]


@pytest.mark.parametrize(("spec", "kind", "timer"), SPECS)
@pytest.mark.parametrize("early", [False, True])
def test_a_spec_decides_who_pings_and_when(spec: Any, kind: str, timer: float | None, early: bool) -> None:
    host = ClientHost()
    if early:
        host.pump()
        host.client.learn(spec, now=host.now)
    host.open()
    if not early:
        host.client.learn(spec, now=host.now)
    host.commanded()
    assert host.client.next_timeout() == (None if timer is None else pytest.approx(START + timer))
    host.receive("primus::ping::7")  # a server that pings is one of `primus`, whatever its spec says
    assert host.sent() == ["primus::pong::7"]
    if kind == PINGING:
        assert host.client.next_timeout() == START + 45.0
    else:
        assert host.client.next_timeout() == (None if timer is None else pytest.approx(START + timer))
    host.receive("primus::pong::7")
    assert host.told()[-1] == "message ignored"


@pytest.mark.parametrize("dialect", ["happn", "primus6", "primus"])
def test_a_named_dialect_is_kept_whatever_comes(dialect: str) -> None:
    host = opened(dialect=dialect)
    before = host.client.next_timeout()
    for spec in ({"pingInterval": 1000}, {"timeout": 8000}, {"timeout": False}):
        host.client.learn(spec, now=host.now)
        assert host.client.next_timeout() == before
    host.receive("primus::ping::1")
    assert host.sent() == (["primus::pong::1"] if dialect == "primus" else [])
    assert host.told() == ([] if dialect == "primus" else ["message ignored"])


@pytest.mark.parametrize(
    ("options", "spec"),
    [
        *[({"ping": ping}, {"timeout": told}) for ping in (3.0, 60.0, False) for told in (8000, False)],
        *[({"ping_timeout": seconds}, {"pingInterval": 8000}) for seconds in (3.0, 600.5, False)],
        *[({"ping_timeout": seconds, "dialect": "primus"}, {}) for seconds in (3.0, False)],
        ({"limits": Limits(heartbeat_min=4.0)}, {"timeout": 10}),
    ],
)
def test_what_the_user_set_wins_over_the_spec(options: dict[str, Any], spec: Any) -> None:
    host = opened(**options)
    host.client.learn(spec, now=host.now)
    seconds = options.get("ping", options.get("ping_timeout", 4.0))
    assert host.client.next_timeout() == (START + seconds if seconds else None)


def test_a_spec_that_comes_late_counts_from_the_open() -> None:
    host = opened()
    host.run(9.0)
    host.client.learn({"timeout": 30000}, now=host.now)
    assert host.client.next_timeout() == START + 20.0
    host.run(11.0)
    assert ping_of(host) == str(epoch_ms(START + 20.0))
    host.client.learn({"timeout": 4000}, now=host.now)
    host.run(2.0)
    assert len(host.sent()) == 1, "two seconds after the ping before"
    host.run(1.5)
    host.client.learn({"timeout": 2000}, now=host.now)
    host.run(0.0)
    assert len(host.sent()) == 1, "overdue"


def test_a_spec_that_comes_between_two_connections_starts_no_timer() -> None:
    host = opened(min=300.0)
    host.lose("gone")
    for spec in ({"pingInterval": 10000}, {"timeout": 8000}):
        host.client.learn(spec, now=host.now)
        assert host.client.next_timeout() == START + 300.0


def test_a_spec_that_comes_while_paused_keeps_the_pause() -> None:
    host = opened()
    host.client.pause()
    host.client.learn({"pingInterval": 10000}, now=host.now)
    host.run(100.0)
    assert host.told() == ["log"]
    assert len(host.sent()) == 12


def test_a_spec_after_a_ping_of_the_server_counts_from_that() -> None:
    host = opened()
    host.run(20.0)
    host.receive("primus::ping::1")
    host.run(1.0)
    host.client.learn({"timeout": 35000}, now=host.now)
    assert host.client.next_timeout() == START + 45.0


@pytest.mark.parametrize("spec", [{}, {"timeout": None}, {"pingInterval": None, "timeout": 35000}])
def test_a_spec_that_does_not_tell_keeps_what_was_learned(spec: Any) -> None:
    host = opened()
    host.client.learn({"pingInterval": 10000}, now=host.now)
    host.client.learn(spec, now=host.now)
    assert host.client.next_timeout() == START + 15.0


def test_a_ping_of_the_server_cancels_the_clients_own() -> None:
    host = opened()
    host.run(25.0)
    host.receive("primus::ping::1")
    assert len(host.sent()) == 2
    host.run(44.999)
    assert (host.told(), host.sent()) == ([], [])
    host.run(0.001)
    assert host.told()[0] == "offline"


def test_a_spec_that_says_nothing_new_leaves_the_outstanding_ping_alone() -> None:
    host = opened(ping=5.0)
    host.run(5.0)
    host.client.learn({"timeout": 35000}, now=host.now)
    assert host.client.next_timeout() == START + 15.0, "its pong is still waited for"


@pytest.mark.parametrize(
    ("spec", "sign", "timers"),
    [
        ({"pingInterval": 10000}, "primus::ping::1", (15.0, 25.0)),
        ({"timeout": 10000}, "primus::pong::1", (5.0, 25.0)),
        ({"pingInterval": 10000}, "data", (25.0,)),
    ],
)
def test_a_learned_heartbeat_holds_for_one_more_connection_if_a_sign_of_life_confirmed_it(
    spec: Any, sign: str, timers: tuple[float, ...]
) -> None:
    host = opened(max=0.5)
    host.client.learn(spec, now=host.now)
    host.receive(sign)
    for expected in timers:
        reopen(host)
        assert host.client.next_timeout() == host.now + expected
    connects = [command for command in host.done if isinstance(command, cmd.Connect)]
    assert all("ping=25000" in connect.url for connect in connects), "the URL does not tell what was learned"
