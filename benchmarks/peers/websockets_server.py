"""The same echo or broadcast server on `websockets`. Without Primus: JSON in WebSocket messages, nothing more."""

from __future__ import annotations

import asyncio
import json
import os
import sys

from websockets.asyncio.server import ServerConnection, broadcast, serve
from websockets.exceptions import ConnectionClosedError

connections: set[ServerConnection] = set()


def dump(value: object) -> str:
    return json.dumps(value, separators=(",", ":"))


async def handle(connection: ServerConnection) -> None:
    connections.add(connection)
    try:
        async for text in connection:
            if sys.argv[1] == "echo":
                await connection.send(dump(json.loads(text)))
            else:
                broadcast(connections, dump(json.loads(text)))
    except ConnectionClosedError:
        pass  # the load client leaves without a closing handshake
    finally:
        connections.discard(connection)


async def main() -> None:
    async with serve(handle, "127.0.0.1", 0, compression=None, ping_interval=None, backlog=1024) as server:
        print("READY", server.sockets[0].getsockname()[1], os.getpid(), flush=True)
        await server.serve_forever()


asyncio.run(main())
