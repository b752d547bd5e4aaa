"""What the tests of `/federate` share: who asks, and who is asked."""

from __future__ import annotations

from typing import Any

from prometheus_client import CollectorRegistry
from prometheus_client import Metric as MetricFamily

from prom_middleware.exposition import ScrapeRequest, ScrapeResponse, scrape
from prom_middleware.exposition.options import Limits

ALL = 'match[]={__name__=~".%2b"}'
OPENMETRICS = "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5"
PROTOBUF = (
    "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited"
)


def asked(
    registry: Any, query: str, accept: str = "", path: str = "/federate", **options: Any
) -> ScrapeResponse:
    request = ScrapeRequest("GET", path, query, {"accept": accept}, "127.0.0.1")
    return scrape(registry, request, None, Limits.from_options(options))


def types(text: str) -> dict[str, str]:
    lines = [line.split(" ") for line in text.splitlines() if line.startswith("# TYPE ")]
    found = {name: kind for _, _, name, kind in lines}
    assert len(found) == len(lines), "a family is there twice"
    return found


class Collected:
    """A collector of given families."""

    def __init__(self, *families: MetricFamily) -> None:
        self.families = families

    def collect(self) -> Any:
        return self.families


def registry_of(*families: MetricFamily) -> CollectorRegistry:
    registry = CollectorRegistry()
    registry.register(Collected(*families))  # type: ignore[arg-type]
    return registry
