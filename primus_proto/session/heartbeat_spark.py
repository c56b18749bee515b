"""A spark's heartbeat: which end sends pings, and when the client is lost (protocol 3.2 to 3.5).

There is one class for each dialect. The laws kept here: a heartbeat depends only on what arrived and on the time, and
acts only through its spark. While reading is paused, missed heartbeats are not counted and our own are still sent.
"""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING

from .. import events as ev
from ..http.model import Request
from ..rate import WINDOW
from .heartbeat_client import DEFAULT_PING, DEFAULT_PONG
from .neglect import SILENCE

if TYPE_CHECKING:
    from .spark import Spark

__all__ = ["SparkHeartbeat", "learned_heartbeat", "spark_heartbeat"]

_NUMBER = re.compile(r"\d+(\.\d*)?", re.ASCII)
_PAIR = re.compile("(?:^|&)(ping|pong)(?:=([^&]*))?(?![^&])")


def learned_heartbeat(request: Request) -> tuple[float, float] | None:
    """Read (ping, pong), in seconds, from a client's connect URL; None if it has no heartbeat (protocol 3.2)."""
    return _learned(_given(request))


def _given(request: Request) -> dict[str, str]:
    """The parameters that concern the heartbeat. A repeated one is empty."""
    query = request.query_string
    plain = "%" not in query and "+" not in query  # nothing to decode, as most often
    pairs = _PAIR.findall(query) if plain else [pair for pair in request.query_pairs if pair[0] in ("ping", "pong")]
    given = dict(pairs)
    if len(given) < len(pairs):
        names = [name for name, _ in pairs]
        given = {name: "" if names.count(name) > 1 else value for name, value in pairs}
    return given


def _learned(given: dict[str, str]) -> tuple[float, float] | None:
    if given.get("ping") == "false":
        return None
    ping, pong = _seconds(given.get("ping", ""), DEFAULT_PING), _seconds(given.get("pong", ""), DEFAULT_PONG)
    return (ping, pong) if ping else None


def _seconds(milliseconds: str, default: float) -> float:
    return float(milliseconds) / 1000 if _NUMBER.fullmatch(milliseconds) else default


def spark_heartbeat(spark: Spark) -> SparkHeartbeat:
    """Make the heartbeat of a new spark, by the configured dialect or by its connect URL (protocol 3.5)."""
    dialect = spark.server.config.dialect
    if dialect in _BY_OPTION:
        return _BY_OPTION[dialect](spark)
    given = _given(spark.request)
    if dialect == "auto" and not given:
        return UndecidedHeartbeat(spark)
    learned = _learned(given)
    if learned is None and spark.server.limits.idle < math.inf:
        return IdleHeartbeat(spark, learned)
    return HappnHeartbeat(spark, learned)


class SparkHeartbeat:
    """A spark's heartbeat. The dialects add the timers."""

    dialect = ""
    hears_all = False
    """Whether every message is a sign of life. Then `heard` must be called for each."""

    __slots__ = ("_excused", "_paused", "_spark", "_timer", "skipped", "timeout")

    def __init__(self, spark: Spark) -> None:
        self._spark = spark
        self._timer = spark.server.timers.new(self._expired)
        self._paused = False
        self._excused = False  # reading was paused since the timer was set: a sign of life may be waiting unread
        self.timeout: float | None = None
        """Seconds without a sign of life that count as one missed heartbeat; None: none is needed."""
        self.skipped = 0
        """How many heartbeats were missed in a row."""

    @property
    def patience(self) -> float:
        """Seconds of silence that it allows."""
        return self.timeout or SILENCE

    def start(self, now: float) -> None:
        """The spark has opened, or its dialect has become known."""
        if self.timeout is not None:
            self._timer.set(now + self.timeout)

    def stop(self) -> None:
        """The spark has closed."""
        self._timer.cancel()

    def pause(self) -> None:
        """Nothing is read from the client until `resume`."""
        self._paused = self._excused = True

    def resume(self) -> None:
        """Read again."""
        self._paused = False

    def heard(self, now: float) -> None:
        """A message of any kind arrived."""

    def ping(self, value: str, now: float) -> bool:
        """A ``primus::ping::`` arrived. Returns False if it has no meaning in this dialect."""
        return False

    def pong(self, now: float) -> bool:
        """A ``primus::pong::`` arrived. Returns False if it has no meaning in this dialect."""
        return False

    def beat(self, now: float) -> None:
        """A sign of life arrived, such as a WebSocket ping."""
        self._alive()

    def _alive(self) -> None:
        self.skipped = 0
        self._excused = self._paused
        spark = self._spark
        if spark.server.tells_heartbeats:
            spark.server.emit(ev.SparkHeartbeat(spark))

    def _expired(self, now: float) -> None:
        """The timer fired."""
        if self._excused:
            self._excused = self._paused
            self.excuse(now)
        else:
            self.missed(now)

    def excuse(self, now: float) -> None:
        """No sign of life was read, but reading was paused."""
        self.start(now)

    def missed(self, now: float) -> None:
        """No sign of life arrived in time."""
        self._spark.flatline(None)


