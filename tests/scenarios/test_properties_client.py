"""Properties of a client alone, driven at random by its application and its host: the laws it never breaks."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import note
from hypothesis import strategies as st
from hypothesis.stateful import initialize, invariant, precondition, rule

from primus_proto import Client, ClientConfig, ClientState, LocalProtocolError, PrimusError, ReadyState
from primus_proto import commands as cmd
from primus_proto import events as ev
from tests.scenarios.worlds import Machine, run_machine

MESSAGES = [
    *('"data"', "7", "{", '"primus::server::close"', '"primus::pong::1"', '"primus::ping::1"'),
    *('"primus::id::x"', '"primus::id::"', '"primus::unknown::x"', '"primus::"', b"\xff"),
]
SPECS: list[Any] = [{"timeout": 35000}, {"pingInterval": 30000}, {"pingInterval": False}, {}, {"timeout": []}]
OVER = (ClientState.OFFLINE, ClientState.ENDED, ClientState.DESTROYED)


# A client that is ended as soon as it is opened shows little.
lived = precondition(lambda self: self.since > 8 or self.client.state in OVER)


class Driven(Machine):
    """`log` is the readable trace: what was done to the client, and what came out of it."""

    @initialize(
        strategy=st.sampled_from([None, None, "online,disconnect", "disconnect", "timeout", False]),
        dialect=st.sampled_from(["auto", "happn", "primus6", "primus"]),
        retries=st.integers(0, 4),
        timeout=st.sampled_from([5.0, 10.0]),
        queue_size=st.sampled_from([None, 0, 2]),
        manual=st.booleans(),
        opens=st.sampled_from([True, True, False]),
    )
    def begin(self, opens: bool, **options: Any) -> None:
        self.now = 0.0
        self.log: list[str] = []
        config = ClientConfig(url="http://server", max=8.0, **options)
        self.client = Client(config, rng=random.Random(1), wall_offset=1e9)
        self.attempt = False
        """Whether a connection is being made, or is there, as the host sees it."""
        self.open = False
        self.paused = False  # the host was told to
        self.ended = False
        self.since = 0  # what was done since the last end
        self.pump()
        if opens and self.attempt:
            self.connected()

    def act(self, what: str, *args: Any, **named: Any) -> Any:
        """Call a verb; a local mistake must leave no trace."""
        before = self.shown()
        assert self.shown() == before, "looking changes something"
        self.log.append(f"{self.now:g}: {what}{args}{named or ''}")
        was_over = self.client.state in OVER
        try:
            result = getattr(self.client, what)(*args, **named)
        except LocalProtocolError as error:
            self.log.append(f"  {error!r}")
            assert self.shown() == before, "a mistake changed something"
            assert not [*self.client.queued_events, *self.client.queued_commands]
            return None
        if was_over and what not in ("open", "network_online"):
            assert not self.client.queued_commands, "written after the end"
            assert {type(event) for event in self.client.queued_events} <= {ev.Destroyed, ev.WentOffline}
        if self.client.state not in OVER:
            self.ended = False
        self.since += 1
        self.pump()
        return result

    def shown(self) -> Any:
        """All that a client shows of itself."""
        client = self.client
        state = (client.state, client.ready_state, client.online, client.latency, client.buffered, client.needs_drain)
        return (*state, client.close_reason, client.next_timeout())

    def pump(self) -> None:
        for item in self.client.poll(now=self.now):
            if isinstance(item, ev.Event):
                self.log.append(f"  {item}")
                self.hear(item)
            else:
                self.log.append(f"  -> {item}")
                self.obey(item)

    def hear(self, event: ev.Event) -> None:
        self.reached[type(event)] += 1
        assert not self.ended or isinstance(event, ev.Destroyed | ev.WentOffline | ev.WentOnline), event
        if isinstance(event, ev.Ended):
            self.ended, self.since = True, 0

    def obey(self, command: cmd.MessageCommand[Any]) -> None:
        match command:
            case cmd.Connect():
                assert not self.attempt, "a second attempt beside the first"
                assert not self.open, "an attempt beside a connection"
                self.attempt = True
            case cmd.SendMessage():
                assert self.open, "sent where there is no connection"
            case cmd.Pause() | cmd.Resume():
                assert self.open, "nothing to read from"
                assert self.paused is isinstance(command, cmd.Resume), "said twice"
                self.paused = not self.paused
            case cmd.Close() | cmd.Abort():
                assert self.attempt or self.open, "nothing to close"
                self.attempt = self.open = self.paused = False
            case _:
                raise AssertionError(command)

    # --- the application ---

    @rule(what=st.sampled_from(["open", "pause", "resume", "request_id", "drained"]))
    def verb(self, what: str) -> None:
        self.act(what)

    @precondition(lambda self: self.client.state in (ClientState.IDLE, ClientState.OFFLINE, ClientState.ENDED))
    @rule()
    def opens(self) -> None:
        self.act("open")

    @lived
    @rule(what=st.sampled_from(["end", "end", "end", "destroy"]))
    def is_over(self, what: str) -> None:
        self.act(what)

    @rule(value=st.sampled_from(["x", "y" * 50, b"cannot", "primus::cannot", float("nan"), None]))
    def write(self, value: Any) -> None:
        taken = self.act("write", value)
        if self.client.state in OVER:
            assert not taken

    @lived
    @rule(value=st.sampled_from(["bye", b"cannot"]))
    def end_with(self, value: Any) -> None:
        self.act("end", value)

    # --- the host ---

    @lived
    @rule()
    def network_goes(self) -> None:
        self.act("network_offline")

    @rule()
    def network_comes(self) -> None:
        self.act("network_online")

    @precondition(lambda self: self.attempt)
    @rule()
    def connected(self) -> None:
        self.attempt, self.open = False, True
        self.act("opened", now=self.now)

    @precondition(lambda self: self.attempt or self.open)
    @rule(how=st.sampled_from(["gone", None]), code=st.sampled_from([1000, 1006]))
    def lost(self, how: str | None, code: int) -> None:
        self.attempt = self.open = self.paused = False
        self.act("connection_lost", how, code=code, now=self.now)

    @precondition(lambda self: self.open)
    @rule(data=st.sampled_from(MESSAGES))
    def receives(self, data: str | bytes) -> None:
        self.act("receive_message", data, now=self.now)

    @precondition(lambda self: self.open)
    @rule()
    def receives_ping(self) -> None:
        self.act("receive_ping", now=self.now)

    @rule(spec=st.sampled_from(SPECS))
    def learns(self, spec: Any) -> None:
        self.act("learn", spec, now=self.now)

    @rule(late=st.sampled_from(["opened", "connection_lost"]))
    def late_word_of_an_old_connection(self, late: str) -> None:
        """A host that is a little behind: it does no harm where no connection is wanted."""
        if not (self.attempt or self.open):
            before = self.shown()
            self.act(late, now=self.now)
            assert self.shown() == before

    @rule(seconds=st.sampled_from([0.0, 0.1, 0.5, 2.0, 10.0, 25.0, 60.0]))
    def time_passes(self, seconds: float) -> None:
        end = self.now + seconds
        while (due := self.client.next_timeout()) is not None and due <= end:
            self.fire(due)
        self.now = end
        self.act("handle_timeout", now=end)

    def fire(self, due: float) -> None:
        """Every timer leads somewhere: something happens, or it has moved on."""
        self.now = max(self.now, due)  # what is learned late may be due already
        lines = len(self.log)
        self.act("handle_timeout", now=self.now)
        assert len(self.log) > lines + 1 or self.client.next_timeout() != due

    @rule(seconds=st.floats(-1e10, 1e10))
    def wall_clock_jumps(self, seconds: float) -> None:
        due = self.client.next_timeout()
        self.client.wall_offset += seconds
        assert self.client.next_timeout() == due

    @rule(lost=st.booleans(), steps=st.integers(2, 5), asks=st.booleans())
    def all_goes_well(self, lost: bool, steps: int, asks: bool) -> None:
        """What comes next where nothing goes wrong, or no more: without this, few runs would get far."""
        if lost and self.open:
            self.lost("gone", 1006)
        for _ in range(steps):
            if self.attempt:
                self.connected()
            elif self.open:
                if asks:
                    self.act("request_id")
                self.receives('"primus::id::x"' if asks else MESSAGES[0])
            elif self.client.state is ClientState.WAITING:
                due = self.client.next_timeout()
                assert due is not None
                self.fire(due)
            else:
                self.act("open")

    # --- what always holds ---

    @invariant()
    def the_states_agree(self) -> None:
        if not hasattr(self, "client"):
            return
        client = self.client
        states = {
            ClientState.OPEN: {ReadyState.OPEN},
            ClientState.CLOSING: {ReadyState.OPEN},
            ClientState.CONNECTING: {ReadyState.OPENING},
            ClientState.RECONNECTING: {ReadyState.OPENING},
            ClientState.WAITING: {ReadyState.CLOSED, ReadyState.OPENING},
        }
        assert client.ready_state in states.get(client.state, {ReadyState.CLOSED})
        assert self.open == (client.state in (ClientState.OPEN, ClientState.CLOSING))
        assert self.attempt == (client.state in (ClientState.CONNECTING, ClientState.RECONNECTING))
        assert (client.state in OVER) <= (client.next_timeout() is None and client.buffered == 0)
        if client.state in (ClientState.CONNECTING, ClientState.WAITING, ClientState.RECONNECTING):
            assert client.next_timeout() is not None, "it may hang for ever"

    def teardown(self) -> None:
        """Everyone else falls silent: in bounded time the client is at its end, or there is no heartbeat to tell."""
        if not hasattr(self, "client"):
            return
        client = self.client
        try:
            client.resume()
            self.pump()
            for _ in range(100):
                due = client.next_timeout()
                if due is None:
                    break
                self.fire(due)
            assert client.next_timeout() is None
            if client.state in (ClientState.OPEN, ClientState.CLOSING):  # its server said that it has no heartbeat
                assert any("learn" in line or "'pingInterval': False" in line for line in self.log)
                self.open = self.paused = False
                self.act("connection_lost", "gone", now=self.now)
                while (due := client.next_timeout()) is not None:
                    self.fire(due)
            assert client.state in (ClientState.IDLE, *OVER)
            if client.close_reason is not None and client.close_reason.error is not None:
                assert isinstance(client.close_reason.error, PrimusError)
        except BaseException:
            note("\n".join(self.log[-60:]))
            raise


@pytest.mark.hypothesis
def test_a_client_driven_at_random() -> None:
    run_machine(
        Driven,
        often=[
            *(ev.Opened, ev.DataReceived, ev.IdReceived, ev.Closed, ev.Ended, ev.WentOffline),
            *(ev.ReconnectScheduled, ev.Reconnected, ev.ReconnectTimedOut, ev.ReconnectFailed, ev.WentOnline),
        ],
        rarely=[ev.Destroyed, ev.ConnectTimedOut, ev.ErrorOccurred, ev.MessageIgnored, ev.MessagesDropped],
    )
