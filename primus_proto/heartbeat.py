"""Heartbeats: who pings whom, and when silence means death. One class for each dialect and end (protocol 3).

The laws kept here: a heartbeat decides from what came and from the time, and acts through its session alone; no ping
before the last one was answered, so that none can pile up; and whoever does not read holds no silence against the other
end, nor keeps silent itself.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from . import events as ev
from .http import Request

if TYPE_CHECKING:
    from .client import Client
    from .spark import Spark

__all__ = [
    "ClientHeartbeat",
    "SparkHeartbeat",
    "client_heartbeat",
    "learned_from_spec",
    "learned_heartbeat",
    "spark_heartbeat",
]

DEFAULT_PING = 25.0
DEFAULT_PONG = 10.0
DEFAULT_PING_TIMEOUT = 45.0
PING_INTERVAL_MS = 30000  # of a `primus` server that says nothing else


def learned_heartbeat(request: Request) -> tuple[float, float] | None:
    """The client's (ping, pong) in seconds from its connect URL; None: it has no heartbeat (protocol 3.2)."""
    ping = _milliseconds(request, "ping", DEFAULT_PING)
    pong = _milliseconds(request, "pong", DEFAULT_PONG)
    return None if not ping else (ping, pong)


def _milliseconds(request: Request, key: str, default: float) -> float:
    values = [value for name, value in request.query_pairs if name == key]
    if len(values) != 1:
        return default
    if key == "ping" and values[0] == "false":
        return 0.0
    return float(values[0]) / 1000 if re.fullmatch(r"\d+(\.\d*)?", values[0], re.ASCII) else default


def spark_heartbeat(spark: Spark) -> SparkHeartbeat:
    """The heartbeat for a new spark: the configured dialect's, or the one its connect URL tells (protocol 3.5)."""
    dialect = spark.server.config.dialect
    if dialect == "auto":
        keys = {key for key, _ in spark.request.query_pairs}
        dialect = "happn" if keys & {"ping", "pong"} else "auto"
    return _DIALECTS[dialect](spark)


class SparkHeartbeat:
    """A spark's heartbeat. By itself it judges nobody; the dialects add their timers."""

    dialect = ""
    hears_all = False
    """Whether every message is a sign of life, so that `heard` must be called for each."""

    __slots__ = ("_excused", "_paused", "_spark", "_timer", "skipped", "timeout")

    def __init__(self, spark: Spark) -> None:
        self._spark = spark
        self._timer = spark.server.timers.new(self._expired)
        self._paused = False
        self._excused = False  # there was a pause since the timer was set: a sign of life may be there, unread
        self.timeout: float | None = None
        """Seconds of silence that count as one missed heartbeat; None: silence is no fault."""
        self.skipped = 0
        """Heartbeats missed in a row."""

    def start(self, now: float) -> None:
        """The spark has opened, or the dialect has become known."""
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
        """A message came, whatever it was."""

    def ping(self, value: str, now: float) -> bool:
        """A ``primus::ping::`` came. False: it means nothing in this dialect."""
        return False

    def pong(self, value: str, now: float) -> bool:
        """A ``primus::pong::`` came. False: it means nothing in this dialect."""
        return False

    def beat(self, now: float) -> None:
        """A sign of life, such as a WebSocket ping."""
        self.skipped = 0
        self._excused = self._paused
        self.start(now)
        self._spark.server.emit(ev.SparkHeartbeat(self._spark))

    def _expired(self, now: float) -> None:
        """The timer fired."""
        if self._excused:
            self._excused = self._paused
            self.excuse(now)
        else:
            self.missed(now)

    def excuse(self, now: float) -> None:
        """Silence, but we did not listen."""
        self.start(now)

    def missed(self, now: float) -> None:
        """Silence."""
        self._spark.flatline(None)


