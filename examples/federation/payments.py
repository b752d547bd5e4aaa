"""Payments: another service, of another team, which looks at the shop's numbers beside its own.

python examples/federation/payments.py --port 8003
curl -X POST http://127.0.0.1:8003/payments/7
curl http://127.0.0.1:8003/metrics
"""

from __future__ import annotations

import argparse
import logging

from flask import Flask
from werkzeug.serving import make_server

from prom_middleware.flask import Prometheus

app = Flask(__name__)
Prometheus(app)


@app.post("/payments/<int:order>")
def pay(order: int) -> tuple[dict[str, int], int]:
    return {"paid": order}, 201


if __name__ == "__main__":
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, default=8003)
    make_server("127.0.0.1", parser.parse_args().port, app, threaded=True).serve_forever()
