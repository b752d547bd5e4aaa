"""A Pushgateway in Python: jobs push their metrics, Prometheus scrapes them here.

gateway.py     what each path and method does
bodies/        from pushed bytes to families
grouping.py    from paths to grouping keys
store.py       groups, changed whole or not at all
consistency.py what may stand beside each other
index.py       all metrics of one name, in order
durable.py     groups on disk
rendering.py   families as scrapers get them
api.py page.py the same for programs and for people
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
