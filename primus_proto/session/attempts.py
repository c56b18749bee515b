"""`Attempts`: when a client tries to connect, and when it gives up (protocol 4.3, 4.4 and 4.6).

The law kept here: at most one attempt is under way, and only this object starts one.
"""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from .. import events as ev
from ..commands import Abort, Connect
from ..config import ClientConfig
from ..errors import ConfigError, ConnectError, LocalProtocolError, PrimusError
from ..parsers import get_parser
from ..timers import Timers
from .backoff import Backoff
from .encoding import encode, is_asynchronous
from .messages import NOTHING, Message
from .states import ClientState, ClientTrigger, CloseKind, CloseReason, ReadyState
from .url import ConnectURL, connect_headers

__all__ = ["Attempts", "ConnectingClient"]

_S, _T = ClientState, ClientTrigger


class ConnectingClient(Protocol):
    """What the attempts need of their client."""

    config: ClientConfig
    rng: random.Random
    state: ClientState
    timers: Timers

    @property
    def emit(self) -> Callable[[ev.Event], None]: ...

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
        self.target: ClientConfig = client.config
        """The configuration of the last attempt: that of the client, with what its functions returned."""
        self.first_messages: tuple[Message, ...] = self._encode_first(client.config)
        """What to send before everything else on the connection: one message, or none."""
        self._urls = ConnectURL()
        self._last_id = 0
        self._held = False  # it waits for options that are functions
        self._resumed: Mapping[str, Any] | ConnectError | None = None
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

    def resume(self, id: int, answer: Mapping[str, Any] | ConnectError) -> bool:
        """See `Client.resume_attempt`."""
        if not 0 < id <= self._last_id:
            raise LocalProtocolError(f"no attempt {id} was ever held")
        if not self._held or id != self._last_id:
            return False
        if not isinstance(answer, ConnectError):
            self._aim(answer)
        self._held, self._resumed = False, answer
        return True

    def work(self, now: float) -> None:
        """Go on with an attempt that was resumed."""
        answer, self._resumed = self._resumed, None
        if isinstance(answer, ConnectError):
            self.failed(answer, now)
        elif answer is not None:
            self._command(now)

    def abort(self) -> None:
        """Give up the attempt that is under way."""
        if not self._held and self._resumed is None:
            self._client.command(Abort())
        self._held, self._resumed = False, None

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
        if self._config.functions:
            self._held = True
            self._last_id += 1
            self._client.emit(ev.AttemptHeld(self._last_id))
        else:
            self._command(now)

    def _command(self, now: float) -> None:
        url = self._urls.make(self.target, self._client.epoch_ms(now))
        self._client.command(Connect(url, connect_headers(self.target)))

    def _aim(self, options: Mapping[str, Any]) -> None:
        """Set the target of the attempt."""
        wrong = self._config.functions.keys() ^ options.keys()
        if wrong:
            raise LocalProtocolError(f"answer for each option that is a function, and for no other: {sorted(wrong)}")
        target = dataclasses.replace(self._config, **options)
        if target.functions:
            raise ConfigError(f"{', '.join(target.functions)}: a function must return a value, not another function")
        self.first_messages = self._encode_first(target)
        self.target = target

    def _encode_first(self, target: ClientConfig) -> tuple[Message, ...]:
        value, parser = target.first_message, get_parser(target.parser)
        if value is NOTHING or callable(value):
            return ()
        if is_asynchronous(parser):
            raise ConfigError("first_message needs a parser that does not wait")
        return (encode(parser, value),)

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
        client, held = self._client, self._held
        self.abort()
        error = ConnectError(f"no answer in time{' from the functions that give its options' if held else ''}")
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
