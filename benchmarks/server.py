"""An echo or broadcast server to point a load client at. It prints ``READY PORT PID`` once it listens.

    python benchmarks/server.py --mode echo --style iterate --loop uvloop

`--mode echo` sends each value back to its sender; `--mode bcast` sends it to every spark, the sender included.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import os
import socket
import struct
from typing import Any

import primus_proto as pp
from primus_proto.parsers import JSONParser
from primus_proto.wire import frames, websocket


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mode", choices=["echo", "bcast"], default="echo")
    parser.add_argument("--style", choices=["listener", "iterate"], default="listener")
    parser.add_argument("--io", choices=["asyncio", "trio", "threads", "asgi"], default="asyncio")
    parser.add_argument("--loop", choices=["asyncio", "uvloop"], default="asyncio", help="for --io asyncio and asgi")
    parser.add_argument("--parser", default="json")
    parser.add_argument("transformer", nargs="?", default="websockets", help="for --io asyncio and trio")
    parser.add_argument("--base", action="store_true", help="as if without the extra speedups")
    parser.add_argument("--port", type=int, default=0)
    options = parser.parse_args()
    if options.base:
        frames.mask = websocket.mask = None
        websocket.unpack_masked = struct.Struct("<HI").unpack_from
        options.parser = JSONParser() if options.parser == "json" else options.parser
    return options


def ready(port: int) -> None:
    gc.freeze()  # what starting made never becomes garbage
    print("READY", port, os.getpid(), flush=True)


def listen(server: Any, mode: str) -> None:
    """Answer each message in a listener, without a task for each connection."""

    def connected(spark: Any) -> None:
        spark.on("data", spark.write if mode == "echo" else server.write)

    server.on("connection", connected)


async def iterate(spark: Any) -> None:
    """Answer each message in a handler: a task for each connection."""
    async for value in spark:
        spark.write(value)


async def iterate_and_broadcast(spark: Any) -> None:
    async for value in spark:
        spark.server.write(value)


def serve_asgi(options: argparse.Namespace) -> None:
    """Run under uvicorn."""
    import uvicorn

    from primus_io.asgi import Primus

    iterates = iterate if options.mode == "echo" else iterate_and_broadcast
    app = Primus(iterates if options.style == "iterate" else None, parser=options.parser)
    if options.style == "listener":
        listen(app, options.mode)
    listener = socket.create_server(("127.0.0.1", options.port), backlog=1024)
    ready(listener.getsockname()[1])
    config = uvicorn.Config(
        app, loop=options.loop, log_level="critical", ws_per_message_deflate=False, ws_ping_interval=None
    )
    uvicorn.Server(config).run([listener])


async def serve(options: argparse.Namespace) -> None:
    """Run on asyncio, uvloop or trio."""
    if options.io == "trio":
        from primus_io.trio import serve
    else:
        from primus_io.asyncio import serve  # type: ignore[assignment]
    handler = None
    if options.style == "iterate":
        handler = iterate if options.mode == "echo" else iterate_and_broadcast
    limits = pp.Limits(backlog=64 * 1024 * 1024)
    given: dict[str, Any] = {"parser": options.parser, "transformer": options.transformer, "limits": limits}
    async with serve(handler, "127.0.0.1", options.port, **given) as server:
        if handler is None:
            listen(server, options.mode)
        ready(server.port)
        await server.serve_forever()


def serve_threads(options: argparse.Namespace) -> None:
    """Run on threads."""
    from primus_io.threads import serve

    def handle(spark: Any) -> None:
        for value in spark:
            (spark if options.mode == "echo" else spark.server).write(value)

    handler = handle if options.style == "iterate" else None
    with serve(handler, "127.0.0.1", options.port, parser=options.parser) as server:
        if handler is None:
            listen(server, options.mode)
        ready(server.port)
        server.serve_forever()


def main() -> None:
    options = parse()
    if options.io == "threads":
        serve_threads(options)
    elif options.io == "asgi":
        serve_asgi(options)
    elif options.io == "trio":
        import trio

        trio.run(serve, options)
    elif options.loop == "uvloop":
        import uvloop

        uvloop.run(serve(options))
    else:
        asyncio.run(serve(options))


if __name__ == "__main__":
    main()
