"""Who asks: a name and a password in a URL (RFC 3986), and the header that says so (RFC 7617)."""

from __future__ import annotations

import re
from base64 import b64encode
from urllib.parse import SplitResult, unquote


def login_of(parts: SplitResult) -> tuple[str, str] | None:
    """Return the name and the password that a URL has; None where it has none."""
    if parts.username is None:
        return None
    return unquote(parts.username), unquote(parts.password or "")


def shown(url: str) -> str:
    """Return a URL, or what shall be one, as it may be shown: without a name and a password."""
    place = re.match(r"[^/?#]*://([^/?#]*)", url)
    if place is None:
        return url
    return url[: place.start(1)] + place[1].rpartition("@")[2] + url[place.end() :]


def basic(login: tuple[str, str]) -> str:
    """Return the credentials of basic auth, as the value of a header."""
    return f"Basic {b64encode(':'.join(login).encode()).decode()}"
