"""The state tables, and that client and spark do what the tables say: every trigger in every state."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from primus_proto import ClientState, ConnectError, Limits, LocalProtocolError, ReadyState, Spark, SparkState
from primus_proto import events as ev
from primus_proto.session.states import CLIENT, SPARK, ClientTrigger, SparkTrigger, step
from tests.unit.sessions import SPARK_OVER, ClientHost, ServerHost, SlowPipe, ready

S, T = ClientState, ClientTrigger

READY = {
    **{key: {ReadyState.CLOSED} for key in (S.IDLE, S.OFFLINE, S.ENDED, S.DESTROYED)},
    **{key: {ReadyState.OPENING} for key in (S.STARTING, S.CONNECTING, S.RECONNECTING)},
    **{key: {ReadyState.OPEN} for key in (S.OPEN, S.CLOSING)},
    **{key: {ReadyState.CLOSED, ReadyState.OPENING} for key in (S.WAITING, S.RESUMING)},
}


# --- the tables by themselves ---


def test_every_state_can_be_reached_and_every_trigger_is_used() -> None:
    assert set(CLIENT.values()) == set(S) - {S.IDLE}
    assert {trigger for _, trigger in CLIENT} == set(T)
    assert {state for state, _ in CLIENT} == set(S) - {S.DESTROYED}
    assert {trigger for _, trigger in SPARK} == set(SparkTrigger)


def test_every_state_but_destroyed_leads_to_the_end() -> None:
    assert {state for state in S if (state, T.END) not in CLIENT} == {S.ENDED, S.DESTROYED}
    assert {CLIENT[state, T.END] for state in set(S) - {S.ENDED, S.DESTROYED}} == {S.ENDED}
    assert {state for state in S if state.over} == {S.OFFLINE, S.ENDED, S.DESTROYED}


def test_a_step_that_the_table_does_not_have_raises() -> None:
    assert step(CLIENT, S.IDLE, T.OPEN) is S.STARTING
    with pytest.raises(LocalProtocolError, match=r"^cannot do 'open\(\)' while destroyed$"):
        step(CLIENT, S.DESTROYED, T.OPEN)


def test_ready_states_have_the_numbers_and_names_of_the_original() -> None:
    names = [(int(state), state.announced) for state in ReadyState]
    assert names == [(1, "opening"), (2, "end"), (3, "open")]


# --- a client for each state, and an act for each trigger ---


def reach(state: ClientState, retries: int = 3) -> ClientHost:
    host = ClientHost(manual=True, retries=retries)
    if state is S.IDLE:
        return host
    host.client.open()
    if state is S.STARTING:
        return host
    host.pump()
    if state in (S.OPEN, S.CLOSING, S.WAITING, S.RECONNECTING):
        host.open()
    if state is S.CLOSING:
        host.receive("primus::server::close")
    if state in (S.WAITING, S.RECONNECTING):
        host.lose()
    if state is S.RECONNECTING:
        host.run(0.5)
    if state in (S.OFFLINE, S.RESUMING):
        host.client.network_offline()
    if state is S.RESUMING:
        host.client.network_online()
    if state is S.ENDED:
        host.client.end()
    if state is S.DESTROYED:
        host.client.destroy()
    if state is not S.RESUMING:
        host.pump()
    assert host.client.state is state
    return host


def give_up(host: ClientHost) -> None:
    """What makes a client give up: a refusal, a loss with no retry left, or a loss after `primus::server::close`."""
    error = ConnectError("no", status=403) if host.client.state is S.CONNECTING else None
    host.client.connection_lost(error, now=host.now)


def delay_over(host: ClientHost) -> None:
    if host.client.state is S.WAITING:
        due = host.client.next_timeout()
        assert due is not None
        host.client.handle_timeout(now=due)


ACTS: dict[ClientTrigger, Callable[[ClientHost], None]] = {
    T.OPEN: lambda host: host.client.open(),
    T.CONNECTED: lambda host: host.client.opened(now=host.now),
    T.SERVER_CLOSE: lambda host: host.client.receive_message('"primus::server::close"', now=host.now),
    T.RETRY: lambda host: host.client.connection_lost(now=host.now),
    T.GIVE_UP: give_up,
    T.DUE: delay_over,
    T.END: lambda host: host.client.end(),
    T.OFFLINE: lambda host: host.client.network_offline(),
    T.ONLINE: lambda host: host.client.network_online(),
    T.DESTROY: lambda host: host.client.destroy(),
}
# Steps that a poll takes, and those of an open client whose strategy has no `disconnect`: see test_attempts.py and
# test_client_events.py.
OTHERWISE = {
    *((state, T.START) for state in S),
    *((S.RESUMING, trigger) for trigger in (T.RETRY, T.GIVE_UP)),
    *((S.OPEN, T.GIVE_UP), (S.CLOSING, T.RETRY)),
}


@pytest.mark.parametrize(("state", "trigger"), [pair for pair in itertools.product(S, T) if pair not in OTHERWISE])
def test_a_client_does_what_its_table_says(state: ClientState, trigger: ClientTrigger) -> None:
    host = reach(state, retries=1 if (state, trigger) == (S.RECONNECTING, T.GIVE_UP) else 3)
    due, events = host.client.next_timeout(), len(host.client.queued_events)
    expected = CLIENT.get((state, trigger))
    if trigger is T.DESTROY and expected is None and state is not S.DESTROYED:
        expected = S.DESTROYED  # by way of the end, which is in the table
    try:
        ACTS[trigger](host)
    except LocalProtocolError:
        assert expected is None
        assert trigger is T.OPEN
    assert host.client.state is (expected or state)
    assert host.client.ready_state in READY[host.client.state]
    if expected is None:
        told = host.client.queued_events
        assert len(told) == events or {type(event) for event in told} <= {ev.WentOffline}
        assert host.client.next_timeout() == due


# --- the spark ---


def cut(host: ServerHost, spark: Spark) -> None:
    spark.write("more than the backlog may be")
    spark.flushed(now=host.now)
    host.run(host.server.limits.stall)


SPARK_ACTS: dict[SparkTrigger, Callable[[ServerHost, Spark], None]] = {
    SparkTrigger.END: lambda host, spark: spark.end(),
    SparkTrigger.LOST: lambda host, spark: spark.connection_lost(now=host.now),
    SparkTrigger.FLATLINE: lambda host, spark: host.run(1e4),
    SparkTrigger.CUT: cut,
}


@given(st.lists(st.sampled_from(SparkTrigger), min_size=1, max_size=4))
def test_a_spark_does_what_its_table_says_and_closes_once(walk: list[SparkTrigger]) -> None:
    host = ServerHost(limits=Limits(backlog=10))
    spark = host.connect(pipe=SlowPipe())
    assert ready(spark) is ReadyState.OPEN
    state = SparkState.OPEN
    for trigger in walk:
        SPARK_ACTS[trigger](host, spark)
        told = [name for name in host.told() if name in SPARK_OVER]
        assert told == (SPARK_OVER if state is SparkState.OPEN else [])
        state = SPARK.get((state, trigger), state)
        assert ready(spark) is ReadyState.CLOSED
        assert repr(spark) == f"<Spark {spark.id} {state.value}>"
        assert host.server.next_timeout() is None
        assert len(host.server) == 0
