"""Primus over the WebSockets of aiohttp: connects both ends to the core at its message seam. Used by aiohttp_app.py.

The law kept here: a host decides nothing about Primus, such as who may have a session or when to reconnect. It handles
what the core cannot see: the size of incoming messages, time limits, and what aiohttp has not sent yet.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
from collections.abc import Awaitable, Callable
from typing import Any

import aiohttp
from aiohttp import ClientWebSocketResponse, WSMsgType, web
from yarl import URL

from primus_proto import (
    Address,
    Client,
    ConnectError,
    Headers,
    Refused,
    RemoteProtocolError,
    Request,
    Response,
    Server,
    Spark,
)
from primus_proto import commands as cmd
from primus_proto import events as ev

OnEvent = Callable[[Any], object]


class Host:
    """Runs a `Server` or a `Client` on the running loop: the pump and the one timer. A subclass has `run`."""

    def __init__(self, core: Server | Client, on_event: OnEvent) -> None:
        self.core, self.on_event = core, on_event
        self.loop = asyncio.get_running_loop()
        self.timer: asyncio.Handle = self.loop.call_soon(self.pump)
        self.due: float | None = None

    def pump(self) -> None:
        """Call this after every call into the core, and after verbs that were called outside `on_event`."""
        for item in self.core.poll(now=self.loop.time()):
            if isinstance(item, ev.Event):
                self.on_event(item)
            else:
                self.run(item)
        due = self.core.next_timeout()
        if due != self.due:
            self.timer.cancel()
            self.due = due
            if due is not None:
                self.timer = self.loop.call_at(due, self.timeout)

    def timeout(self) -> None:
        self.due = None  # the loop may be early by its clock's resolution; then it is armed again
        self.core.handle_timeout(now=self.loop.time())
        self.pump()

    def run(self, command: cmd.MessageCommand[Any]) -> None:
        raise NotImplementedError


class Link:
    """One aiohttp WebSocket, of either end, and the session that it carries."""

    def __init__(
        self,
        host: Host,
        session: Spark | Client,
        websocket: web.WebSocketResponse | ClientWebSocketResponse,
        abort: Callable[[], object],
    ) -> None:
        self.host, self.session, self.websocket, self.abort = host, session, websocket, abort
        self.outbox = asyncio.Queue[cmd.SendMessage | cmd.Close]()
        self.readable = asyncio.Event()
        self.readable.set()
        self.over = False  # the session has closed this connection, or knows that it is lost; tell it nothing more
        self.deadline: asyncio.TimerHandle | None = None

    def do(self, command: cmd.MessageCommand[Any]) -> None:
        match command:
            case cmd.SendMessage():
                self.outbox.put_nowait(command)
                self.session.connection_blocked()  # from now on messages wait in the core, which counts them
            case cmd.Close():
                self.over = True
                self.outbox.put_nowait(command)
                self.deadline = self.host.loop.call_later(self.host.core.limits.close, self.abort)
            case cmd.Abort():
                self.over = True
                self.readable.set()
                self.abort()
            case cmd.Pause():
                self.readable.clear()
            case cmd.Resume():
                self.readable.set()

    async def carry(self) -> None:
        """Read and write until the WebSocket is closed in both directions."""
        writer = asyncio.create_task(self.write())
        try:
            await self.read()
            if self.deadline is not None:
                await writer  # it sends the close
        finally:
            if not self.over:
                self.lost("the connection was lost")
            writer.cancel()
            if self.deadline is not None:
                self.deadline.cancel()

    async def read(self) -> None:
        while True:
            await self.readable.wait()
            message = await self.websocket.receive()
            if self.over:
                return
            match message.type:
                case WSMsgType.TEXT | WSMsgType.BINARY:
                    self.session.receive_message(message.data, now=self.host.loop.time())
                case WSMsgType.PING:
                    self.session.receive_ping(now=self.host.loop.time())
                    with contextlib.suppress(ConnectionError):  # the next receive() reports it
                        await self.websocket.pong(message.data)
                case WSMsgType.CLOSE:
                    return self.lost(None, message.data or 1005, message.extra or "")
                case WSMsgType.ERROR if isinstance(message.data, aiohttp.WebSocketError):
                    return self.lost(RemoteProtocolError(str(message.data)), message.data.code)
                case WSMsgType.ERROR | WSMsgType.CLOSING | WSMsgType.CLOSED:
                    return
            self.host.pump()

    def lost(self, error: RemoteProtocolError | str | None, code: int = 1006, reason: str = "") -> None:
        self.over = True
        self.session.connection_lost(error, code=code, reason=reason, now=self.host.loop.time())
        self.host.pump()

    async def write(self) -> None:
        try:
            while True:
                match await self.outbox.get():
                    case cmd.SendMessage(data=str(text)):
                        await self.websocket.send_str(text)
                    case cmd.SendMessage(data=bytes(data)):
                        await self.websocket.send_bytes(data)
                    case cmd.Close(code=code, reason=reason):
                        await self.websocket.close(code=code, message=reason.encode())
                        return
                if self.outbox.empty() and not self.over:
                    self.session.connection_writable(now=self.host.loop.time())
                    self.host.pump()
        except ConnectionError:
            self.readable.set()  # the reader reports the loss


class ServerHost(Host):
    """A Primus server under its pathname in any aiohttp application. `authorize` refuses by raising `Refused`."""

    def __init__(
        self, server: Server, on_event: OnEvent, authorize: Callable[[Request], Awaitable[object]] | None = None
    ) -> None:
        super().__init__(server, on_event)
        self.server, self.authorize = server, authorize

    def mount(self, app: web.Application) -> None:
        pathname = self.server.config.pathname
        for path in (pathname, pathname + "/{rest:.*}"):
            app.router.add_route("*", path, self.handle)
        app.on_shutdown.append(self.shut_down)

    async def shut_down(self, _: web.Application) -> None:
        """Close the server. aiohttp then waits for the handlers, each of which takes at most `Limits.close`."""
        self.server.close(reconnect=True)
        self.pump()

    async def handle(self, request: web.Request) -> web.StreamResponse:
        peer = request.get_extra_info("peername") or ("", 0)
        head = Request(request.method, request.path_qs, Headers(request.headers.items()), Address(*peer[:2]))
        answer: Response | Headers | None = self.server.answer(head)
        extra = answer if isinstance(answer, Headers) else Headers()
        if answer is extra and self.authorize is not None:
            answer = await self.judge(head, self.authorize)
        if isinstance(answer, Response):
            return web.Response(status=answer.status, headers=answer.headers, body=answer.body)
        limits = self.server.config.limits
        size = limits.message + 1  # aiohttp accepts messages smaller than this
        websocket = web.WebSocketResponse(autoping=False, compress=False, timeout=limits.close, max_msg_size=size)
        websocket.headers.extend(extra.pairs)
        await websocket.prepare(request)
        transport = request.transport
        if transport is None:
            return websocket  # the client has left
        spark = self.server.open_spark(head, now=self.loop.time())
        spark.context = link = Link(self, spark, websocket, transport.abort)
        self.pump()
        await link.carry()
        return websocket

    async def judge(self, head: Request, authorize: Callable[[Request], Awaitable[object]]) -> Response | None:
        try:
            async with asyncio.timeout(self.server.config.limits.authorization):
                answer = await authorize(head)
        except Refused as no:
            return self.server.refusal(no.message, status=no.status, authenticate=no.authenticate)
        except TimeoutError:
            return self.server.refusal("authorization took too long", status=503)
        if answer is None or answer is True:
            return None
        return self.server.refusal("Unauthorized")

    def run(self, command: cmd.MessageCommand[Any]) -> None:
        assert isinstance(command, cmd.SendMessage | cmd.Close | cmd.Abort | cmd.Pause | cmd.Resume)
        assert command.spark is not None
        command.spark.context.do(command)


class ClientHost(Host):
    """A Primus client whose connections an aiohttp session makes."""

    def __init__(self, client: Client, session: aiohttp.ClientSession, on_event: OnEvent) -> None:
        super().__init__(client, on_event)
        self.client, self.session = client, session
        self.link: Link | None = None
        self.tasks: list[asyncio.Task[None]] = []  # the last is the current attempt, if there is no link

    def run(self, command: cmd.MessageCommand[Any]) -> None:
        if isinstance(command, cmd.Connect):
            self.link = None
            self.tasks = [task for task in self.tasks if not task.done()]
            self.tasks.append(asyncio.create_task(self.connect(command)))
        elif self.link is not None:
            self.link.do(command)
        else:
            self.tasks[-1].cancel()  # an Abort, the only other command for an attempt

    async def connect(self, command: cmd.Connect) -> None:
        """Make one attempt, and carry the connection if it succeeds."""
        limits = self.client.limits
        try:
            websocket = await self.session.ws_connect(
                URL(command.url, encoded=True),
                headers=command.headers,
                autoping=False,
                timeout=aiohttp.ClientWSTimeout(ws_close=limits.close),
                max_msg_size=limits.message + 1,
            )
        except aiohttp.WSServerHandshakeError as refused:
            headers = tuple((refused.headers or {}).items())
            return self.failed(ConnectError(str(refused), status=refused.status, headers=headers))
        except (aiohttp.ClientError, OSError) as failure:
            return self.failed(ConnectError(str(failure)))

        def abort() -> None:
            """aiohttp has no abort, and some loops do not give access to their sockets, so this uses a copy."""
            raw = websocket.get_extra_info("socket")
            if raw is not None:
                with contextlib.suppress(OSError), socket.fromfd(raw.fileno(), raw.family, raw.type) as copy:
                    copy.shutdown(socket.SHUT_RDWR)

        self.link = Link(self, self.client, websocket, abort)
        self.client.opened(now=self.loop.time())
        self.pump()
        async with asyncio.TaskGroup() as group:
            question = group.create_task(self.ask(command)) if self.client.config.dialect == "auto" else None
            await self.link.carry()
            if question is not None:
                question.cancel()

    def failed(self, error: ConnectError) -> None:
        self.client.connection_lost(error, now=self.loop.time())
        self.pump()

    async def ask(self, command: cmd.Connect) -> None:
        """Ask what kind of server this is, beside the connection. Without an answer it is happn's (protocol 3.5)."""
        config = self.client.config
        url = f"{'https' if config.secure else 'http'}://{config.authority}{config.pathname}/spec"
        with contextlib.suppress(aiohttp.ClientError, OSError, ValueError, RecursionError):
            async with (
                asyncio.timeout(config.limits.handshake),
                self.session.get(URL(url, encoded=True), headers=command.headers) as answer,
            ):
                spec = json.loads(await answer.content.read(config.limits.body))
                self.client.learn(spec, now=self.loop.time())
                self.pump()

    async def finish(self) -> None:
        """Wait for connections that are closing. Each takes at most `Limits.close`."""
        if self.tasks:
            await asyncio.wait(self.tasks)
