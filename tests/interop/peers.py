"""Real npm peers as subprocesses: started, driven and read line by line, and gone when the test is.

A test is a coroutine function that takes `Peers`, made an ordinary test function by `@interop()`. It waits
for events with a deadline, never for time to pass; a wait that fails shows what every side has said.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import inspect
import json
import os
import shutil
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
WAIT = 10.0  # seconds; bounds what would otherwise hang, is never waited out by a test that passes
LINE_LIMIT = 64 * 1024 * 1024  # a report may carry a message of several MiB

Report = dict[str, Any]
Main = Awaitable[None]
T = TypeVar("T")
P = ParamSpec("P")

PLAIN_EVENTS = ("open", "close", "end", "timeout", "online", "offline")
RECONNECT_EVENTS = (
    "reconnect scheduled",
    "reconnect",
    "reconnect timeout",
    "reconnect failed",
    "reconnected",
)
RECONNECT_FIELDS = ("attempt", "retries", "delay", "start", "duration", "error")


class Emitter(Protocol):
    """Our client, server or spark: it takes listeners by the documented names."""

    def on(self, name: Any, fn: Callable[..., Any], /) -> Any: ...


def missing() -> str | None:
    """Why the real peers cannot run here, or None if they can."""
    if shutil.which("node") is None:
        return "interop: node is not installed"
    folders = {".": "happn-primus", "primus8": "primus", "primus6": "primus", "plugins": "primus-emitter"}
    for folder, package in folders.items():
        place = HERE / folder
        needed = [package, "ws"] + ([] if folder == "plugins" else ["engine.io", "engine.io-client"])
        if folder not in ("primus6", "plugins"):
            needed += ["ejson", "binary-pack", "primus-msgpack", "sockjs", "sockjs-client"]
        if not all((place / "node_modules" / name / "package.json").is_file() for name in needed):
            return f"interop: {package} is not installed; run `npm ci` in {place}"
    return None


class EventLog:
    """What one side said, in order. `wait` takes reports out of turn, but each only once."""

    def __init__(self, title: str, beside: list[EventLog]) -> None:
        self.title = title
        self.reports: list[Report] = []
        self.over: str | None = None  # why nothing more can come
        self._beside = beside  # every log of the test, for the message of a failure
        self._taken: set[int] = set()
        self._changed = asyncio.Event()
        beside.append(self)

    def add(self, report: Report) -> None:
        self.reports.append(report)
        self._changed.set()

    def finish(self, why: str) -> None:
        self.over = why
        self._changed.set()

    def all(self, name: str, **fields: Any) -> list[Report]:
        return [report for report in self.reports if _matches(report, name, fields)]

    def names(self) -> list[str]:
        return [str(report["event"]) for report in self.reports if "event" in report]

    def values(self) -> list[Any]:
        """The messages that came, in order."""
        return [report["value"] for report in self.all("data")]

    def public(self) -> list[str]:
        """Names of the events a user sees, in order; `readyStateChange` with what it changed to."""
        return [
            f"rsc({report['to']})" if "to" in report else str(report["event"])
            for report in self.reports
            if "event" in report and not report.get("internal")
        ]

    async def wait(self, name: str, timeout: float = WAIT, **fields: Any) -> Report:
        """The first report called `name` (event or reply) with these fields that no wait has taken yet."""

        def find() -> Report | None:
            for index, report in enumerate(self.reports):
                if index not in self._taken and _matches(report, name, fields):
                    self._taken.add(index)
                    return report
            return None

        found = await self.until(find, f"{name!r} {fields}" if fields else repr(name), timeout)
        assert found is not None
        return found

    async def until(self, find: Callable[[], T], wanted: str, timeout: float = WAIT) -> T:
        """The first true value of `find()`, which is tried after every report."""
        try:
            async with asyncio.timeout(timeout):
                while True:
                    self._changed.clear()
                    if found := find():
                        return found
                    if self.over is not None:
                        message = f"{self.title} {self.over} without saying {wanted}"
                        raise AssertionError(f"{message}\n{self.everything()}")
                    await self._changed.wait()
        except TimeoutError:
            message = f"{self.title} did not say {wanted} within {timeout:g} s"
            raise AssertionError(f"{message}\n{self.everything()}") from None

    def everything(self) -> str:
        return "\n".join(log.describe() for log in self._beside)

    def describe(self) -> str:
        lines = [f"  {json.dumps(report, default=repr)[:300]}" for report in self.reports]
        if len(lines) > 80:
            lines[40:-40] = [f"  … {len(lines) - 80} more …"]
        return "\n".join([f"--- {self.title} said:", *(lines or ["  (nothing)"])])


def _matches(report: Report, name: str, fields: dict[str, Any]) -> bool:
    if name not in (report.get("event"), report.get("reply")):
        return False
    return all(report.get(key) == value for key, value in fields.items())


class Peer(EventLog):
    """A subprocess that speaks JSON lines: a real npm peer, or a server of ours that a test wants to kill."""

    process: asyncio.subprocess.Process
    _readers: tuple[asyncio.Task[None], ...] = ()

    async def start(self, *command: str, env: dict[str, str] | None = None) -> None:
        self.process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            limit=LINE_LIMIT,
            env=env,
        )
        self._stderr: list[str] = []
        self._readers = (asyncio.create_task(self._read_reports()), asyncio.create_task(self._read_stderr()))

    async def _read_reports(self) -> None:
        assert self.process.stdout is not None
        async for line in self.process.stdout:
            try:
                self.add(json.loads(line))
            except ValueError:
                self.add({"event": "noise", "internal": True, "text": line.decode(errors="replace")})
        self.finish(f"ended (exit status {await self.process.wait()})")

    async def _read_stderr(self) -> None:
        assert self.process.stderr is not None
        async for line in self.process.stderr:
            self._stderr.append(line.decode(errors="replace").rstrip())

    def send(self, cmd: str, **fields: Any) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps({"cmd": cmd, **fields}).encode() + b"\n")

    async def ask(self, cmd: str, **fields: Any) -> Report:
        self.send(cmd, **fields)
        return await self.wait(cmd)

    async def kill(self) -> None:
        """SIGKILL: the operating system closes its sockets, nobody says goodbye."""
        if self.process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self.process.kill()
        await self.process.wait()
        await asyncio.gather(*self._readers)

    async def stop(self, timeout: float = 5.0) -> None:
        """Close its stdin, at which it exits by itself; kill it if it does not."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self.process.wait(), timeout)
        await self.kill()

    def describe(self) -> str:
        tail = [f"  stderr: {line}" for line in self._stderr[-20:]]
        return "\n".join([super().describe(), *tail])


