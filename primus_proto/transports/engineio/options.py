"""What users may set of Engine.IO itself: ``transport={…}`` beside ``transformer="engine.io"``."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass

from ...errors import ConfigError
from ...limits import check_seconds

__all__ = ["EngineIOOptions"]

CARRIERS = ("polling", "websocket")


@dataclass(frozen=True)
class EngineIOOptions:
    """Options of Engine.IO. Durations are seconds."""

    transports: Collection[str] = CARRIERS
    """What may carry a session: ``"polling"``, ``"websocket"`` or both. A client with both begins with polling."""
    upgrade: bool = True
    """Whether a session may move from polling to a WebSocket."""
    upgrade_timeout: float = 10.0
    """Seconds that such a move may take. If it takes longer, the session stays with polling."""
    protocol: int | None = None
    """3 (engine.io 1 to 3, happn-primus, Primus up to 7) or 4 (engine.io 4 and later, Primus 8). None: a server speaks
    both, and a client whichever the server speaks."""
    ping_interval: float = 25.0
    """A server's option: seconds between the heartbeats of Engine.IO itself."""
    ping_timeout: float | None = None
    """A server's option: seconds that a heartbeat may be late before the session is lost. None: 60 or, in Engine.IO
    4, 20."""
    encode_twice: bool = True
    """A server's option: polls in protocol 3 have text encoded as engine.io 1 has it (happn-primus, Primus 6.0). Set it
    to False for clients with engine.io 2 or 3 (Primus 6.1 and 7). Detected from a client's first text that shows it."""
    cookie: str | None = "io"
    """A server's option: the name of a cookie with the session's id, which load balancers can use. None: no cookie."""

    def __post_init__(self) -> None:
        transports = self.transports
        if isinstance(transports, str) or not transports or not set(transports) <= set(CARRIERS):
            raise ConfigError(
                f"transport['transports'] must be a collection of 'polling' and 'websocket'; got {transports!r}"
            )
        for name in ("upgrade", "encode_twice"):
            if not isinstance(getattr(self, name), bool):
                raise ConfigError(f"transport[{name!r}] must be True or False; got {getattr(self, name)!r}")
        if self.protocol not in (None, 3, 4):
            raise ConfigError(f"transport['protocol'] must be 3, 4 or None; got {self.protocol!r}")
        check_seconds("transport['upgrade_timeout']", self.upgrade_timeout, above=True)
        check_seconds("transport['ping_interval']", self.ping_interval, above=True)
        if self.ping_timeout is not None:
            check_seconds("transport['ping_timeout']", self.ping_timeout, above=True)
        if self.cookie is not None and not re.fullmatch(r"[\w!#$%&'*+.^`|~-]+", str(self.cookie), re.ASCII):
            raise ConfigError(f"transport['cookie'] must be the name of a cookie, or None; got {self.cookie!r}")

    @property
    def upgrades(self) -> bool:
        """Whether sessions move to WebSockets."""
        return self.upgrade and set(self.transports) == set(CARRIERS)

    def patience(self, protocol: int) -> float:
        """`ping_timeout`, or its default in a protocol."""
        return self.ping_timeout or (60.0 if protocol == 3 else 20.0)
