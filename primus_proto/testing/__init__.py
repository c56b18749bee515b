"""A virtual network and clock: any client against any server, in memory, without sockets or sleeping.

Time moves only in `run`, straight from one due event to the next, so two hours take a fraction of a second. A run with
the same seed repeats byte for byte (except for WebSocket masks, which wsproto draws itself).

    network = VirtualNetwork(latency=0.05)
    server = network.serve(on_event=my_server_code)
    client = network.connect("http://server", ping=5.0)
    network.run(3600)
    assert client.seen(events.Opened) == 1

`check_parser` has the tests that every parser has to pass.
"""

from .endpoints import VirtualClient, VirtualServer
from .listeners import VirtualSpark
from .network import VirtualNetwork
from .parsers import check_parser

__all__ = ["VirtualClient", "VirtualNetwork", "VirtualServer", "VirtualSpark", "check_parser"]
