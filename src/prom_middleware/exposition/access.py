"""Who may scrape: rules that take a `ScrapeRequest` and return whether it is allowed.

A rule with a `challenge` answers 401 with that WWW-Authenticate header (RFC 9110 section 11.6.1)
when it refuses; any other rule, such as a function of yours, answers 403.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable, Mapping
from hmac import compare_digest
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import NamedTuple

from prom_middleware.errors import OptionError
from prom_middleware.options import is_encodable


class ScrapeRequest(NamedTuple):
    """What a rule and the scrape itself are told of the request.

    `headers` maps lower-case names to values; `client` is the peer's address without its port, or
    None where the server does not tell (a Unix socket). `mount` is what stands above a `path` that
    does not have it (WSGI's SCRIPT_NAME).
    """

    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    client: str | None
    mount: str = ""


AccessRule = Callable[[ScrapeRequest], object]


class basic_auth:  # noqa: N801 - reads as the function that it is to its users
    """Allow the given users (RFC 7617): `basic_auth("user", "password")` or `basic_auth({...})`.

    Raises OptionError where there is no user, for a name or a password that is empty or no string
    that UTF-8 can encode, and for a name with a colon.
    """

    challenge = 'Basic realm="metrics", charset="UTF-8"'

    def __init__(self, user: str | Mapping[str, str], password: str | None = None) -> None:
        users = user.items() if isinstance(user, Mapping) else [(user, password)]
        self._credentials = [_user_credentials(*one) for one in users]
        if not self._credentials:
            raise OptionError("basic_auth: give at least one user")

    def __call__(self, request: ScrapeRequest) -> bool:
        """Tell whether `request` may have the metrics."""
        return _any_equal(basic_credentials(request), self._credentials)


class bearer_token:  # noqa: N801
    """Allow whoever sends one of the tokens (RFC 6750): `bearer_token("secret")`.

    Raises OptionError for an empty token, or one that is not visible ASCII.
    """

    challenge = 'Bearer realm="metrics"'

    def __init__(self, *tokens: str) -> None:
        for token in tokens:
            if not _visible(token):
                raise OptionError("bearer_token: give tokens of visible ASCII characters")
        if not tokens:
            raise OptionError("bearer_token: give at least one token")
        self._tokens = [token.encode() for token in tokens]

    def __call__(self, request: ScrapeRequest) -> bool:
        """Tell whether `request` may have the metrics."""
        return _any_equal(_credentials(request, "bearer"), self._tokens)


class allow_networks:  # noqa: N801
    """Allow clients from the given networks or addresses: `allow_networks("10.0.0.0/8", "::1")`.

    It looks at the peer of the connection and at no forwarding header. Raises OptionError for what
    is not a network.
    """

    def __init__(self, *networks: str) -> None:
        if not networks:
            raise OptionError("allow_networks: give at least one network")
        self._networks = [_network(network) for network in networks]

    def __call__(self, request: ScrapeRequest) -> bool:
        """Tell whether `request` may have the metrics."""
        try:
            address = ip_address((request.client or "").partition("%")[0])
        except ValueError:
            return False
        if isinstance(address, IPv6Address) and address.ipv4_mapped:
            address = address.ipv4_mapped
        return any(address in network for network in self._networks)


class Both:
    """Allow what both rules allow; the one that refuses says how."""

    def __init__(self, one: AccessRule, other: AccessRule) -> None:
        self.rules = (one, other)

    def __call__(self, request: ScrapeRequest) -> bool:
        """Tell whether `request` may have the metrics; who answers one asks each rule by itself."""
        return all(rule(request) for rule in self.rules)


def basic_credentials(request: ScrapeRequest) -> bytes:
    """Return `user:password` of a request, or nothing where it has none (RFC 7617)."""
    try:
        return base64.b64decode(_credentials(request, "basic"), validate=True)
    except (binascii.Error, ValueError):
        return b""


def _network(network: str) -> IPv4Network | IPv6Network:
    if "%" in str(network):  # else it would allow the same address on all other links
        raise OptionError(f"allow_networks: {network!r}: the zone of a peer is not looked at")
    try:
        # A whole number, a bool even, would be an address.
        found = ip_network(str(network))
    except ValueError as error:
        raise OptionError(f"allow_networks: {network!r} is not a network: {error}") from error
    mapped = found.network_address.ipv4_mapped if isinstance(found, IPv6Network) else None
    # Peers with mapped addresses are compared as what they are (RFC 4291, 2.5.5.2): 96 bits before.
    return found if mapped is None else IPv4Network((mapped, found.prefixlen - 96))


def _user_credentials(name: object, secret: object) -> bytes:
    # What is no string may be a list of passwords.
    shown = repr(name) if isinstance(name, str) else f"of type {type(name).__name__}"
    if not (is_encodable(name) and name and ":" not in str(name)):
        raise OptionError(f"basic_auth: user {shown}: give a name in UTF-8, without ':'")
    if not (is_encodable(secret) and secret):
        raise OptionError(f"basic_auth: user {shown}: give a password, a string of UTF-8")
    return f"{name}:{secret}".encode()


def _visible(token: object) -> bool:
    return isinstance(token, str) and re.fullmatch(r"[!-~]+", token) is not None


def _credentials(request: ScrapeRequest, scheme: str) -> bytes:
    given, _, credentials = request.headers.get("authorization", "").partition(" ")
    if given.lower() != scheme:
        return b""
    return credentials.strip().encode("utf-8", "surrogateescape")


def _any_equal(given: bytes, allowed: list[bytes]) -> bool:
    # All are compared, so that the time tells nothing about which one is near.
    return bool(sum([compare_digest(given, one) for one in allowed]))
