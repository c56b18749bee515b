"""A transport for the tests of the transport contract: plain requests only, no WebSocket.

`GET` without a session opens one, `GET ?sid=` waits for messages of the session, and `POST ?sid=` sends it some. So a
session runs over two channels at once, outlives both, and has ids and time limits of its own. A body is a JSON array of
packets: ``["open", sid]``, ``["text", data]``, ``["close", code, reason]``.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from primus_proto import ConnectError, ConnectionLost
from primus_proto.http.model import Answer, Request, Response, error_response
from primus_proto.limits import check_number
from primus_proto.transports.base import ClientHost, Exchange, HeaderPairs, Route, ServerHost, refusal_error
from primus_proto.transports.polling import PollingPipe
from primus_proto.transports.registry import Transport

__all__ = ["POLLING", "PollingOptions"]

JSON = (("Content-Type", "application/json"),)


@dataclass(frozen=True)
class PollingOptions:
    """Options of the transport itself, in seconds."""

    hold: float = 20.0
    """The server answers a waiting GET after this time, if only with nothing. A client waits `absence` longer."""
    absence: float = 5.0
    """A session without a waiting GET for this time is lost."""

    def __post_init__(self) -> None:
        check_number("transport['hold']", self.hold, above=True)
        check_number("transport['absence']", self.absence, above=True)


def body_of(packets: list[str]) -> bytes:
    return f"[{','.join(packets)}]".encode()


def packet(payload: str | bytes) -> str:
    return json.dumps(["text", payload])


def unpack(body: bytes) -> list[list[Any]]:
    """The packets of a body, which no test breaks."""
    packets: list[list[Any]] = json.loads(body)
    return packets


class PacketPipe(PollingPipe[list[Any]]):
    """What both ends' pipes have in common."""

    transport = "polling"

    @property
    def _unread(self) -> int:
        return 0

    def _handle(self, packet: list[Any], now: float) -> None:
        match packet if self.ending is None else None:
            case ["text", str(data)]:
                self.session.receive_message(data, now=now)
            case ["close", int(code), str(reason)]:
                self._end(code, reason, None, now)

    def outgoing(self) -> list[str]:
        packets = [str(message.wrapped("polling", packet).payload) for message in self.take_all()]
        if self.ending is not None:
            packets.append(json.dumps(["close", *self.ending]))
        return packets


class ServerPipe(PacketPipe):
    """A session of the server: the GET that waits, if one does. POSTs wait in the inbox while nobody reads."""

    def __init__(self, server: PollingServer, sid: str, request: Request) -> None:
        super().__init__(server.host, request)
        self.server = server
        self.sid = sid
        self.waiting: Exchange | None = None
        self.absence = self._host.timers.new(self._absent)
        self.hold = self._host.timers.new(lambda now: self._answer([], now))

    @property
    def session_id(self) -> str:
        return self.sid

    def wait(self, exchange: Exchange, now: float) -> None:
        """A GET came."""
        if self.waiting is not None:
            self._answer([], now)
        self.waiting = exchange
        exchange.on_gone = self._gone
        self.absence.cancel()
        self.hold.set(now + self.server.host.options.hold)
        self._touch()

    def posted(self, exchange: Exchange, body: bytes, now: float) -> None:
        """A POST came. While the session is paused it stays unanswered, which holds the next one back."""
        self._inbox.put(unpack(body), lambda now: exchange.respond(204, now=now), now=now)

    def _send(self, now: float) -> None:
        packets = self.outgoing() if self.waiting is not None else []
        if packets:
            self._answer(packets, now)
            if self.ending is not None:
                self._drop(now)
            elif self.high:
                self.session.drained()

    def _release(self, now: float) -> None:
        super()._release(now)
        self.absence.cancel()
        self.hold.cancel()
        self.server.sessions.pop(self.sid, None)
        if self.waiting is not None:
            self.waiting.abort(now=now)
            self.waiting = None

    def be_absent(self, now: float) -> None:
        self.hold.cancel()
        if not self.over:
            self.absence.set(now + self.server.host.options.absence)

    def _answer(self, packets: list[str], now: float) -> None:
        exchange, self.waiting = self.waiting, None
        assert exchange is not None
        exchange.on_gone = None
        self.be_absent(now)  # before the answer: the next GET may be there already
        exchange.respond(200, JSON, body_of(packets), now=now)

    def _gone(self, now: float) -> None:
        self.waiting = None
        self.be_absent(now)

    def _absent(self, now: float) -> None:
        self._end(1006, "", ConnectionLost("the client stopped asking"), now)


