"""A WSGI program that hands /metrics to our application and answers all else by itself.

python examples/seed/4-1-wsgi.py
curl localhost:8000
curl localhost:8000/metrics
"""

from __future__ import annotations

import argparse
from wsgiref.simple_server import make_server

from prom_middleware.exposition import make_wsgi_app

metrics_app = make_wsgi_app()


def my_app(environ, start_fn):
    if environ["PATH_INFO"] == "/metrics":
        return metrics_app(environ, start_fn)
    start_fn("200 OK", [])
    return [b"Hello World"]


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, default=8000)
    httpd = make_server("127.0.0.1", parser.parse_args().port, my_app)
    httpd.serve_forever()
