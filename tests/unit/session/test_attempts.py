"""The reconnect procedure (protocol 4.6), and what the host says of the network (4.4)."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest

from primus_proto import (
    Client,
    ClientConfig,
    ClientState,
    ConfigError,
    ConnectError,
    ConnectionLost,
    LocalProtocolError,
)
from primus_proto import commands as cmd
from primus_proto import events as ev
from tests.unit.sessions import (
    LOST,
    OPENED,
    OVER,
    REOPENED,
    START,
    ClientHost,
    attempting,
    connecting,
    ended,
    manual,
    opened,
    waiting,
)


def scheduled(host: ClientHost) -> list[ev.ReconnectScheduled]:
    return [event for event in host.seen if isinstance(event, ev.ReconnectScheduled)]


def attempts(host: ClientHost) -> list[int]:
    return [event.attempt for event in scheduled(host)]


def next_timer(host: ClientHost) -> None:
    due = host.client.next_timeout()
    assert due is not None
    host.run(due - host.now)


def refuse_all(host: ClientHost, *, open_first: bool = False) -> None:
    """Every attempt fails, until there are no more. `open_first`: the connection opens and is lost at once."""
    while host.client.state is not ClientState.ENDED:
        next_timer(host)
        if host.client.state is ClientState.RECONNECTING:
            if open_first:
                host.open()
            host.lose("refused")


def test_without_a_delay_the_attempt_is_made_at_once() -> None:
    host = opened(min=0, max=0)
    host.lose()
    host.run(0.0)
    assert host.told() == [*LOST, "reconnect", "rsc(opening)"]


@pytest.mark.parametrize("open_first", [False, True])
def test_delays_grow_until_the_retries_are_used_up(open_first: bool) -> None:
    """Also where the server takes connections only to drop them."""
    host = opened()
    host.lose()
    refuse_all(host, open_first=open_first)
    assert attempts(host) == list(range(1, 11))
    assert sum(isinstance(command, cmd.Connect) for command in host.done) == 11
    assert host.told()[-2:] == ["reconnect failed", "end"]
    first, *later = [event.delay for event in scheduled(host)]
    assert first == 0.5
    for n, delay in enumerate(later, start=2):
        assert 0.5 * 2 ** (n - 1) <= delay <= 0.5 * 2**n
        assert delay == round(delay, 3)


def test_reconnect_events_carry_attempt_delay_times_and_error() -> None:
    host = opened(retries=2)
    lost, refused = ConnectionLost("gone"), ConnectError("refused")
    host.lose(lost)
    at = host.now
    host.run(0.75)
    host.lose(refused)
    delay = scheduled(host)[-1].delay
    host.run(delay + 30.0)
    events = [event for event in host.fresh() if isinstance(event, ev.ReconnectEvent)]
    timed_out = events[-2].error
    assert isinstance(timed_out, ConnectError)
    second: Any = pytest.approx(0.75 + delay)
    third: Any = pytest.approx(0.75 + delay + 30.0)
    assert events == [
        ev.ReconnectScheduled(1, 2, 0.5, at, 0.0, lost),
        ev.ReconnectStarted(1, 2, 0.5, at, 0.5),
        ev.ReconnectScheduled(2, 2, delay, at, 0.75, refused),
        ev.ReconnectStarted(2, 2, delay, at, second),
        ev.ReconnectTimedOut(2, 2, delay, at, third, timed_out),
        ev.ReconnectFailed(2, 2, delay, at, third, timed_out),
    ]


def test_a_success_carries_its_duration_and_sets_the_latency() -> None:
    host = attempting()
    host.run(0.125)
    host.open()
    assert ev.Reconnected(1, 10, 0.5, START, 0.625) in host.fresh()
    assert host.client.latency == 0.125


def test_reconnect_timeout_bounds_reconnect_attempts() -> None:
    host = connecting(timeout=1.0, reconnect_timeout=3.0)
    host.run(1.0)
    assert host.told() == ["timeout", "reconnect scheduled"]
    host.run(0.5 + 2.99)
    assert host.told() == ["reconnect"]
    host.run(0.01)
    assert host.told() == ["reconnect timeout", "reconnect scheduled"]


@pytest.mark.parametrize(
    ("least", "lasted", "attempt"), [(0.5, 0.0, 2), (0.5, 4.999, 2), (0.5, 5.0, 1), (8.0, 7.999, 2), (8.0, 8.0, 1)]
)
def test_the_count_starts_over_after_a_stable_connection(least: float, lasted: float, attempt: int) -> None:
    host = waiting(min=least)
    host.run(least)
    host.open()
    host.run(lasted)
    host.lose()
    assert attempts(host) == [1, attempt]


def test_the_count_starts_over_with_a_fresh_open() -> None:
    host = waiting(retries=2)
    refuse_all(host)
    host.client.open()
    host.pump()
    host.lose("refused")
    assert attempts(host) == [1, 2, 1]


# --- the network, as the host reports it ---


def silent(**options: Any) -> ClientHost:
    """A client that is offline since the server missed a pong, and waits to reconnect."""
    host = opened(**options)
    host.run(35.0)
    assert host.told() == ["offline", *LOST]
    return host


def open_again(host: ClientHost) -> None:
    host.client.open()
    host.pump()


def refuse_for_good(host: ClientHost) -> None:
    open_again(host)
    host.lose(ConnectError("no", status=403))


NOTHING_MORE: list[str] = []


@pytest.mark.parametrize(
    ("start", "options", "acts", "told", "later"),
    [
        (opened, {}, ["offline"], ["offline", *OVER], NOTHING_MORE),
        (opened, {}, ["offline", "offline"], ["offline", *OVER], NOTHING_MORE),
        (opened, {}, ["online"], [], ["offline", *LOST]),
        (waiting, {}, ["offline"], ["offline", "end"], NOTHING_MORE),
        (connecting, {}, ["offline"], ["offline", *OVER], NOTHING_MORE),
        (silent, {}, ["offline"], ["end"], NOTHING_MORE),
        (silent, {}, ["online"], ["online"], ["reconnect", "rsc(opening)"]),
        (opened, {}, ["offline", "online"], ["offline", *OVER, "online", "reconnect scheduled"], REOPENED[:2]),
        (opened, {"strategy": False}, ["offline", "online"], ["offline", *OVER, "online"], NOTHING_MORE),
        (opened, {"strategy": "disconnect"}, ["offline", "online"], ["offline", *OVER, "online"], NOTHING_MORE),
        (opened, {"retries": 0}, ["offline", "online"], ["offline", *OVER, "online", "reconnect failed", "end"], []),
        (ended, {}, ["offline", "online"], ["offline", "online"], NOTHING_MORE),
        (opened, {}, ["offline", "end", "online"], ["offline", *OVER, "online"], NOTHING_MORE),
        (manual, {}, ["offline", "online"], ["offline", "online"], NOTHING_MORE),
        (opened, {}, ["offline", "destroy", "online", "offline"], ["offline", *OVER, "destroy"], NOTHING_MORE),
        (opened, {}, ["destroy", "offline"], [*OVER, "destroy"], NOTHING_MORE),
    ],
)
def test_offline_ends_a_client_and_online_revives_it(
    start: Callable[..., ClientHost], options: Any, acts: list[str], told: list[str], later: list[str]
) -> None:
    host = start(**options)
    for act in acts:
        {
            "offline": host.client.network_offline,
            "online": host.client.network_online,
            "end": host.client.end,
            "destroy": host.client.destroy,
        }[act]()
        host.pump()
    assert host.told() == told
    host.run(3600)
    assert host.told()[: len(later)] == later
    if not later:
        assert host.client.next_timeout() is None


def test_online_reconnects_with_no_error_to_report() -> None:
    host = attempting()
    host.open()
    host.run(10.0)
    host.client.network_offline()
    host.client.network_online()
    host.pump()
    assert host.seen[-1] == ev.ReconnectScheduled(1, 10, 0.5, host.now, 0.0, None)
    host.run(0.5)
    host.told()
    host.open()
    assert host.told() == REOPENED[2:]


def test_online_does_not_revive_a_client_that_gave_up_later() -> None:
    """Only one that `network_offline` has ended comes back by `network_online` (protocol 4.4)."""
    host = opened()
    host.client.network_offline()
    refuse_for_good(host)
    host.told()
    host.client.network_online()
    assert host.told() == ["online"]
    assert host.client.next_timeout() is None
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


def test_open_while_offline_connects_and_says_online() -> None:
    host = opened()
    host.client.network_offline()
    open_again(host)
    host.told()
    host.open()
    assert host.told() == ["online", *OPENED[1:]]
    host.client.network_online()
    assert host.told() == []


def test_an_attempt_waits_for_the_functions_among_its_options() -> None:
    client = Client(ClientConfig(url="http://h", query=dict, first_message=list, min=1.0), rng=random.Random(1))
    (held,) = [item for item in client.poll(now=0.0) if isinstance(item, ev.AttemptHeld)]
    with pytest.raises(LocalProtocolError, match=r"\['first_message', 'query'\]"):
        client.resume_attempt(held.id, {})
    with pytest.raises(ConfigError, match="must return a value, not another function"):
        client.resume_attempt(held.id, {"query": dict, "first_message": 1})
    with pytest.raises(LocalProtocolError, match="no attempt 2"):
        client.resume_attempt(2, {})
    assert client.resume_attempt(held.id, {"query": {"a": "b", "ping": "1"}, "first_message": 1})
    assert not client.resume_attempt(held.id, {"query": {}, "first_message": 2})
    (connect,) = list(client.poll(now=1.0))
    assert isinstance(connect, cmd.Connect)
    assert "?a=b&_primuscb=" in connect.url
    client.write("kept")
    client.opened(now=2.0)
    sent = [item.data for item in client.poll(now=2.0) if isinstance(item, cmd.SendMessage)]
    assert sent == ["1", '"kept"']


@pytest.mark.parametrize("end", ["late", "ended", "failed"])
def test_an_attempt_that_is_over_asked_in_vain(end: str) -> None:
    """Nothing was opened, so there is nothing to abort."""
    client = Client(ClientConfig(url=str, timeout=5.0, min=1.0), rng=random.Random(1))
    (held,) = [item for item in client.poll(now=0.0) if isinstance(item, ev.AttemptHeld)]
    if end == "late":
        client.handle_timeout(now=5.0)
    elif end == "ended":
        client.end()
    else:
        assert client.resume_attempt(held.id, ConnectError("no token"))
    items = list(client.poll(now=5.0))
    assert not [item for item in items if not isinstance(item, ev.Event)]
    assert client.resume_attempt(held.id, {"url": "http://h"}) is False
    assert (client.next_timeout() is None) == (end == "ended")
