"""The bindings of Primus: one module for each way of waiting, such as `primus_io.asyncio`.

They do the IO. The rules of the protocol are in `primus_proto`. `Client`, `Server` and `Spark` are the classes of all
async bindings; `primus_io.threads` has its own.
"""

from ._client import Client
from ._server import Server, Spark

__all__ = ["Client", "Server", "Spark"]

for _class in (Client, Server, Spark):
    _class.__module__ = __name__  # help() shows the name that can be imported
del _class
