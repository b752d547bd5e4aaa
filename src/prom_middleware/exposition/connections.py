"""How a stand-alone server takes its connections: as they come, or with TLS."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING, Any, NamedTuple

from prom_middleware.errors import OptionError
from prom_middleware.options import checked, is_path, is_switch, rules

if TYPE_CHECKING:
    from prom_middleware.exposition.webconfig import WebConfigFile


# What a server can be told to speak.
_PROTOCOLS = [
    getattr(ssl, f"PROTOCOL_{name}", ssl.PROTOCOL_TLS_SERVER)
    for name in ("TLS_SERVER", "TLS", "TLSv1", "TLSv1_1", "TLSv1_2")
]
_FILES = ("certfile", "keyfile", "client_cafile")
_VERSION = (
    lambda value: value is None or value in list(ssl.TLSVersion),
    "an ssl.TLSVersion, or None",
)
CHECKS = rules(
    {
        **dict.fromkeys(_FILES, (is_path, "the path of a file, or None")),
        "client_capath": (is_path, "the path of a folder, or None"),
        "protocol": (lambda value: value in _PROTOCOLS, "ssl.PROTOCOL_TLS_SERVER"),
        "client_auth_required": (is_switch, "True or False"),
        "tls_min_version": _VERSION,
        "tls_max_version": _VERSION,
    }
)


class Plain:
    """As they come."""

    def wrap(self, connection: Any) -> Any:
        """Return what to read from and to write to; nothing is sent or received yet."""
        return connection

    def greet(self, connection: Any) -> None:
        """Begin to speak with the peer; raises OSError where there is no agreement."""


class Encrypted(Plain):
    """With TLS, always in the same context."""

    def __init__(self, context: ssl.SSLContext) -> None:
        self._context = context

    def wrap(self, connection: Any) -> Any:
        """Return the connection with TLS around it."""
        return _encrypted(self._context, connection)

    def greet(self, connection: Any) -> None:
        """Shake hands."""
        connection.do_handshake()


class Configured(Plain):
    """As a web-config file says at the moment."""

    def __init__(self, file: WebConfigFile) -> None:
        self._file = file

    def wrap(self, connection: Any) -> Any:
        """Return the connection, with TLS around it if that is on."""
        context = self._file.context()
        return connection if context is None else _encrypted(context, connection)

    def greet(self, connection: Any) -> None:
        """Shake hands, and look at the client's certificate."""
        if isinstance(connection, ssl.SSLSocket):
            connection.do_handshake()
            if not self._file.welcomes(connection.getpeercert()):
                raise ConnectionRefusedError("the client's certificate has none of the names")


def _encrypted(context: ssl.SSLContext, connection: Any) -> ssl.SSLSocket:
    return context.wrap_socket(connection, server_side=True, do_handshake_on_connect=False)


class TLS(NamedTuple):
    """The arguments of `prometheus_client.start_http_server` that are about TLS."""

    certfile: str | None = None
    keyfile: str | None = None
    client_cafile: str | None = None
    client_capath: str | None = None
    protocol: int = ssl.PROTOCOL_TLS_SERVER
    client_auth_required: bool = False
    tls_min_version: ssl.TLSVersion | None = None
    tls_max_version: ssl.TLSVersion | None = None

    def refuse(self, why: str) -> None:
        """Raise OptionError where any of them was given: who asks for TLS must not go without."""
        for name, value in self._asdict().items():
            if value and value != self._field_defaults[name]:
                raise OptionError(f"{name}={value!r}: {why}")

    def connections(self) -> Plain:
        """Return how a server takes its connections.

        Raises OSError for files that cannot be used, OptionError for what is wrong, and for what is
        nothing without a certificate and its key.
        """
        given = self._asdict()
        checked({name: given[name] for name in CHECKS}, CHECKS)
        if not (self.certfile and self.keyfile):
            self.refuse("TLS needs certfile and keyfile")
            return Plain()
        context = self._limited(ssl.SSLContext(self.protocol))
        context.load_cert_chain(self.certfile, self.keyfile)
        if self.client_cafile or self.client_capath:
            context.load_verify_locations(self.client_cafile, self.client_capath)
        if self.client_auth_required:
            context.verify_mode = ssl.CERT_REQUIRED
        return Encrypted(context)

    def _limited(self, context: ssl.SSLContext) -> ssl.SSLContext:
        context.minimum_version = least = self.tls_min_version or context.minimum_version
        context.maximum_version = most = self.tls_max_version or context.maximum_version
        if 0 < most < least:  # those below 0 are whatever is supported
            raise OptionError(f"tls_max_version={most!r}: give none below {least!r}")
        return context
