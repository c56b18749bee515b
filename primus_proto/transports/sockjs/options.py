"""What users may set of SockJS itself: ``transport={…}`` beside ``transformer="sockjs"``."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from ...errors import ConfigError
from ...limits import check_count, check_seconds

__all__ = ["TRANSPORTS", "SockJSOptions"]

TRANSPORTS = ("websocket", "xhr-streaming", "eventsource", "htmlfile", "xhr-polling", "jsonp-polling")


@dataclass(frozen=True)
class SockJSOptions:
    """Options of SockJS. Durations are seconds."""

    transports: Collection[str] = TRANSPORTS
    """What may carry a session. A server takes ``"websocket"``, ``"xhr-streaming"``, ``"eventsource"``,
    ``"htmlfile"``, ``"xhr-polling"`` and ``"jsonp-polling"``; a client tries the first, second and fifth, in this
    order."""
    fallback_timeout: float = 3.0
    """A client's option: seconds after which the next is tried, if one has not opened the session."""
    heartbeat: float = 25.0
    """A server's option: seconds between the heartbeats of SockJS itself."""
    absence: float = 5.0
    """A server's option: seconds after which a session is lost whose client does not come back for more."""
    response_limit: int = 128 * 1024
    """A server's option: bytes after which a streamed answer ends, and the client asks for another."""
    client_url: str = "https://cdn.jsdelivr.net/npm/sockjs-client@1/dist/sockjs.min.js"
    """A server's option: where the page for iframes, which old browsers need, loads the library of the client. SockJS
    wants the same version there as in the page itself: name the URL of the Primus library, which has it."""

    def __post_init__(self) -> None:
        transports = self.transports
        if isinstance(transports, str) or not transports or not set(transports) <= set(TRANSPORTS):
            raise ConfigError(
                f"transport['transports'] must be a collection of {', '.join(map(repr, TRANSPORTS))}; "
                f"got {transports!r}"
            )
        check_seconds("transport['fallback_timeout']", self.fallback_timeout, above=True)
        check_seconds("transport['heartbeat']", self.heartbeat, above=True)
        check_seconds("transport['absence']", self.absence, above=True)
        check_count("transport['response_limit']", self.response_limit, least=1)
        url: object = self.client_url
        if not isinstance(url, str) or not url.startswith(("https://", "http://", "/")):
            raise ConfigError(f"transport['client_url'] must be the URL of a script; got {url!r}")
