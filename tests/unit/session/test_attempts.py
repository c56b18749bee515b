"""The reconnect procedure (protocol 4.6), the network's coming and going (4.4), and what their events carry."""

from __future__ import annotations

from typing import Any

import pytest

from primus_proto import ClientState, ConnectError, ConnectionLost, LocalProtocolError, ReadyState
from primus_proto import commands as cmd
from primus_proto import events as ev
from tests.unit.sessions import START, ClientHost, opened


def connects(host: ClientHost) -> int:
    return sum(isinstance(command, cmd.Connect) for command in host.done)


def delays(host: ClientHost) -> list[float]:
    return [event.delay for event in host.seen if isinstance(event, ev.ReconnectScheduled)]


def attempts(host: ClientHost) -> list[int]:
    return [event.attempt for event in host.seen if isinstance(event, ev.ReconnectScheduled)]


def fail_all(host: ClientHost) -> None:
    """Every attempt is refused, until there are no more."""
    while host.client.state is not ClientState.ENDED:
        due = host.client.next_timeout()
        assert due is not None
        host.run(due - host.now)
        if host.client.state is ClientState.RECONNECTING:
            host.lose("refused")


def test_the_first_attempt_comes_after_exactly_min() -> None:
    host = opened(min=0.75)
    host.run(3.0)
    host.lose()
    assert host.client.next_timeout() == START + 3.0 + 0.75
    host.run(0.7421875)
    assert connects(host) == 1
    host.run(0.0078125)
    assert connects(host) == 2


def test_delays_grow_as_promised_until_the_retries_are_used_up() -> None:
    host = opened()
    host.lose()
    fail_all(host)
    assert attempts(host) == list(range(1, 11))
    assert connects(host) == 11
    first, *later = delays(host)
    assert first == 0.5
    for n, delay in enumerate(later, start=2):
        assert 0.5 * 2 ** (n - 1) <= delay <= 2 * 0.5 * 2 ** (n - 1)
        assert delay == round(delay, 3)


def test_without_a_number_of_retries_it_never_gives_up() -> None:
    host = opened(retries=None, max=60.0)
    host.lose()
    for _ in range(500):
        due = host.client.next_timeout()
        assert due is not None
        host.run(due - host.now)
        host.lose("refused")
    assert attempts(host) == list(range(1, 502))
    assert {event.retries for event in host.seen if isinstance(event, ev.ReconnectScheduled)} == {None}
    host.run(60.0)
    host.client.opened(now=host.now)
    assert host.client.state is ClientState.OPEN


def test_other_seeds_other_delays() -> None:
    def run(seed: int) -> list[float]:
        host = opened(seed=seed)
        host.lose()
        fail_all(host)
        return delays(host)

    assert run(1) == run(1) != run(2)


def test_max_bounds_them() -> None:
    host = opened(max=1.0, retries=20)
    host.lose()
    fail_all(host)
    assert delays(host) == [0.5] + [1.0] * 19


def test_what_the_events_carry() -> None:
    host = opened(retries=2)
    lost = ConnectionLost("gone")
    host.lose(lost)
    at = host.now
    host.run(0.5)
    refused = ConnectError("refused")
    host.run(0.25)
    host.lose(refused)
    delay = delays(host)[-1]
    host.run(delay)
    host.run(30.0)
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


def test_what_success_carries() -> None:
    host = opened()
    host.lose()
    at = host.now
    host.run(0.5)
    host.run(0.125)
    host.open()
    assert ev.Reconnected(1, 10, 0.5, at, 0.625) in host.fresh()
    assert host.client.latency == 0.125


def test_reconnect_timeout_has_a_bound_of_its_own() -> None:
    host = ClientHost(timeout=1.0, reconnect_timeout=3.0, min=0.5)
    host.run(1.0)
    assert host.told()[-2:] == ["timeout", "reconnect scheduled"]
    host.run(0.5)
    host.run(2.99)
    assert host.told() == ["reconnect"]
    host.run(0.01)
    assert host.told() == ["reconnect timeout", "reconnect scheduled"]