class HappnHeartbeat(SparkHeartbeat):
    """`happn`: the client sends pings, at the times in its connect URL (protocol 3.2)."""

    dialect = "happn"
    __slots__ = ("_heard", "_last_pong", "_longest", "_pong_skip")

    def __init__(self, spark: Spark, learned: tuple[float, float] | None) -> None:
        super().__init__(spark)
        config = spark.server.config
        self._longest = config.limits.heartbeat_max
        self._last_pong = -math.inf
        self._pong_skip = config.pong_skip_time
        if learned is not None:
            ping, pong = learned
            self.timeout = min(max(ping + pong / 2, config.limits.heartbeat_min), self._longest)
            # Leaving pings unanswered for longer than the client's own interval would make healthy clients give up.
            self._pong_skip = min(self._pong_skip, ping / 2)

    def start(self, now: float) -> None:
        self._heard = now  # the time of the last sign of life
        self._arm(now)

    def ping(self, value: str, now: float) -> bool:
        self._pong(value, now)
        self._alive()
        self._heard = now
        # Not from now: the client counts from the last pong too, so the next pong of ours could be too late.
        self._arm(self._last_pong)
        return True

    def beat(self, now: float) -> None:
        self._alive()
        self.start(now)

    def excuse(self, now: float) -> None:
        self._heard = now
        self._unasked(now)

    def missed(self, now: float) -> None:
        spark = self._spark
        self.skipped += 1
        if self.skipped > spark.server.config.allow_skipped_heartbeats or now >= self._heard + self._longest:
            spark.flatline(self.skipped)
            return
        spark.server.emit(ev.HeartbeatSkipped(spark, self.skipped))
        self._unasked(now)

    def _unasked(self, now: float) -> None:
        """Send a pong that was not asked for, so that the client does not give up while its ping is on the way."""
        self._arm(now)
        self._pong(str(self._spark.server.epoch_ms(now)), now)

    def _arm(self, since: float) -> None:
        if self.timeout is not None:
            self._timer.set(min(since + self.timeout, self._heard + self._longest))

    def _pong(self, value: str, now: float) -> None:
        if now - self._last_pong >= self._pong_skip:
            self._last_pong = now
            # One pong in each `WINDOW` needs no further limit.
            if self._pong_skip >= WINDOW:
                self._spark.say("pong", value)
            else:
                self._spark.reply("pong", value, now)


class IdleHeartbeat(HappnHeartbeat):
    """`happn`, where the client has switched its heartbeat off, and the server bounds its silence (protocol 3.2)."""

    hears_all = True
    __slots__ = ()

    def heard(self, now: float) -> None:
        self._excused = self._paused
        self.start(now)

    def excuse(self, now: float) -> None:
        self.start(now)

    def missed(self, now: float) -> None:
        self._spark.flatline(None)

    def _arm(self, since: float) -> None:
        self._timer.set(self._heard + self._spark.server.limits.idle)


class Primus6Heartbeat(SparkHeartbeat):
    """`primus6`: the client sends pings, every message is a sign of life, one timeout ends the spark (protocol 3.3)."""

    dialect = "primus6"
    hears_all = True
    __slots__ = ()

    def __init__(self, spark: Spark) -> None:
        super().__init__(spark)
        self.timeout = spark.server.config.timeout or None

    def heard(self, now: float) -> None:
        self.beat(now)

    def beat(self, now: float) -> None:
        self._alive()
        self.start(now)

    def ping(self, value: str, now: float) -> bool:
        self._spark.reply("pong", value, now)
        return True


class PrimusHeartbeat(SparkHeartbeat):
    """`primus`, 7 and later: the server sends pings, and a client that misses one of them is lost (protocol 3.4)."""

    dialect = "primus"
    __slots__ = ("_answered",)

    def __init__(self, spark: Spark) -> None:
        super().__init__(spark)
        self.timeout = spark.server.config.ping_interval or None
        self._answered = True

    def pong(self, now: float) -> bool:
        self.beat(now)
        return True

    def beat(self, now: float) -> None:
        self._answered = True
        self._alive()

    def excuse(self, now: float) -> None:
        self.send(now)

    def missed(self, now: float) -> None:
        if self._answered:
            self.send(now)
        else:
            self._spark.flatline(None)

    def send(self, now: float) -> None:
        """Send a ping. The client has until the next one to answer it."""
        self._answered = False
        self.start(now)
        self._spark.say("ping", str(self._spark.server.epoch_ms(now)))


class UndecidedHeartbeat(SparkHeartbeat):
    """A client whose dialect is not known yet. Nothing is sent to it unasked until it is (protocol 3.5)."""

    dialect = "auto"
    __slots__ = ()

    def start(self, now: float) -> None:
        self._timer.set(now + self._spark.server.config.detect_after)

    def ping(self, value: str, now: float) -> bool:
        heartbeat = Primus6Heartbeat(self._spark)
        self._become(heartbeat, now)
        heartbeat.heard(now)
        return heartbeat.ping(value, now)

    def _expired(self, now: float) -> None:
        # Paused or not: a client whose ping is still unread has given up by now, one that waits for a ping soon will.
        heartbeat = PrimusHeartbeat(self._spark)
        self._become(heartbeat, now)
        if heartbeat.timeout is not None:
            heartbeat.send(now)

    def _become(self, heartbeat: SparkHeartbeat, now: float) -> None:
        self.stop()
        if self._paused:
            heartbeat.pause()
        self._spark.heartbeat = heartbeat
        heartbeat.start(now)


# The dialects of which the connect URL says nothing.
_BY_OPTION: dict[str, type[SparkHeartbeat]] = {"primus6": Primus6Heartbeat, "primus": PrimusHeartbeat}
