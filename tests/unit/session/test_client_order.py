"""The order of a client's events, for each line of the table in protocol 4.2, and the lines that follow from it."""

from __future__ import annotations

from typing import Any

import pytest

from primus_proto import ClientState, CloseReason, ConnectError, ConnectionLost, ReadyState, RemoteProtocolError
from primus_proto import commands as cmd
from primus_proto import events as ev
from tests.unit.sessions import ClientHost, ready

OPENED = ["rsc(opening)", "rsc(open)", "open"]
OVER = ["rsc(end)", "close", "end"]
LOST = ["rsc(end)", "close", "reconnect scheduled"]
REOPENED = ["reconnect", "rsc(opening)", "reconnected", "rsc(open)", "open"]
SERVER_CLOSE = "primus::server::close"


def opened(**options: Any) -> ClientHost:
    host = ClientHost(**options)
    host.open()
    assert host.told() == OPENED
    return host


def waiting(**options: Any) -> ClientHost:
    """Lost, and waiting for the first attempt."""
    host = opened(**options)
    host.lose()
    assert host.told() == LOST
    return host


def attempting(**options: Any) -> ClientHost:
    """In the middle of the first reconnect attempt."""
    host = waiting(**options)
    host.run(0.5)
    assert host.told() == ["reconnect", "rsc(opening)"]
    return host


def reason(host: ClientHost) -> CloseReason:
    assert host.client.close_reason is not None
    return host.client.close_reason


def test_open() -> None:
    host = ClientHost()
    assert host.told() == ["rsc(opening)"]
    assert ready(host.client) is ReadyState.OPENING
    host.open()
    assert host.told() == ["rsc(open)", "open"]
    assert ready(host.client) is ReadyState.OPEN
    assert host.client.close_reason is None


def test_end() -> None:
    host = opened()
    host.commanded()
    host.client.end()
    assert host.told() == OVER
    assert host.commanded() == [cmd.Close(1000, "")]
    assert ready(host.client) is ReadyState.CLOSED
    assert reason(host) == CloseReason("local")
    assert host.client.next_timeout() is None


def test_end_with_a_last_value() -> None:
    host = opened()
    host.commanded()
    host.client.end({"bye": None})
    assert host.told() == OVER
    assert host.commanded() == [cmd.SendMessage('{"bye":null}'), cmd.Close(1000, "")]


@pytest.mark.parametrize("how", [{}, {"strategy": False}, {"timeout": False}])
def test_end_during_the_first_attempt(how: dict[str, Any]) -> None:
    host = ClientHost(**how)
    host.told()
    host.client.end()
    assert host.told() == OVER
    assert isinstance(host.done[-1], cmd.Abort)
    host.run(3600)
    assert host.told() == []


def test_end_before_the_first_attempt_was_begun() -> None:
    """Nothing was asked of the host yet, so there is nothing to stop."""
    host = ClientHost()
    host.client.end()
    assert host.told() == ["rsc(opening)", *OVER]
    assert host.commanded() == []


def test_server_ends_it() -> None:
    host = opened()
    host.receive("last words")
    host.receive(SERVER_CLOSE)
    assert host.told() == ["data"]
    host.lose(code=1000, reason="bye")
    assert host.told() == OVER
    assert reason(host) == CloseReason("server", 1000, "bye")
    host.run(3600)
    assert host.told() == []


@pytest.mark.parametrize(
    ("error", "how"),
    [(None, {}), ("reset by peer", {}), (None, {"code": 1000}), (ConnectionLost("reset"), {"code": 1006})],
)
def test_lost_or_ended_without_server_close(error: Any, how: dict[str, Any]) -> None:
    host = opened()
    host.lose(error, **how)
    assert host.told() == LOST
    assert host.client.state is ClientState.WAITING
    assert (reason(host).kind, reason(host).code) == ("lost", how.get("code", 1006))
    assert isinstance(reason(host).error, ConnectionLost)


def test_lost_keeps_the_servers_words() -> None:
    host = opened()
    host.lose(code=1001, reason="going away")
    assert (reason(host).code, reason(host).reason) == (1001, "going away")


@pytest.mark.parametrize("strategy", [False, "online, timeout"])
def test_lost_without_the_disconnect_strategy(strategy: Any) -> None:
    host = opened(strategy=strategy)
    host.lose()
    assert host.told() == OVER
    assert reason(host).kind == "lost"


