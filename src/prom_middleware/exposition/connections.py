"""How a stand-alone server takes its connections: as they come, or with TLS."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING, Any

from prom_middleware.errors import OptionError

if TYPE_CHECKING:
    from prom_middleware.exposition.webconfig import WebConfigFile


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


def encrypted_with(
    certfile: str | None,
    keyfile: str | None,
    client_cafile: str | None,
    client_capath: str | None,
    protocol: int,
    client_auth_required: bool,
    tls_min_version: ssl.TLSVersion | None,
    tls_max_version: ssl.TLSVersion | None,
) -> Plain:
    """Return what the arguments of `prometheus_client.start_http_server` ask for.

    Raises OSError for files that cannot be used, OptionError for half of a certificate's.
    """
    if bool(certfile) != bool(keyfile):
        raise OptionError(f"certfile={certfile!r}, keyfile={keyfile!r}: TLS needs both")
    if not (certfile and keyfile):
        return Plain()
    context = ssl.SSLContext(protocol)
    context.load_cert_chain(certfile, keyfile)
    if client_cafile or client_capath:
        context.load_verify_locations(client_cafile, client_capath)
    if client_auth_required:
        context.verify_mode = ssl.CERT_REQUIRED
    context.minimum_version = tls_min_version or context.minimum_version
    context.maximum_version = tls_max_version or context.maximum_version
    return Encrypted(context)
