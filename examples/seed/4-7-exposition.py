"""Every metric type, labels, escapes and timestamps, from a collector of one's own.

python examples/seed/4-7-exposition.py                      print the text
python examples/seed/4-7-exposition.py --port 8000          serve it: curl localhost:8000/metrics
python examples/seed/4-7-exposition.py --textfile my.prom   for the Node Exporter's Textfile
                                                            Collector
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from threading import Event

from prometheus_client import CollectorRegistry
from prometheus_client.metrics_core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
    SummaryMetricFamily,
    UntypedMetricFamily,
)
from prometheus_client.registry import Collector

from prom_middleware.exposition import ScrapeRequest, scrape, start_http_server, write_to_textfile

BUCKETS = [("0.1", 7), ("0.2", 18), ("0.4", 24), ("0.8", 28), ("+Inf", 29)]
NOON = 1670000000.5  # seconds since the epoch; the text has milliseconds


class Types:
    """One family of each type."""

    def collect(self) -> Iterator[Metric]:
        yield GaugeMetricFamily("example_gauge", "An example gauge", value=-0.7)
        yield GaugeMetricFamily("a_small_gauge", "A value that needs an exponent", value=8.3e-96)
        yield CounterMetricFamily("my_counter_total", "An example counter", value=14)
        yield SummaryMetricFamily("my_summary", "An example summary", 19, 0.6)
        yield HistogramMetricFamily("latency_seconds", "An example histogram", BUCKETS, 0.6)
        yield UntypedMetricFamily("my_untyped", "A value of unknown type", value=3)


class Texts:
    """Labels, what has to be escaped in them and in HELP, and timestamps."""

    def collect(self) -> Iterator[Metric]:
        requests = CounterMetricFamily(
            "my_requests_total", "Requests, by method and path", labels=["method", "path"]
        )
        requests.add_metric(["GET", "/"], 3)
        requests.add_metric(["POST", "/한글"], 1)
        yield requests
        escapes = GaugeMetricFamily(
            "my_escapes", 'One \\ backslash,\na line feed and a "quote"', labels=["text"]
        )
        escapes.add_metric(['C:\\DIR\nsaid "hi"'], 1)
        yield escapes
        past = GaugeMetricFamily("my_past", "A value that was true at noon", labels=["place"])
        past.add_metric(["here"], 22.5, timestamp=NOON)
        yield past


def registry() -> CollectorRegistry:
    made = CollectorRegistry()
    collectors: tuple[Collector, ...] = (Types(), Texts())
    for collector in collectors:
        made.register(collector)
    return made


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int)
    parser.add_argument("--textfile")
    options = parser.parse_args()
    if options.textfile:
        write_to_textfile(options.textfile, registry())
    elif options.port is not None:
        start_http_server(options.port, "127.0.0.1", registry())
        Event().wait()
    else:
        request = ScrapeRequest("GET", "/metrics", "", {}, None)
        print(scrape(registry(), request).body.decode(), end="")


if __name__ == "__main__":
    main()
