"""The request pipeline: the named layers that every request under the pathname walks (protocol 2 and 6).

A layer is a function of the `Request`. It returns a `Response` to answer it, `Headers` to add to any later answer, or
None to pass it on; it raises `Refused` to refuse it. A layer that has to wait returns `HOLD`; the request then waits
for `Requests.resume`.

The law kept here: all three seams walk the same list. A request walks the list that was there when it came, so a change
takes effect from the next request on.
"""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Final, NamedTuple, Protocol

from .. import events as ev
from ..config import ServerConfig
from ..errors import STOPPING, LocalProtocolError, Refused
from .cors import answer_cors
from .model import (
    CLOSING,
    Address,
    Headers,
    Request,
    Response,
    check_extra_header,
    error_response,
    merge_headers,
    refusal,
)
from .spec import (
    answer_client_library,
    answer_spec,
    answer_wrong_path,
    forbid_caching,
    switch_xss_filter_off,
)

__all__ = [
    "HOLD",
    "Layer",
    "LayerFunction",
    "Outcome",
    "Pipeline",
    "PipelineHost",
    "Place",
    "check_answer",
    "check_layer_name",
]

FAILED = error_response(500, "internal error")
AUTHORIZATION = "authorization"


class Hold:
    """The type of `HOLD`."""

    def __repr__(self) -> str:
        return "HOLD"


HOLD: Final = Hold()
"""Returned by a layer that has to wait. The request is held until `ByteServer.resume` is called for it."""

LayerFunction = Callable[[Request], Response | Headers | Hold | None]
"""The type of a layer's function. A binding accepts one that returns an awaitable too."""


class PipelineHost(Protocol):
    """What the pipeline needs of its server."""

    config: ServerConfig

    @property
    def closing(self) -> bool:
        """Whether the server takes no more sessions."""

    def address_of(self, request: Request) -> Address:
        """The address of the client, behind trusted proxies."""

    @property
    def emit(self) -> Callable[[ev.Event], None]: ...


@dataclass(frozen=True, slots=True)
class Layer:
    """One named layer."""

    name: str
    """Its name, by which it is replaced, removed and switched off."""
    run: Callable[[Request], object]
    """The function: see `Server.before`."""
    index: int | None = None
    """Its place among the layers when it is added. None: the last."""
    http: bool = True
    """Whether it sees plain requests."""
    upgrade: bool = True
    """Whether it sees requests for a WebSocket."""


@dataclass(frozen=True, slots=True)
class _Step(Layer):
    """A layer in the list."""

    enabled: bool = True
    fixed: bool = False  # one of the server's own, which has no public name
    built_in: bool = False
    plugin: str = ""  # whose half has added it


class Place(NamedTuple):
    """A place in the list of layers that a request walks."""

    layers: tuple[_Step, ...]
    position: int

    @property
    def layer(self) -> _Step:
        """The layer at this place."""
        return self.layers[self.position]


class Outcome(NamedTuple):
    """The result of a walk: an answer, the place of the layer that holds the request, or neither for a pass."""

    answer: Response | None
    headers: tuple[tuple[str, str], ...] = ()
    """Header fields to add to the answer, or to what the transport answers."""
    held: Place | None = None


PASSED = Outcome(None)