@pytest.mark.parametrize(("lasted", "attempt"), [(0.0, 2), (4.9, 2), (5.0, 1), (20.0, 1)])
def test_the_count_starts_over_after_a_stable_connection_only(lasted: float, attempt: int) -> None:
    host = opened()
    host.lose()
    host.run(0.5)
    host.open()
    host.run(lasted)
    host.lose()
    assert attempts(host) == [1, attempt]


def test_a_server_that_drops_everyone_at_once_is_not_hammered() -> None:
    host = opened()
    host.lose()
    while host.client.state is not ClientState.ENDED:
        due = host.client.next_timeout()
        assert due is not None
        host.run(due - host.now)
        if host.client.state is ClientState.RECONNECTING:
            host.open()
            host.lose()
    assert attempts(host) == list(range(1, 11))
    assert host.told()[-4:] == ["rsc(end)", "close", "reconnect failed", "end"]


def test_the_first_connects_failure_does_not_count_as_stable() -> None:
    host = ClientHost()
    host.run(9.0)
    host.lose("refused")
    host.run(0.5)
    host.lose("refused")
    assert attempts(host) == [1, 2]


def test_a_second_reason_to_reconnect_changes_nothing() -> None:
    host = opened()
    host.lose()
    due = host.client.next_timeout()
    host.told()
    host.lose("again")
    assert host.told() == []
    assert host.client.next_timeout() == due


def test_the_count_starts_over_with_a_fresh_open() -> None:
    host = opened(retries=2)
    host.lose()
    fail_all(host)
    host.client.open()
    host.pump()
    host.lose("refused")
    assert attempts(host) == [1, 2, 1]


@pytest.mark.parametrize("state", [ClientState.CONNECTING, ClientState.OPEN, ClientState.WAITING])
def test_open_in_the_middle_raises_and_changes_nothing(state: ClientState) -> None:
    host = ClientHost()
    if state is not ClientState.CONNECTING:
        host.open()
    if state is ClientState.WAITING:
        host.lose()
    host.told()
    due = host.client.next_timeout()
    with pytest.raises(LocalProtocolError, match=r"cannot do 'open\(\)' while"):
        host.client.open()
    assert host.client.state is state
    assert (host.told(), host.client.next_timeout()) == ([], due)


def test_a_destroyed_client_cannot_be_opened() -> None:
    host = opened()
    host.client.destroy()
    host.told()
    with pytest.raises(LocalProtocolError):
        host.client.open()
    assert host.told() == []


def test_no_delay_at_all() -> None:
    host = opened(min=0, max=0)
    host.lose()
    host.run(0.0)
    assert host.told() == ["rsc(end)", "close", "reconnect scheduled", "reconnect", "rsc(opening)"]


# --- the network, as the host tells of it ---


def test_offline_ends_and_online_reconnects() -> None:
    host = opened()
    host.client.network_offline()
    assert host.told() == ["offline", "rsc(end)", "close", "end"]
    assert host.client.next_timeout() is None
    host.run(3600)
    host.client.network_online()
    assert host.told() == ["online", "reconnect scheduled"]
    scheduled = host.seen[-1]
    assert scheduled == ev.ReconnectScheduled(1, 10, 0.5, host.now, 0.0, None)
    host.run(0.5)
    host.open()
    assert host.told() == ["reconnect", "rsc(opening)", "reconnected", "rsc(open)", "open"]


@pytest.mark.parametrize("strategy", [False, "disconnect, timeout"])
def test_online_without_the_online_strategy(strategy: Any) -> None:
    host = opened(strategy=strategy)
    host.client.network_offline()
    host.told()
    host.client.network_online()
    assert host.told() == ["online"]
    host.run(3600)
    assert host.told() == []
    host.client.open()
    host.open()
    assert host.told() == ["rsc(opening)", "rsc(open)", "open"]


