"""Events: documented names, what listeners are called with, and reserved names (protocol 5)."""

from __future__ import annotations

from typing import Any

import pytest

import primus_proto as pp
from primus_proto import events as ev
from tests.unit.sessions import ServerHost, request

CLIENT = [
    *("open", "data", "error", "close", "end", "reconnect scheduled", "reconnect", "reconnected", "reconnect timeout"),
    *("reconnect failed", "timeout", "online", "offline", "readyStateChange", "destroy"),
]
SPARK = ["data", "error", "end", "heartbeat", "readyStateChange"]
SERVER = ["connection", "disconnection", "initialised", "plugin", "plugout", "close", "log", "heartbeat-skipped"]
NAMES = {*CLIENT, *SPARK, *SERVER, "flatline"}

EVENTS = [kind for kind in vars(ev).values() if isinstance(kind, type) and issubclass(kind, ev.Event)]


@pytest.mark.parametrize("name", sorted(NAMES))
def test_documented_names_are_reserved(name: str) -> None:
    assert pp.reserved(name)


@pytest.mark.parametrize("name", ["incoming::x", "outgoing::", "incoming::id"])
def test_prefixes_are_reserved(name: str) -> None:
    assert pp.reserved(name)


@pytest.mark.parametrize("name", ["", "chat", "Open", "incoming", "incoming:x", "opened", "xincoming::"])
def test_other_names_are_free(name: str) -> None:
    assert not pp.reserved(name)


def test_every_documented_name_that_exists_so_far_has_its_events() -> None:
    later = {"plugin", "plugout"}
    assert NAMES - later <= {kind.name for kind in EVENTS}
    assert {kind.name for kind in EVENTS if not issubclass(kind, ev.SparkEvent)} >= set(CLIENT)
    assert {kind.name for kind in EVENTS if issubclass(kind, ev.SparkEvent)} >= {*SPARK, "connection", "disconnection"}


def test_only_bases_have_no_name() -> None:
    assert {kind for kind in EVENTS if not kind.name} == {ev.Event, ev.ReconnectEvent, ev.SparkEvent}


def test_all_names_every_event() -> None:
    assert {kind.__name__ for kind in EVENTS} <= set(ev.__all__)


SPARK_ = ServerHost().connect()
ERROR = pp.ConnectionLost("gone")
REASON = pp.CloseReason("local")
PROGRESS: Any = (1, 10, 0.5, 3.0, 0.25)


@pytest.mark.parametrize(
    ("event", "args"),
    [
        (ev.Opened(), ()),
        (ev.DataReceived({"a": 1}, 7), ({"a": 1},)),
        (ev.ErrorOccurred(ERROR), (ERROR,)),
        (ev.Closed(REASON), ()),
        (ev.Ended(REASON), ()),
        (ev.ReadyStateChanged("open"), ("open",)),
        (ev.ConnectTimedOut(), ()),
        (ev.WentOnline(), ()),
        (ev.WentOffline(), ()),
        (ev.Destroyed(), ()),
        (ev.IdReceived("1"), ("1",)),
        (ev.SpecReceived({"a": 1}), ({"a": 1},)),
        (ev.MessageIgnored("primus::x"), ("primus::x",)),
        (ev.MessagesDropped(("1",), "why"), (("1",), "why")),
        (ev.Drained(), ()),
        (ev.SparkConnected(SPARK_), (SPARK_,)),
        (ev.SparkDisconnected(SPARK_, REASON), (SPARK_,)),
        (ev.SparkData(SPARK_, 5), (5,)),
        (ev.SparkError(SPARK_, ERROR), (ERROR,)),
        (ev.SparkReadyStateChanged(SPARK_), ()),
        (ev.SparkEnded(SPARK_, REASON), ()),
        (ev.SparkHeartbeat(SPARK_), ()),
        (ev.SparkMessageIgnored(SPARK_, "primus::x"), ("primus::x",)),
        (ev.SparkMessagesDropped(SPARK_, ("1",), "why"), (("1",), "why")),
        (ev.SparkDrained(SPARK_), ()),
        (ev.HeartbeatSkipped(SPARK_, 2), (SPARK_, 2)),
        (ev.Flatlined(SPARK_, 3), (SPARK_, 3)),
        (ev.Initialised(), ()),
        (ev.ServerClosed(), ()),
        (ev.Logged("warning", "x"), ("warning", "x")),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_a_listener_is_called_with(event: ev.Event, args: tuple[Any, ...]) -> None:
    assert event.args == args


@pytest.mark.parametrize(
    "kind",
    [ev.ReconnectScheduled, ev.ReconnectStarted, ev.Reconnected, ev.ReconnectTimedOut, ev.ReconnectFailed],
)
def test_reconnect_listeners_get_all_of_it(kind: Any) -> None:
    event = kind(*PROGRESS, ERROR)
    assert event.args == (event,)
    assert (event.attempt, event.retries, event.delay, event.start, event.duration, event.error) == (*PROGRESS, ERROR)
    assert kind(*PROGRESS).error is None


def test_an_authorization_listener_gets_id_and_request() -> None:
    asked = request()
    assert ev.RequestHeld(3, "authorization", asked).args == (3, "authorization", asked)


def test_data_compares_by_value_not_by_size() -> None:
    assert ev.DataReceived(1, 1) == ev.DataReceived(1, 99)
    assert ev.SparkData(SPARK_, 1, 1) == ev.SparkData(SPARK_, 1)
    assert "size" not in repr(ev.DataReceived(1, 1))


@pytest.mark.parametrize(
    ("reason", "text"),
    [
        (pp.CloseReason("local"), "local (1000)"),
        (pp.CloseReason("server", 1001, "bye"), "server (1001): bye"),
        (pp.CloseReason("lost", 1006, "bye", ERROR), "lost (1006): gone"),
    ],
)
def test_a_close_reason_reads_well(reason: pp.CloseReason, text: str) -> None:
    assert str(reason) == text
