"""Who asks: a name and a password in a URL (RFC 3986), and the header that says so (RFC 7617)."""

from __future__ import annotations

import re
from base64 import b64encode
from urllib.parse import SplitResult, unquote

# What stands before the host, the host with its login and port, and what comes after it.
_PLACE = re.compile(r"([^/?#]*://)([^/?#]*)(.*)", re.DOTALL)
_HOST = re.compile(r"(.*@)?([^:@]*|\[.*\])(:\d*)?", re.DOTALL)
# A login in what lacks a part of a URL's beginning.
_MISPLACED = re.compile(r".*:.*@", re.DOTALL)
# Instead of an error, which may have a part of the password in it.
ESCAPED = "in a name or a password, / ? # and @ are written %2F %3F %23 and %40"


def login_of(parts: SplitResult) -> tuple[str, str] | None:
    """Return the name and the password that a URL has; None where it has none."""
    if parts.username is None:
        return None
    return unquote(parts.username), unquote(parts.password or "")


def shown(url: str) -> str:
    """Return a URL, or what shall be one, as it may be shown: without a name and a password."""
    place = _PLACE.match(url)
    if place is None:
        return _MISPLACED.sub("", url)
    begin, host, rest = place.groups()
    if ":" in host and "@" in rest and _HOST.fullmatch(host) is None:
        # No port: the beginning of a password with a character that ends the host.
        return begin + rest.rpartition("@")[2]
    return begin + host.rpartition("@")[2] + rest


def place_of(parts: SplitResult) -> str:
    """Return the host and the port of a URL, without a name and a password."""
    return parts.netloc.rpartition("@")[2]


def basic(login: tuple[str, str]) -> str:
    """Return the credentials of basic auth, as the value of a header."""
    return f"Basic {b64encode(':'.join(login).encode()).decode()}"


def said(url: str, error: Exception) -> str:
    """Return what is wrong with a URL, without what may be a part of its password."""
    return f"{shown(url)}: {ESCAPED if '@' in url else error}"
