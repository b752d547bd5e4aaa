"""/metrics on a port of its own, for programs that serve nothing else."""

from __future__ import annotations

import ssl
from os import PathLike
from socketserver import TCPServer
from threading import Thread
from typing import TYPE_CHECKING, Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from prometheus_client import REGISTRY
from prometheus_client.registry import Collector

from prom_middleware.exposition.access import AccessRule, Both
from prom_middleware.exposition.connections import TLS, Configured
from prom_middleware.exposition.listening import Listener, resolved
from prom_middleware.exposition.wsgi import make_wsgi_app
from prom_middleware.forks import close_in_child
from prom_middleware.options import access_rule, checked, is_path, is_text, rules, whole

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication
    from typing_extensions import Unpack

    from prom_middleware.exposition.options import ScrapeOptions


CHECKS = rules(
    {
        "port": (lambda value: whole(0)(value) and value <= 65535, "a number from 0 to 65535"),
        "addr": (is_text, "the address to listen at, such as '127.0.0.1'"),
        "web_config_file": (is_path, "the path of a file, or None"),
    }
)


class _Server(Listener, WSGIServer):
    def server_bind(self) -> None:
        # WSGIServer asks DNS for the host's name, which can take seconds.
        TCPServer.server_bind(self)
        self.server_name, self.server_port = str(self.server_address[0]), self.server_address[1]
        self.setup_environ()


class _Handler(WSGIRequestHandler):
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
    disable_compression: bool = False,
    web_config_file: str | PathLike[str] | None = None,
    access: AccessRule | None = None,
    **options: Unpack[ScrapeOptions],
) -> tuple[WSGIServer, Thread]:
    """Serve the metrics of `registry` from a daemon thread; return the server and the thread.

    The arguments are those of `prometheus_client.start_http_server`, those of `make_wsgi_app`, and
    `web_config_file`, which takes the place of all those about TLS: see
    `prom_middleware.exposition.webconfig`. Raises OSError when the port or a certificate cannot be
    used, OptionError for wrong options and for TLS that there would not be, WebConfigError for what
    is in that file.
    """
    checked({"port": port, "addr": addr, "web_config_file": web_config_file}, CHECKS)
    tls = TLS(
        *(certfile, keyfile, client_cafile, client_capath, protocol, client_auth_required),
        *(tls_min_version, tls_max_version),
    )
    if web_config_file is None:
        connections = tls.connections()
        app = make_wsgi_app(registry, disable_compression, access=access, **options)
    else:
        tls.refuse("with a web_config_file, say it there")
        from prom_middleware.exposition.webconfig import WebConfigFile, governed

        file = WebConfigFile(web_config_file)
        connections = Configured(file)
        rule = access_rule(access)
        access = file.access if rule is None else Both(file.access, rule)
        app = make_wsgi_app(registry, disable_compression, access=access, **options)
        app = governed(app, file)
    httpd = _make_server(addr, port, app)
    httpd.connections = connections
    close_in_child(httpd.socket)
    thread = Thread(target=httpd.serve_forever, name="prom_middleware metrics", daemon=True)
    thread.start()
    return httpd, thread


def _make_server(addr: str, port: int, app: WSGIApplication) -> _Server:
    family, (host, _) = resolved(addr, port)
    server_class = type("_Server", (_Server,), {"address_family": family})
    return make_server(host, port, app, server_class, _Handler)
