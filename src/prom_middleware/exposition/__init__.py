"""From registry to bytes: scrapes, who may make them, and where they are answered."""

from prometheus_client import write_to_textfile

from prom_middleware.exposition.access import (
    AccessRule,
    ScrapeRequest,
    allow_networks,
    basic_auth,
    bearer_token,
)
from prom_middleware.exposition.asgi import make_asgi_app
from prom_middleware.exposition.httpd import start_http_server
from prom_middleware.exposition.scrape import ScrapeResponse, scrape
from prom_middleware.exposition.wsgi import make_wsgi_app

__all__ = [
    "AccessRule",
    "ScrapeRequest",
    "ScrapeResponse",
    "allow_networks",
    "basic_auth",
    "bearer_token",
    "make_asgi_app",
    "make_wsgi_app",
    "scrape",
    "start_http_server",
    "write_to_textfile",
]
