"""What every binding exports besides its own names: errors, and the classes that users meet."""

from primus_proto import (
    Address,
    BacklogExceeded,
    CloseReason,
    ConfigError,
    ConnectError,
    ConnectionLost,
    DecodeError,
    EncodeError,
    Headers,
    Limits,
    LocalProtocolError,
    PrimusError,
    Refused,
    RemoteProtocolError,
    Request,
)

__all__ = [
    "Address",
    "BacklogExceeded",
    "CloseReason",
    "ConfigError",
    "ConnectError",
    "ConnectionLost",
    "DecodeError",
    "EncodeError",
    "Headers",
    "Limits",
    "LocalProtocolError",
    "PrimusError",
    "Refused",
    "RemoteProtocolError",
    "Request",
]
