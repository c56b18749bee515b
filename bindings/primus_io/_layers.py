"""Layers of a server, as users of the bindings add them, and the requests that wait for one of them.

The law kept here: a layer that waits is awaited outside the core. Its result is checked as the core checks the result
of one that does not.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Collection, Iterable
from functools import partial
from typing import Any, TypeVar, overload

import primus_proto as pp
from primus_proto import events as ev
from primus_proto.http.pipeline import check_layer_name

from ._emitter import Emitter

__all__ = ["Authorize", "LayerFunction", "LayeredServer", "Middleware", "check_middleware", "is_async"]

Authorize = Callable[[pp.Request], Awaitable[object] | object]
Answer = pp.Response | pp.Headers | None
LayerFunction = Callable[[pp.Request], Awaitable[Answer] | Answer]
F = TypeVar("F", bound=LayerFunction)
Middleware = Iterable[LayerFunction | pp.Layer]

AUTHORIZATION = "authorization"


def is_async(function: object) -> bool:
    """Whether this is an async function, or an object with an async `__call__`."""
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(getattr(function, "__call__", None))  # noqa: B004


def check_middleware(value: object) -> list[pp.Layer]:
    """Return the layers of a `middleware` option. Raises ConfigError for an invalid one."""
    if not isinstance(value, Collection) or isinstance(value, str | bytes):
        raise pp.ConfigError(f"middleware must be a list of functions or Layer objects; got {value!r}")
    layers: list[pp.Layer] = []
    for item in value:
        if isinstance(item, pp.Layer):
            layer = item
        elif callable(item) and getattr(item, "__name__", "<lambda>") != "<lambda>":
            layer = pp.Layer(item.__name__, item)
        else:
            raise pp.ConfigError(f"middleware has {item!r}: give a named function, or a Layer('name', function)")
        if layer.name in (other.name for other in layers):
            raise pp.ConfigError(
                f"middleware has two layers {layer.name!r}: give one a name by Layer('name', function)"
            )
        layers.append(layer)
    return layers


class LayeredServer(Emitter):
    """The part of a server that concerns layers."""

    _core: pp.Server
    _endpoint: pp.ByteServer
    _authorize: Authorize | None

    def __init__(self) -> None:
        super().__init__()
        self._waiting_layers: dict[str, Callable[[pp.Request], Any]] = {}  # those that are awaited
        self._pending_requests = 0  # that such a layer is awaited for

    @property
    def layers(self) -> tuple[str, ...]:
        """The names of the layers that every request walks, in order, with those that are disabled."""
        return self._core.layers

    @overload
    def before(
        self, name: str, layer: F, *, index: int | None = None, http: bool = True, upgrade: bool = True
    ) -> F: ...
    @overload
    def before(
        self, name: str, *, index: int | None = None, http: bool = True, upgrade: bool = True
    ) -> Callable[[F], F]: ...

    def before(
        self, name: str, layer: Any = None, *, index: int | None = None, http: bool = True, upgrade: bool = True
    ) -> Any:
        """Add a layer, a function that sees each request under the pathname. Usable as a decorator. Returns the layer.

        It gets the `Request` and returns a `Response` to answer it, `Headers` to add to whatever will be answered, or
        None to pass it on. It refuses the request by raising `Refused`, with status 500 unless that has another. Any
        other exception is logged and answered with 500. An async function holds only its own request.

        `index` is its place among `layers`, by default the end, where it sees only requests that authorization has
        admitted. A layer that is there already under this name is replaced at its place. `http` and `upgrade` say
        whether it sees plain requests and requests for a WebSocket. The change takes effect from the next request on.
        Raises LocalProtocolError for invalid arguments.
        """
        check_layer_name(name)
        if layer is None:
            return lambda function: self.before(name, function, index=index, http=http, upgrade=upgrade)
        self._add_layer(pp.Layer(name, layer, index, http, upgrade))
        return layer

    def remove(self, name: str) -> None:
        """Remove a layer, a built-in one too. Raises LocalProtocolError if there is none of this name."""
        self._do(lambda: self._core.remove(name))

    def enable(self, name: str) -> None:
        """Let a layer run again. Raises LocalProtocolError if there is none of this name."""
        self._do(lambda: self._core.enable(name))

    def disable(self, name: str) -> None:
        """Pass over a layer until `enable`. Raises LocalProtocolError if there is none of this name."""
        self._do(lambda: self._core.disable(name))

    # --- inside ---

    def _to_await(self, function: Callable[[pp.Request], Any]) -> Callable[[pp.Request], Any] | None:
        """Return what to await in place of a layer, or None if the layer does not wait."""
        return function if is_async(function) else None

    def _add_layer(self, layer: pp.Layer) -> None:
        name, waiting = layer.name, self._to_await(layer.run)
        run: Callable[[pp.Request], Any] = layer.run if waiting is None else lambda request: pp.HOLD

        def add() -> None:
            self._core.before(name, run, index=layer.index, http=layer.http, upgrade=layer.upgrade)
            if waiting is None:
                self._waiting_layers.pop(name, None)
            else:
                self._waiting_layers[name] = waiting

        self._do(add)

    def _run_held(self, event: ev.RequestHeld) -> None:
        """Call the layer that holds a request."""
        layer = self._waiting_layers.get(event.layer)
        function = self._authorize if layer is None and event.layer == AUTHORIZATION else layer
        if function is None:
            self._endpoint.resume(event.id)  # the layer was removed meanwhile
            return
        answer = self._answer_authorized if layer is None else self._answer_layer
        try:
            result = function(event.request)
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:  # even a CancelledError: the pump must go on
            self._endpoint.fail(event.id, error)
        else:
            if inspect.isawaitable(result):
                self._io.start(self._await_layer(event, result, answer))
            else:
                answer(event, result)

    async def _await_layer(
        self, event: ev.RequestHeld, awaitable: Awaitable[object], answer: Callable[[ev.RequestHeld, object], None]
    ) -> None:
        outcome: Callable[[], object] = partial(
            self._endpoint.fail, event.id, pp.Refused(f"{event.layer} took too long", 503)
        )

        async def ask() -> None:
            nonlocal outcome
            try:
                outcome = partial(answer, event, await awaitable)
            except Exception as error:
                outcome = partial(self._endpoint.fail, event.id, error)

        limits = self._core.limits
        if self._pending_requests >= limits.authorizations:  # lost requests count
            getattr(awaitable, "close", lambda: None)()
            self._endpoint.fail(event.id, pp.Refused(f"too many requests wait for {event.layer}", 503))
        else:
            self._pending_requests += 1
            try:
                await self._io.within(limits.authorization, ask)
            except BaseException as error:
                if not self._core.closing:  # otherwise the server is closing
                    self._endpoint.fail(event.id, error)
                    self._io.schedule()
                raise
            finally:
                self._pending_requests -= 1
            outcome()
        self._io.schedule()

    def _answer_authorized(self, event: ev.RequestHeld, result: object) -> None:
        """Resume a request with the result of the authorization hook. Only None and True let it in."""
        if result is None or result is True:
            self._endpoint.resume(event.id)
        elif result is False:
            self._endpoint.resume(event.id, self._core.refusal("Unauthorized"))
        else:
            kind = type(result).__name__
            wrong = pp.LocalProtocolError(f"the authorization hook returned a {kind}, not None, True or False")
            self._endpoint.fail(event.id, wrong)

    def _answer_layer(self, event: ev.RequestHeld, result: object) -> None:
        """Resume a request with the result of a layer."""
        try:
            self._endpoint.resume(event.id, result)  # type: ignore[arg-type]  # checked there
        except Exception as error:  # in what it found there, too
            self._endpoint.fail(event.id, error)
