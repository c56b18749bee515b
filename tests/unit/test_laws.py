"""Laws that hold for client and server alike: getters change nothing, misuse changes nothing, runs repeat."""

from __future__ import annotations

import contextlib
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from primus_proto import ClientState, LocalProtocolError, ReadyState, Spark
from primus_proto import commands as cmd
from primus_proto import events as ev
from tests.unit.sessions import ClientHost, ServerHost

TEXTS = [
    '"data"',
    "1",
    "{",
    '"primus::server::close"',
    '"primus::pong::1"',
    '"primus::ping::1"',
    '"primus::id::x"',
    '"primus::id::"',
    '"primus::???"',
]
client_acts = st.lists(
    st.one_of(
        st.sampled_from(["open", "end", "destroy", "network_offline", "network_online", "pause", "resume"]),
        st.sampled_from(["opened", "lost", "lost politely", "request_id", "drained", "receive_ping"]),
        st.sampled_from(TEXTS).map(lambda text: ("receive", text)),
        st.sampled_from(["x", "x" * 40, b"cannot", "primus::cannot"]).map(lambda data: ("write", data)),
        st.sampled_from([1, b"cannot"]).map(lambda data: ("end with", data)),
        st.sampled_from([0.1, 1.0, 10.0, 60.0]).map(lambda seconds: ("run", seconds)),
    ),
    max_size=30,
)
OPTIONS: Any = {"retries": 2, "queue_size": 3}


def seen_of(client: Any) -> Any:
    """All that a client shows of itself."""
    return (
        client.state,
        client.ready_state,
        client.online,
        client.latency,
        client.buffered,
        client.needs_drain,
        client.close_reason,
        client.next_timeout(),
        repr(client.config),
    )


def act_on(host: ClientHost, act: Any) -> None:
    client = host.client
    match act:
        case "opened":
            client.opened(now=host.now)
        case "lost":
            client.connection_lost("gone", now=host.now)
        case "lost politely":
            client.connection_lost(code=1000, now=host.now)
        case "receive_ping":
            client.receive_ping(now=host.now)
        case ("receive", text):
            client.receive_message(text, now=host.now)
        case ("write", data):
            client.write(data)
        case ("end with", data):
            client.end(data)
        case ("run", seconds):
            host.run(seconds)
        case verb:
            getattr(client, verb)()


def check_sequence(events: list[ev.Event]) -> None:
    """What holds for the events of a client, whatever happened."""
    state = "end"
    over = False
    for event in events:
        if isinstance(event, ev.ReadyStateChanged):
            assert event.state != state, "a change changes something"
            state = event.state
            assert event.state == "end" or not isinstance(event, ev.Ended)
            over = over and event.state != "opening"
        elif isinstance(event, ev.Opened | ev.DataReceived | ev.IdReceived | ev.MessageIgnored):
            assert state == "open"
        elif isinstance(event, ev.Ended):
            assert state == "end"
            assert not over, "it ends once"
            over = True
        elif isinstance(event, ev.ReconnectScheduled | ev.ReconnectStarted):
            over = False  # the network is back
            assert event.retries is not None
            assert 1 <= event.attempt <= event.retries
        elif isinstance(event, ev.Closed):
            assert state == "end"
        if over:
            assert isinstance(event, ev.Ended | ev.WentOnline | ev.WentOffline | ev.Destroyed | ev.ReadyStateChanged)


@given(client_acts)
def test_a_client_keeps_the_laws_whatever_happens(acts: list[Any]) -> None:
    host = ClientHost(**OPTIONS)
    for act in acts:
        host.pump()
        before, events, commands = seen_of(host.client), len(host.seen), len(host.done)
        assert seen_of(host.client) == before, "looking changes nothing"
        try:
            act_on(host, act)
        except LocalProtocolError:
            host.pump()
            assert seen_of(host.client) == before
            assert (len(host.seen), len(host.done)) == (events, commands)
        host.pump()
        attempts = 0
        for command in host.done:
            if isinstance(command, cmd.Connect):
                attempts += 1
        assert host.client.ready_state is not ReadyState.OPEN or host.client.state is ClientState.OPEN
        assert attempts >= 1
    check_sequence(host.seen)
    if host.client.state in (ClientState.ENDED, ClientState.DESTROYED):
        assert host.client.next_timeout() is None
        assert host.client.buffered == 0
        assert host.client.write("x") is False


