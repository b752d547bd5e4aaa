"""The WSGI door; PEP 3333."""

from prom_middleware.exposition.wsgi import make_wsgi_app
from prom_middleware.wsgi.middleware import PrometheusMiddleware

__all__ = ["PrometheusMiddleware", "make_wsgi_app"]
