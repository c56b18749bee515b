"""A chat over Primus on one selector. The driver is in selectors_driver.py.

    python examples/selectors_chat.py serve --port 8080
    python examples/selectors_chat.py connect http://127.0.0.1:8080

The law kept here: an application has a `Server` or a `Client`, gets events and calls verbs. No verb waits.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import signal
import socket
import sys
import threading
from selectors import EVENT_READ
from time import monotonic, time
from typing import Any

from primus_proto import ByteClient, ByteServer, ClientConfig, ConfigError, EncodeError, ReadyState
from primus_proto import events as ev
from selectors_driver import Driver, Loop


def fresh() -> dict[str, Any]:
    """What an endpoint needs besides its options: unpredictable randomness, and Unix time minus our clock."""
    return {"rng": random.SystemRandom(), "wall_offset": time() - monotonic()}


def chat_server(loop: Loop, endpoint: ByteServer) -> Driver:
    """Send each line to all others. The core drops a client that does not read."""
    server = endpoint.server

    def on_event(event: ev.Event) -> None:
        match event:
            case ev.SparkConnected(spark=spark):
                server.write({"joined": spark.id})
            case ev.SparkData(spark=spark, data=str(text)):
                server.write({"from": spark.id, "text": text}, exclude=[spark])
            case ev.SparkData(spark=spark):
                spark.write({"error": "say a string"})
            case ev.SparkDisconnected(spark=spark):
                server.write({"left": spark.id})

    return Driver(loop, endpoint, on_event)


def serve(host: str, port: int) -> None:
    loop, endpoint = Loop(), ByteServer(**fresh())
    driver = chat_server(loop, endpoint)
    listener = driver.listen(host, port)
    interrupted, interrupting = socket.socketpair()

    def stop(_: int) -> None:
        for sock in (listener, interrupted):
            loop.watch(sock, 0, stop)
            sock.close()
        endpoint.server.close(reconnect=True)

    # The loop sees this between two calls into the core; an exception could interrupt one.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: interrupting.close())
    loop.watch(interrupted, EVENT_READ, stop)
    print(f"listening on http://{host}:{listener.getsockname()[1]}", flush=True)
    loop.run(lambda: endpoint.server.closing and not driver.channels and not driver.closing)


def connect(url: str) -> int:
    """Send each line of standard input, and end after the last; returns the exit status."""
    loop, endpoint = Loop(), ByteClient(ClientConfig(url=url), **fresh())
    lines, typing = socket.socketpair()  # not every selector can wait for files and terminals
    client, said, ended = endpoint.client, bytearray(), list[ev.Ended]()

    def type_on() -> None:
        with typing, contextlib.suppress(OSError):  # the main thread has stopped reading
            while data := os.read(0, 4096):
                typing.sendall(data)

    def say(_: int) -> None:
        data = lines.recv(4096)
        *whole, said[:] = (said + data).split(b"\n")
        if said and not data:
            whole.append(said)
        for line in whole:
            try:
                client.write(line.decode(errors="replace"))
            except EncodeError as error:
                print("!", error, file=sys.stderr)
        if not data:
            client.end()
        listen()

    def listen() -> None:
        """Read the input only while its lines can be sent."""
        able = client.ready_state is ReadyState.OPEN and not client.needs_drain
        loop.watch(lines, EVENT_READ if able else 0, say)

    def on_event(event: ev.Event) -> None:
        listen()
        match event:
            case ev.DataReceived(data=data):
                print(json.dumps(data, default=repr), flush=True)
            case ev.ErrorOccurred(error=error):
                print("!", error, file=sys.stderr)
            case ev.ReconnectScheduled(delay=delay, error=error):
                print(f"! {error}; again in {delay:.1f} s", file=sys.stderr)
            case ev.Ended():
                ended.append(event)

    driver = Driver(loop, endpoint, on_event)
    threading.Thread(target=type_on, daemon=True).start()
    loop.run(lambda: ended and not driver.channels and not driver.closing)
    lines.close()
    return 0 if ended[0].reason.kind == "local" else 1


def main() -> int:
    parser = argparse.ArgumentParser(description="A chat over Primus on one selector.")
    verbs = parser.add_subparsers(dest="verb", required=True)
    verb = verbs.add_parser("serve", help="run the server; Ctrl-C stops it")
    verb.add_argument("--host", default="127.0.0.1")
    verb.add_argument("--port", type=int, default=0, help="0 picks a free port")
    verb = verbs.add_parser("connect", help="send what is typed, until the end of the input")
    verb.add_argument("url", help="such as http://127.0.0.1:8080")
    options = parser.parse_args()
    try:
        if options.verb == "connect":
            return connect(options.url)
        serve(options.host, options.port)
        return 0
    except (ConfigError, OSError) as error:
        sys.exit(f"{parser.prog}: {error}")


if __name__ == "__main__":
    sys.exit(main())
