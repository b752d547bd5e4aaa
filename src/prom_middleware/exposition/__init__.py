"""From registry to bytes: scrapes, who may make them, and where they are answered.

asgi.py wsgi.py httpd.py: /metrics as an application, and as a server
textfile.py     the same as a file
endpoint.py     what each of them is given; options.py: how it answers
connections.py  with TLS or without; listening.py: a thread for each peer; webconfig/: by a file
guards.py       what is refused before anything is collected; access.py: rules for that
refusals.py     what is said then; responses.py: what is sent in any case
scraping.py     one scrape, from request to response
negotiation.py  its format and its coding; accept.py: headers that ask for them
compression.py  the codings
turns.py        who makes which scrape when; beside.py: in a thread beside an event loop
collecting/     families from collectors, quick and slow ones
selection/      which of them are wanted: `name[]` and `match[]`
rendering.py    one body for all who want the same; federation.py: for `/federate`
formats/        how a family is written
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from prom_middleware.lazy import lazily

# By who imports a door, before any is made: forks from then on note what was counted before them.
from prom_middleware.multiprocess import showing  # noqa: F401

if TYPE_CHECKING:
    from prom_middleware.exposition.access import (
        AccessRule,
        ScrapeRequest,
        allow_networks,
        basic_auth,
        bearer_token,
    )
    from prom_middleware.exposition.asgi import make_asgi_app
    from prom_middleware.exposition.httpd import start_http_server
    from prom_middleware.exposition.options import ScrapeOptions
    from prom_middleware.exposition.responses import ScrapeResponse
    from prom_middleware.exposition.scraping import scrape
    from prom_middleware.exposition.textfile import write_to_textfile
    from prom_middleware.exposition.wsgi import make_wsgi_app

__all__ = [
    "AccessRule",
    "ScrapeOptions",
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

# A door needs the one that it answers with; a server's worth of modules is not loaded for it.
_HOMES = {
    "AccessRule": "prom_middleware.exposition.access",
    "ScrapeOptions": "prom_middleware.exposition.options",
    "ScrapeRequest": "prom_middleware.exposition.access",
    "ScrapeResponse": "prom_middleware.exposition.responses",
    "allow_networks": "prom_middleware.exposition.access",
    "basic_auth": "prom_middleware.exposition.access",
    "bearer_token": "prom_middleware.exposition.access",
    "make_asgi_app": "prom_middleware.exposition.asgi",
    "make_wsgi_app": "prom_middleware.exposition.wsgi",
    "scrape": "prom_middleware.exposition.scraping",
    "start_http_server": "prom_middleware.exposition.httpd",
    "write_to_textfile": "prom_middleware.exposition.textfile",
}


__getattr__, __dir__ = lazily(__name__, _HOMES)
