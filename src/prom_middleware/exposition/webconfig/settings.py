"""What may stand in a web-config file."""

from __future__ import annotations

import re
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from prom_middleware.durations import go_seconds
from prom_middleware.errors import WebConfigError
from prom_middleware.exposition.webconfig.ciphers import CIPHERS
from prom_middleware.exposition.webconfig.document import (
    Document,
    boolean,
    integer,
    list_of,
    one_of,
    section,
    string,
    table_of,
)
from prom_middleware.options import is_digits

VERSIONS = {
    "TLS10": ssl.TLSVersion.TLSv1,
    "TLS11": ssl.TLSVersion.TLSv1_1,
    "TLS12": ssl.TLSVersion.TLSv1_2,
    "TLS13": ssl.TLSVersion.TLSv1_3,
}
# Names of Go's crypto/tls, https://pkg.go.dev/crypto/tls#ClientAuthType, and what Python has for
# them. It cannot take a certificate without verifying it: one that is only asked for need not be
# asked for, one that is required is verified.
CLIENT_AUTH = {
    "": ssl.CERT_NONE,
    "NoClientCert": ssl.CERT_NONE,
    "RequestClientCert": ssl.CERT_NONE,
    "RequireClientCert": ssl.CERT_REQUIRED,
    "RequireAnyClientCert": ssl.CERT_REQUIRED,
    "VerifyClientCertIfGiven": ssl.CERT_OPTIONAL,
    "RequireAndVerifyClientCert": ssl.CERT_REQUIRED,
}
WITHOUT_CA = ("", "NoClientCert")
CURVES = {"X25519": "X25519", "CurveP256": "prime256v1"}
CURVES |= {"CurveP384": "secp384r1", "CurveP521": "secp521r1"}
# None: any value.
HEADERS: dict[str, tuple[str, ...] | None] = {
    "Strict-Transport-Security": None,
    "X-Content-Type-Options": ("nosniff",),
    "X-Frame-Options": ("deny", "sameorigin"),
    "X-XSS-Protection": None,
    "Content-Security-Policy": None,
}
BCRYPT = re.compile(r"\$2[abxy]\$(0[4-9]|[12][0-9]|3[01])\$[./A-Za-z0-9]{53}")


@dataclass(frozen=True)
class TLSServerConfig:
    """The section `tls_server_config`; versions, ciphers and curves by their names in Python."""

    cert: str = ""
    key: str = field(default="", repr=False)
    client_ca: str = ""
    cert_file: str = ""
    key_file: str = ""
    client_ca_file: str = ""
    client_auth_type: str = ""
    client_allowed_sans: tuple[str, ...] | None = None
    min_version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_2
    max_version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3
    cipher_suites: tuple[str, ...] = ()
    prefer_server_cipher_suites: bool = True
    curve_preferences: tuple[str, ...] = ()

    @property
    def is_enabled(self) -> bool:
        """Tell whether the server speaks TLS; versions and ciphers alone do not say so."""
        server = self.cert or self.key or self.cert_file or self.key_file
        return bool(server or self.client_ca or self.client_ca_file or self.client_auth_type)

    @property
    def has_client_ca(self) -> bool:
        """Tell whether clients' certificates are compared with other CAs than the system's."""
        return bool(self.client_ca or self.client_ca_file)


@dataclass(frozen=True)
class HTTPServerConfig:
    """The section `http_server_config`. HTTP/2 is not spoken, whatever `http2` says."""

    http2: bool = True
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class RateLimit:
    """The section `rate_limit`: one request every `interval` seconds, and `burst` at once."""

    interval: float = 0.0
    burst: int = 0


@dataclass(frozen=True)
class WebConfig:
    """A whole file; relative paths in it are relative to its folder."""

    tls_server_config: TLSServerConfig = field(default_factory=TLSServerConfig)
    http_server_config: HTTPServerConfig = field(default_factory=HTTPServerConfig)
    rate_limit: RateLimit = field(default_factory=RateLimit)
    basic_auth_users: Mapping[str, str] = field(default_factory=dict, repr=False)


