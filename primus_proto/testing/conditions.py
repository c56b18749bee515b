"""How deliveries travel on a virtual network: what a test may set, and may change while it runs.

The law kept here: a value that no line can have is an error where it is set, not a test that tests something else.
"""

from __future__ import annotations

import math
import random
from typing import TypeVar

from ..errors import ConfigError

__all__ = ["Bandwidth", "Conditions", "Latency", "Line", "is_count", "is_number"]

T = TypeVar("T")

Latency = float | tuple[float, float]
Bandwidth = float | tuple[float | None, float | None] | None


class Line:
    """How deliveries travel. Raises ConfigError, when made or set, for a value that cannot be."""

    __slots__ = ("_bandwidth", "_jitter", "_latency")  # so that a name that is misspelt is an error

    def __init__(self, latency: Latency, jitter: float, bandwidth: Bandwidth) -> None:
        self.latency = latency
        self.jitter = jitter
        self.bandwidth = bandwidth

    @property
    def latency(self) -> Latency:
        """Seconds each delivery takes; a pair: from client to server, from server to client."""
        return self._latency

    @latency.setter
    def latency(self, value: Latency) -> None:
        if not all(is_number(part) and part >= 0 for part in _ways("latency", value)):
            raise ConfigError(f"latency must be seconds of at least 0, and finite, or a pair of such; got {value!r}")
        self._latency = value

    @property
    def jitter(self) -> float:
        """Up to so many seconds more, drawn anew for each delivery; nothing overtakes."""
        return self._jitter

    @jitter.setter
    def jitter(self, value: float) -> None:
        if not (is_number(value) and value >= 0):
            raise ConfigError(f"jitter must be seconds of at least 0, and finite; got {value!r}")
        self._jitter = value

    @property
    def bandwidth(self) -> Bandwidth:
        """Bytes per second of each connection and direction, or such a pair; None: no limit."""
        return self._bandwidth

    @bandwidth.setter
    def bandwidth(self, value: Bandwidth) -> None:
        if not all(part is None or (is_number(part) and part > 0) for part in _ways("bandwidth", value)):
            what = "bytes per second above 0, None for no limit, or a pair of such"
            raise ConfigError(f"bandwidth must be {what}; got {value!r}. Where nothing is to pass: freeze or partition")
        self._bandwidth = value

    # --- for the links ---

    def rate(self, up: bool) -> float | None:
        """Bytes per second from client to server, or back."""
        return _of_way(self._bandwidth, up)

    def delay(self, up: bool, rng: random.Random) -> float:
        """What one delivery takes, besides."""
        latency = _of_way(self._latency, up)
        return latency + rng.uniform(0.0, self._jitter) if self._jitter else latency


class Conditions(Line):
    """The settings of a network."""

    __slots__ = ("_cut_size", "_window", "rng", "seed")

    def __init__(
        self,
        seed: int,
        latency: Latency,
        jitter: float,
        bandwidth: Bandwidth,
        cut: int | None,
        window: int | None,
    ) -> None:
        super().__init__(latency, jitter, bandwidth)
        self.seed = seed
        """What everything random comes from."""
        self.rng = random.Random(seed)
        self._cut_size = _size("cut", cut)
        self._window = _size("window", window)

    def __repr__(self) -> str:
        """As it can be made again, so that a failure can be."""
        given = {"latency": self.latency, "jitter": self.jitter, "bandwidth": self.bandwidth}
        given |= {"cut": self._cut_size, "window": self._window}
        more = "".join(f", {name}={value!r}" for name, value in given.items() if value)
        return f"{type(self).__name__}(seed={self.seed!r}{more})"

    def _cut(self, data: bytes) -> list[bytes]:
        pieces = []
        while self._cut_size is not None and len(data) > 1:
            size = self.rng.randint(1, min(self._cut_size, len(data)))
            pieces.append(data[:size])
            data = data[size:]
        return [*pieces, data] if data else pieces


def _of_way(value: T | tuple[T, T], up: bool) -> T:
    return value[not up] if isinstance(value, tuple) else value


def is_count(value: object) -> bool:
    """Whether it is a whole number of at least 0."""
    return isinstance(value, int) and value >= 0


def is_number(value: object) -> bool:
    """Whether it is one, and finite."""
    return isinstance(value, int | float) and math.isfinite(value)


def _ways(name: str, value: T | tuple[T, T]) -> tuple[T, ...]:
    if isinstance(value, tuple) and len(value) != 2:
        raise ConfigError(f"{name} as a pair has two parts, from client to server and back; got {value!r}")
    return value if isinstance(value, tuple) else (value,)


def _size(name: str, value: object) -> int | None:
    if value is None or (isinstance(value, int) and value > 0):
        return value
    raise ConfigError(f"{name} must be a number of bytes of at least 1, or None; got {value!r}")