def test_lost_by_the_servers_violation() -> None:
    """What the peer did wrong is told first."""
    host = opened()
    violation = RemoteProtocolError("a bad frame")
    host.lose(violation, code=1002)
    events = host.fresh()
    assert events[0] == ev.ErrorOccurred(violation)
    assert [event.name for event in events] == ["error", "readyStateChange", "close", "reconnect scheduled"]


@pytest.mark.parametrize(("strategy", "rest"), [(None, LOST), (False, OVER)])
def test_pong_timeout(strategy: Any, rest: list[str]) -> None:
    host = opened(strategy=strategy)
    host.commanded()
    host.run(35.0)
    assert host.told() == ["offline", *rest]
    assert host.commanded()[-1] == cmd.Abort()
    assert not host.client.online
    assert str(reason(host).error) == "the server did not answer a ping in time"


def test_ping_timeout_of_the_dialect_in_which_the_server_pings() -> None:
    """The error says what was missed, so that a dialect that was named wrongly can be told from a dead server."""
    host = opened(dialect="primus", strategy=False)
    host.commanded()
    host.run(45.0)
    assert host.told() == ["offline", *OVER]
    assert str(reason(host).error) == "the server sent no ping in time"


def test_pong_timeout_after_the_server_said_close() -> None:
    host = opened()
    host.receive(SERVER_CLOSE)
    host.run(35.0)
    assert host.told() == ["offline", *OVER]
    assert reason(host).kind == "server"


def test_attempt_succeeds() -> None:
    host = attempting()
    host.open()
    assert host.told() == REOPENED[2:]


def test_attempt_succeeds_after_a_pong_timeout() -> None:
    host = opened()
    host.run(35.0)
    host.told()
    host.run(0.5)
    host.open()
    assert host.told() == ["reconnect", "rsc(opening)", "reconnected", "online", "rsc(open)", "open"]
    assert host.client.online


@pytest.mark.parametrize("error", [None, "refused", ConnectError("no", status=401), ConnectError("no", status=200)])
def test_attempt_fails(error: Any) -> None:
    """A 4xx answer too: it is final for a first connect only."""
    host = attempting()
    host.lose(error)
    assert host.told() == ["rsc(end)", "reconnect scheduled"]
    host.run(2.0)
    assert host.told() == ["reconnect", "rsc(opening)"]


def test_attempt_takes_too_long() -> None:
    """The client counts as opening all along, so that the next attempt changes no state."""
    host = attempting(retries=3)
    host.commanded()
    host.run(30.0)
    assert host.told() == ["reconnect timeout", "reconnect scheduled"]
    assert host.commanded() == [cmd.Abort()]
    assert ready(host.client) is ReadyState.OPENING
    host.run(2.0)
    assert host.told() == ["reconnect"]
    host.open()
    assert host.told() == ["reconnected", "rsc(open)", "open"]


def test_last_attempt_fails() -> None:
    host = attempting(retries=1)
    host.lose("refused")
    assert host.told() == ["rsc(end)", "reconnect failed", "end"]
    assert (reason(host).kind, str(reason(host).error)) == ("retries", "refused")
    assert ready(host.client) is ReadyState.CLOSED
    host.run(3600)
    assert host.told() == []


def test_last_attempt_takes_too_long() -> None:
    host = attempting(retries=1)
    host.run(30.0)
    assert host.told() == ["reconnect timeout", "rsc(end)", "reconnect failed", "end"]
    assert ready(host.client) is ReadyState.CLOSED


def test_no_retries_at_all() -> None:
    host = opened(retries=0)
    host.lose()
    assert host.told() == ["rsc(end)", "close", "reconnect failed", "end"]
    host = ClientHost(retries=0)
    host.told()
    host.lose("refused")
    assert host.told() == ["error", "rsc(end)", "reconnect failed", "end"]


@pytest.mark.parametrize("timeout", [10.0, False])
def test_first_connect_refused(timeout: Any) -> None:
    host = ClientHost(timeout=timeout)
    host.told()
    host.lose("refused")
    assert host.told() == ["error", "rsc(end)", "reconnect scheduled"]
    host.run(0.5)
    host.open()
    assert host.told() == REOPENED


@pytest.mark.parametrize("strategy", [False, "disconnect,online"])
def test_first_connect_refused_without_the_timeout_strategy(strategy: Any) -> None:
    host = ClientHost(strategy=strategy)
    host.told()
    host.lose()
    assert host.told() == ["error", *OVER]
    assert reason(host).kind == "lost"


