"""A telemetry feed: one program measures, everybody who is connected sees it, and slow readers lose nothing but time.

    python examples/telemetry.py serve --port 8080 --interval 1
    python examples/telemetry.py watch http://127.0.0.1:8080 --count 5

A new client first gets the last measurements, then each new one. A measurement is encoded once, however many clients
there are. A client that reads too slowly is skipped until it has caught up: of telemetry, only the latest counts.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import time
from collections import deque
from typing import Any

from primus_io.asyncio import ConnectError, Spark, connect, serve

KEPT = 10


def measure() -> dict[str, Any]:
    load, _, _ = os.getloadavg() if hasattr(os, "getloadavg") else (0.0, 0.0, 0.0)
    return {"at": time.time(), "load": load, "cpu": time.process_time()}


async def feed(host: str, port: int, interval: float) -> None:
    last: deque[dict[str, Any]] = deque(maxlen=KEPT)

    def welcome(spark: Spark) -> None:
        spark.write({"last": list(last)})

    async with serve(None, host, port) as server:
        server.on("connection", welcome)
        print("listening on", server.url, flush=True)
        while True:
            last.append(measure())
            behind = [spark for spark in server.sparks.values() if spark.needs_drain]
            server.write({"now": last[-1]}, exclude=behind)
            await asyncio.sleep(interval)


async def watch(url: str, count: int) -> None:
    async with connect(url, wait=10) as primus:
        async for message in primus:
            print(message, flush=True)
            count -= 1
            if count == 0:
                return


def main() -> None:
    parser = argparse.ArgumentParser(description="A telemetry feed over Primus.")
    commands = parser.add_subparsers(dest="command", required=True)
    server = commands.add_parser("serve")
    server.add_argument("--host", default="127.0.0.1")
    server.add_argument("--port", type=int, default=0)
    server.add_argument("--interval", type=float, default=1.0, help="seconds between measurements")
    client = commands.add_parser("watch")
    client.add_argument("url")
    client.add_argument("--count", type=int, default=0, help="stop after so many messages; 0: never")
    given = parser.parse_args()
    try:
        if given.command == "serve":
            asyncio.run(feed(given.host, given.port, given.interval))
        else:
            asyncio.run(watch(given.url, given.count))
    except KeyboardInterrupt:
        pass
    except (ConnectError, TimeoutError, OSError) as error:
        parser.exit(1, f"{parser.prog}: {str(error) or 'no connection in time'}\n")


if __name__ == "__main__":
    main()