def read_web_config(path: str, content: bytes) -> WebConfig:
    """Return what the file at `path` says, whose bytes are `content`.

    Raises WebConfigError, with the file, the line and the key. Certificates are not looked at.
    """
    config: WebConfig = Document(path, content).read(_FILE)
    problem = _problem(config.tls_server_config)
    if problem:
        raise WebConfigError(f"{path}: tls_server_config: {problem}")
    return config


def _problem(tls: TLSServerConfig) -> str | None:
    if not tls.is_enabled:
        return None
    problems = {
        "cert or cert_file is missing": not (tls.cert or tls.cert_file),
        "key or key_file is missing": not (tls.key or tls.key_file),
        "a client CA needs a client_auth_type": (
            tls.has_client_ca and tls.client_auth_type in WITHOUT_CA
        ),
        "client_allowed_sans needs client_auth_type: RequireAndVerifyClientCert": (
            tls.client_allowed_sans is not None
            and CLIENT_AUTH[tls.client_auth_type] != ssl.CERT_REQUIRED
        ),
    }
    return next((message for message, wrong in problems.items() if wrong), None)


def _client_auth(document: Document, node: Any, key: str) -> str:
    name = string(document, node, key)
    one_of(CLIENT_AUTH, "policy")(document, node, key)
    return name


def _password_hash(document: Document, node: Any, key: str) -> str:
    value = string(document, node, key)
    if not BCRYPT.fullmatch(value):
        raise document.refuse(node, f"{key}: this is no bcrypt hash")
    return value


def _users(document: Document, node: Any, key: str) -> Any:
    users = table_of(_password_hash)(document, node, key)
    for name in users:
        if ":" in name:  # RFC 7617 section 2: nobody could log in
            raise document.refuse(node, f"{key}: {name!r} has a colon")
    return users


def _headers(document: Document, node: Any, key: str) -> Any:
    for name, value in document.pairs(node, key).items():
        if name not in HEADERS:
            known = ", ".join(HEADERS)
            raise document.refuse(value, f"{key}: {name!r} cannot be set; there are {known}")
        allowed, given = HEADERS[name], string(document, value, name)
        if allowed and given not in allowed:
            raise document.refuse(value, f"{name}: {given!r} is not {' or '.join(allowed)}")
        if not (given.isascii() and given.isprintable()):
            raise document.refuse(value, f"{name}: {given!r} cannot stand in a header")
    return table_of(string)(document, node, key)


def _duration(document: Document, node: Any, key: str) -> float:
    """Read a duration as Go writes them, `1m30s`; a bare number is in nanoseconds."""
    value = string(document, node, key)
    try:
        return go_seconds(f"{value}ns" if is_digits(value) else value)
    except ValueError as error:
        raise document.refuse(node, f"{key}: {value!r} is {error}") from error


_TLS = section(
    TLSServerConfig,
    {
        "cert": string,
        "key": string,
        "client_ca": string,
        "cert_file": string,
        "key_file": string,
        "client_auth_type": _client_auth,
        "client_ca_file": string,
        "client_allowed_sans": list_of(string),
        "min_version": one_of(VERSIONS, "TLS version"),
        "max_version": one_of(VERSIONS, "TLS version"),
        "cipher_suites": list_of(one_of(CIPHERS, "cipher suite")),
        "prefer_server_cipher_suites": boolean,
        "curve_preferences": list_of(one_of(CURVES, "curve")),
    },
)
_HTTP = section(HTTPServerConfig, {"http2": boolean, "headers": _headers})
_LIMIT = section(RateLimit, {"interval": _duration, "burst": integer})
_FILE = section(
    WebConfig,
    {
        "tls_server_config": _TLS,
        "http_server_config": _HTTP,
        "rate_limit": _LIMIT,
        "basic_auth_users": _users,
    },
)
