"""A server to be flooded: `python -m benchmarks.flooded`, prints its ports for HTTP, UDP and TCP.

It is that of `stalled`, with a StatsD listener in the same process.
"""

from __future__ import annotations

import json

from prometheus_client import CollectorRegistry

from benchmarks.stalled import Watch, page, serve
from prom_middleware.asgi import PrometheusMiddleware
from prom_middleware.bridge import StatsdCollector

HERE = ("127.0.0.1", 0)


def main() -> None:
    """Serve."""
    registry = CollectorRegistry()
    app = Watch(PrometheusMiddleware(page, registry=registry))
    listener = StatsdCollector(registry=registry).listen(udp=HERE, tcp=HERE)
    assert listener.udp
    assert listener.tcp
    udp, tcp = listener.udp[1], listener.tcp[1]
    serve(app, lambda port: json.dumps((port, udp, tcp)))


if __name__ == "__main__":
    main()
