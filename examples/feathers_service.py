"""A Feathers service in Python: clients with `@feathersjs/primus-client` find, create, patch and remove messages.

    python examples/feathers_service.py --port 8080

and in Node.js, after `npm install happn-primus@6.0.1 ws@1.1 primus-emitter @feathersjs/feathers@4
@feathersjs/primus-client@4`:

    const Socket = require('happn-primus').createSocket({
      transformer: 'websockets', parser: 'JSON', plugin: {emitter: require('primus-emitter')}
    })
    const app = require('@feathersjs/feathers')()
    app.configure(require('@feathersjs/primus-client')(new Socket('http://127.0.0.1:8080')))
    app.service('messages').on('created', console.log)
    app.service('messages').create({text: 'hello'}).then(console.log)

A Feathers client calls a method by an event with that name: the service, the arguments, a query, and an acknowledgement
of an error or a result. What a method has changed is sent to every client, as the event `messages created` and so on.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
from collections.abc import Callable
from typing import Any

from primus_io.asyncio import Spark, serve
from primus_proto.plugins import Ack, ServerEmitter

Record = dict[str, Any]
EVENTS = {"create": "created", "update": "updated", "patch": "patched", "remove": "removed"}


class NotFound(LookupError):
    """There is no such service, method or record."""


class Messages:
    """The service; its methods have the names and arguments of Feathers. They may be coroutine functions."""

    def __init__(self) -> None:
        self._ids = itertools.count(1)
        self._records: dict[int, Record] = {}

    def find(self, query: Record) -> list[Record]:
        return [record for record in self._records.values() if query.items() <= record.items()]

    def get(self, id: int, query: Record) -> Record:
        if id not in self._records:
            raise NotFound(f"no message {id}")
        return self._records[id]

    def create(self, data: Record, query: Record) -> Record:
        record = {**data, "id": next(self._ids)}
        self._records[record["id"]] = record
        return record

    def update(self, id: int, data: Record, query: Record) -> Record:
        self.get(id, query)
        self._records[id] = {**data, "id": id}
        return self._records[id]

    def patch(self, id: int, data: Record, query: Record) -> Record:
        return self.update(id, {**self.get(id, query), **data}, query)

    def remove(self, id: int, query: Record) -> Record:
        self.get(id, query)
        return self._records.pop(id)


def offer(everyone: ServerEmitter, services: dict[str, Any]) -> None:
    """Answer the calls of Feathers clients by the methods of these services."""

    def listener(method: str) -> Callable[..., Any]:
        async def call(spark: Spark, name: str, *args: Any) -> Ack:
            try:
                function = getattr(services.get(name), method, None)
                if function is None:
                    raise NotFound(f"no {name} with {method}")
                result = function(*args)
                if asyncio.iscoroutine(result):
                    result = await result
            except NotFound as error:
                return refused("NotFound", 404, str(error))
            except (TypeError, AttributeError):  # the arguments are what the client sent
                return refused("BadRequest", 400, f"{method} does not take these arguments")
            if method in EVENTS:
                everyone.send(f"{name} {EVENTS[method]}", result)
            return Ack(None, result)

        return call

    for method in ("find", "get", *EVENTS):
        everyone.on(method, listener(method))


def refused(name: str, code: int, message: str) -> Ack:
    """An error that the client knows as one of Feathers."""
    return Ack({"type": "FeathersError", "name": name, "code": code, "message": message})


async def run(host: str, port: int) -> None:
    async with serve(None, host, port, plugins=["emitter"]) as server:
        offer(server.extension(ServerEmitter), {"messages": Messages()})
        print("listening on", server.url, flush=True)
        await server.serve_forever()


def main() -> None:
    parser = argparse.ArgumentParser(description="A Feathers service.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0)
    given = parser.parse_args()
    try:
        asyncio.run(run(given.host, given.port))
    except KeyboardInterrupt:
        pass
    except OSError as error:
        parser.exit(1, f"{parser.prog}: {error}\n")


if __name__ == "__main__":
    main()
