"""A bridge between Primus and a message queue: what is published on ZeroMQ reaches browsers, and the other way round.

    python -m pip install pyzmq
    python examples/zeromq_bridge.py --port 8080 --from tcp://127.0.0.1:5556 --to tcp://127.0.0.1:5557

`--from` is the address of a publisher: each of its messages has two parts, a topic and JSON. A client names the topics
it wants in its URL, as in ``http://127.0.0.1:8080/?topics=news,weather``, and gets ``{"topic": …, "data": …}``. What a
client writes goes to the collector at `--to`, which binds a PULL socket, as ``{"from": …, "data": …}``.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys

import zmq
import zmq.asyncio

from primus_io.asyncio import Server, Spark, serve


def topics(spark: Spark) -> set[str]:
    return set(spark.query.get("topics", "").split(","))


async def distribute(server: Server, source: zmq.asyncio.Socket) -> None:
    """Send what is published to the sparks that want it. Sparks that are behind wait for nobody, and miss it."""
    while True:
        try:
            topic, body = await source.recv_multipart()
            message = {"topic": topic.decode(), "data": json.loads(body)}
        except ValueError as error:  # of another shape, or not JSON
            print("ignored a message:", error, file=sys.stderr)
            continue
        unwanted = [
            spark for spark in server.sparks.values() if message["topic"] not in topics(spark) or spark.needs_drain
        ]
        server.write(message, exclude=unwanted)


async def bridge(host: str, port: int, source_url: str, target_url: str) -> None:
    context = zmq.asyncio.Context()
    source = context.socket(zmq.SUB)
    target = context.socket(zmq.PUSH)
    source.setsockopt(zmq.SUBSCRIBE, b"")
    source.connect(source_url)
    target.connect(target_url)

    async def collect(spark: Spark) -> None:
        async for value in spark:
            await target.send_json({"from": spark.id, "data": value})  # waits while the collector is behind

    try:
        async with serve(collect, host, port) as server:
            print("listening on", server.url, flush=True)
            await distribute(server, source)
    finally:
        context.destroy(linger=0)


def main() -> None:
    parser = argparse.ArgumentParser(description="A bridge between Primus and ZeroMQ.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--from", dest="source", required=True, help="address of the publisher")
    parser.add_argument("--to", dest="target", required=True, help="address of the collector")
    given = parser.parse_args()
    try:
        asyncio.run(bridge(given.host, given.port, given.source, given.target))
    except KeyboardInterrupt:
        pass
    except (zmq.ZMQError, OSError) as error:
        parser.exit(1, f"{parser.prog}: {error}\n")


if __name__ == "__main__":
    main()
