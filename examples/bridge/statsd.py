"""StatsD's clients and OpenTelemetry's SDK on one /metrics, beside prometheus_client's own metrics.

    pip install '.[mapping]'
    python examples/bridge/statsd.py --port 8000 --statsd 8125
    printf 'shop.books.sold:3|c|#title:Emma' | nc -u -w1 127.0.0.1 8125
    curl http://127.0.0.1:8000/metrics

`statsd.yml`, beside this file, gives what comes in its names and labels, in the YAML of
statsd_exporter. The OpenTelemetry part is left out where its SDK is not installed.
"""

from __future__ import annotations

import argparse
import threading
from pathlib import Path

from prom_middleware.bridge import StatsdCollector, load_mapping
from prom_middleware.exposition import start_http_server


def count_with_opentelemetry() -> None:
    from opentelemetry.sdk.metrics import MeterProvider

    from prom_middleware.bridge import OpenTelemetryReader

    meter = MeterProvider([OpenTelemetryReader()]).get_meter("shop")
    meter.create_counter("visits", "{visit}", "People who came in.").add(1, {"door": "front"})


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--statsd", type=int, default=8125)
    options = parser.parse_args()
    statsd = StatsdCollector(load_mapping(Path(__file__).with_name("statsd.yml")))
    where = ("127.0.0.1", options.statsd)
    statsd.listen(udp=where, tcp=where)
    try:
        count_with_opentelemetry()
    except ImportError:
        print("No OpenTelemetry here.")
    start_http_server(options.port, "127.0.0.1")
    print(f"StatsD on port {options.statsd}, /metrics on port {options.port}", flush=True)
    threading.Event().wait()
