"""The same echo or broadcast server on `picows`, which is written in Cython. Without Primus."""

from __future__ import annotations

import asyncio
import json
import os
import sys

from picows import WSFrame, WSListener, WSMsgType, WSTransport, ws_create_server

transports: set[WSTransport] = set()


class Listener(WSListener):  # type: ignore[misc]
    def on_ws_connected(self, transport: WSTransport) -> None:
        transports.add(transport)

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        transports.discard(transport)

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        if frame.msg_type == WSMsgType.TEXT:
            value = json.loads(frame.get_payload_as_utf8_text())
            data = json.dumps(value, separators=(",", ":")).encode()
            for each in (transport,) if sys.argv[1] == "echo" else transports:
                each.send(WSMsgType.TEXT, data)
        elif frame.msg_type == WSMsgType.CLOSE:
            transport.disconnect()


async def main() -> None:
    server = await ws_create_server(lambda request: Listener(), "127.0.0.1", 0, backlog=1024)
    print("READY", server.sockets[0].getsockname()[1], os.getpid(), flush=True)
    await server.serve_forever()


asyncio.run(main())