def test_each_is_said_once() -> None:
    host = opened()
    host.client.network_online()
    assert host.told() == []
    host.client.network_offline()
    host.told()
    host.client.network_offline()
    assert host.told() == []
    host.client.network_online()
    host.told()
    host.client.network_online()
    assert host.told() == []


def test_offline_stops_reconnecting() -> None:
    host = opened()
    host.lose()
    host.told()
    host.client.network_offline()
    assert host.told() == ["offline", "end"]
    host.run(3600)
    assert host.told() == []


def test_offline_during_an_attempt() -> None:
    host = ClientHost()
    host.told()
    host.client.network_offline()
    assert host.told() == ["offline", "rsc(end)", "close", "end"]
    assert isinstance(host.done[-1], cmd.Abort)


def test_offline_when_the_server_had_fallen_silent_already() -> None:
    """Offline was said at the missing pong; the host's word still ends the client."""
    host = opened()
    host.run(35.0)
    assert host.told()[-1] == "reconnect scheduled"
    host.client.network_offline()
    assert host.told() == ["end"]
    host.client.network_online()
    assert host.told() == ["online", "reconnect scheduled"]


def test_online_in_the_middle_of_reconnecting_changes_only_the_word() -> None:
    host = opened()
    host.run(35.0)
    host.told()
    due = host.client.next_timeout()
    host.client.network_online()
    assert host.told() == ["online"]
    assert host.client.next_timeout() == due
    host.run(0.5)
    host.open()
    assert "online" not in host.told()


def test_what_the_user_ended_stays_ended() -> None:
    host = opened()
    host.client.end()
    host.told()
    host.client.network_offline()
    host.client.network_online()
    assert host.told() == ["offline", "online"]
    host.run(3600)
    assert host.told() == []


def test_the_user_may_end_what_the_network_ended() -> None:
    host = opened()
    host.client.network_offline()
    host.client.network_online()
    host.client.end()
    assert host.told() == ["offline", "rsc(end)", "close", "end", "online", "end"]
    host.run(3600)
    assert host.told() == []


def test_the_user_may_end_what_the_network_has_ended_already() -> None:
    host = opened()
    host.client.network_offline()
    host.told()
    host.client.end()
    host.client.network_online()
    assert host.told() == ["online"]
    host.run(3600)
    assert host.told() == []


def test_an_open_in_between_makes_it_the_users_again() -> None:
    host = opened()
    host.client.network_offline()
    host.client.open()
    host.pump()
    host.lose(ConnectError("no", status=403))
    host.told()
    host.client.network_online()
    assert host.told() == ["online"]


def test_the_user_may_open_before_the_network_is_back() -> None:
    host = opened()
    host.client.network_offline()
    host.client.open()
    host.told()
    host.open()
    assert host.told() == ["online", "rsc(open)", "open"]
    host.client.network_online()
    assert host.told() == []


def test_a_client_that_was_never_opened_does_not_open_by_itself() -> None:
    host = ClientHost(manual=True)
    host.client.network_offline()
    host.client.network_online()
    assert host.told() == ["offline", "online"]
    assert host.client.state is ClientState.IDLE


def test_a_destroyed_client_says_no_more() -> None:
    host = opened()
    host.client.network_offline()
    host.client.destroy()
    host.told()
    host.client.network_online()
    host.client.network_offline()
    assert host.told() == []
    host = opened()
    host.client.destroy()
    host.told()
    host.client.network_offline()
    assert host.told() == []


def test_offline_with_no_retries_left_to_come_back() -> None:
    host = opened(retries=0)
    host.client.network_offline()
    host.told()
    host.client.network_online()
    assert host.told() == ["online", "reconnect failed", "end"]
    assert host.client.state is ClientState.ENDED
    assert host.client.ready_state is ReadyState.CLOSED


def test_an_old_error_is_not_told_again() -> None:
    host = opened()
    host.lose("the first loss")
    host.run(0.5)
    host.open()
    host.client.network_offline()
    host.client.network_online()
    host.pump()
    assert isinstance(host.seen[-1], ev.ReconnectScheduled)
    assert host.seen[-1].error is None