class ServerPeer(Peer):
    port = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


class Peers:
    """Starts the peers of one test and keeps every log of it."""

    def __init__(self, stack: contextlib.AsyncExitStack) -> None:
        self._stack = stack
        self.logs: list[EventLog] = []

    async def _start(self, peer: Peer, *command: str, env: dict[str, str] | None = None) -> Report:
        await peer.start(*command, env=env)
        self._stack.push_async_callback(peer.stop)
        return await peer.wait("ready")

    async def server(self, **options: Any) -> ServerPeer:
        """A real server; the options are those of peer_server.js."""
        peer = ServerPeer(f"their server {len(self.logs)}", self.logs)
        ready = await self._start(peer, "node", str(HERE / "peer_server.js"), json.dumps(options))
        peer.port = ready["port"]
        return peer

    async def client(self, url: str, **options: Any) -> Peer:
        """A real client; the options are those of peer_client.js."""
        peer = Peer(f"their client {len(self.logs)}", self.logs)
        await self._start(peer, "node", str(HERE / "peer_client.js"), json.dumps({"url": url, **options}))
        return peer

    async def engine(self, url: str, **options: Any) -> Peer:
        """A real client of Engine.IO alone; the options are those of peer_engine.js."""
        peer = Peer(f"their engine {len(self.logs)}", self.logs)
        await self._start(peer, "node", str(HERE / "peer_engine.js"), json.dumps({"url": url, **options}))
        return peer

    async def plugins(self, role: str, **options: Any) -> ServerPeer:
        """A real server or client with plugins; the roles and options are those of plugins/peer_plugins.js."""
        peer = ServerPeer(f"their {role} {len(self.logs)}", self.logs)
        script = str(HERE / "plugins" / "peer_plugins.js")
        ready = await self._start(peer, "node", script, json.dumps({"role": role, **options}))
        peer.port = ready.get("port", 0)
        return peer

    async def own_server(self, **options: Any) -> ServerPeer:
        """Our server in a process of its own, for a test that kills it; see own_server.py for the options."""
        paths = [os.environ.get("PYTHONPATH", ""), str(ROOT), str(ROOT / "bindings")]
        env = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in paths if path)}
        peer = ServerPeer(f"our server {len(self.logs)}", self.logs)
        command = (sys.executable, str(HERE / "own_server.py"), json.dumps(options))
        ready = await self._start(peer, *command, env=env)
        peer.port = ready["port"]
        return peer

    def record(self, emitter: Emitter) -> EventLog:
        """Log every public event of our client, under the names and fields that peer_client.js uses."""
        log = EventLog(f"our client {len(self.logs)}", self.logs)

        def plain(name: str) -> Callable[[], None]:
            return lambda: log.add({"event": name})

        def reconnect(name: str) -> Callable[[Any], None]:
            return lambda event: log.add(
                {"event": name, **{field: getattr(event, field) for field in RECONNECT_FIELDS}}
            )

        for name in PLAIN_EVENTS:
            emitter.on(name, plain(name))
        for name in RECONNECT_EVENTS:
            emitter.on(name, reconnect(name))
        emitter.on("data", lambda value: log.add({"event": "data", "value": value}))
        emitter.on("error", lambda error: log.add({"event": "error", "error": error}))
        emitter.on("readyStateChange", lambda to: log.add({"event": "readyStateChange", "to": to}))
        return log

    def record_server(self, server: Emitter) -> EventLog:
        """Log the events of our server and of each of its sparks; `connection` carries the spark itself."""
        log = EventLog(f"our server {len(self.logs)}", self.logs)

        def connected(spark: Any) -> None:
            identity = spark.id
            log.add({"event": "connection", "id": identity, "spark": spark})
            spark.on("data", lambda value: log.add({"event": "data", "id": identity, "value": value}))
            spark.on("error", lambda error: log.add({"event": "error", "id": identity, "error": error}))
            for name in ("readyStateChange", "heartbeat", "end"):
                spark.on(name, lambda *_, name=name: log.add({"event": name, "id": identity}))

        def counted(name: str) -> Callable[[Any, int], None]:
            return lambda spark, count: log.add({"event": name, "id": spark.id, "count": count})

        server.on("connection", connected)
        server.on("disconnection", lambda spark: log.add({"event": "disconnection", "id": spark.id}))
        server.on("close", lambda: log.add({"event": "close"}))
        server.on("log", lambda level, message: log.add({"event": "log", "level": level, "text": message}))
        for name in ("heartbeat-skipped", "flatline"):
            server.on(name, counted(name))
        return log


def interop(timeout: float = 20.0) -> Callable[[Callable[Concatenate[Peers, P], Main]], Callable[P, None]]:
    """Make a test of a coroutine function: with `Peers`, a deadline, and no process that outlives it."""

    def wrap(main: Callable[Concatenate[Peers, P], Main]) -> Callable[P, None]:
        @functools.wraps(main)
        def test(*args: P.args, **kwargs: P.kwargs) -> None:
            async def run() -> None:
                async with contextlib.AsyncExitStack() as stack:
                    peers = Peers(stack)
                    try:
                        async with asyncio.timeout(timeout):
                            await main(peers, *args, **kwargs)
                    except BaseException:
                        print(*(log.describe() for log in peers.logs), sep="\n")
                        raise

            asyncio.run(run())

        # Without the first parameter, or pytest would look for a fixture called `peers`.
        signature = inspect.signature(main)
        rest = list(signature.parameters.values())[1:]
        test.__signature__ = signature.replace(parameters=rest)  # type: ignore[attr-defined]
        return test

    return wrap