class HappnHeartbeat(SparkHeartbeat):
    """`happn`: the client pings, and told its times in the connect URL (protocol 3.2)."""

    dialect = "happn"
    __slots__ = ("_last_pong", "_pong_skip")

    def __init__(self, spark: Spark) -> None:
        super().__init__(spark)
        config = spark.server.config
        self._last_pong = -math.inf
        self._pong_skip = config.pong_skip_time
        learned = learned_heartbeat(spark.request)
        if learned is not None:
            ping, pong = learned
            self.timeout = min(max(ping + pong / 2, config.limits.heartbeat_min), config.limits.heartbeat_max)
            # De-duplicating over more than the client's own interval would kill healthy clients.
            self._pong_skip = min(self._pong_skip, ping / 2)

    def ping(self, value: str, now: float) -> bool:
        self._pong(value, now)
        self.beat(now)
        return True

    def excuse(self, now: float) -> None:
        self._unasked(now)

    def missed(self, now: float) -> None:
        spark = self._spark
        self.skipped += 1
        if self.skipped > spark.server.config.allow_skipped_heartbeats:
            spark.flatline(self.skipped)
            return
        spark.server.emit(ev.HeartbeatSkipped(spark, self.skipped))
        self._unasked(now)

    def _unasked(self, now: float) -> None:
        """The pong that keeps the client from giving us up while its ping is on the way."""
        self.start(now)
        self._pong(str(self._spark.server.epoch_ms(now)), now)

    def _pong(self, value: str, now: float) -> None:
        if now - self._last_pong >= self._pong_skip:
            self._last_pong = now
            self._spark.say("pong", value)


class Primus6Heartbeat(SparkHeartbeat):
    """`primus6`: the client pings, every message is a sign of life, and one timeout is the end (protocol 3.3)."""

    dialect = "primus6"
    hears_all = True
    __slots__ = ()

    def __init__(self, spark: Spark) -> None:
        super().__init__(spark)
        self.timeout = spark.server.config.timeout or None

    def heard(self, now: float) -> None:
        self.beat(now)

    def ping(self, value: str, now: float) -> bool:
        self._spark.say("pong", value)
        return True


class PrimusHeartbeat(SparkHeartbeat):
    """`primus`, 7 and later: the server pings, and ends whoever has not answered by the next ping (protocol 3.4)."""

    dialect = "primus"
    __slots__ = ("_alive",)

    def __init__(self, spark: Spark) -> None:
        super().__init__(spark)
        self.timeout = spark.server.config.ping_interval or None
        self._alive = True

    def pong(self, value: str, now: float) -> bool:
        self.beat(now)
        return True

    def beat(self, now: float) -> None:
        self._alive = True
        self._excused = self._paused
        self._spark.server.emit(ev.SparkHeartbeat(self._spark))

    def excuse(self, now: float) -> None:
        self.send(now)

    def missed(self, now: float) -> None:
        if self._alive:
            self.send(now)
        else:
            self._spark.flatline(None)

    def send(self, now: float) -> None:
        """Ping the client; it has until the next ping to answer."""
        self._alive = False
        self.start(now)
        self._spark.say("ping", str(self._spark.server.epoch_ms(now)))


class UndecidedHeartbeat(SparkHeartbeat):
    """A client whose URL does not tell its dialect: nothing unasked until it does (protocol 3.5)."""

    dialect = "auto"
    __slots__ = ()

    def start(self, now: float) -> None:
        self._timer.set(now + self._spark.server.config.detect_after)

    def ping(self, value: str, now: float) -> bool:
        heartbeat = Primus6Heartbeat(self._spark)
        self._become(heartbeat, now)
        heartbeat.heard(now)
        return heartbeat.ping(value, now)

    def beat(self, now: float) -> None:
        self._spark.server.emit(ev.SparkHeartbeat(self._spark))

    def _expired(self, now: float) -> None:
        # A pause puts nothing off: whoever's ping is still unread has given up by now, whoever waits for one soon will.
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


_DIALECTS: dict[str, type[SparkHeartbeat]] = {
    "happn": HappnHeartbeat,
    "primus6": Primus6Heartbeat,
    "primus": PrimusHeartbeat,
    "auto": UndecidedHeartbeat,
}


# --- of a client ---


def client_heartbeat(client: Client) -> ClientHeartbeat:
    """The heartbeat a client begins with: the configured dialect's, `happn` where that is to be found out."""
    config = client.config
    if config.dialect == "primus":
        return AnsweringHeartbeat(client, DEFAULT_PING_TIMEOUT if config.ping_timeout is None else config.ping_timeout)
    return PingingHeartbeat(client, DEFAULT_PING if config.ping is None else config.ping)


def learned_from_spec(client: Client, spec: Mapping[str, Any]) -> ClientHeartbeat | None:
    """The heartbeat that a server's ``/spec`` asks for (protocol 3.5); None where it does not tell.

    What the user has set wins, and a server cannot ask for a storm of pings.
    """
    config = client.config
    if "pingInterval" in spec:
        interval = _seconds(spec["pingInterval"])
        if interval is None:
            return None
        learned = max(interval * 1.5, client.limits.heartbeat_min) if interval else 0.0
        return AnsweringHeartbeat(client, learned if config.ping_timeout is None else config.ping_timeout)
    timeout = _seconds(spec.get("timeout"))
    if timeout is None or config.ping is not None:
        return None
    if timeout == 0:
        return PingingHeartbeat(client, False)
    ping = min(DEFAULT_PING, timeout - 10 if timeout > 20 else timeout / 2)
    return PingingHeartbeat(client, max(ping, client.limits.heartbeat_min))


