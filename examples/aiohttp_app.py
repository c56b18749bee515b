"""An aiohttp application with a Primus server beside its other routes, and a client for it. Uses aiohttp_host.py.

    python -m pip install aiohttp
    python examples/aiohttp_app.py serve --port 8080       and then  curl -d '"hello"' http://127.0.0.1:8080/say
    python examples/aiohttp_app.py connect http://127.0.0.1:8080 "how do you do?"

The law kept here: an application gets events and calls verbs. If it calls verbs outside its `on_event`, it pumps
afterwards.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import sys
from time import time
from typing import Any

import aiohttp
from aiohttp import web

from aiohttp_host import ClientHost, ServerHost
from primus_proto import Client, ClientConfig, ConfigError, EncodeError, Refused, Request, Server, ServerConfig
from primus_proto import events as ev


def fresh() -> dict[str, Any]:
    """What the core needs besides its options: unpredictable randomness, and Unix time minus the loop's clock."""
    return {"rng": random.SystemRandom(), "wall_offset": time() - asyncio.get_running_loop().time()}


async def application(token: str | None = None, **options: Any) -> web.Application:
    """Echoes values, and sends what is posted to /say to all. Clients need the `token`, if any, in their URL."""
    server = Server(ServerConfig(**options), **fresh())

    def on_event(event: ev.Event) -> None:
        match event:
            case ev.SparkData(spark=spark, data=data):
                try:
                    spark.write({"echo": data})
                except EncodeError as error:  # JSON cannot express bytes, for example
                    spark.write({"error": str(error)})
                if spark.needs_drain:
                    spark.pause()  # read from it no faster than it reads
            case ev.SparkDrained(spark=spark):
                spark.resume()

    async def authorize(request: Request) -> None:
        if token is not None and request.query.get("token") != token:
            raise Refused("no entry without the token", authenticate="Token")

    async def say(request: web.Request) -> web.Response:
        try:
            heard = server.write(await request.json())
        except ValueError as error:
            raise web.HTTPBadRequest(text=f"{error}\n") from None
        host.pump()
        return web.json_response({"heard by": heard})

    async def index(_: web.Request) -> web.Response:
        return web.Response(text=f"{len(server)} here\n")

    app = web.Application()
    app.add_routes([web.get("/", index), web.post("/say", say)])
    host = ServerHost(server, on_event, authorize)
    host.mount(app)
    return app


async def connect(url: str, words: list[str]) -> int:
    """Send the words, print what arrives until the session ends; returns the exit status."""
    ended = asyncio.Queue[str]()

    def on_event(event: ev.Event) -> None:
        match event:
            case ev.DataReceived(data=data):
                print(json.dumps(data, default=repr), flush=True)
            case ev.ErrorOccurred(error=error):
                print("!", error, file=sys.stderr)
            case ev.ReconnectScheduled(delay=delay, error=error):
                print(f"! {error}; again in {delay:.1f} s", file=sys.stderr)
            case ev.Ended(reason=reason):
                ended.put_nowait(reason.kind)

    client = Client(ClientConfig(url=url), **fresh())
    async with aiohttp.ClientSession() as session:
        host = ClientHost(client, session, on_event)
        try:
            for word in words:
                client.write(word)
            return 0 if await ended.get() == "server" else 1
        finally:  # Ctrl-C ends up here, too
            client.end()
            host.pump()
            await host.finish()


def main() -> int:
    parser = argparse.ArgumentParser(description="Primus in an aiohttp application.")
    verbs = parser.add_subparsers(dest="verb", required=True)
    verb = verbs.add_parser("serve", help="run the server; Ctrl-C stops it")
    verb.add_argument("--port", type=int, default=8080)
    verb.add_argument("--token", help="require ?token= with this value in the clients' URL")
    verb = verbs.add_parser("connect", help="send words and print what arrives; Ctrl-C stops it")
    verb.add_argument("url", help="such as http://127.0.0.1:8080")
    verb.add_argument("words", nargs="*")
    options = parser.parse_args()
    try:
        if options.verb == "connect":
            return asyncio.run(connect(options.url, options.words))
        web.run_app(application(options.token), host="127.0.0.1", port=options.port)
        return 0
    except KeyboardInterrupt:
        return 130
    except (ConfigError, EncodeError, OSError) as error:
        sys.exit(f"{parser.prog}: {error}")


if __name__ == "__main__":
    sys.exit(main())
