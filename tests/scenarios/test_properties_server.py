"""Properties of a server and its sparks alone, driven at random by application and host: the laws they never break."""

from __future__ import annotations

import random
from collections import Counter
from typing import Any

import pytest
from hypothesis import note
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, consumes, initialize, invariant, precondition, rule

from primus_proto import NOTHING, Limits, LocalProtocolError, ReadyState, Server, ServerConfig, Spark
from primus_proto import commands as cmd
from primus_proto import events as ev
from tests.scenarios.worlds import Machine, run_machine
from tests.unit.sessions import SlowPipe, heeded, request

MESSAGES = [
    *('"data"', "7", "{", '"primus::ping::1"', '"primus::ping::2"', '"primus::pong::1"', '"primus::id::"'),
    *('"primus::server::close"', '"primus::unknown::x"', '"primus::"', b"\xff"),
]
BURST = 1000  # bytes
QUERIES = ["ping=4000&pong=2000", "ping=1000&pong=300", "ping=false", "ping=999999999", "pong=1", "_primuscb=1"]
VALUES = ["x", "y" * 60, None, b"cannot", "primus::cannot", float("nan")]
# The longest that any spark here can be silent: `heartbeat_max` for each of up to four timeouts.
LONGEST = 4 * 30.0


class Hosted(Machine):
    """`log` is the readable trace: what was done to the server, and what came out of it."""

    sparks: Bundle[Spark] = Bundle("sparks")

    @initialize(
        dialect=st.sampled_from(["auto", "auto", "happn", "primus6", "primus"]),
        allowed=st.integers(2, 3),
        timeout=st.sampled_from([False, 20.0]),
        ping_interval=st.sampled_from([False, 15.0]),
    )
    def begin(self, dialect: Any, allowed: int, timeout: Any, ping_interval: Any) -> None:
        self.now = 0.0
        self.log: list[str] = []
        options = heeded(
            dialect,
            allow_skipped_heartbeats=allowed,
            timeout=timeout,
            ping_interval=ping_interval,
            detect_after=25.0,
            limits=Limits(backlog=500, burst=BURST, heartbeat_max=30.0),
        )
        self.server = Server(ServerConfig(**options), rng=random.Random(1), wall_offset=1e9)
        self.slow: dict[Spark, SlowPipe] = {}
        self.born: list[Spark] = []
        self.over: set[Spark] = set()
        """Those whose `end` was told."""
        self.mute: set[Spark] = set()
        """Those whose WebSocket the host was told to close, or has told to be gone."""
        self.closed = False
        self.pings: Counter[Spark] = Counter()
        self.asked: Counter[Spark] = Counter()
        self.pongs: Counter[Spark] = Counter()
        self.pump()

    # --- what every call goes through ---

    def act(self, what: str, *args: Any, on: Spark | None = None, **named: Any) -> Any:
        """Call a verb; a local mistake must leave no trace, and neither must looking."""
        before = self.shown()
        assert self.shown() == before, "looking changes something"
        self.log.append(f"{self.now:g}: {on or 'server'}.{what}{args}{named or ''}")
        was_over = on is not None and not on.is_open
        try:
            result = getattr(on or self.server, what)(*args, **named)
        except LocalProtocolError as error:
            self.log.append(f"  {error!r}")
            assert self.shown() == before, "a mistake changed something"
            assert not [*self.server.queued_events, *self.server.queued_commands]
            return None
        if was_over:
            assert not [*self.server.queued_events, *self.server.queued_commands], "after the end"
            assert result is None or result is False
        self.pump()
        return result

    def shown(self) -> Any:
        """All that a server and its sparks show of themselves."""
        server = self.server
        every = [
            (spark.is_open, spark.ready_state, spark.dialect, spark.heartbeat_timeout, spark.skipped, spark.buffered)
            for spark in self.born
        ]
        more = [(spark.needs_drain, spark.close_reason, repr(spark)) for spark in self.born]
        return every, more, list(server), len(server), server.closing, server.next_timeout()

    def pump(self) -> None:
        for item in self.server.poll(now=self.now):
            if isinstance(item, ev.Event):
                self.log.append(f"  {item}")
                self.hear(item)
            else:
                self.log.append(f"  -> {item}")
                self.obey(item)

    def hear(self, event: ev.Event) -> None:
        self.reached[type(event)] += 1
        match event:
            case ev.Flatlined(spark):
                assert spark in self.over, "the last event of a spark that flatlines"
            case ev.ServerClosed():
                assert not self.closed
                assert len(self.server) == 0
                self.closed = True
            case ev.SparkEvent(spark=spark):
                assert spark not in self.over, "after its end"
                if isinstance(event, ev.SparkEnded):
                    self.over.add(spark)
                elif isinstance(event, ev.SparkHeartbeat | ev.HeartbeatSkipped):
                    self.pings[spark] += 1

    def obey(self, command: cmd.MessageCommand[Any]) -> None:
        assert isinstance(command, cmd.SendMessage | cmd.Close | cmd.Abort | cmd.Pause | cmd.Resume), command
        spark = command.spark
        assert spark is not None
        assert spark not in self.mute, "for a WebSocket that is gone"
        if isinstance(command, cmd.SendMessage):
            assert command.protocol == ("primus::" in str(command.data))
            self.pongs[spark] += '"primus::pong' in str(command.data)
        elif isinstance(command, cmd.Close | cmd.Abort):
            self.mute.add(spark)

    # --- the host ---

    @rule(target=sparks, query=st.sampled_from(QUERIES), slow=st.booleans())
    def comes(self, query: str, slow: bool) -> Spark:
        pipe = SlowPipe() if slow else None
        self.log.append(f"{self.now:g}: a client with {query}{', slow' if slow else ''}")
        spark = self.server.open_spark(request(query), now=self.now, pipe=pipe)
        assert spark.id not in {other.id for other in self.born}
        self.born.append(spark)
        if pipe is not None:
            self.slow[spark] = pipe
        self.pump()
        assert spark.is_open is not self.server.closing
        return spark

    @rule(spark=sparks, data=st.sampled_from(MESSAGES))
    def receives(self, spark: Spark, data: str | bytes) -> None:
        if spark not in self.mute:
            self.act("receive_message", data, on=spark, now=self.now)

    # Without this few runs would get far.
    @precondition(lambda self: len(self.server) > 0)
    @rule(
        data=st.sampled_from([MESSAGES[0], *MESSAGES[3:7]]),
        value=st.sampled_from(VALUES[:2]),
        seconds=st.sampled_from([0.0, 1.0, 5.0, 200.0]),
    )
    def all_go_on(self, data: str, value: str, seconds: float) -> None:
        """They say something, perhaps what keeps them alive, and are told something, and read it, for a while."""
        for spark in self.server:
            self.receives(spark, data)
            self.writes(spark, value)
            self.reads_at_last(spark)
        self.time_passes(seconds)

    @rule(spark=sparks)
    def receives_ping(self, spark: Spark) -> None:
        if spark not in self.mute:
            self.act("receive_ping", on=spark, now=self.now)

    @rule(spark=sparks, how=st.sampled_from(["gone", None]), code=st.sampled_from([1000, 1006]))
    def lost(self, spark: Spark, how: str | None, code: int) -> None:
        self.act("connection_lost", how, on=spark, code=code, now=self.now)
        self.mute.add(spark)

    @rule(spark=sparks)
    def reads_at_last(self, spark: Spark) -> None:
        if spark in self.slow:
            self.slow[spark].flush(now=self.now)
        self.act("drained", on=spark)
        self.act("drained", on=spark)
        assert not spark.needs_drain

    # --- the application ---

    @rule(spark=sparks, value=st.sampled_from(VALUES))
    def writes(self, spark: Spark, value: Any) -> None:
        waited, was_open = spark.buffered, spark.is_open
        taken = self.act("write", value, on=spark)
        if taken is not None:
            assert taken == (was_open and waited <= BURST)

    @rule(
        spark=sparks,
        value=st.sampled_from([NOTHING, "bye", b"cannot"]),
        reconnect=st.booleans(),
        code=st.sampled_from([1000, 3000, 1006, 0]),
    )
    def ends(self, spark: Spark, value: Any, reconnect: bool, code: int) -> None:
        self.act("end", value, on=spark, reconnect=reconnect, code=code)

    @rule(spark=consumes(sparks))
    def ends_for_good(self, spark: Spark) -> None:
        self.act("end", on=spark)
        assert not spark.is_open

    @rule(spark=sparks, what=st.sampled_from(["pause", "resume"]))
    def pauses(self, spark: Spark, what: str) -> None:
        self.act(what, on=spark)
        self.asked[spark] += 10**6  # from here on it may be sent pongs that nobody asked for and no event tells of

    @rule(value=st.sampled_from(VALUES), but=st.booleans())
    def broadcasts(self, value: Any, but: bool) -> None:
        able = [spark for spark in self.server if spark.buffered <= BURST]
        left_out = able[:1] if but else []
        taken = self.act("write", value, exclude=left_out)
        assert taken is None or taken == len(able) - len(left_out)

    @precondition(lambda self: len(self.born) > 3)
    @rule(
        value=st.sampled_from([NOTHING, "bye", b"cannot"]),
        reconnect=st.booleans(),
        timeout=st.sampled_from([0.0, 5.0, 50.0, -1.0, float("inf")]),
    )
    def closes(self, value: Any, reconnect: bool, timeout: float) -> None:
        self.act("close", value, reconnect=reconnect, timeout=timeout)

    # --- time ---

    @rule(seconds=st.sampled_from([0.0, 0.3, 1.0, 2.0, 5.0, 30.0, 100.0]))
    def time_passes(self, seconds: float) -> None:
        end = self.now + seconds
        while (due := self.server.next_timeout()) is not None and due <= end:
            self.fire(due)
        self.now = end
        self.act("handle_timeout", now=end)

    def fire(self, due: float) -> None:
        """Every timer leads somewhere: something happens, or it has moved on."""
        assert due >= self.now
        self.now = due
        lines = len(self.log)
        self.act("handle_timeout", now=due)
        assert len(self.log) > lines + 1 or self.server.next_timeout() != due

    @rule(seconds=st.floats(-1e10, 1e10))
    def wall_clock_jumps(self, seconds: float) -> None:
        due = self.server.next_timeout()
        self.server.wall_offset += seconds
        assert self.server.next_timeout() == due

    # --- what always holds ---

    @invariant()
    def the_books_agree(self) -> None:
        if not hasattr(self, "server"):
            return
        alive = [spark for spark in self.born if spark.is_open]
        assert list(self.server) == alive
        assert self.server.sparks == {spark.id: spark for spark in alive}
        assert {*self.born} == {*alive} | self.over
        for spark in self.born:
            assert (spark.close_reason is None) == spark.is_open == (spark.ready_state is ReadyState.OPEN)
            assert spark.is_open or not spark.needs_drain
            assert self.pongs[spark] <= self.pings[spark] + self.asked[spark], "pongs amplify"
        assert self.closed <= self.server.closing

    def teardown(self) -> None:
        """Everyone falls silent: in bounded time every spark with a heartbeat is at its end, and so are all timers."""
        if not hasattr(self, "server"):
            return
        try:
            for spark in self.born:
                self.act("resume", on=spark)
            since = self.now
            for _ in range(1000):
                due = self.server.next_timeout()
                if due is None or all(spark.heartbeat_timeout is None for spark in self.server):
                    break
                self.fire(due)
            assert self.now <= since + 25.0 + 2 * LONGEST, "the time to decide, and one excuse for a pause"
            for spark in self.server:
                assert spark.heartbeat_timeout is None
                self.act("connection_lost", on=spark, now=self.now)
            self.time_passes(50.0)
            assert self.server.next_timeout() is None
            assert self.closed is self.server.closing
            self.the_books_agree()
        except BaseException:
            note("\n".join(self.log[-60:]))
            raise


@pytest.mark.hypothesis
def test_a_server_driven_at_random() -> None:
    run_machine(
        Hosted,
        often=[ev.SparkConnected, ev.SparkData, ev.SparkHeartbeat, ev.SparkEnded],
        rarely=[
            *(ev.HeartbeatSkipped, ev.Flatlined, ev.SparkDrained, ev.SparkError, ev.SparkMessagesDropped),
            *(ev.SparkMessageIgnored, ev.ServerClosed),
        ],
    )
