"""The ASGI door; https://asgi.readthedocs.io/en/latest/specs/www.html"""

from prom_middleware.asgi.middleware import PrometheusMiddleware
from prom_middleware.exposition.asgi import make_asgi_app

__all__ = ["PrometheusMiddleware", "make_asgi_app"]
