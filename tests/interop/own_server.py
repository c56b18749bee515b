"""Our server in a process of its own, for tests that kill it. It speaks the JSON lines of peer_server.js."""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

from primus_io.asyncio import serve


def report(**fields: Any) -> None:
    print(json.dumps(fields), flush=True)


def connected(spark: Any) -> None:
    identity = spark.id
    report(event="connection", id=identity, query=spark.query)
    spark.on("data", lambda value: report(event="data", id=identity, value=value))
    spark.on("heartbeat", lambda: report(event="heartbeat", id=identity, dialect=spark.dialect))


async def main(options: dict[str, Any]) -> None:
    async with serve(None, "127.0.0.1", options.get("port", 0), **options.get("serve", {})) as server:
        server.on("connection", connected)
        report(event="ready", port=server.port)
        # End of input: the test is over, or gone.
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.buffer.read)


if __name__ == "__main__":
    asyncio.run(main(json.loads(sys.argv[1])))
