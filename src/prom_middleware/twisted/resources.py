"""/metrics as a resource."""

from __future__ import annotations

from functools import partial
from typing import Any

from prometheus_client import REGISTRY
from prometheus_client.registry import Collector
from twisted.web.resource import Resource

from prom_middleware.exposition import AccessRule, ScrapeRequest
from prom_middleware.exposition.scraping import answer
from prom_middleware.instrumentation import discard_observations
from prom_middleware.twisted.routing import Dialect

# Where a request keeps its observations, one for each registry.
OBSERVATIONS = "_prom_middleware"


class MetricsResource(Resource):  # type: ignore[misc]
    """Answer scrapes of `registry`: `root.putChild(b"metrics", MetricsResource())`."""

    isLeaf = True  # noqa: N815 - Twisted's name

    def __init__(self, registry: Collector = REGISTRY, *, access: AccessRule | None = None) -> None:
        super().__init__()
        self._registry = registry
        self._access = access

    def render(self, request: Any) -> bytes:
        """Answer, whatever the method: other ones than GET and HEAD get 405."""
        response = answer(self._registry, partial(_scrape_request, request), self._access)
        request.setResponseCode(response.status)
        for name, value in response.headers:
            request.setHeader(name.encode(), value.encode("latin-1"))
        return response.body


def _scrape_request(request: Any) -> ScrapeRequest:
    discard_observations(vars(request).get(OBSERVATIONS, {}))
    dialect = Dialect()
    client = request.getClientAddress()
    return ScrapeRequest(
        method=request.method.decode("latin-1"),
        path=dialect.path(request),
        query=request.uri.partition(b"?")[2].decode("latin-1"),
        headers=dialect.headers(request),
        client=getattr(client, "host", None),
    )
