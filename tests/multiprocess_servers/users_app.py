"""An application with metrics of its own, made before the door and, with INSTALL, in the store."""

from __future__ import annotations

import os

from flask import Flask
from prometheus_client import CollectorRegistry, Counter, Enum, Gauge, Histogram, generate_latest

from prom_middleware import instrument
from prom_middleware.flask import metrics_blueprint

ORDERS = Counter("orders", "Orders that were taken.", ["kind"])
BASKETS = Histogram("baskets", "Things in a basket.", buckets=[1, 10])
QUEUE = Gauge("queue", "Orders that wait.", multiprocess_mode="livesum")
SHOP = CollectorRegistry()
SOLD = Counter("sold", "Things that were sold.", registry=SHOP)

if "INSTALL" in os.environ:
    from prom_middleware.multiprocess import install

    install()
    STATE = Enum("state", "Of the shop.", states=["shut", "open"])

app = Flask(__name__)


@app.get("/order/<kind>")
def order(kind: str) -> str:
    ORDERS.labels(kind).inc()
    BASKETS.observe(5)
    SOLD.inc()
    QUEUE.set(1)
    if "INSTALL" in os.environ:
        STATE.state("open")
    return str(os.getpid())


@app.get("/push")
def push() -> bytes:
    """Return what a run would push: a registry for each, as `prometheus_client` advises."""
    registry = CollectorRegistry()
    Counter("rows", "Rows of this run.", registry=registry).inc(3)
    return generate_latest(registry)


app.register_blueprint(metrics_blueprint(registry=SHOP), url_prefix="/shop")
instrument(app)
