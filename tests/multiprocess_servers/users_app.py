"""An application with metrics of its own, made before the door and, with INSTALL, in the store."""

from __future__ import annotations

import os

from flask import Flask
from prometheus_client import Counter, Enum, Gauge, Histogram

from prom_middleware import instrument

ORDERS = Counter("orders", "Orders that were taken.", ["kind"])
BASKETS = Histogram("baskets", "Things in a basket.", buckets=[1, 10])
QUEUE = Gauge("queue", "Orders that wait.", multiprocess_mode="livesum")

if "INSTALL" in os.environ:
    from prom_middleware.multiprocess import install

    install()
    STATE = Enum("state", "Of the shop.", states=["shut", "open"])

app = Flask(__name__)


@app.get("/order/<kind>")
def order(kind: str) -> str:
    ORDERS.labels(kind).inc()
    BASKETS.observe(5)
    QUEUE.set(1)
    if "INSTALL" in os.environ:
        STATE.state("open")
    return str(os.getpid())


instrument(app)
