"""`Compression`, the settings of permessage-deflate (RFC 7692)."""

from __future__ import annotations

from dataclasses import dataclass

from .errors import ConfigError
from .limits import check_count

__all__ = ["Compression", "compression_of"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Compression:
    """How WebSocket messages are compressed (permessage-deflate, RFC 7692), if the other end can do it too."""

    level: int = 6
    """How hard to try: from 1, the fastest, to 9, the smallest. Default: 6."""
    window_bits: int = 15
    """How far back a repetition is found: 2 ** `window_bits` bytes, from 9 to 15. Default: 15."""
    context_takeover: bool = False
    """Whether a message may refer to earlier ones. Then small messages become smaller, but each connection keeps its
    windows, and a broadcast is compressed for each spark. Default: False."""
    threshold: int = 1024
    """The size in bytes below which a message is not compressed. Default: 1024."""

    def __post_init__(self) -> None:
        for name, least, most in (("level", 1, 9), ("window_bits", 9, 15)):
            value = getattr(self, name)
            check_count(f"compression.{name}", value, least=least)
            if value > most:
                raise ConfigError(f"compression.{name} must be a whole number from {least} to {most}; got {value!r}")
        check_count("compression.threshold", self.threshold)
        if not isinstance(self.context_takeover, bool):
            raise ConfigError(f"compression.context_takeover must be True or False; got {self.context_takeover!r}")


def compression_of(value: object) -> Compression | None:
    """Return what the option `compression` stands for. Raises ConfigError for anything but a bool or `Compression`."""
    if isinstance(value, Compression):
        return value
    if not isinstance(value, bool):
        raise ConfigError(f"compression must be True, False or a Compression(...); got {value!r}")
    return Compression() if value else None
