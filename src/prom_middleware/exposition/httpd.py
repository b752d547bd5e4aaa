"""/metrics on a port of its own, for programs that serve nothing else."""

from __future__ import annotations

import logging
import socket
import ssl
from socketserver import TCPServer, ThreadingMixIn
from threading import Thread
from typing import TYPE_CHECKING, Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from prometheus_client import REGISTRY
from prometheus_client.registry import Collector

from prom_middleware.errors import OptionError
from prom_middleware.exposition.access import AccessRule
from prom_middleware.exposition.wsgi import make_wsgi_app

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication

logger = logging.getLogger("prom_middleware")


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True

    def server_bind(self) -> None:
        # WSGIServer asks DNS for the host's name, which can take seconds.
        TCPServer.server_bind(self)
        self.server_name, self.server_port = str(self.server_address[0]), self.server_address[1]
        self.setup_environ()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Leave a traceback to the log: a peer that breaks off is no news for stderr."""
        logger.debug("a scrape from %s failed", client_address, exc_info=True)


class _Handler(WSGIRequestHandler):
    timeout = 30  # seconds for a peer to send its request: a slow one must not keep a thread

    def setup(self) -> None:
        super().setup()
        # Here, in the peer's own thread, so that a silent one does not hold up the others.
        handshake = getattr(self.connection, "do_handshake", None)
        if handshake is not None:
            handshake()

    def log_message(self, *args: Any) -> None:
        """Say nothing: a line per scrape helps nobody."""

    def address_string(self) -> str:
        return str(self.client_address[0])


def start_http_server(
    port: int,
    addr: str = "0.0.0.0",  # noqa: S104 - as in prometheus_client
    registry: Collector = REGISTRY,
    certfile: str | None = None,
    keyfile: str | None = None,
    client_cafile: str | None = None,
    client_capath: str | None = None,
    protocol: int = ssl.PROTOCOL_TLS_SERVER,
    client_auth_required: bool = False,
    tls_min_version: ssl.TLSVersion | None = None,
    tls_max_version: ssl.TLSVersion | None = None,
    *,
    access: AccessRule | None = None,
) -> tuple[WSGIServer, Thread]:
    """Serve the metrics of `registry` from a daemon thread; return the server and the thread.

    The arguments are those of `prometheus_client.start_http_server`, and `access`. Raises OSError
    when the port or a certificate cannot be used, OptionError for half of a certificate's files.
    """
    if bool(certfile) != bool(keyfile):
        raise OptionError(f"certfile={certfile!r}, keyfile={keyfile!r}: TLS needs both")
    context = None
    if certfile and keyfile:
        context = ssl.SSLContext(protocol)
        context.load_cert_chain(certfile, keyfile)
        if client_cafile or client_capath:
            context.load_verify_locations(client_cafile, client_capath)
        if client_auth_required:
            context.verify_mode = ssl.CERT_REQUIRED
        context.minimum_version = tls_min_version or context.minimum_version
        context.maximum_version = tls_max_version or context.maximum_version
    httpd = _make_server(addr, port, make_wsgi_app(registry, access=access))
    if context is not None:
        httpd.socket = context.wrap_socket(
            httpd.socket, server_side=True, do_handshake_on_connect=False
        )
    thread = Thread(target=httpd.serve_forever, name="prom_middleware metrics", daemon=True)
    thread.start()
    return httpd, thread


def _make_server(addr: str, port: int, app: WSGIApplication) -> WSGIServer:
    family, *_, sockaddr = socket.getaddrinfo(
        addr, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    server_class = type("_Server", (_Server,), {"address_family": family})
    return make_server(str(sockaddr[0]), port, app, server_class, _Handler)
