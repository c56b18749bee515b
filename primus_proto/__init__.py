"""The Primus real-time protocol as pure state machines: no sockets, no clock, no threads, no tasks.

`ByteServer` and `ByteClient` turn bytes into events and commands; `Server` and `Client` do the same for a host that
has WebSockets already. Bindings that do the IO are in `primus_io`.
"""

from typing import TYPE_CHECKING

from . import commands, events
from .compression import Compression
from .config import ClientConfig, ServerConfig
from .errors import (
    BacklogExceeded,
    ConfigError,
    ConnectError,
    ConnectionLost,
    DecodeError,
    EncodeError,
    InsecureWarning,
    LocalProtocolError,
    PluginError,
    PrimusError,
    Refused,
    RemoteProtocolError,
    TransformError,
)
from .http.model import Address, Headers, PeerCertificate, Request, Response
from .http.pipeline import HOLD, Layer
from .limits import Limits
from .parsers import AsyncParser, Parser
from .session.client import Client
from .session.messages import NOTHING
from .session.names import reserved
from .session.server import Server
from .session.spark import Spark
from .session.states import ClientState, CloseReason, ReadyState, SparkState
from .session.transforms import DROP, Packet
from .session.work import Held

if TYPE_CHECKING:
    from .endpoint import ByteClient, ByteServer, SpecQuery
else:

    def __getattr__(name: str) -> type:
        """Import the endpoints when one is used first, because they bring h11 and wsproto (PEP 562)."""
        if name not in ("ByteClient", "ByteServer", "SpecQuery"):
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from . import endpoint

        found = globals()[name] = getattr(endpoint, name)
        return found


del TYPE_CHECKING

__version__ = "0.1.0"

__all__ = [
    "DROP",
    "HOLD",
    "NOTHING",
    "Address",
    "AsyncParser",
    "BacklogExceeded",
    "ByteClient",
    "ByteServer",
    "Client",
    "ClientConfig",
    "ClientState",
    "CloseReason",
    "Compression",
    "ConfigError",
    "ConnectError",
    "ConnectionLost",
    "DecodeError",
    "EncodeError",
    "Headers",
    "Held",
    "InsecureWarning",
    "Layer",
    "Limits",
    "LocalProtocolError",
    "Packet",
    "Parser",
    "PeerCertificate",
    "PluginError",
    "PrimusError",
    "ReadyState",
    "Refused",
    "RemoteProtocolError",
    "Request",
    "Response",
    "Server",
    "ServerConfig",
    "Spark",
    "SparkState",
    "SpecQuery",
    "TransformError",
    "commands",
    "events",
    "reserved",
]
