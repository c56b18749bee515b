"""Clients that send back what they get: `python benchmarks/client.py PORT COUNT [--loop uvloop] [--base]`."""

from __future__ import annotations

import argparse
import asyncio
from contextlib import AsyncExitStack

from primus_io.asyncio import connect
from primus_proto.parsers import JSONParser
from primus_proto.wire import frames, websocket


async def main(options: argparse.Namespace) -> None:
    parser = "json"
    if options.base:
        frames.mask = websocket.mask = None
        parser = JSONParser()
    async with AsyncExitStack() as stack:
        for _ in range(options.count):
            primus = await stack.enter_async_context(
                connect(f"http://127.0.0.1:{options.port}", dialect="happn", strategy=[], parser=parser)
            )
            primus.on("data", primus.write)
        await asyncio.Event().wait()


if __name__ == "__main__":
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("port", type=int)
    arguments.add_argument("count", type=int)
    arguments.add_argument("--loop", choices=["asyncio", "uvloop"], default="asyncio")
    arguments.add_argument("--base", action="store_true", help="as if without the extra speedups")
    given = arguments.parse_args()
    if given.loop == "uvloop":
        import uvloop

        uvloop.run(main(given))
    else:
        asyncio.run(main(given))
