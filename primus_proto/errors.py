"""Every exception and error value of the package.

The law kept here: what the *application* does wrong raises a `LocalProtocolError` and changes nothing; what
the *peer* does wrong never raises, it travels as a value inside an event.
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
    "LocalProtocolError",
    "PrimusError",
    "Refused",
    "RemoteProtocolError",
]


class PrimusError(Exception):
    """Base class of everything this package raises or reports."""


class LocalProtocolError(PrimusError):
    """The application or the driver used the API in a way that makes no sense here. Nothing was changed."""


class ConfigError(LocalProtocolError, ValueError):
    """An option has a value that cannot be used; the message says which one and what it takes."""


class EncodeError(LocalProtocolError, ValueError):
    """A value cannot be sent: the parser refuses it, or it is a reserved ``primus::`` string (protocol 1)."""


class RemoteProtocolError(PrimusError):
    """The peer broke HTTP, WebSocket or Primus rules. Only ever carried by events."""


class DecodeError(RemoteProtocolError):
    """An incoming message could not be decoded; it was discarded and the connection lives on (protocol 1).

    `payload` is the message as it came, text or bytes.
    """

    def __init__(self, message: str, payload: str | bytes = b"") -> None:
        super().__init__(message)
        self.payload = payload


class ConnectError(PrimusError):
    """A connection could not be made.

    `status` is the HTTP status the server answered with, None where there was no answer; `headers` are its
    header fields as (name, value) pairs; `body` is (the beginning of) its body.
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
    """An open connection went away without a polite end. `code` is the WebSocket close code (1006: none)."""

    def __init__(self, message: str, *, code: int = 1006) -> None:
        super().__init__(message)
        self.code = code


class BacklogExceeded(PrimusError):
    """The peer does not read: the unsent bytes passed the limit and the session was cut (protocol 7)."""


class Refused(PrimusError):
    """Raised by an authorization hook of a binding to refuse a request (protocol 6).

    `status` is the HTTP status, `authenticate` the value of ``WWW-Authenticate`` sent with a 401.
    """

    def __init__(self, message: str, status: int = 401, authenticate: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.status = status
        self.authenticate = authenticate
