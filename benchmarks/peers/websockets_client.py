"""Clients on `websockets` that send back what they get. Without Primus. Arguments: port and count."""

from __future__ import annotations

import asyncio
import json
import sys

from websockets.asyncio.client import connect


async def echo(port: str) -> None:
    async with connect(f"ws://127.0.0.1:{port}/primus", compression=None, ping_interval=None) as connection:
        async for text in connection:
            await connection.send(json.dumps(json.loads(text), separators=(",", ":")))


async def main() -> None:
    async with asyncio.TaskGroup() as group:
        for _ in range(int(sys.argv[2])):
            group.create_task(echo(sys.argv[1]))


asyncio.run(main())
