"""Texts that are decoded only when the application takes them, so that values do not wait and no memory is used twice.

The law kept here: a message of the protocol is never late, and the order of messages stays the same.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..errors import STOPPING
from ..parsers.json import FastJSONParser, JSONParser
from ..plugin_events import Delivery
from .encoding import decode_error
from .messages import NOTHING

if TYPE_CHECKING:
    from .spark import Spark

__all__ = ["decode_late", "receive_late"]

PARSERS = (JSONParser, FastJSONParser)
LEAST, MOST = 512, 16 * 1024
"""The lengths between which a text is late: it is worth it, and the work of many at once is still bounded."""


def receive_late(spark: Spark, text: str | bytes, now: float) -> bool:
    """Deliver a text undecoded to `Spark.takes_text`. Returns False if it has to be decoded at once."""
    takes = spark.takes_text
    if (
        takes is None
        or not (type(text) is str and LEAST <= len(text) <= MOST and text[0] in "{[")  # never a string
        or not (spark.is_open and spark.receives and spark._incoming is None)
        or type(spark.parser) not in PARSERS
    ):
        return False
    if spark.heartbeat.hears_all:
        spark.heartbeat.heard(now)
    spark.server.emit(Delivery(spark, takes, (text,), "data", len(text)))
    return True


def decode_late(spark: Spark, text: str) -> Any:
    """Decode a text that was delivered undecoded. Emits an error and returns `NOTHING` if that fails."""
    try:
        return spark.parser.decode(text)
    except STOPPING:
        raise
    except BaseException as error:
        spark._error(decode_error(error, text))
        return NOTHING
