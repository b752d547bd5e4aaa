"""A server to be flooded: `python -m benchmarks.flooded`, prints its ports for HTTP, UDP and TCP.

It is that of `stalled`, with a StatsD listener in the same process.
"""

from __future__ import annotations

import gc
import json
import socket

import uvicorn
from prometheus_client import CollectorRegistry

from benchmarks.stalled import Watch, page
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
    gc.collect()
    with socket.socket() as listening:
        listening.bind(HERE)
        listening.listen(1024)
        ports = (listening.getsockname()[1], listener.udp[1], listener.tcp[1])
        print(json.dumps(ports), flush=True)
        config = uvicorn.Config(app, log_level="error", access_log=False, lifespan="off")
        uvicorn.Server(config).run(sockets=[listening])


if __name__ == "__main__":
    main()
