"""A small shop in Flask, with its sessions and a login check before every request.

    pip install '.[flask]'
    python examples/flask/app.py --port 8000
    curl http://127.0.0.1:8000/items/7
    curl http://127.0.0.1:8000/metrics

`Prometheus(app)` is the one line (`prom_middleware.instrument(app)` does the same). It stands
outside the application: the check below cannot refuse a scrape, and its own 401s are recorded
with the route that they were meant for.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator

from flask import Flask, Response, abort, request, session

from prom_middleware.flask import Prometheus

ITEMS = 100

app = Flask(__name__)
app.secret_key = "for the example only"
Prometheus(app)


@app.before_request
def check_login() -> None:
    if request.path.startswith("/account") and "user" not in session:
        abort(401)


@app.get("/")
def home() -> dict[str, object]:
    return {"hello": session.get("user", "stranger"), "items": ITEMS}


@app.get("/items/<int:item_id>")
def item(item_id: int) -> dict[str, object]:
    if item_id >= ITEMS:
        abort(404)
    return {"id": item_id, "price": item_id * 100}


@app.post("/login/<name>")
def login(name: str) -> tuple[str, int]:
    session["user"] = name
    return "", 204


@app.get("/account")
def account() -> dict[str, str]:
    return {"user": session["user"]}


@app.get("/boom")
def boom() -> None:
    raise RuntimeError("An error that nobody catches.")


@app.get("/report")
def report() -> Response:
    """Answer in chunks: the time that counts is that of the last one."""

    def rows() -> Iterator[str]:
        for number in range(5):
            time.sleep(0.02)
            yield f"{number},{number * 100}\n"

    return Response(rows(), mimetype="text/csv")


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, default=8000)
    app.run(host="127.0.0.1", port=parser.parse_args().port)
