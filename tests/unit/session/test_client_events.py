"""The order of a client's events, for each line of the table in protocol 4.2."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from primus_proto import ClientState, CloseReason, ConnectError, ConnectionLost, ReadyState, RemoteProtocolError
from primus_proto import commands as cmd
from primus_proto import events as ev
from tests.unit.sessions import (
    LOST,
    OPENED,
    OVER,
    REOPENED,
    ClientHost,
    attempting,
    connecting,
    ended,
    manual,
    opened,
    ready,
    reason,
    waiting,
)

SERVER_CLOSE = "primus::server::close"
FAILED = ["reconnect failed", "end"]
RETRY = ["error", "rsc(end)", "reconnect scheduled"]
VIOLATION = RemoteProtocolError("a bad frame")


def lose(host: ClientHost) -> None:
    host.lose()


def refuse(host: ClientHost) -> None:
    host.lose("refused")


def end(host: ClientHost) -> None:
    host.client.end()


def destroy(host: ClientHost) -> None:
    host.client.destroy()


def server_ends(host: ClientHost) -> None:
    host.receive(SERVER_CLOSE)
    host.lose(code=1000, reason="bye")


def silent_after_close(host: ClientHost) -> None:
    host.receive(SERVER_CLOSE)
    host.run(35.0)


def answer(status: int) -> Callable[[ClientHost], None]:
    return lambda host: host.lose(ConnectError("no", status=status))


def wait(seconds: float) -> Callable[[ClientHost], None]:
    return lambda host: host.run(seconds)


def timed_out_waiting(**options: Any) -> ClientHost:
    """The first attempt took too long: the client waits, and its ready state still says opening."""
    host = connecting(**options)
    host.run(10.0)
    assert host.told() == ["timeout", "reconnect scheduled"]
    return host


def timed_out_retrying(**options: Any) -> ClientHost:
    """A reconnect attempt took too long."""
    host = attempting(**options)
    host.run(30.0)
    assert host.told() == ["reconnect timeout", "reconnect scheduled"]
    return host


# Where the client is, its options, what happens, the events, and the kind of its close reason.
ROWS: list[tuple[Callable[..., ClientHost], dict[str, Any], Callable[[ClientHost], None], list[str], str | None]] = [
    (opened, {}, end, OVER, "local"),
    (opened, {}, server_ends, OVER, "server"),
    (opened, {}, lose, LOST, "lost"),
    (opened, {}, lambda host: host.lose(code=1000), LOST, "lost"),
    (opened, {}, lambda host: host.lose(ConnectionLost("reset")), LOST, "lost"),
    (opened, {}, lambda host: host.lose(VIOLATION, code=1002), ["error", *LOST], "lost"),
    (opened, {"strategy": False}, lose, OVER, "lost"),
    (opened, {"strategy": "online, timeout"}, lose, OVER, "lost"),
    (opened, {"retries": 0}, lose, ["rsc(end)", "close", *FAILED], "retries"),
    (opened, {}, wait(35.0), ["offline", *LOST], "lost"),
    (opened, {"strategy": False}, wait(35.0), ["offline", *OVER], "lost"),
    (opened, {"strategy": False, "dialect": "primus"}, wait(45.0), ["offline", *OVER], "lost"),
    (opened, {}, silent_after_close, ["offline", *OVER], "server"),
    (connecting, {}, refuse, RETRY, None),
    *((connecting, {}, answer(status), RETRY, None) for status in (200, 302, 408, 503)),
    (connecting, {"timeout": 0}, wait(3600), [], None),
    (connecting, {"timeout": False}, refuse, RETRY, None),
    (connecting, {"retries": 0}, refuse, ["error", "rsc(end)", *FAILED], "retries"),
    (connecting, {"strategy": False}, refuse, ["error", *OVER], "lost"),
    (connecting, {"strategy": "disconnect,online"}, refuse, ["error", *OVER], "lost"),
    (connecting, {"strategy": False}, lambda host: host.lose(ConnectionLost("reset")), ["error", *OVER], "lost"),
    (connecting, {}, wait(10.0), ["timeout", "reconnect scheduled"], None),
    (connecting, {"strategy": "disconnect"}, wait(10.0), ["timeout", *OVER], "timeout"),
    (connecting, {}, end, OVER, "local"),
    (connecting, {"strategy": False}, end, OVER, "local"),
    (connecting, {"timeout": False}, end, OVER, "local"),
    (timed_out_waiting, {}, end, OVER, "local"),
    (waiting, {}, end, ["end"], "local"),
    (attempting, {}, refuse, ["rsc(end)", "reconnect scheduled"], "lost"),
    *((attempting, {}, answer(status), ["rsc(end)", "reconnect scheduled"], "lost") for status in (200, 401)),
    (attempting, {}, wait(30.0), ["reconnect timeout", "reconnect scheduled"], "lost"),
    (attempting, {"retries": 1}, refuse, ["rsc(end)", *FAILED], "retries"),
    (attempting, {"retries": 1}, wait(30.0), ["reconnect timeout", "rsc(end)", *FAILED], "retries"),
    (attempting, {}, end, OVER, "local"),
    (timed_out_retrying, {}, end, OVER, "local"),
    (manual, {}, end, ["end"], "local"),
    (ended, {}, lambda host: host.client.end({1, 2}), [], "local"),  # not even encoded
    (opened, {}, destroy, [*OVER, "destroy"], "local"),
    (waiting, {}, destroy, ["end", "destroy"], "local"),
    (manual, {}, destroy, ["end", "destroy"], "local"),
    (ended, {}, destroy, ["destroy"], "local"),
]


@pytest.mark.parametrize(("start", "options", "act", "told", "kind"), ROWS)
def test_each_thing_that_can_happen_tells_its_events_in_order(
    start: Callable[..., ClientHost],
    options: dict[str, Any],
    act: Callable[[ClientHost], None],
    told: list[str],
    kind: str | None,
) -> None:
    host = start(**options)
    act(host)
    assert host.told() == told
    close = host.client.close_reason
    assert (close and close.kind) == kind
    if host.client.state in (ClientState.ENDED, ClientState.DESTROYED):
        assert ready(host.client) is ReadyState.CLOSED
        assert host.client.next_timeout() is None
        host.open()
        end(host)
        assert host.told() == []


@pytest.mark.parametrize("start", [connecting, attempting])
@pytest.mark.parametrize("act", [end, wait(30.0), lambda host: host.client.network_offline()])
def test_an_attempt_that_is_given_up_is_aborted(
    start: Callable[[], ClientHost], act: Callable[[ClientHost], None]
) -> None:
    host = start()
    act(host)
    assert host.commanded()[0] == cmd.Abort()


def test_end_closes_the_connection_after_the_last_value() -> None:
    host = opened()
    host.client.end({"bye": None})
    assert host.told() == OVER
    assert host.commanded() == [cmd.SendMessage('{"bye":null}'), cmd.Close(1000, "")]


def test_end_before_the_first_poll_asks_for_no_connection() -> None:
    for host, told in ((ClientHost(), ["rsc(opening)", *OVER]), (manual(), ["end"])):
        host.client.end()
        assert host.told() == told
        assert host.commanded() == []


def test_the_close_reason_of_a_server_close_or_a_violation_has_its_details() -> None:
    host = opened()
    server_ends(host)
    assert reason(host.client) == CloseReason("server", 1000, "bye")
    host = opened()
    host.lose(VIOLATION, code=1002)
    assert host.fresh()[0] == ev.ErrorOccurred(VIOLATION)
    assert reason(host.client) == CloseReason("lost", 1002, "", VIOLATION)


@pytest.mark.parametrize(
    ("how", "text"),
    [({"error": "reset by peer"}, "reset by peer"), ({}, "the connection was lost (code 1001)")],
)
def test_the_close_reason_of_a_loss_has_the_code_and_the_error(how: dict[str, Any], text: str) -> None:
    host = opened()
    host.lose(code=1001, reason="going away", **how)
    close = reason(host.client)
    assert (close.kind, close.code, close.reason) == ("lost", 1001, "going away")
    assert isinstance(close.error, ConnectionLost)
    assert (str(close.error), close.error.code) == (text, 1001)
    closed, scheduled = host.fresh()[1:]
    assert closed == ev.Closed(close)
    assert isinstance(scheduled, ev.ReconnectScheduled)
    assert scheduled.error is close.error


@pytest.mark.parametrize(
    ("dialect", "seconds", "text"),
    [
        ("happn", 35.0, "the server did not answer a ping in time"),
        ("primus", 45.0, "the server sent no ping in time"),
    ],
)
def test_a_silent_server_is_aborted_and_the_error_says_what_was_missed(dialect: str, seconds: float, text: str) -> None:
    """So that a wrongly named dialect can be told from a dead server."""
    host = opened(dialect=dialect)
    host.run(seconds)
    assert cmd.Abort() in host.commanded()
    assert not host.client.online
    assert str(reason(host.client).error) == text


def test_an_attempt_that_succeeds_after_one_that_took_too_long_opens_the_client_again() -> None:
    host = timed_out_retrying()
    assert ready(host.client) is ReadyState.OPENING
    host.run(2.0)
    assert host.told() == ["reconnect"]
    host.open()
    assert host.told() == REOPENED[2:]


def test_a_4xx_answer_to_the_first_connect_is_final() -> None:
    """Protocol 4.4."""
    host = connecting()
    error = ConnectError("no", status=404)
    host.lose(error)
    refused = CloseReason("refused", 1006, "", error)
    assert host.fresh() == [
        ev.ErrorOccurred(error),
        ev.ReadyStateChanged("end"),
        ev.Closed(refused),
        ev.Ended(refused),
    ]


def test_the_events_of_a_failed_connect_have_its_error() -> None:
    host = connecting(retries=1)
    host.lose()
    error, _, scheduled = host.fresh()
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


def test_the_events_of_a_connect_that_took_too_long_have_an_error() -> None:
    host = connecting(timeout=3.0)
    host.run(3.0)
    scheduled = host.fresh()[-1]
    assert isinstance(scheduled, ev.ReconnectScheduled)
    assert isinstance(scheduled.error, ConnectError)
    assert str(scheduled.error) == "no answer in time"
    host = connecting(timeout=3.0, strategy=False)
    host.run(2.99)
    assert host.told() == []
    host.run(0.01)
    ended = host.seen[-1]
    assert isinstance(ended, ev.Ended)
    assert ended.reason == CloseReason("timeout", 1006, "", ended.reason.error)
    assert str(ended.reason.error) == "no answer in time"


def test_open_after_the_end_connects_anew() -> None:
    host = ended()
    host.client.open()
    assert host.client.close_reason is None
    host.open()
    assert host.told() == OPENED
