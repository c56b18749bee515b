"""The same echo or broadcast server as a plain ASGI application under uvicorn. Without Primus."""

from __future__ import annotations

import json
import os
import socket
import sys
from collections.abc import Awaitable, Callable
from typing import Any

import uvicorn

Send = Callable[[dict[str, Any]], Awaitable[None]]
sends: set[Send] = set()


async def application(scope: dict[str, Any], receive: Callable[[], Awaitable[dict[str, Any]]], send: Send) -> None:
    await receive()
    await send({"type": "websocket.accept"})
    sends.add(send)
    try:
        while (message := await receive())["type"] == "websocket.receive":
            answer = {"type": "websocket.send", "text": json.dumps(json.loads(message["text"]), separators=(",", ":"))}
            for each in (send,) if sys.argv[1] == "echo" else list(sends):
                await each(answer)
    finally:
        sends.discard(send)


if __name__ == "__main__":
    listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
    print("READY", listener.getsockname()[1], os.getpid(), flush=True)
    options: dict[str, Any] = {"loop": "asyncio", "log_level": "critical", "lifespan": "off"}
    config = uvicorn.Config(application, ws_per_message_deflate=False, ws_ping_interval=None, **options)
    uvicorn.Server(config).run([listener])