@given(client_acts)
def test_a_client_does_the_same_again(acts: list[Any]) -> None:
    def run() -> tuple[list[ev.Event], list[cmd.MessageCommand[Any]]]:
        host = ClientHost(**OPTIONS)
        for act in acts:
            with contextlib.suppress(LocalProtocolError):
                act_on(host, act)
            host.pump()
        return host.seen, host.done

    (seen, done), (seen_again, done_again) = run(), run()
    assert [str(event) for event in seen] == [str(event) for event in seen_again]
    assert done == done_again


@given(client_acts, st.lists(st.integers(0, 3), min_size=30, max_size=30))
def test_how_often_it_is_pumped_changes_nothing_that_is_sent(acts: list[Any], pumps: list[int]) -> None:
    """Extra pumps, and timeouts that come early, are harmless; between two acts one pump is needed."""

    def run(extra: list[int]) -> list[cmd.MessageCommand[Any]]:
        host = ClientHost(**OPTIONS)
        for act, times in zip(acts, extra, strict=False):
            host.pump()
            for _ in range(times):
                host.client.handle_timeout(now=host.now)
                host.pump()
            with contextlib.suppress(LocalProtocolError):
                act_on(host, act)
        host.pump()
        return host.done

    assert run([0] * 30) == run(pumps)


spark_acts = st.lists(
    st.one_of(
        st.sampled_from(["end", "pause", "resume", "drained"]),
        st.sampled_from(["receive_ping", "lost", "lost politely"]),
        st.sampled_from(TEXTS).map(lambda text: ("receive", text)),
        st.sampled_from(["x", b"cannot", "primus::cannot"]).map(lambda data: ("write", data)),
        st.sampled_from([1, b"cannot"]).map(lambda data: ("end with", data)),
        st.sampled_from([1, 5000]).map(lambda code: ("end coded", code)),
        st.sampled_from([0.1, 1.0, 29.0, 31.0]).map(lambda seconds: ("run", seconds)),
    ),
    max_size=30,
)


def act_on_spark(host: ServerHost, spark: Spark, act: Any) -> None:
    match act:
        case "receive_ping":
            spark.receive_ping(now=host.now)
        case "lost":
            spark.connection_lost("gone", now=host.now)
        case "lost politely":
            spark.connection_lost(code=1000, now=host.now)
        case ("receive", text):
            spark.receive_message(text, now=host.now)
        case ("write", data):
            spark.write(data)
        case ("end with", data):
            spark.end(data)
        case ("end coded", code):
            spark.end(code=code)
        case ("run", seconds):
            host.run(seconds)
        case verb:
            getattr(spark, verb)()


@given(spark_acts)
def test_a_spark_keeps_the_laws_whatever_happens(acts: list[Any]) -> None:
    host = ServerHost()
    spark = host.connect()

    def seen() -> Any:
        return (
            spark.ready_state,
            spark.skipped,
            spark.buffered,
            spark.needs_drain,
            spark.close_reason,
            host.server.next_timeout(),
            len(host.server),
            len(host.seen),
            len(host.done),
        )

    for act in acts:
        before = seen()
        assert seen() == before
        closed = spark.ready_state is ReadyState.CLOSED
        try:
            act_on_spark(host, spark, act)
        except LocalProtocolError:
            host.pump()
            assert seen() == before
        host.pump()
        if closed:
            assert seen() == before, "nothing comes after the end"
        else:
            assert (host.server.next_timeout() is None) is (spark.ready_state is ReadyState.CLOSED)
    names = [event.name for event in host.seen]
    ends = names.count("end")
    assert ends == (1 if spark.ready_state is ReadyState.CLOSED else 0)
    assert set(names[names.index("end") + 1 :] if ends else []) <= {"flatline"}
