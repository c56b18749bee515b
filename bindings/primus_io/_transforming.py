"""Transforms of the user, and the steps of the core that have to be awaited."""

from __future__ import annotations

from typing import Any, TypeVar

from primus_proto.session.transforms import Direction, Transform, check_transform
from primus_proto.session.work import Held

from ._io import IO

__all__ = ["F", "Transforming", "start_step"]

F = TypeVar("F", bound=Transform)


def start_step(io: IO, held: Held, seconds: float) -> None:
    """Await a step of the core in the background, for at most so many seconds, and give the core its outcome."""
    if io.closed:
        held.discard()
    else:
        io.start(_run_step(io, held, seconds))


async def _run_step(io: IO, held: Held, seconds: float) -> None:
    result: object = None
    error: BaseException | None = TimeoutError(f"it took longer than {seconds:g} seconds")

    async def step() -> None:
        nonlocal result, error
        try:
            result = await held.awaitable
            error = None
        except Exception as failure:
            error = failure

    if held.over:
        return
    try:
        await io.within(seconds, step)
    except BaseException as cancelled:
        error = cancelled
        raise
    finally:
        if error is None:
            held.resume(result, now=io.now())
        else:
            held.fail(error, now=io.now())
        io.pump()


class Transforming:
    """Adds transforms to the core."""

    def _add_transform(self, direction: Direction, step: Transform, shared: bool) -> None:
        """Add a transform to the core."""
        raise NotImplementedError

    def _step(self, function: Transform) -> Transform:
        """The function that the core calls for a transform of the user."""
        return function

    def _transform(self, direction: Direction, function: Any, shared: bool) -> Any:
        check_transform(direction, function if function is not None else print)
        if function is None:
            return lambda function: self._transform(direction, function, shared)
        step = self._step(function)
        self._add_transform(direction, step, shared)
        return function
