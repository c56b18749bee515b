"""What plugins are made of: `Plugin`, the `Extension` that a half returns, and `Reply`, a result to wait for."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Generator
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar, cast

from ..errors import LocalProtocolError, PrimusError
from ..plugin_events import PluginEvent

if TYPE_CHECKING:
    from ..session.client import Client
    from ..session.server import Server
    from ..session.spark import Spark

__all__ = ["Extension", "Plugin", "Reply", "in_core_of"]

T = TypeVar("T")


def in_core_of(held: object, function: Callable[[], T]) -> T:
    """Call a function in the thread of the core that belongs to what a user holds. What it causes happens soon."""
    do = getattr(held, "_do", None)
    if do is None:
        return function()
    schedule = cast(_Held, held)._schedule

    def call() -> T:
        result = function()
        schedule()
        return result

    return cast(T, do(call))


class _Held(Protocol):
    """What a user of a binding holds."""

    def _schedule(self) -> None:
        """Have the core pumped soon."""


class Plugin:
    """Base class of plugins: override at least one half. Any object with such methods will do.

    A half gets an object of the core: it may add transforms there, a server's also layers, and return an extension,
    which users get by ``extension(kind)``. A half must not wait. What one does that raises is undone.
    """

    name: str = ""
    """The name under which it is added, unless another one is given."""
    events: Collection[type[PluginEvent]] = ()
    """The events that its extensions emit. Their names are reserved, and users can listen to them."""
    reserved: Collection[str] = ()
    """Other names of events that applications must not use for their own."""

    def server(self, server: Server) -> object:
        """The server's half, called when the plugin is added to a server. Returns an extension of it, or None."""

    def spark(self, spark: Spark) -> object:
        """The spark's half, called for each new spark before its `connection` event. Returns an extension or None."""

    def client(self, client: Client) -> object:
        """The client's half, called when a client is made. Returns an extension of it, or None."""


class Extension:
    """Base class of what a plugin adds to one spark or client. State of the session belongs into it."""

    def __init__(self, core: Client | Spark) -> None:
        self.core: Client | Spark = core
        """The core's spark or client."""

    @property
    def session(self) -> Any:
        """The spark or client as its user holds it. What it writes there leaves, whatever thread this is."""
        return self.core.face

    def in_core(self, function: Callable[[], T]) -> T:
        """Call a function in the thread of the core, which with `primus_io.threads` is not that of the caller."""
        return in_core_of(self.session, function)

    def emit(self, event: PluginEvent) -> bool:
        """Emit an event of the plugin, to listeners of this session and of its server.

        Returns False, and does nothing, once the session has ended, since `end` is its last event.
        """
        return self.in_core(lambda: self.core.tell(event))

    def closed(self, error: PrimusError) -> None:
        """The connection is gone; a client may reconnect. Called by the core: it must not wait, nor call users."""


class _Session(Protocol):
    """What a binding's session does for a reply."""

    def wait_for_reply(self, reply: Reply[Any]) -> Awaitable[None] | None:
        """Wait until it is done: an awaitable, or blocking."""


class Reply(Generic[T]):
    """A result that will come. Await it; with `primus_io.threads` call `result()`, which waits."""

    def __init__(self, extension: Extension) -> None:
        self._extension = extension
        self._callbacks: list[Callable[[], object]] = []
        self._value: T | None = None
        self._error: Exception | None = None
        self.done = False
        """Whether there is a result, or an error."""

    def __repr__(self) -> str:
        return f"<Reply {'done' if self.done else 'pending'}>"

    def __await__(self) -> Generator[Any, None, T]:
        if not self.done:
            waiting = self._wait()
            if waiting is not None:
                yield from waiting.__await__()
        return self.result()

    def result(self) -> T:
        """The result. Raises what went wrong: TimeoutError, or ConnectionLost.

        With `primus_io.threads` it waits. Otherwise it raises LocalProtocolError if the result is not there yet.
        """
        if not self.done:
            waiting = self._wait()
            if waiting is not None:
                getattr(waiting, "close", lambda: None)()
                raise LocalProtocolError("there is no result yet: await the reply")
        if self._error is not None:
            raise self._error
        return cast(T, self._value)

    def add_done_callback(self, function: Callable[[], object]) -> None:
        """Call a function of a plugin or binding when it is done; at once if it is."""
        if self.done:
            function()
        else:
            self._callbacks.append(function)

    def set_result(self, value: T) -> None:
        """The result is there. Does nothing if it is done."""
        if not self.done:
            self._value = value
            self._finish()

    def set_error(self, error: Exception) -> None:
        """There will be no result. Does nothing if it is done."""
        if not self.done:
            self._error = error
            self._finish()

    def _wait(self) -> Awaitable[None] | None:
        session = self._extension.session
        if not hasattr(session, "wait_for_reply"):
            raise LocalProtocolError("the core does not wait: look at `done`, or use `add_done_callback`")
        return cast(_Session, session).wait_for_reply(self)

    def _finish(self) -> None:
        self.done = True
        callbacks, self._callbacks = self._callbacks, []
        for callback in callbacks:
            callback()
