"""What an attempt came to, and whether another one may help."""

from __future__ import annotations

import ssl
from datetime import datetime, timezone
from email.message import Message
from email.utils import parsedate_to_datetime
from http.client import HTTPException
from typing import NamedTuple
from urllib.error import HTTPError

# RFC 9110 section 15: what is said of the moment, not of the request. A gateway that was mended or
# restarted takes what it answered 500.
PASSING = frozenset((408, 425, 429, 500, 502, 503, 504))
LONGEST_REASON = 500


class Outcome(NamedTuple):
    """Of one attempt; `again`: whether another one may help, `after`: seconds to wait at least."""

    ok: bool
    reason: str = ""
    status: int | None = None
    again: bool = False
    after: float = 0.0
    location: str = ""


def of_answer(status: int, phrase: str, headers: Message, text: bytes) -> Outcome:
    """Return what an HTTP answer means."""
    if 200 <= status < 300:
        return Outcome(True, status=status)
    location = headers.get("Location", "") if 300 <= status < 400 else ""
    said = location or " ".join(text.decode(errors="replace").split())
    reason = f"{status} {phrase}: {said}" if said else f"{status} {phrase}"
    after = _seconds(headers.get("Retry-After", ""))
    return Outcome(False, _readable(reason), status, status in PASSING, after, location)


def _readable(said: str) -> str:
    """Return what a stranger said as a log may have it: one line, no escape sequences."""
    text = " ".join(said.split())[:LONGEST_REASON]
    return "".join(one if one.isprintable() else "\N{REPLACEMENT CHARACTER}" for one in text)


def of_error(error: BaseException) -> Outcome:
    """Return what an exception of an attempt means."""
    if isinstance(error, HTTPError):  # from a handler that is made with urllib
        with error:
            return of_answer(error.code, error.reason, error.headers, b"")
    again = isinstance(error, OSError | HTTPException) and not _is_certificate(error)
    return Outcome(False, _readable(f"{type(error).__name__}: {error}"), again=again)


def of_silence(seconds: float | None) -> Outcome:
    """Return what it means that an attempt has not ended in time."""
    return Outcome(False, f"no answer within {seconds:.3g} seconds", again=True)


def _is_certificate(error: BaseException) -> bool:
    # urllib raises URLError from it.
    return any(
        isinstance(one, ssl.SSLCertVerificationError)
        for one in (error, getattr(error, "reason", None))
    )


def _seconds(text: str) -> float:
    """Return what a Retry-After header asks for (RFC 9110 section 10.2.3), or 0."""
    number = text.strip(" \t")
    if number.isascii() and number.isdecimal():
        return float(number)
    try:
        when = parsedate_to_datetime(text)
    except (TypeError, ValueError, OverflowError):
        return 0.0
    if when.tzinfo is None:  # "-0000" is UTC, too
        when = when.replace(tzinfo=timezone.utc)
    return max(0.0, (when - datetime.now(timezone.utc)).total_seconds())
