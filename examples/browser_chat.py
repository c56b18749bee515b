"""A chat for browsers: one server for the page, for Primus's client library and for the conversation.

    npm install happn-primus@6.0.1 ws@1.1
    node -e "new (require('happn-primus'))(require('http').createServer()).save('primus.js')"
    python examples/browser_chat.py --library primus.js --port 8080

Then open the address that it prints, in two windows. The library is made by the original, for the transformer and the
parser that this server uses.
"""

from __future__ import annotations

import argparse
import asyncio
from pathlib import Path

from primus_io.asyncio import Request, Response, Spark, serve

PAGE = Path(__file__).with_name("browser_chat.html")


async def chat(spark: Spark) -> None:
    name = spark.query.get("name") or "somebody"
    room = spark.server
    room.write({"text": f"{name} is here"})
    async for line in spark:
        room.write({"from": name, "text": str(line)[:1000]})
    room.write({"text": f"{name} has left"})


async def run(host: str, port: int, library: bytes) -> None:
    script = Response(200, (("Content-Type", "text/javascript; charset=utf-8"),), library)
    page = Response(200, (("Content-Type", "text/html; charset=utf-8"),), PAGE.read_bytes())

    def send_page(request: Request) -> Response | None:
        return page if request.path == "/primus/chat" else None

    def send_library(request: Request) -> Response | None:
        return script if request.path == "/primus/primus.js" else None

    async with serve(chat, host, port) as server:
        server.before("chat", send_page, index=0, upgrade=False)
        server.before("primus.js", send_library, upgrade=False)  # in place of the layer that answers 404
        print(f"open {server.url}/primus/chat", flush=True)
        await server.serve_forever()


def main() -> None:
    parser = argparse.ArgumentParser(description="A chat for browsers.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--library", type=Path, default=Path("primus.js"), help="the client library, made by Primus")
    given = parser.parse_args()
    try:
        asyncio.run(run(given.host, given.port, given.library.read_bytes()))
    except KeyboardInterrupt:
        pass
    except OSError as error:
        parser.exit(1, f"{parser.prog}: {error}\n")


if __name__ == "__main__":
    main()
