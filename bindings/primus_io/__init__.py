"""Bindings: everything that waits. One module for each way of waiting; `primus_io.asyncio` is the first.

The rules of the protocol are all in `primus_proto`; here are only sockets, clocks, tasks and the objects users hold.
`Client`, `Server` and `Spark` are the classes of all bindings that await.
"""

from ._client import Client
from ._server import Server, Spark

__all__ = ["Client", "Server", "Spark"]

for _class in (Client, Server, Spark):
    _class.__module__ = __name__  # help() shows the name that can be imported
del _class