class Pipeline:
    """The ordered list of layers. `route` is the transport's part: it answers a request, or says where it goes."""

    def __init__(self, host: PipelineHost) -> None:
        self._host = host
        self.route: LayerFunction = lambda request: None
        self.plugin: str = ""
        """The plugin whose half is running. The layers that it adds are its own."""
        self._seen: set[str] = set()  # names of layers that plugins have added, in this run or an earlier one
        config = host.config

        def built_in(name: str, run: LayerFunction, *, upgrade: bool = False) -> _Step:
            return _Step(name, run, upgrade=upgrade, built_in=True)

        def fixed(name: str, run: LayerFunction) -> _Step:
            return _Step(name, run, fixed=True)

        cors = config.cors()
        self._layers = (
            fixed("path", partial(answer_wrong_path, config.base)),
            # Without proxies, origins or an authorization these have nothing to do for an upgrade.
            built_in("forwarded", self._find_address, upgrade=bool(config.trusted_proxies)),
            built_in("cors", partial(answer_cors, cors), upgrade=cors.origins is not None),
            built_in("primus.js", partial(answer_client_library, config)),
            built_in("spec", lambda request: answer_spec(config, request, host.closing)),
            built_in("x-xss", switch_xss_filter_off),
            built_in("no-cache", forbid_caching),
            fixed("transport", lambda request: self.route(request)),
            fixed("closing", self._refuse_while_closing),
            built_in(AUTHORIZATION, self._ask, upgrade=bool(config.authorization)),
        )

    @property
    def _layers(self) -> tuple[_Step, ...]:
        return self._all_layers

    @_layers.setter
    def _layers(self, layers: tuple[_Step, ...]) -> None:
        self._all_layers = layers
        self._http_layers = tuple(layer for layer in layers if layer.enabled and layer.http)
        self._upgrade_layers = tuple(layer for layer in layers if layer.enabled and layer.upgrade)

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the layers, in order, with those that are disabled."""
        return tuple(layer.name for layer in self._layers if not layer.fixed)

    @property
    def layers(self) -> tuple[_Step, ...]:
        """All layers, for `restore`."""
        return self._layers

    def restore(self, layers: tuple[_Step, ...]) -> None:
        """Undo what was changed since `layers` were read."""
        self._layers = layers

    def before(self, given: Layer) -> None:
        """See `Server.before`."""
        _check_layer(given)
        layer = _Step(given.name, given.run, given.index, given.http, given.upgrade, plugin=self.plugin)
        if self.plugin:
            self._seen.add(layer.name)
        names = self.names
        if layer.name in names:
            self._replace(layer.name, layer)
            return
        index = len(names) if layer.index is None else layer.index
        if not 0 <= index <= len(names):
            raise LocalProtocolError(f"index must be from 0 to {len(names)}, the number of layers; got {index}")
        at = self._position(names[index]) if index < len(names) else len(self._layers)
        self._layers = (*self._layers[:at], layer, *self._layers[at:])

    def remove(self, name: str) -> None:
        """See `Server.remove`."""
        at = self._position(name)
        self._layers = (*self._layers[:at], *self._layers[at + 1 :])

    def remove_plugin(self, name: str) -> None:
        """Remove the layers of a plugin."""
        self._seen -= {layer.name for layer in self._layers if layer.plugin == name}
        self._layers = tuple(layer for layer in self._layers if layer.plugin != name)

    def switch(self, name: str, enabled: bool) -> None:
        """See `Server.enable` and `Server.disable`."""
        self._replace(name, dataclasses.replace(self._layers[self._position(name)], enabled=enabled))

    def replace_all(self, run: LayerFunction) -> None:
        """Have one function answer every request, wherever it goes."""
        self._layers = (_Step("everything", run, fixed=True),)

    def adopt(self, other: Pipeline) -> None:
        """Take over the layers of an earlier run of the same server, in their order.

        Layers of plugins, which have added theirs anew, take the places of the earlier ones.
        """
        own = {layer.name: layer for layer in self._layers if layer.built_in or layer.fixed or layer.plugin}
        adopted: list[_Step] = []
        for layer in other._layers:
            if not (layer.built_in or layer.fixed or layer.plugin):
                adopted.append(layer)
            elif layer.name in own:
                adopted.append(dataclasses.replace(own[layer.name], enabled=layer.enabled))
        names = {layer.name for layer in adopted} | other._seen
        added = [layer for layer in self._layers if layer.plugin and layer.name not in names]
        self._layers = (*adopted, *added)
        self._seen |= other._seen

    def walk(self, request: Request, place: Place | None = None) -> Outcome:
        """Walk a request through the layers, from the one behind `place` on. If one fails, log it and answer 500."""
        if place is None:
            layers, start = self._upgrade_layers if request.is_upgrade else self._http_layers, 0
        else:
            layers, start = place.layers, place.position + 1
        headers: tuple[tuple[str, str], ...] = ()
        for index in range(start, len(layers)):
            layer = layers[index]
            try:
                result = layer.run(request)
                if result is None:
                    continue
                if result is not HOLD:
                    check_answer(result)
            except STOPPING:
                raise
            except BaseException as error:
                result = self.failed(layer, error)
            if isinstance(result, Response):
                return Outcome(result, headers)
            if isinstance(result, Headers):
                headers = merge_headers(headers, result.pairs)
            else:  # it is HOLD
                return Outcome(None, headers, Place(layers, index))
        return Outcome(None, headers) if headers else PASSED

    def failed(self, layer: Layer, error: BaseException) -> Response:
        """Make the answer to a request for which a layer raised. Anything but a valid `Refused` is logged."""
        try:
            if isinstance(error, Refused):
                return refusal(error, 401 if layer.name == AUTHORIZATION else 500)
        except LocalProtocolError as wrong:
            error = wrong
        self._host.emit(ev.Logged("error", f"layer {layer.name}: {error!r}", error))
        return FAILED

    # --- inside ---

    def _position(self, name: str) -> int:
        for position, layer in enumerate(self._layers):
            if layer.name == name and not layer.fixed:
                return position
        raise LocalProtocolError(f"there is no layer {name!r}; there are {', '.join(self.names)}")

    def _replace(self, name: str, layer: _Step) -> None:
        at = self._position(name)
        self._layers = (*self._layers[:at], layer, *self._layers[at + 1 :])

    # --- the built-in layers that depend on the server's state ---

    def _find_address(self, request: Request) -> None:
        request.address = self._host.address_of(request)

    def _refuse_while_closing(self, request: Request) -> Response | None:
        return CLOSING if self._host.closing and request.opens_session else None

    def _ask(self, request: Request) -> Hold | None:
        which = self._host.config.authorization
        return HOLD if which == "all" or (which and request.opens_session) else None


def check_layer_name(name: object) -> None:
    """Raise LocalProtocolError unless a layer can have this name."""
    if not isinstance(name, str) or not name:
        raise LocalProtocolError(f"a layer needs a name, as in before('quota', function); got {name!r}")


def _check_layer(layer: Layer) -> None:
    name = layer.name
    check_layer_name(name)
    if not callable(layer.run):
        raise LocalProtocolError(f"layer {name!r} must be a function that takes a Request; got {layer.run!r}")
    index: object = layer.index
    if index is not None and (not isinstance(index, int) or isinstance(index, bool)):
        raise LocalProtocolError(f"index must be a whole number, or None for the end; got {index!r}")
    for kind in ("http", "upgrade"):
        if not isinstance(getattr(layer, kind), bool):
            raise LocalProtocolError(f"{kind} must be True or False; got {getattr(layer, kind)!r}")
    if not (layer.http or layer.upgrade):
        raise LocalProtocolError(f"layer {name!r} would see no request: set http or upgrade")


def check_answer(answer: object) -> None:
    """Raise LocalProtocolError for something that must not be returned by a layer, or given to `resume`."""
    if isinstance(answer, Headers):
        for name, value in answer.pairs:
            check_extra_header(name, value)
    elif not (answer is None or isinstance(answer, Response)):
        hint = ""
        if inspect.iscoroutine(answer):
            answer.close()
            hint = "; a function that waits must be an async function"
        raise LocalProtocolError(f"a request is answered with a Response, Headers or None; got {answer!r}{hint}")
