"""The client's heartbeat (protocol 3.1), and what a server learns of it (3.2)."""

from __future__ import annotations

from typing import Any

import pytest

from primus_proto.session.heartbeat_spark import learned_heartbeat
from tests.unit.sessions import OFFSET, START, ClientHost, epoch_ms, opened, request


def ping_of(host: ClientHost) -> str:
    """The value of the one ping that was sent."""
    (text,) = host.sent()
    assert text.startswith("primus::ping::")
    return str(text.removeprefix("primus::ping::"))


def test_a_ping_after_ping_seconds_with_the_wall_clocks_milliseconds() -> None:
    host = opened(ping=25.0)
    assert host.client.next_timeout() == START + 25.0
    host.run(24.999)
    assert host.sent() == []
    host.run(0.001)
    assert ping_of(host) == str(epoch_ms(START + 25.0))
    assert host.client.next_timeout() == START + 35.0


def test_a_pong_sets_the_ping_timer_anew_and_tells_the_latency() -> None:
    host = opened()
    host.run(25.0)
    value = ping_of(host)
    host.run(0.25)
    host.receive(f"primus::pong::{value}")
    assert host.client.latency == 0.25
    assert host.client.next_timeout() == START + 25.25 + 25.0
    assert host.told() == []


def test_a_pong_that_comes_twice_tells_the_latency_once() -> None:
    host = opened()
    host.run(25.0)
    value = ping_of(host)
    host.run(0.25)
    host.receive(f"primus::pong::{value}")
    host.run(5.0)
    host.receive(f"primus::pong::{value}")
    assert host.client.latency == 0.25


@pytest.mark.parametrize("outstanding", [False, True])
def test_the_end_of_the_connection_is_the_end_of_its_timers(outstanding: bool) -> None:
    host = opened()
    host.run(26.0 if outstanding else 24.0)
    host.lose()
    assert host.client.next_timeout() == host.now + 0.5
    host.client.end()
    assert host.client.next_timeout() is None


def test_before_the_first_pong_the_latency_is_what_opening_took() -> None:
    host = ClientHost()
    assert host.client.latency is None
    host.run(0.75)
    host.open()
    assert host.client.latency == 0.75


def test_an_unsolicited_pong_sets_the_timer_and_leaves_the_latency() -> None:
    host = opened()
    host.run(10.0)
    host.receive(f"primus::pong::{epoch_ms(host.now)}")
    assert host.client.latency == 0.0
    assert host.client.next_timeout() == START + 35.0


def test_a_pong_of_another_value_counts_as_life_but_not_as_latency() -> None:
    host = opened()
    host.run(25.0)
    host.commanded()
    host.run(3.0)
    host.receive("primus::pong::whatever:it::is")
    assert host.client.latency == 0.0
    assert host.client.next_timeout() == START + 28.0 + 25.0


def test_at_most_one_ping_is_outstanding() -> None:
    """Whatever pongs come, pings are `ping` seconds apart at the least."""
    host = opened()
    pings = 0
    for _ in range(200):
        host.run(1.7)
        host.receive("primus::pong::1")
        pings += len(host.sent())
        assert host.client.next_timeout() == host.now + 25.0
    assert pings == 0
    host.run(26.0)
    assert len(host.sent()) == 1


def test_data_is_no_sign_of_life() -> None:
    host = opened()
    for _ in range(34):
        host.run(1.0)
        host.receive("data")
    assert "offline" not in host.told()
    host.run(1.0)
    assert host.told() == ["offline", "rsc(end)", "close", "reconnect scheduled"]


@pytest.mark.parametrize("off", [False, 0])
def test_no_heartbeat(off: Any) -> None:
    host = opened(ping=off)
    assert host.client.next_timeout() is None
    host.receive("primus::pong::1")
    assert host.client.next_timeout() is None
    host.run(1e6)
    assert (host.told(), host.commanded()) == ([], [])


def test_each_connection_has_a_heartbeat_of_its_own() -> None:
    host = opened()
    host.run(20.0)
    host.lose()
    host.run(0.5)
    host.open()
    assert host.client.next_timeout() == host.now + 25.0
    host.run(24.0)
    assert host.sent() == []


def test_timers_are_exact() -> None:
    host = opened(ping=1.5, pong=0.25)
    for _ in range(100):
        host.run(1.5)
        value = ping_of(host)
        host.receive(f"primus::pong::{value}")
    assert host.wakes == 100
    assert host.client.latency == 0.0


def test_an_early_wake_does_nothing() -> None:
    host = opened()
    host.client.handle_timeout(now=host.now + 24.999)
    assert (host.told(), host.commanded()) == ([], [])


# --- while the application does not read ---


def test_a_pong_that_is_not_read_is_not_missed() -> None:
    """And the server goes on hearing pings, or it would take the client for dead."""
    host = opened()
    host.client.pause()
    host.run(1000.0)
    assert len(host.sent()) == 40
    assert host.told() == []
    host.client.resume()
    host.run(24.999)
    assert host.sent() == []
    host.run(10.0)
    assert host.told() == []
    host.run(0.001)
    assert host.told()[0] == "offline"


