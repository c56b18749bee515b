"""Events: documented names, what listeners are called with, and reserved names (protocol 5)."""

from __future__ import annotations

from typing import Any

import pytest

import primus_proto as pp
from primus_proto import events as ev
from tests.unit.sessions import ClientHost, ServerHost, request

CLIENT = [
    *("open", "data", "error", "close", "end", "reconnect scheduled", "reconnect", "reconnected", "reconnect timeout"),
    *("reconnect failed", "timeout", "online", "offline", "readyStateChange", "destroy"),
]
SPARK = ["data", "error", "end", "heartbeat", "readyStateChange"]
SERVER = ["connection", "disconnection", "initialised", "plugin", "plugout", "close", "log", "heartbeat-skipped"]
NAMES = {*CLIENT, *SPARK, *SERVER, "flatline"}

EVENTS = [kind for kind in vars(ev).values() if isinstance(kind, type) and issubclass(kind, ev.Event)]


@pytest.mark.parametrize("name", [*sorted(NAMES), "incoming::x", "outgoing::"])
def test_documented_names_and_prefixes_are_reserved(name: str) -> None:
    assert pp.reserved(name)


@pytest.mark.parametrize("name", ["", "chat", "Open", "incoming", "incoming:x", "opened", "xincoming::"])
def test_other_names_are_free(name: str) -> None:
    assert not pp.reserved(name)


@pytest.mark.parametrize(
    ("held", "names"),
    [
        (ClientHost(manual=True).client, {*CLIENT}),
        (ServerHost().connect(), {*SPARK}),
        (ServerHost().server, {*SERVER, "flatline"}),
        (ServerHost(plugins="rooms").connect(), {*SPARK, "joinroom", "leaveroom", "leaveallrooms", "roomserror"}),
    ],
    ids=["client", "spark", "server", "spark with rooms"],
)
def test_each_reserves_its_own_names(held: Any, names: set[str]) -> None:
    rooms = ("joinroom", "leaveroom", "leaveallrooms", "roomserror")
    assert {name for name in (*NAMES, *rooms) if held.reserved(name)} == names
    assert held.reserved("incoming::x")
    assert not held.reserved("toString")
    with pytest.raises(pp.LocalProtocolError, match="string"):
        held.reserved(5)


def test_every_documented_name_has_its_event() -> None:
    later = {"plugin", "plugout"}
    assert NAMES - later <= {kind.name for kind in EVENTS}
    assert {kind.name for kind in EVENTS if not issubclass(kind, ev.SparkEvent)} >= set(CLIENT)
    assert {kind.name for kind in EVENTS if issubclass(kind, ev.SparkEvent)} >= {*SPARK, "connection", "disconnection"}
    assert {kind for kind in EVENTS if not kind.name} == {ev.Event, ev.ReconnectEvent, ev.SparkEvent, ev.PluginEvent}
    assert {kind.__name__ for kind in EVENTS} <= set(ev.__all__)


SPARK_ = ServerHost().connect()
ERROR = pp.ConnectionLost("gone")
REASON = pp.CloseReason("local")
REQUEST = request()
WITHOUT_ARGUMENTS = [
    *(ev.Opened(), ev.Closed(REASON), ev.Ended(REASON), ev.ConnectTimedOut(), ev.WentOnline(), ev.WentOffline()),
    *(ev.Destroyed(), ev.Drained(), ev.Initialised(), ev.ServerClosed()),
    *(ev.SparkReadyStateChanged(SPARK_), ev.SparkEnded(SPARK_, REASON), ev.SparkHeartbeat(SPARK_)),
    ev.SparkDrained(SPARK_),
]


@pytest.mark.parametrize(
    ("event", "args"),
    [
        *((event, ()) for event in WITHOUT_ARGUMENTS),
        (ev.DataReceived({"a": 1}, 7), ({"a": 1},)),
        (ev.ErrorOccurred(ERROR), (ERROR,)),
        (ev.ReadyStateChanged("open"), ("open",)),
        (ev.IdReceived("1"), ("1",)),
        (ev.SpecReceived({"a": 1}), ({"a": 1},)),
        (ev.MessageIgnored("primus::x"), ("primus::x",)),
        (ev.MessagesDropped(("1",), "why"), (("1",), "why")),
        (ev.RequestHeld(3, "authorization", REQUEST), (3, "authorization", REQUEST)),
        (ev.SparkConnected(SPARK_), (SPARK_,)),
        (ev.SparkDisconnected(SPARK_, REASON), (SPARK_,)),
        (ev.SparkData(SPARK_, 5), (5,)),
        (ev.SparkError(SPARK_, ERROR), (ERROR,)),
        (ev.SparkMessageIgnored(SPARK_, "primus::x"), ("primus::x",)),
        (ev.SparkMessagesDropped(SPARK_, ("1",), "why"), (("1",), "why")),
        (ev.HeartbeatSkipped(SPARK_, 2), (SPARK_, 2)),
        (ev.Flatlined(SPARK_, 3), (SPARK_, 3)),
        (ev.Logged("warning", "x"), ("warning", "x")),
    ],
    ids=lambda value: type(value).__name__,
)
def test_listeners_are_called_with_the_documented_arguments(event: ev.Event, args: tuple[Any, ...]) -> None:
    assert event.args == args


@pytest.mark.parametrize(
    "kind",
    [ev.ReconnectScheduled, ev.ReconnectStarted, ev.Reconnected, ev.ReconnectTimedOut, ev.ReconnectFailed],
)
def test_listeners_of_reconnecting_are_called_with_the_event(kind: Any) -> None:
    event = kind(1, 10, 0.5, 3.0, 0.25, ERROR)
    assert event.args == (event,)
    assert (event.attempt, event.retries, event.delay, event.start) == (1, 10, 0.5, 3.0)
    assert (event.duration, event.error) == (0.25, ERROR)
    assert kind(1, 10, 0.5, 3.0, 0.25).error is None


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
