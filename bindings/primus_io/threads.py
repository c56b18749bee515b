"""Primus on plain sockets and threads: `connect`, `serve`, `fetch_spec`, which block. No event loop of any library.

There is no protocol here. A `Driver` feeds an endpoint of `primus_proto` what its sockets and its one timer say, and
does what the endpoint commands. In `_threads`, one thread does the IO of the whole process (`selector`), a pool calls
what is the user's (`pool`), and whoever touches an endpoint holds its driver's lock (`monitor`).
"""

from __future__ import annotations

import socket
import ssl
import time
from contextlib import AbstractContextManager
from typing import Any

from primus_proto import commands as cmd

from ._driver import Deliver, Endpoint, Listening, Reach, StopListening
from ._environment import Environment
from ._running import CURRENT, Job, RunningDriver
from ._session import log
from ._threads.blocking import BlockingClient as Client
from ._threads.blocking import BlockingServer as Server
from ._threads.blocking import BlockingSpark as Spark
from ._threads.blocking import Connect, Serve, spec_fetcher
from ._threads.here import HERE
from ._threads.monitor import GaveUp, Monitor
from ._threads.pool import Call
from ._threads.selector import Loop
from ._threads.sockets import Attempt, Listener, Opening, listeners
from ._threads.streams import Channel

__all__ = ["Client", "Server", "Spark", "connect", "fetch_spec", "serve"]

Stream = Channel | Attempt | Listener


class Driver(Monitor, RunningDriver):
    """Runs one endpoint, in whichever thread has its lock; the `IO` of the objects users hold."""

    def __init__(self, endpoint: Endpoint, deliver: Deliver, reach: Reach) -> None:
        self.loop = Loop.acquire()
        self.io_thread = self.loop.ident
        Monitor.__init__(self)
        RunningDriver.__init__(self, endpoint, deliver, reach)
        self.streams: set[Stream] = set()
        """Those whose socket is not closed yet."""
        self._calls: dict[Job, Call] = {}
        self._timer = self.loop.timer(self.timeout)

    @staticmethod
    def environment() -> Environment:
        return Environment(time.monotonic)

    @property
    def closed(self) -> bool:
        return self._closed

    def schedule(self) -> None:
        self._scheduled = not self._pumping

    def timeout(self) -> None:
        with self:
            if not self.closed:
                super().timeout()

    def secure(self, command: cmd.OpenChannel) -> ssl.SSLContext | None:
        """The TLS context for what is being opened; None: no TLS."""
        return self._reach.context(command)

    # --- what runs ---

    def spawn(self, job: Job) -> None:
        call = self._calls[job] = Call(lambda: self._run_job(job, call), job.name)
        self.loop.pool.run(call)

    def _run_job(self, job: Job, call: Call) -> None:
        HERE.call = call
        try:
            self.call(job.run())
        except Exception:
            log.exception("a bug: %s failed", call.name)
        except GaveUp:
            pass
        except BaseException as error:  # of a user's, and reported where it was raised
            log.debug("%s ended by %r", call.name, error)
        finally:
            HERE.call = None
            CURRENT.set(None)  # the thread may have nothing to do for a while, and would keep all that this job had
            with self:
                del self._calls[job]

    # --- the end ---

    def shield(self) -> AbstractContextManager[object]:
        return self.patiently()

    async def _emptied(self) -> None:
        while self.streams or self.opening:
            await self._changed.wait()

    async def _end_all(self) -> None:
        self._closed = True
        self._give_up()
        for stop in list(self.opening.values()):
            stop()
        for stream in list(self.streams):
            stream.drop()
        await self._emptied()

    def _give_up(self) -> None:
        """Wait for nothing that still runs: a thread cannot be cancelled."""
        left = self._others()
        for job in left:
            self._calls[job].detached = True
            del self.jobs[job]
        if left:
            names = ", ".join(sorted({self._calls[job].name for job in left}))
            log.warning("closed without waiting for %d that did not return: %s; they go on running", len(left), names)

    def gone(self, stream: Stream) -> None:
        """Its socket is closed."""
        with self:
            self.streams.discard(stream)
            self.note_change()

    async def release(self) -> None:
        self.given_up(self.loop.release)

    # --- what the endpoint commands ---

    def _arm(self, due: float | None) -> None:
        self.loop.arm(self._timer, None if self.closed else due)

    def _open(self, command: cmd.OpenChannel) -> None:
        Opening(self, command, self._reach.unix).begin()

    async def _listen(self, where: Listening, sock: socket.socket | None) -> tuple[Any, StopListening]:
        sockets = listeners(where) if sock is None else [sock]
        accepting = [Listener(self, one, where.tls) for one in sockets]

        def stop() -> None:
            amid_handshake = [stream for stream in self.streams if isinstance(stream, Channel) and not stream.up]
            for stream in (*accepting, *amid_handshake):  # those are nobody that the core knows
                stream.drop()

        return sockets[0].getsockname(), stop


class connect(Connect):  # noqa: N801  # used like a function, as open() is
    DRIVER = Driver


class serve(Serve):  # noqa: N801  # used like a function, as open() is
    DRIVER = Driver


fetch_spec = spec_fetcher(Driver)