def test_after_a_pause_the_server_has_the_whole_time_again() -> None:
    """The pong may lie behind much that was not read either."""
    host = opened()
    host.run(25.0)
    host.client.pause()
    host.run(9.999)
    host.client.resume()
    host.run(0.001)
    assert host.told() == []
    assert len(host.sent()) == 2
    assert host.client.next_timeout() == START + 45.0
    host.run(9.999)
    assert host.told() == []
    host.run(0.001)
    assert host.told()[0] == "offline"


def test_reading_in_fits_and_starts() -> None:
    """A slow listener: much waits to be read, and the pong is behind it."""
    host = opened()
    for _ in range(100):
        host.client.pause()
        host.run(0.4)
        host.client.resume()
        host.run(0.6)
    assert host.told() == []
    last = host.sent()[-1]
    host.receive(last.replace("ping", "pong"))
    pinged = int(last.rpartition("::")[2]) / 1000 - OFFSET
    assert host.client.latency == pytest.approx(START + 100.0 - pinged)
    # Who knows how long that pong had been there: the server counts from the ping.
    assert host.client.next_timeout() == pytest.approx(pinged + 25.0)


@pytest.mark.parametrize("proven", [False, True])
def test_a_pause_lasts_over_a_reconnect(proven: bool) -> None:
    host = opened()
    if proven:
        host.receive("primus::pong::1")
    host.client.pause()
    host.lose()
    host.run(0.5)
    host.open()
    host.run(1000.0)
    assert len(host.sent()) == 40
    assert "offline" not in host.told()
    host.client.resume()
    host.run(100.0)
    assert "offline" in host.told()


@pytest.mark.parametrize(("read", "ping"), [(20.0, 25.0), (24.0, 25.0), (24.5, 25.5), (24.999, 25.999)])
def test_the_ping_after_a_pause_does_not_follow_a_pong_too_closely(read: float, ping: float) -> None:
    """It counts from the last ping, but a happn server would not answer it within a second of its last pong."""
    host = opened()
    host.client.pause()
    host.run(read)
    host.client.resume()
    host.receive("primus::pong::1")
    assert host.client.next_timeout() == pytest.approx(START + ping)


def test_nor_where_the_interval_is_short() -> None:
    host = opened(ping=0.5)
    host.client.pause()
    host.run(0.9)
    host.client.resume()
    host.receive("primus::pong::1")
    assert host.client.next_timeout() == pytest.approx(START + 0.9 + 0.25)


@pytest.mark.parametrize("outstanding", [False, True])
@pytest.mark.parametrize("late", [0.0, 0.001, 20.0])
def test_a_pong_that_comes_when_a_timer_is_overdue_may_have_waited(outstanding: bool, late: float) -> None:
    """So the next ping does not count from it, nor from the next one that waited. Exactly due is not overdue."""
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


def test_a_pause_that_ended_before_the_ping_excuses_nothing() -> None:
    host = opened()
    host.client.pause()
    host.run(20.0)
    host.client.resume()
    host.run(15.0)
    assert host.told()[0] == "offline"


# --- what the server learns ---


DEFAULT = (25.0, 10.0)


@pytest.mark.parametrize(
    ("query", "learned"),
    [
        ("ping=25000&pong=10000", (25.0, 10.0)),
        ("ping=300&pong=100", (0.3, 0.1)),
        ("ping=1.5&pong=0.5", (0.0015, 0.0005)),
        ("ping=2000.&pong=0", (2.0, 0.0)),
        ("ping=007", (0.007, 10.0)),
        ("ping=99999999999999999999&pong=1", (99999999999999999.999, 0.001)),
        ("ping=false&pong=10000", None),
        ("ping=0&pong=10000", None),
        ("ping=0.0", None),
        ("", DEFAULT),
        ("a=b", DEFAULT),
        ("pong=4000", (25.0, 4.0)),
        ("ping=4000", (4.0, 10.0)),
        ("ping=&pong=", DEFAULT),
        ("ping=abc&pong=x", DEFAULT),
        ("ping=25000x", DEFAULT),
        ("ping=-1&pong=-1", DEFAULT),
        ("ping=NaN&pong=Infinity", DEFAULT),
        ("ping=1e3&pong=1e3", DEFAULT),
        ("ping=%2B1000", DEFAULT),
        ("ping=%D9%A1%D9%A2", DEFAULT),  # digits, but not of ours
        ("ping=true", DEFAULT),
        ("pong=false", DEFAULT),
        ("ping=1000&ping=1000", DEFAULT),
        ("ping=false&ping=false", DEFAULT),
        ("pong=1&pong=2&ping=3000", (3.0, 10.0)),
        ("Ping=1&PONG=1", DEFAULT),
    ],
)
def test_what_the_server_learns(query: str, learned: tuple[float, float] | None) -> None:
    assert learned_heartbeat(request(query)) == learned


def test_a_number_without_end_is_a_number() -> None:
    learned = learned_heartbeat(request("ping=" + "9" * 5000))
    assert learned == (float("inf"), 10.0)  # `Spark` holds it within `Limits`
