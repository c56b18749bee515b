"""Our end of a fault run, as a process of its own that can be killed, stopped and starved of descriptors.

python -m tests.faults.subject BINDING serve [--descriptors N]   prints its port, echoes, and closes on SIGTERM
python -m tests.faults.subject BINDING connect PORT              prints its events, and what it is sent

A server answers the value "sparks" with the number of its sparks.
"""

from __future__ import annotations

import argparse
import asyncio
import resource
import signal
from functools import partial
from typing import Any

BINDINGS = ("asyncio", "uvloop", "trio", "threads", "asgi")
OPTIONS: dict[str, Any] = {"dialect": "happn"}


def say(text: str) -> None:
    """Print a line at once."""
    print(text, flush=True)


def announce(name: str, *_: object) -> None:
    """Say that an event came."""
    say(name)


def reply(server: Any, value: object) -> object:
    """What a server answers."""
    return ["sparks", len(server.sparks)] if value == "sparks" else value


def wait_for_sigterm() -> None:
    """Wait in a thread. The signal is blocked in all of them."""
    signal.sigwait({signal.SIGTERM})


async def serve(library: Any, in_thread: Any) -> None:
    """Serve with an async binding until SIGTERM."""

    async def echo(spark: Any) -> None:
        async for value in spark:
            await spark.send(reply(server, value))

    async with library.serve(echo, "127.0.0.1", 0, compression=True, **OPTIONS) as server:
        say(str(server.port))
        await in_thread(wait_for_sigterm)


def serve_in_threads() -> None:
    """The same with `primus_io.threads`."""
    from primus_io import threads

    def echo(spark: Any) -> None:
        for value in spark:
            spark.send(reply(server, value))

    with threads.serve(echo, "127.0.0.1", 0, compression=True, **OPTIONS) as server:
        say(str(server.port))
        wait_for_sigterm()


def serve_in_uvicorn() -> None:
    """The same in uvicorn, set as the how-to says."""
    import socket

    import uvicorn

    from primus_io.asgi import Primus

    async def echo(spark: Any) -> None:
        async for value in spark:
            await spark.send(reply(primus, value))

    class Polite(uvicorn.Server):
        async def shutdown(self, sockets: Any = None) -> None:
            await primus.close()
            await super().shutdown(sockets)

    primus = Primus(echo, **OPTIONS)
    listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
    config = uvicorn.Config(
        primus,
        log_level="warning",
        ws="websockets-sansio",
        proxy_headers=False,
        ws_ping_interval=None,
        loop="asyncio",
        timeout_graceful_shutdown=1,
    )
    say(str(listener.getsockname()[1]))
    Polite(config).run([listener])


async def connect(library: Any, port: str) -> None:
    """Connect with an async binding, and never give up."""
    options = {**OPTIONS, "min": 0.05, "max": 0.2, "retries": 1000, "ping": 0.5, "pong": 0.5}
    async with library.connect(f"http://127.0.0.1:{port}", wait=False, **options) as primus:
        for name in ("open", "close", "reconnected"):
            primus.on(name, partial(announce, name))
        primus.on("open", lambda: primus.write("hello"))
        async for value in primus:
            say(f"data {value}")


def connect_in_threads(port: str) -> None:
    """The same with `primus_io.threads`."""
    from primus_io import threads

    options = {**OPTIONS, "min": 0.05, "max": 0.2, "retries": 1000, "ping": 0.5, "pong": 0.5}
    with threads.connect(f"http://127.0.0.1:{port}", manual=True, **options) as primus:
        for name in ("open", "close", "reconnected"):
            primus.on(name, partial(announce, name))
        primus.on("open", lambda: primus.write("hello"))
        primus.open()
        for value in primus:
            say(f"data {value}")


def main() -> None:
    """Run one end on one binding."""
    parser = argparse.ArgumentParser()
    parser.add_argument("binding", choices=BINDINGS)
    parser.add_argument("role", choices=["serve", "connect"])
    parser.add_argument("port", nargs="?")
    parser.add_argument("--descriptors", type=int)
    options = parser.parse_args()
    if options.descriptors:
        resource.setrlimit(resource.RLIMIT_NOFILE, (options.descriptors, options.descriptors))
    serves = options.role == "serve"
    if options.binding == "asgi":
        return serve_in_uvicorn()
    if serves:
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    if options.binding == "threads":
        return serve_in_threads() if serves else connect_in_threads(options.port)
    if options.binding == "trio":
        import trio

        from primus_io import trio as library

        job = partial(serve, library, trio.to_thread.run_sync) if serves else partial(connect, library, options.port)
        return trio.run(job)
    from primus_io import asyncio as on_asyncio

    job = partial(serve, on_asyncio, asyncio.to_thread) if serves else partial(connect, on_asyncio, options.port)
    if options.binding == "uvloop":
        import uvloop

        return uvloop.run(job())
    return asyncio.run(job())


if __name__ == "__main__":
    main()
