"""How to get to a URL: directly, or by the proxy that the environment names."""

from __future__ import annotations

import ssl
from http.client import HTTPConnection, HTTPSConnection
from typing import NamedTuple
from urllib.parse import SplitResult, urlsplit
from urllib.request import getproxies, proxy_bypass

from prom_middleware.logins import basic, login_of, place_of


class Route(NamedTuple):
    """A connection that is not opened yet, what to ask for on it, and headers for the proxy."""

    connection: HTTPConnection
    target: str
    headers: dict[str, str]


def route(url: str, timeout: float | None, context: ssl.SSLContext | None) -> Route:
    """Return the way to `url`; `context` is for TLS. Raise ValueError for what is no URL."""
    parts = urlsplit(url)
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    proxy = _proxy(parts)
    if parts.scheme == "http":
        via = proxy or parts
        plain = HTTPConnection(via.hostname or "", via.port or 80, timeout=timeout)
        return Route(plain, path, {}) if proxy is None else Route(plain, url, _user(proxy))
    host, port = parts.hostname or "", parts.port or 443
    if proxy is None:
        return Route(HTTPSConnection(host, port, timeout=timeout, context=context), path, {})
    tunnel = HTTPSConnection(
        proxy.hostname or "", proxy.port or 80, timeout=timeout, context=context
    )
    tunnel.set_tunnel(host, port, _user(proxy))
    return Route(tunnel, path, {})


def _proxy(parts: SplitResult) -> SplitResult | None:
    found = getproxies().get(parts.scheme)
    if not found or proxy_bypass(place_of(parts)):
        return None
    return urlsplit(found if "://" in found else f"http://{found}")


def _user(proxy: SplitResult) -> dict[str, str]:
    """Return the header that says to the proxy who we are."""
    login = login_of(proxy)
    return {} if login is None else {"Proxy-Authorization": basic(login)}
