"""All exceptions and error values of the package.

The law kept here: a mistake of the *application* raises a `LocalProtocolError` and changes nothing. A mistake of the
*peer* never raises; its error is a value in an event.
"""

from __future__ import annotations

from collections.abc import Sequence

__all__ = [
    "BacklogExceeded",
    "ConfigError",
    "ConnectError",
    "ConnectionLost",
    "DecodeError",
    "EncodeError",
    "InsecureWarning",
    "LocalProtocolError",
    "PluginError",
    "PrimusError",
    "Refused",
    "RemoteProtocolError",
    "TransformError",
]

STOPPING = (KeyboardInterrupt, SystemExit, GeneratorExit)
"""What the application's code raises to stop the program, or itself. Anything else that it raises in the core is an
error of that code, a `CancelledError` too, and never leaves the core."""


class PrimusError(Exception):
    """Base class of everything this package raises or reports."""


class LocalProtocolError(PrimusError):
    """The application or the driver misused the API. Nothing was changed."""


class ConfigError(LocalProtocolError, ValueError):
    """An option has an invalid value. The message names the option and says what it takes."""


class EncodeError(LocalProtocolError, ValueError):
    """A value cannot be sent: the parser refuses it, or it is a reserved ``primus::`` string (protocol 1)."""


class RemoteProtocolError(PrimusError):
    """The peer broke a rule of HTTP, WebSocket or Primus. It is never raised, only carried by events."""


class DecodeError(RemoteProtocolError):
    """An incoming message could not be decoded. It was discarded; the connection goes on (protocol 1).

    `payload` is the undecoded message, text or bytes.
    """

    def __init__(self, message: str, payload: str | bytes = b"") -> None:
        super().__init__(message)
        self.payload = payload


class ConnectError(PrimusError):
    """A connection could not be made.

    `status`, `headers` and `body` are those of the server's HTTP answer; `status` is None if there was none. `headers`
    are (name, value) pairs, and a long `body` is shortened.
    """

    def __init__(
        self,
        message: str,
        *,
        status: int | None = None,
        headers: Sequence[tuple[str, str]] = (),
        body: bytes = b"",
    ) -> None:
        super().__init__(message)
        self.status = status
        self.headers: tuple[tuple[str, str], ...] = tuple(headers)
        self.body = body

    @property
    def final(self) -> bool:
        """Whether trying again is pointless: a 4xx answer other than 408, 425 and 429 (protocol 4.4)."""
        status = self.status
        return status is not None and 400 <= status < 500 and status not in (408, 425, 429)


class ConnectionLost(PrimusError):
    """An open connection was lost. `code` is the WebSocket close code; 1006 means that there was none."""

    def __init__(self, message: str, *, code: int = 1006) -> None:
        super().__init__(message)
        self.code = code


class BacklogExceeded(PrimusError):
    """The peer reads too slowly or not at all: more bytes waited unsent than allowed (protocol 7)."""


class PluginError(PrimusError):
    """A plugin's part for one session failed (protocol 5.2). Carried by events; its cause is what was raised."""


class TransformError(PrimusError):
    """A transform failed, or did not finish in time, so a message was dropped (protocol 5.1). Carried by events.

    `direction` is ``incoming`` or ``outgoing``, `data` is the value as it was when the transform failed.
    """

    def __init__(self, message: str, direction: str, data: object) -> None:
        super().__init__(message)
        self.direction = direction
        self.data = data


class Refused(PrimusError):
    """Raised by an authorization hook, a layer or a listener of `connection` to refuse a client (protocol 6).

    `status` is the HTTP status of the answer, from 400 to 599; None: 401 in authorization, 500 in another layer.
    `authenticate` is the value of ``WWW-Authenticate``, sent with a 401.
    """

    def __init__(self, message: str, status: int | None = None, authenticate: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.status = status
        self.authenticate = authenticate


class InsecureWarning(UserWarning):
    """A server can be reached from other machines without TLS."""