def _seconds(milliseconds: object) -> float | None:
    """A duration in a spec: 0 for false, None for what is none."""
    if milliseconds is False:
        return 0.0
    if isinstance(milliseconds, int | float) and not isinstance(milliseconds, bool) and 0 <= milliseconds < 1e15:
        return milliseconds / 1000
    return None


class ClientHeartbeat:
    """A client's heartbeat. By itself it waits for nothing; the dialects add their timers."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._paused = False
        self._excused = False  # there was a pause since the timer was set: what is missed may be there, unread

    def start(self, now: float) -> None:
        """The connection is open."""

    def replace(self, other: ClientHeartbeat, now: float) -> None:
        """Take over from another one on an open connection."""
        other.stop()
        self.start(now)

    def stop(self) -> None:
        """The connection is gone."""

    def pause(self) -> None:
        """Nothing is read from the server until `resume`."""
        self._paused = self._excused = True

    def resume(self) -> None:
        """Read again."""
        self._paused = False

    def ping(self, value: str, now: float) -> bool:
        """A ``primus::ping::`` came. False: it means nothing in this dialect."""
        return False

    def pong(self, value: str, now: float) -> bool:
        """A ``primus::pong::`` came. False: it means nothing in this dialect."""
        return False


class PingingHeartbeat(ClientHeartbeat):
    """`happn` and `primus6`: sends a ping some time after each pong, and misses the next pong (protocol 3.1)."""

    def __init__(self, client: Client, interval: float) -> None:
        super().__init__(client)
        self._interval = interval
        self._ping_timer = client.timers.new(self._ping_due)
        self._pong_timer = client.timers.new(self._pong_due)
        self._sent: tuple[str, float] | None = None  # value and time of the outstanding ping
        self._since = 0.0  # from when on the next ping counts: the open, the last pong, a ping since then

    def start(self, now: float) -> None:
        self._sent = None
        self._since = now
        self._pong_timer.cancel()
        if self._interval:
            self._ping_timer.set(now + self._interval)

    def replace(self, other: ClientHeartbeat, now: float) -> None:
        # The server has counted all along: what was learned late must not make the ping late.
        super().replace(other, other._since if isinstance(other, PingingHeartbeat) else now)

    def stop(self) -> None:
        self._ping_timer.cancel()
        self._pong_timer.cancel()

    def pong(self, value: str, now: float) -> bool:
        # Only the pong for the outstanding ping says anything of the latency.
        if self._sent is not None and self._sent[0] == value:
            self._client.latency = now - self._sent[1]
        # A pong that waited unread says nothing of now: with it as the start, the next ping could come too late.
        self.start(self._since if self._excused else now)
        return True

    def _ping_due(self, now: float) -> None:
        value = str(self._client.epoch_ms(now))
        self._sent = (value, now)
        self._since = now
        self._client.say("ping", value)
        if self._paused:
            # No pong will be seen, but the server must go on hearing from us.
            self._ping_timer.set(now + self._interval)
        else:
            self._excused = False
            self._pong_timer.set(now + self._client.config.pong)

    def _pong_due(self, now: float) -> None:
        if self._excused:
            self._ping_due(now)
        else:
            self._client.silence(now)


class AnsweringHeartbeat(ClientHeartbeat):
    """`primus`, 7 and later: answers the server's pings, and misses the next one (protocol 3.4)."""

    def __init__(self, client: Client, timeout: float) -> None:
        super().__init__(client)
        self._timeout = timeout
        self._timer = client.timers.new(self._expired)

    def start(self, now: float) -> None:
        self._excused = self._paused
        if self._timeout:
            self._timer.set(now + self._timeout)

    def stop(self) -> None:
        self._timer.cancel()

    def ping(self, value: str, now: float) -> bool:
        self._client.say("pong", value)
        self.start(now)
        return True

    def _expired(self, now: float) -> None:
        if self._paused:
            # No ping will be seen, but the server must go on hearing from us, before each second one of its own.
            self._client.say("pong", str(self._client.epoch_ms(now)))
            self._timer.set(now + self._timeout / 2)
        elif self._excused:
            self.start(now)
        else:
            self._client.silence(now)
