"""A Pushgateway in Python: jobs push their metrics, Prometheus scrapes them here.

options.py     how a gateway is set up
gateway.py     what each path and method does
routing.py     paths, methods, and short answers
multiple.py    several groups in one request
bodies/        from pushed bytes to families
families.py    what a family is here
grouping.py    from paths to grouping keys
ttl.py         how long a group is kept
store.py       groups, changed whole or not at all
consistency.py what may stand beside each other
index.py       all metrics of one name, in order
durable.py     groups on disk; stored.py: how their families are written there
rendering.py   families as scrapers get them; numbers.py: as Go writes them
own.py         the gateway's metrics of itself
api.py page/   the same for programs and for people
server.py      a server that needs nothing else; asgi.py: to mount it in an application
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from prom_middleware.lazy import lazily

if TYPE_CHECKING:
    from prom_middleware.pushgateway.asgi import make_asgi_app
    from prom_middleware.pushgateway.durable import StorageError
    from prom_middleware.pushgateway.options import GatewayOptions

__all__ = ["GatewayOptions", "StorageError", "make_asgi_app"]

_HOMES = {
    "GatewayOptions": "prom_middleware.pushgateway.options",
    "StorageError": "prom_middleware.pushgateway.durable",
    "make_asgi_app": "prom_middleware.pushgateway.asgi",
}


__getattr__, __dir__ = lazily(__name__, _HOMES)
