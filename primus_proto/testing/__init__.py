"""A virtual network and clock: any client against any server, in memory, without sockets or sleeping.

Time moves only in `run`, from one due thing straight to the next, so two hours take a fraction of a second, and a
run with the same seed repeats byte for byte (WebSocket masks excepted: wsproto draws those itself).

    network = VirtualNetwork(latency=0.05)
    server = network.serve(on_event=my_server_code)
    client = network.connect("http://server", ping=5.0)
    network.run(3600)
    assert client.seen(events.Opened) == 1
"""

from .listeners import VirtualSpark
from .network import VirtualNetwork
from .nodes import VirtualClient, VirtualServer

__all__ = ["VirtualClient", "VirtualNetwork", "VirtualServer", "VirtualSpark"]
