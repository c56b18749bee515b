"""Events as fields for JSON lines, and those as text for a person.

The names are those of the documentation (protocol 5). The law kept here: in a line for a person nothing that a peer
sent is left unescaped that could move the cursor, change the colour or hide a part of the line.
"""

from __future__ import annotations

import base64
import json
from typing import Any

from primus_proto import CloseReason, ConnectError
from primus_proto import events as ev

__all__ = ["attempt", "closing", "detail", "fault", "printable", "value"]


LONGEST_BODY = 400  # characters of a refusal's body that a person is shown


# --- events as fields ---


def value(data: Any) -> dict[str, Any]:
    """A message: as it is, or in base 64 where it is binary and the parser left it so."""
    if isinstance(data, bytes | bytearray | memoryview):
        return {"base64": base64.b64encode(data).decode("ascii")}
    return {"data": data}


def fault(error: BaseException) -> dict[str, Any]:
    """An error; with the status and the body where a server refused."""
    fields: dict[str, Any] = {"message": str(error)}
    if isinstance(error, ConnectError) and error.status is not None:
        fields |= {"status": error.status, "body": error.body.decode("utf-8", "replace")}
    return fields


def closing(reason: CloseReason | None) -> dict[str, Any]:
    """Why a session is over."""
    if reason is None:
        return {}
    fields: dict[str, Any] = {"reason": reason.kind, "code": reason.code}
    text = str(reason.error or reason.reason)
    return {**fields, "message": text} if text else fields


def attempt(event: ev.ReconnectEvent, wall_offset: float) -> dict[str, Any]:
    """An event of the reconnect procedure; `start` as Unix time."""
    fields: dict[str, Any] = {
        "attempt": event.attempt,
        "retries": event.retries,
        "delay": event.delay,
        "start": round(event.start + wall_offset, 3),
        "duration": round(event.duration, 3),
    }
    if event.error is not None:
        about = fault(event.error)
        fields |= {"error": about.pop("message"), **about}
    return fields


# --- fields as text ---


def printable(text: str) -> str:
    r"""The text with everything escaped that is not to be seen: ``\n``, ``\u001b``, …"""
    return text if text.isprintable() else "".join(map(_escaped, text))


def _escaped(character: str) -> str:
    if character.isprintable():
        return character
    return json.dumps(character)[1:-1] if character != "\x7f" else "\\u007f"


def detail(event: str, fields: dict[str, Any]) -> str:
    """One line about an event."""
    name = event if "id" not in fields else f"{event:<17} {fields['id'][:8]}"
    words = printable(_words(event, fields))
    if event == "listening":
        return f"listening on {words}"
    if event == "data" and "id" not in fields:
        return f"< {words}"
    name = name if "id" in fields else f"* {name}"
    return f"{name}{' ' if 'id' in fields else ': '}{words}" if words else name.rstrip()


def _words(event: str, fields: dict[str, Any]) -> str:
    match fields:
        case {"data": data}:
            return _shown(data)
        case {"base64": data}:
            return f"binary, base 64: {data or '(empty)'}"
        case {"attempt": number, "retries": retries}:
            text = f"attempt {number}" if retries is None else f"attempt {number} of {retries}"
            text += f" in {fields['delay']:g} s" if event == "reconnect scheduled" else ""
            error = fields.get("error")
            return f"{text} ({error})" if error else text
        case {"url": url, "unix": path}:
            return f"{path}, for clients with --unix; the URL is {url}"
        case {"url": url}:
            return str(url)
        case {"ip": ip, "query": query}:
            return f"from {ip or 'this machine'}, query {_shown(query)}"
        case {"status": _, "body": body}:
            said = body if len(body) <= LONGEST_BODY else f"{body[:LONGEST_BODY]}…"
            return f"{fields['message']}; it said: {said}" if said else str(fields["message"])
        case {"reason": reason, "code": code}:
            message = fields.get("message")
            return f"{reason} ({code})" + (f": {message}" if message else "")
        case {"count": count, "reason": reason}:
            return f"{count}, because {reason}"
        case {"count": count}:
            return f"{count} in a row"
        case {"level": level, "message": message}:
            return f"{level}: {message}"
    return str(next((fields[key] for key in ("message", "state", "text") if key in fields), ""))


def _shown(data: Any) -> str:
    try:
        return json.dumps(data, ensure_ascii=False)
    except (TypeError, ValueError, RecursionError) as error:
        return f"(cannot be shown: {error})"
