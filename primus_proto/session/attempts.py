"""`Attempts`: when a client tries to connect, and when it gives up (protocol 4.3, 4.4 and 4.6).

The law kept here: at most one attempt is under way, and only this object starts one.
"""

from __future__ import annotations

import random
from typing import Protocol

from .. import events as ev
from ..commands import Abort, Connect
from ..config import ClientConfig
from ..errors import ConnectError, PrimusError
from ..timers import Timers
from .backoff import Backoff
from .states import ClientState, ClientTrigger, CloseKind, CloseReason, ReadyState
from .url import ConnectURL

__all__ = ["Attempts", "ConnectingClient"]

_S, _T = ClientState, ClientTrigger


class ConnectingClient(Protocol):
    """What the attempts need of their client."""

    config: ClientConfig
    rng: random.Random
    state: ClientState
    timers: Timers

    def emit(self, event: ev.Event) -> None: ...

    def epoch_ms(self, now: float) -> int: ...

    def command(self, command: Connect | Abort[None]) -> None:
        """Queue a command."""

    def give_up(self, reason: CloseReason) -> None:
        """End the client."""

    def move(self, trigger: ClientTrigger) -> None:
        """Take a step in the state table."""

    def set_ready_state(self, state: ReadyState) -> None:
        """Set `ready_state`, and emit an event if it changes."""


class Attempts:
    """Makes the first attempt after an `open`, and those of the reconnect procedures that follow."""

    def __init__(self, client: ConnectingClient) -> None:
        self._client = client
        self._config = client.config
        self._urls = ConnectURL(client.config)
        self._backoff = Backoff(client.config, client.rng)
        self._limit = client.timers.new(self._expired)
        self._delay = client.timers.new(self._delay_over)
        self.started: float = 0.0
        """When the last attempt began."""

    def first(self, now: float) -> None:
        """Make the first attempt after an `open`."""
        self._client.move(_T.START)
        self._connect(now, self._config.timeout)

    def reconnect(self, error: PrimusError | None, now: float, lasted: float = 0.0) -> None:
        """Begin a reconnect procedure, after a connection that was open for `lasted` seconds."""
        self._backoff.begin(error, now=now, lasted=lasted)
        self._schedule(now)

    def succeeded(self, now: float) -> ev.Reconnected | None:
        """The attempt succeeded. Returns an event if it belonged to a reconnect procedure."""
        self._limit.cancel()
        return ev.Reconnected(*self._backoff.progress(now)) if self._client.state is _S.RECONNECTING else None

    def failed(self, error: PrimusError, now: float) -> None:
        """The attempt failed. Ignored if none is under way."""
        client = self._client
        if client.state is _S.CONNECTING:
            client.emit(ev.ErrorOccurred(error))
            refusal = error if isinstance(error, ConnectError) else None
            if "timeout" in self._config.strategies and not (refusal and refusal.final):
                client.set_ready_state(ReadyState.CLOSED)
                self.reconnect(error, now)
            else:
                kind: CloseKind = "refused" if refusal and refusal.status is not None else "lost"
                client.give_up(CloseReason(kind, 1006, "", error))
        elif client.state is _S.RECONNECTING:
            self._backoff.error = error
            client.set_ready_state(ReadyState.CLOSED)
            self._schedule(now)

    def stop(self) -> None:
        """Stop all timers."""
        self._limit.cancel()
        self._delay.cancel()

    def reset(self) -> None:
        """Forget how many attempts there were: the client has ended."""
        self._backoff.reset()

    # --- inside ---

    def _connect(self, now: float, limit: float | bool) -> None:
        self.started = now
        if limit is not False:
            self._limit.set(now + limit)
        self._client.command(Connect(self._urls.make(self._client.epoch_ms(now)), self._urls.headers()))

    def _schedule(self, now: float) -> None:
        """Wait for the next attempt, or give up."""
        client, backoff = self._client, self._backoff
        self._limit.cancel()
        delay = backoff.next()
        if delay is None:
            client.set_ready_state(ReadyState.CLOSED)
            client.emit(ev.ReconnectFailed(*backoff.progress(now), backoff.error))
            client.give_up(CloseReason("retries", 1006, "", backoff.error))
            return
        client.move(_T.RETRY)
        self._delay.set(now + delay)
        client.emit(ev.ReconnectScheduled(*backoff.progress(now), backoff.error))

    def _delay_over(self, now: float) -> None:
        client = self._client
        client.move(_T.DUE)
        client.emit(ev.ReconnectStarted(*self._backoff.progress(now)))
        client.set_ready_state(ReadyState.OPENING)
        self._connect(now, self._config.reconnect_timeout)

    def _expired(self, now: float) -> None:
        """The attempt took too long."""
        client = self._client
        client.command(Abort())
        error = ConnectError("no answer in time")
        if client.state is _S.RECONNECTING:
            self._backoff.error = error
            client.emit(ev.ReconnectTimedOut(*self._backoff.progress(now), error))
            self._schedule(now)
            return
        client.emit(ev.ConnectTimedOut())
        if "timeout" in self._config.strategies:
            self.reconnect(error, now)
        else:
            client.give_up(CloseReason("timeout", 1006, "", error))
