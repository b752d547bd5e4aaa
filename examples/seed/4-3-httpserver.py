"""A program that serves nothing but its metrics: a counter, one more each second.

    python examples/seed/4-3-httpserver.py
    curl localhost:8000/metrics

`runtime.install()` is what `DefaultExports.initialize()` is in Java: what the process and the
interpreter tell of themselves (`process_*`, `python_*`).
"""

from __future__ import annotations

import argparse
import time

from prometheus_client import Counter

from prom_middleware import runtime
from prom_middleware.exposition import start_http_server

my_counter = Counter("my_counter_total", "An example counter.")

if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, default=8000)
    runtime.install()
    start_http_server(parser.parse_args().port, "127.0.0.1")
    while True:
        my_counter.inc()
        time.sleep(1)
