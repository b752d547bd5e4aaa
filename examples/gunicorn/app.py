"""A small shop in Flask, served by several processes, whose numbers are in every scrape.

    pip install '.[flask]' gunicorn
    gunicorn --workers 4 --chdir examples/gunicorn app:app
    curl http://127.0.0.1:8000/items/7
    curl http://127.0.0.1:8000/metrics

No hook and no variable is needed, and no file `gunicorn.conf.py`. The workers find their server,
and keep their numbers in a directory of its own below the temporary one. Whichever of them answers
the scrape, it shows what all have recorded, those that are gone included: kill one, and look.

    kill -9 $(curl -s http://127.0.0.1:8000/worker)

It is the same with `--worker-class gthread --threads 4`, with `--preload` and with
`--max-requests 1000`; with `uvicorn --workers 4`, hypercorn, granian and uWSGI too. Name a
directory to keep the numbers over a restart of the server, or to read them elsewhere:

    PROMETHEUS_MULTIPROC_DIR=/run/shop gunicorn --workers 4 --chdir examples/gunicorn app:app

Then a process of its own can answer the scrapes, for as long as it has the options of the
application (here: none), even while no worker has time for it:

    PROMETHEUS_MULTIPROC_DIR=/run/shop python examples/gunicorn/app.py --port 9100
"""

from __future__ import annotations

import argparse
import os

from flask import Flask, abort

from prom_middleware import instrument
from prom_middleware.exposition import start_http_server

ITEMS = 100

app = Flask(__name__)
instrument(app)


@app.get("/items/<int:item_id>")
def item(item_id: int) -> dict[str, object]:
    if item_id >= ITEMS:
        abort(404)
    return {"id": item_id, "price": item_id * 100}


@app.get("/worker")
def worker() -> str:
    return str(os.getpid())


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, default=9100)
    start_http_server(parser.parse_args().port, "127.0.0.1")[1].join()