class PollingServer:
    """The server half: sessions by id."""

    def __init__(self, host: ServerHost) -> None:
        self.host = host
        self.sessions: dict[str, ServerPipe] = {}

    @property
    def busy(self) -> bool:
        return bool(self.sessions)

    def route(self, request: Request) -> Route | Response:
        sid = request.query.get("sid")
        if sid is None:
            return Route(opens=True)
        pipe = self.sessions.get(sid)
        if pipe is None:
            return error_response(404, "no such session")
        if request.method == "POST":
            return Route(opens=False, body=2 * self.host.limits.message, target=pipe)
        return Route(opens=False, target=pipe)

    def handle(self, exchange: Exchange, route: Route, body: bytes, *, now: float) -> None:
        pipe = route.target
        if pipe is None:
            sid = self.host.new_id()
            pipe = self.sessions[sid] = ServerPipe(self, sid, exchange.request)
            self.host.opened(pipe, now=now)
            pipe.be_absent(now)
            exchange.respond(200, JSON, body_of([json.dumps(["open", sid])]), now=now)
        elif exchange.request.method == "POST":
            pipe.posted(exchange, body, now)
        else:
            pipe.wait(exchange, now)

    def close(self, *, now: float) -> None:
        """Sessions end by themselves."""


class ClientPipe(PacketPipe):
    """A session of the client: one GET that waits, one POST at a time."""

    def __init__(self, attempt: PollingClient, sid: str) -> None:
        super().__init__(attempt.host)
        self.pool = attempt.pool
        self.target = f"{attempt.target}&sid={sid}"
        self.headers = attempt.headers
        self.polling = self.posting = self.sent_close = False
        self.patience = attempt.host.timers.new(self._late)
        self.longest_poll = attempt.host.options.hold + attempt.host.options.absence

    def _send(self, now: float) -> None:
        if not (self.polling or self._inbox.paused or self.ending is not None):
            self.polling = True
            self.patience.set(now + self.longest_poll)
            limit = 2 * self._host.limits.message
            self.pool.request("GET", self.target, self.headers, b"", self._polled, self._failed, limit=limit, now=now)
        packets = [] if self.posting else self.outgoing()
        if packets:
            self.posting, self.sent_close = True, self.ending is not None
            body = body_of(packets)
            self.pool.request("POST", self.target, self.headers, body, self._posted, self._failed, now=now)

    def _release(self, now: float) -> None:
        super()._release(now)
        self.patience.cancel()
        self.pool.abort(now=now)

    def _late(self, now: float) -> None:
        self._end(1006, "", ConnectionLost("the server did not answer a poll"), now)

    def _polled(self, answer: Answer, now: float) -> None:
        self.polling = False
        self.patience.cancel()
        if answer.status != 200:
            self._failed(refusal_error(answer), now)
        else:
            self._inbox.put(unpack(answer.body), lambda now: self._touch(), now=now)

    def _posted(self, answer: Answer, now: float) -> None:
        self.posting = False
        if self.sent_close:
            self._drop(now)
        else:
            self._left(now)

    def _failed(self, error: ConnectError, now: float) -> None:
        self._end(1006, "", ConnectionLost(str(error)), now)


class PollingClient:
    """The client half: one attempt."""

    def __init__(self, host: ClientHost, target: str, headers: HeaderPairs) -> None:
        self.host = host
        self.pool = host.pool
        self.target = target
        self.headers = tuple(headers)

    def start(self, *, now: float) -> None:
        self.pool.request("GET", self.target, self.headers, b"", self._opened, self._failed, now=now)

    def abort(self, *, now: float) -> None:
        """All there is of an attempt is its request, and the host drops that."""

    def _opened(self, answer: Answer, now: float) -> None:
        if answer.status != 200:
            self._failed(refusal_error(answer), now)
            return
        ((_, sid),) = unpack(answer.body)
        pipe = ClientPipe(self, sid)
        pipe._touch()
        self.host.opened(pipe, now=now)

    def _failed(self, error: ConnectError, now: float) -> None:
        self.host.failed(error, now=now)


POLLING = Transport(PollingServer, PollingClient, options=PollingOptions)