@pytest.mark.parametrize("status", [400, 401, 403, 404, 426, 499])
def test_first_connect_refused_for_good(status: int) -> None:
    """Protocol 4.4: a 4xx is final, and tells status, headers and body."""
    host = ClientHost()
    host.told()
    error = ConnectError("no", status=status, headers=[("X-A", "1")], body=b"why")
    host.lose(error)
    events = host.fresh()
    assert events == [
        ev.ErrorOccurred(error),
        ev.ReadyStateChanged("end"),
        ev.Closed(CloseReason("refused", 1006, "", error)),
        ev.Ended(CloseReason("refused", 1006, "", error)),
    ]


@pytest.mark.parametrize("status", [200, 302, 408, 425, 429, 500, 503])
def test_first_connect_refused_for_now(status: int) -> None:
    host = ClientHost()
    host.told()
    host.lose(ConnectError("no", status=status))
    assert host.told() == ["error", "rsc(end)", "reconnect scheduled"]


def test_first_connect_takes_too_long() -> None:
    host = ClientHost()
    assert host.told() == ["rsc(opening)"]
    host.commanded()
    host.run(9.99)
    assert host.told() == []
    host.run(0.01)
    assert host.told() == ["timeout", "reconnect scheduled"]
    assert host.commanded() == [cmd.Abort()]
    host.run(0.5)
    assert host.told() == ["reconnect"]


def test_first_connect_takes_too_long_without_the_timeout_strategy() -> None:
    host = ClientHost(strategy="disconnect")
    host.told()
    host.run(10.0)
    assert host.told() == ["timeout", *OVER]
    assert reason(host).kind == "timeout"


@pytest.mark.parametrize("off", [0, False])
def test_without_a_timeout_it_waits_for_ever(off: Any) -> None:
    host = ClientHost(timeout=off)
    host.told()
    assert host.client.next_timeout() is None
    host.run(1e6)
    host.open()
    assert host.told() == ["rsc(open)", "open"]


def test_end_while_waiting() -> None:
    host = waiting()
    host.client.end()
    assert host.told() == ["end"]
    host.run(3600)
    assert host.told() == []


def test_end_while_waiting_after_something_took_too_long() -> None:
    host = ClientHost()
    host.run(10.0)
    host.told()
    host.client.end()
    assert host.told() == OVER
    host = attempting()
    host.run(30.0)
    host.told()
    host.client.end()
    assert host.told() == OVER
    host.run(3600)
    assert host.told() == []


def test_end_during_an_attempt() -> None:
    host = attempting()
    host.commanded()
    host.client.end()
    assert host.told() == OVER
    assert host.commanded() == [cmd.Abort()]
    host.run(3600)
    host.open()
    assert host.told() == []


def test_a_second_end_changes_nothing() -> None:
    host = opened()
    host.client.end()
    host.told()
    host.commanded()
    host.client.end("more")
    host.client.end({1, 2})  # what cannot be sent is not looked at
    assert host.told() == []
    assert host.commanded() == []


def test_open_after_the_end() -> None:
    host = opened()
    host.client.end()
    host.told()
    host.client.open()
    assert host.client.close_reason is None
    host.open()
    assert host.told() == OPENED
    first, second = [command for command in host.done if isinstance(command, cmd.Connect)]
    assert first.url != second.url


def test_manual() -> None:
    host = ClientHost(manual=True)
    assert host.told() == []
    assert host.commanded() == []
    assert (host.client.state, host.client.close_reason) == (ClientState.IDLE, None)
    host.client.open()
    host.open()
    assert host.told() == OPENED


def test_end_before_it_was_ever_opened() -> None:
    host = ClientHost(manual=True)
    host.client.end()
    assert host.told() == ["end"]
    assert host.commanded() == []


def test_destroy() -> None:
    host = opened()
    host.client.destroy()
    assert host.told() == [*OVER, "destroy"]
    host.client.destroy()
    host.client.end()
    assert host.told() == []
    host = waiting()
    host.client.destroy()
    assert host.told() == ["end", "destroy"]
    host = opened()
    host.client.end()
    host.told()
    host.client.destroy()
    assert host.told() == ["destroy"]
    host = ClientHost(manual=True)
    host.client.destroy()
    assert host.told() == ["end", "destroy"]


def test_flatline_is_a_plain_loss_to_the_client() -> None:
    host = opened()
    host.lose(code=1000)
    assert host.told() == LOST
