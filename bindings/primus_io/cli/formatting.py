"""Events as fields for JSON, and as lines of text for a person."""

from __future__ import annotations

import asyncio
import base64
import json
import time
from typing import Any

from primus_proto import CloseReason, ConnectError
from primus_proto import events as ev
from primus_proto.parsers import EJSONParser

from .._emitter import Emitter
from ..asyncio import Client

GREEN, RED, DIM, RESET = "\x1b[32m", "\x1b[31m", "\x1b[2m", "\x1b[0m"
COLOURS = dict.fromkeys(("data", "listening", "connection", "step"), GREEN)
COLOURS |= dict.fromkeys(("error", "timeout", "reconnect failed", "messages dropped", "missing"), RED)


def event_fields(session: Emitter, event: str, *args: Any) -> dict[str, Any]:
    """Return the fields of an event of a client, server or spark, made from what its listeners are called with."""
    match event, args:
        case "data", (data,):
            return _message_fields(data)
        case "error", (error,):
            return error_fields(error)
        case "message ignored", (text,):
            return {"text": text}
        case "messages dropped", (payloads, reason):
            fields = {"count": len(payloads), "reason": reason}
            if isinstance(session, Client):  # a server may have a whole backlog for each spark
                fields["messages"] = [next(iter(_message_fields(payload).values())) for payload in payloads]
            return fields
        case "readyStateChange", (state,):
            return {"state": state}
        case "close", () if isinstance(session, Client) and session.close_reason is not None:
            return _close_fields(session.close_reason)
        case "disconnection", (spark,):
            return {"id": spark.id, **_close_fields(spark.close_reason)}
        case "flatline" | "heartbeat-skipped", (spark, count):
            return {"id": spark.id, "count": count}
        case _, (ev.ReconnectEvent() as attempt,):
            start = attempt.start + time.time() - asyncio.get_running_loop().time()
            fields = {"attempt": attempt.attempt, "retries": attempt.retries, "delay": attempt.delay}
            fields |= {"start": round(start, 3), "duration": round(attempt.duration, 3)}
            return fields | (error_fields(attempt.error, "error") if attempt.error is not None else {})
    return {}


def error_fields(error: BaseException, name: str = "message") -> dict[str, Any]:
    """Return the fields of an error; with the status and the body if a server refused."""
    if isinstance(error, ConnectError) and error.status is not None:
        return {name: str(error), "status": error.status, "body": error.body.decode("utf-8", "replace")}
    return {name: str(error)}


def _message_fields(data: Any) -> dict[str, Any]:
    if isinstance(data, bytes | bytearray | memoryview):
        return {"base64": base64.b64encode(data).decode("ascii")}
    return {"data": data}


def _close_fields(reason: CloseReason) -> dict[str, Any]:
    text = str(reason.error or reason.reason)
    return {"reason": reason.kind, "code": reason.code, **({"message": text} if text else {})}


def json_line(record: Any, *, ascii: bool = True) -> str:
    """Return the record as JSON in one line, with dates and the like as in EJSON, or a message why not."""
    try:
        try:
            return json.dumps(record, allow_nan=False, ensure_ascii=ascii)
        except (TypeError, ValueError):  # a value of another parser than JSON's
            return json.dumps(json.loads(EJSONParser().encode(record)), ensure_ascii=ascii)
    except (TypeError, ValueError, RecursionError) as error:
        kept = {key: record[key] for key in ("event", "id") if isinstance(record, dict) and key in record}
        return json.dumps({**kept, "message": f"cannot be shown as JSON: {error}"})


def printable(text: str) -> str:
    r"""Return the text with what is not printable escaped, as ``\u001b``: a peer must not drive the terminal."""
    if text.isprintable():
        return text
    escaped = (each if each.isprintable() else json.dumps(each)[1:-1] for each in text)
    return "".join(escaped).replace("\x7f", "\\u007f")


def text_line(event: str, fields: dict[str, Any], *, colour: bool = False) -> str:
    """Return one line about an event."""
    words = printable(_words(event, fields))
    if event == "listening":
        line = f"listening on {words}"
    elif event == "step":
        line = f"{fields['step']:2}  {words}"
    elif "id" in fields:
        line = f"{event:<17} {fields['id'][:8]} {words}".rstrip()
    elif event == "data":
        line = f"< {words}"
    else:
        line = f"* {event}: {words}" if words else f"* {event}"
    return f"{COLOURS.get(event, DIM)}{line}{RESET}" if colour else line


def _words(event: str, fields: dict[str, Any]) -> str:
    match fields:
        case {"data": data}:
            return json_line(data, ascii=False)
        case {"base64": data}:
            return f"binary, base 64: {data or '(empty)'}"
        case {"attempt": number, "retries": retries}:
            text = f"attempt {number}" if retries is None else f"attempt {number} of {retries}"
            text = "no more attempts" if retries == 0 else text
            text += f" in {fields['delay']:g} s" if event == "reconnect scheduled" else ""
            error = fields.get("error")
            return f"{text} ({error})" if error else text
        case {"url": url, "unix": path}:
            return f"{path}; to connect: --unix {path} {url}"
        case {"url": url}:
            return str(url)
        case {"ip": ip, "query": query}:
            return f"from {ip or 'this machine'}, query {json_line(query, ascii=False)}"
        case {"status": _, "body": body}:
            said = body if len(body) <= 400 else f"{body[:400]}…"
            said = "" if "(it said: " in fields["message"] else said
            return f"{fields['message']}; it said: {said}" if said else str(fields["message"])
        case {"reason": reason, "code": code}:
            message = fields.get("message")
            return f"{reason} ({code})" + (f": {message}" if message else "")
        case {"count": count, "reason": reason}:
            return f"{count} ({reason})"
        case {"count": count}:
            return f"{count} in a row"
        case {"what": what, "seen": seen}:
            return f"{what:<55} {seen}"
        case {"level": level, "message": message}:
            return f"{level}: {message}"
    return str(next((fields[key] for key in ("message", "state", "text") if key in fields), ""))
