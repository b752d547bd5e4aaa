"""Serve the metrics of a module on a port of their own, with an exporter's flags."""

from __future__ import annotations

import argparse
import threading
from urllib.parse import urlsplit

from prom_middleware.commands import CommandError, sources, wait
from prom_middleware.exposition.httpd import start_http_server

EPILOG = """\
example:
  prom-middleware serve shop.jobs:registry --web.listen-address=:9100 --web.config.file=web.yml

The web-config file is the one of Prometheus' exporters: TLS, basic auth, headers. It needs the
extra `prom_middleware[web-config]`.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what the command takes; names as exporters have them."""
    parser.set_defaults(endless=True)
    parser.add_argument("source", help=sources.SOURCES)
    parser.add_argument(
        "--web.listen-address",
        dest="address",
        type=address,
        default=":8000",
        metavar="[HOST]:PORT",
        help="where to listen (default: :8000, all of IPv4; [::]:8000 for IPv6 as well)",
    )
    parser.add_argument(
        "--web.config.file", dest="web_config_file", metavar="FILE", help="TLS, users, headers"
    )


def address(text: str) -> tuple[str, int]:
    """Return a host and a port; raise ArgumentTypeError for what is none."""
    try:
        parts = urlsplit(f"//{text}")
        port = parts.port
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r}: {error}") from error
    if port is None or parts.path or parts.query or parts.username is not None:
        raise argparse.ArgumentTypeError(f"{text!r} is not [HOST]:PORT")
    return parts.hostname or "0.0.0.0", port  # noqa: S104 - as exporters do


def written(place: tuple[str, int]) -> str:
    """Return a host and a port as `address` reads them."""
    host, port = place
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def run(options: argparse.Namespace) -> int:
    """Serve until the process is told to end."""
    registry = sources.load_registry(options.source)
    host, port = options.address
    try:
        server, _ = start_http_server(port, host, registry, web_config_file=options.web_config_file)
    except (OSError, ValueError, ImportError) as error:
        raise CommandError(str(error)) from error
    print(f"Serving {options.source} on {host}, port {server.server_port}", flush=True)
    wait(threading.Event())
    return 0
