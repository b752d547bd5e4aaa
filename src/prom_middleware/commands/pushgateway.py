"""Serve a Pushgateway: batch jobs push their metrics, Prometheus scrapes them."""

from __future__ import annotations

import argparse
import gc
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from prom_middleware.commands import CommandError, serve, streams, wait
from prom_middleware.errors import OptionError
from prom_middleware.exposition.connections import Configured
from prom_middleware.pushgateway.durable import StorageError
from prom_middleware.pushgateway.gateway import Gateway
from prom_middleware.pushgateway.options import MAX_BODY_BYTES, GatewayOptions, Setup
from prom_middleware.pushgateway.server import GatewayServer
from prom_middleware.pushgateway.ttl import parse_duration

if TYPE_CHECKING:
    from prom_middleware.exposition.webconfig import WebConfigFile

EPILOG = """\
example:
  prom-middleware pushgateway --persistence.file=/var/lib/pushgateway.db
  echo "rows 42" | curl --data-binary @- http://localhost:9091/metrics/job/nightly

The flags of the original work here, but for --web.systemd-socket; --persistence.interval does not
matter, for each push is stored before it is answered. In prometheus.yml, set `honor_labels: true`
for the gateway.
"""
DEFAULT = ("127.0.0.1", 9091)
# What is stored is hundreds of thousands of tuples, in which there is no garbage to be found.
COLLECTION = (100_000, 50, 100)
DRAIN = 5.0  # seconds for requests that are being answered
# Flags of the original that change nothing here, with their defaults.
IGNORED = {
    "log.format": "logfmt",
    "log.level": "info",
    "persistence.interval": "5m",
    "web.local-assets": "",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what the command takes; names as the original has them."""
    parser.set_defaults(endless=True)
    _add_web(parser.add_argument)
    _add_pushes(parser.add_argument)
    for name, default in IGNORED.items():
        parser.add_argument(f"--{name}", dest=name, default=default, help=argparse.SUPPRESS)


def _add_web(add: Callable[..., object]) -> None:
    add(
        "--web.listen-address",
        dest="addresses",
        action="append",
        type=serve.address,
        metavar="[HOST]:PORT",
        help="where to listen, may be repeated (default: 127.0.0.1:9091; :9091: all of IPv4)",
    )
    add("--web.config.file", dest="web_config_file", metavar="FILE", help="TLS, users, headers")
    add(
        "--web.telemetry-path",
        dest="telemetry_path",
        default="/metrics",
        metavar="PATH",
        help="where it is scraped (default: /metrics)",
    )
    add(
        "--web.external-url",
        dest="external_url",
        default="",
        metavar="URL",
        help="how it is reached from outside, for the page",
    )
    add(
        "--web.route-prefix",
        dest="route_prefix",
        metavar="PATH",
        help="what stands before all paths (default: the path of the external URL)",
    )
    add("--web.enable-lifecycle", dest="lifecycle", action="store_true", help="PUT /-/quit")
    add(
        "--web.enable-admin-api",
        dest="admin",
        action="store_true",
        help="PUT /api/v1/admin/wipe, PUT /api/v1/admin/delete?match[]=SELECTOR",
    )


def _add_pushes(add: Callable[..., object]) -> None:
    add("--persistence.file", dest="file", default="", metavar="FILE", help="an SQLite database")
    add(
        "--push.disable-consistency-check",
        dest="unchecked",
        action="store_true",
        help="answer 202, and let later pushes win",
    )
    add("--push.enable-utf8-names", dest="utf8", action="store_true", help="names in quotes")
    add(
        "--push.max-body-size",
        dest="size",
        type=int,
        default=MAX_BODY_BYTES,
        metavar="BYTES",
        help=f"as it comes and unpacked; what is more gets 413 (default: {MAX_BODY_BYTES})",
    )
    add(
        "--push.ttl",
        dest="ttl",
        type=_duration,
        metavar="DURATION",
        help="take groups away that were not pushed for so long; a path with /__push_ttl__/1h says "
        "it for its group; 0: only where a path says so (default: keep them for ever)",
    )
    add(
        "--push.enable-multiple-groups",
        dest="multiple",
        action="store_true",
        help="PUT and POST /api/v1/groups",
    )


def _duration(text: str) -> float:
    try:
        return parse_duration(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def run(options: argparse.Namespace) -> int:
    """Serve until the process is told to end."""
    over = threading.Event()
    gc.set_threshold(*COLLECTION)
    try:
        file = _web_config(options.web_config_file)
        gateway = Gateway(_options(options, over, file), _flags(options))
        servers = [_serving(address, gateway, file) for address in options.addresses or [DEFAULT]]
    except OptionError as error:
        options.refuse(str(error))
        raise
    except (OSError, ValueError, StorageError) as error:
        raise CommandError(str(error)) from error
    if gateway.moved_aside:
        streams.tell(gateway.moved_aside)
    try:
        wait(over)
    finally:
        _end(servers, gateway)
    return 0


def _options(
    options: argparse.Namespace, over: threading.Event, file: WebConfigFile | None
) -> Setup:
    prefix = options.route_prefix
    given = GatewayOptions(
        persistence_file=options.file or None,
        telemetry_path=options.telemetry_path,
        route_prefix=urlsplit(options.external_url).path if prefix is None else prefix,
        enable_admin_api=options.admin,
        disable_consistency_check=options.unchecked,
        enable_utf8_names=options.utf8,
        access=file.access if file else None,
        max_body_bytes=options.size,
        push_ttl=options.ttl,
        enable_multiple_groups=options.multiple,
        quit=over.set if options.lifecycle else None,
    )
    return Setup.from_options(given)


def _flags(options: argparse.Namespace) -> dict[str, str]:
    """Return what the options of the gateway do not know of the command line."""
    ignored = {name: getattr(options, name) for name in IGNORED}
    addresses = map(serve.written, options.addresses or [DEFAULT])
    return {
        **ignored,
        "web.config.file": options.web_config_file or "",
        "web.external-url": options.external_url,
        "web.listen-address": ",".join(addresses),
    }


def _web_config(path: str | None) -> WebConfigFile | None:
    if path is None:
        return None
    from prom_middleware.exposition.webconfig import WebConfigFile

    return WebConfigFile(path)


def _serving(
    address: tuple[str, int], gateway: Gateway, file: WebConfigFile | None
) -> GatewayServer:
    server = GatewayServer(address, gateway, Configured(file) if file else None, file)
    threading.Thread(target=server.serve_forever, name="pushgateway", daemon=True).start()
    host, port = server.server_address[:2]
    print(f"Pushgateway on {host!s}, port {port!s}", flush=True)
    return server


def _end(servers: list[GatewayServer], gateway: Gateway) -> None:
    for server in servers:
        server.shutdown()
        server.server_close()
        server.drain(DRAIN)
    gateway.close()
