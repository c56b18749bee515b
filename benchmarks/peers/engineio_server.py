"""An echo server on python-engineio and aiohttp. It prints ``READY PORT PID`` once it listens."""

from __future__ import annotations

import asyncio
import os
import socket

import engineio  # type: ignore[import-not-found,unused-ignore]  # a peer of the comparison, which may be missing
from aiohttp import web


async def main() -> None:
    server = engineio.AsyncServer(async_mode="aiohttp", http_compression=False)
    application = web.Application()
    server.attach(application, "primus")
    server.on("message", server.send)
    listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    await web.SockSite(runner, listener).start()
    print("READY", listener.getsockname()[1], os.getpid(), flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main())
