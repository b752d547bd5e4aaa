"""Bridge metrics to another system, or another system's to Prometheus."""

from __future__ import annotations

import argparse
import threading
from collections.abc import Iterable
from urllib.parse import urlsplit

from prometheus_client import CollectorRegistry
from prometheus_client import Metric as MetricFamily
from prometheus_client.registry import Collector

from prom_middleware.bridge import Bridge, GraphiteCollector, StatsdCollector, load_mapping
from prom_middleware.bridge.incoming.listener import Listener
from prom_middleware.bridge.incoming.mapping import Rules
from prom_middleware.bridge.incoming.receiver import MOST_SERIES, Receiver
from prom_middleware.bridge.outgoing.bridge import INTERVAL, TIMEOUT
from prom_middleware.commands import CommandError, arguments, sources, wait
from prom_middleware.commands.serve import address
from prom_middleware.errors import OptionError
from prom_middleware.exposition.httpd import start_http_server
from prom_middleware.logins import said, shown

EPILOG = """\
examples:
  prom-middleware bridge --from http://localhost:8000/metrics --to graphite://carbon:2003 --tags
  prom-middleware bridge --from shop.jobs:registry --to otlp+http://collector:4318/v1/metrics
  prom-middleware bridge --from statsd://:9125 --mapping statsd.yml --web.listen-address :9102
  prom-middleware bridge --from statsd://:9125 --from graphite://:9109 --to graphite://carbon:2003

statsd:// and graphite:// after --from are where to listen, by TCP and UDP. OTLP needs the extra
`prom_middleware[otlp]`, a mapping file `prom_middleware[mapping]`.
"""
PAGE_TYPES = (
    "application/openmetrics-text;version=1.0.0,text/plain;version=1.0.0;q=0.5,text/plain;q=0.3"
)
RECEIVERS: dict[str, type[Receiver]] = {"statsd": StatsdCollector, "graphite": GraphiteCollector}
PORTS = {"statsd": 9125, "graphite": 9109}  # those of statsd_exporter and graphite_exporter


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what the command takes."""
    parser.set_defaults(endless=True)
    parser.add_argument(
        "--from",
        dest="sources",
        type=origin,
        action="append",
        required=True,
        metavar="SOURCE",
        help=f"a page's URL, statsd://[HOST]:PORT, graphite://[HOST]:PORT, or {sources.SOURCES}",
    )
    parser.add_argument("--to", metavar="URL", help="graphite://HOST:PORT, otlp+http://HOST:PORT")
    parser.add_argument(
        "--web.listen-address",
        dest="address",
        type=address,
        metavar="[HOST]:PORT",
        help="show everything on /metrics, beside or instead of --to",
    )
    parser.add_argument(
        "--interval",
        type=arguments.seconds,
        default=INTERVAL,
        help="seconds (default: %(default)g)",
    )
    parser.add_argument(
        "--timeout",
        type=arguments.seconds,
        default=TIMEOUT,
        help="seconds for one attempt to send, and for a page (default: %(default)g)",
    )
    parser.add_argument("--tags", action="store_true", help="labels as Graphite's tags")
    parser.add_argument("--prefix", default="", help="what Graphite's paths begin with")
    parser.add_argument("--mapping", metavar="FILE", help="rules in statsd_exporter's YAML")
    parser.add_argument(
        "--max-series",
        type=arguments.count,
        default=MOST_SERIES,
        help="series of each listener (default: %(default)d)",
    )


def origin(text: str) -> str:
    """Return where metrics come from; raise ArgumentTypeError for a URL that is none."""
    try:
        _ = urlsplit(text).port if "://" in text else None
    except ValueError as error:
        raise argparse.ArgumentTypeError(said(text, error)) from error
    return text


def run(options: argparse.Namespace) -> int:
    """Bridge until the process is told to end; then send what is left."""
    if options.to is None and options.address is None:
        options.refuse("--to or --web.listen-address is wanted")
    registry = CollectorRegistry()
    receivers: list[Receiver] = []
    try:
        for source in options.sources:
            add_source(registry, source, options, receivers)
        bridge = _bridge(registry, options)
        _serve(registry, options)
        if bridge is not None:
            bridge.start()
    except OptionError as error:
        options.refuse(str(error))
        raise
    except (OSError, ValueError, ImportError) as error:
        raise CommandError(str(error)) from error
    _wait(receivers, bridge)
    return 0


def _wait(receivers: Iterable[Receiver], bridge: Bridge | None) -> None:
    """Wait for the end: listeners first, so that the bridge sends what came in last."""
    try:
        wait(threading.Event())
    finally:
        for receiver in receivers:
            receiver.stop()
        if bridge is not None:
            bridge.stop()


def add_source(
    registry: CollectorRegistry,
    source: str,
    options: argparse.Namespace,
    receivers: list[Receiver],
) -> None:
    """Register what a source has, and listen where it is a protocol."""
    parts = urlsplit(source) if "://" in source else None
    if parts is None:
        registry.register(Unclaimed(sources.load_registry(source)))
    elif sources.is_url(source):
        registry.register(Page(source, options.timeout))
    elif parts.scheme in RECEIVERS:
        rules = _rules(options.mapping)
        receiver = RECEIVERS[parts.scheme](rules, registry, max_series=options.max_series)
        receivers.append(receiver)
        port = PORTS[parts.scheme] if parts.port is None else parts.port
        where = (parts.hostname or "0.0.0.0", port)  # noqa: S104
        at = _ports(receiver.listen(udp=where, tcp=where))
        print(f"Listening for {parts.scheme} on {where[0]}, {at}", flush=True)
    else:
        known = " nor ".join(f"{scheme}://" for scheme in RECEIVERS)
        options.refuse(f"{shown(source)}: neither a page's URL nor {known}")


def _ports(listener: Listener) -> str:
    """Return where it listens, in words; with port 0, the system has chosen twice."""
    udp, tcp = (place[1] if place else 0 for place in (listener.udp, listener.tcp))
    return f"port {udp}" if udp == tcp else f"UDP port {udp}, TCP port {tcp}"


def _rules(path: str | None) -> Rules | None:
    if path is None:
        return None
    try:
        return load_mapping(path)
    except OSError as error:
        raise CommandError(f"{path}: the file cannot be read: {error.strerror}") from error


def _bridge(registry: Collector, options: argparse.Namespace) -> Bridge | None:
    if options.to is None:
        return None
    bridge = Bridge(
        options.to,
        registry,
        interval=options.interval,
        timeout=options.timeout,
        tags=options.tags,
        prefix=options.prefix,
    )
    print(f"Sending to {bridge.health.to} every {options.interval:g} seconds", flush=True)
    return bridge


def _serve(registry: Collector, options: argparse.Namespace) -> None:
    if options.address is not None:
        host, port = options.address
        server, _ = start_http_server(port, host, registry)
        print(f"Serving /metrics on {host}, port {server.server_port}", flush=True)


class Unclaimed(Collector):
    """Another registry in this one, which does not ask it for its names."""

    def __init__(self, inner: Collector) -> None:
        self._inner = inner

    def collect(self) -> Iterable[MetricFamily]:
        """Return what the other one has."""
        return self._inner.collect()

    def describe(self) -> list[MetricFamily]:
        """Return nothing."""
        return []


class Page(Collector):
    """What a URL shows, fetched each time."""

    def __init__(self, url: str, timeout: float) -> None:
        self._url = url
        self._timeout = timeout

    def collect(self) -> Iterable[MetricFamily]:
        """Return the families of the page; raise CommandError or ParseError."""
        from prom_middleware.parser import parse

        body, content_type = sources.fetched(self._url, self._timeout, PAGE_TYPES)
        return list(parse(body, content_type))

    def describe(self) -> list[MetricFamily]:
        """Return nothing: what there will be, nobody knows."""
        return []
