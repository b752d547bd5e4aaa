"""Other instrumentation that counts the same requests."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any, NamedTuple

from prom_middleware.doctor.findings import Finding
from prom_middleware.doctor.subjects import Layer, Subject

CHECK = "telemetry"


class Package(NamedTuple):
    """A package that counts requests: as it is called, and how it is taken off."""

    name: str
    remedy: str


# By the module that its layers are from.
PACKAGES = {
    "prometheus_fastapi_instrumentator": Package(
        "prometheus-fastapi-instrumentator", "remove Instrumentator().instrument(app)"
    ),
    "starlette_exporter": Package(
        "starlette-exporter", "remove app.add_middleware(starlette_exporter.PrometheusMiddleware)"
    ),
    "starlette_prometheus": Package(
        "starlette-prometheus", "remove app.add_middleware(starlette_prometheus...)"
    ),
    "aioprometheus": Package("aioprometheus", "remove app.add_middleware(MetricsMiddleware)"),
    "django_prometheus": Package(
        "django-prometheus", "remove django_prometheus.middleware... from MIDDLEWARE"
    ),
    "prometheus_flask_exporter": Package(
        "prometheus-flask-exporter", "remove PrometheusMetrics(app)"
    ),
    "flask_prometheus_metrics": Package("flask-prometheus-metrics", "remove register_metrics(app)"),
}
OPENTELEMETRY = "opentelemetry.instrumentation"
# What stands for a provider where none is configured: nothing is counted then.
UNCONFIGURED = ("_ProxyMeterProvider", "NoOpMeterProvider")


def other_packages(subject: Subject) -> Iterator[Finding]:
    """Yield what else counts the requests for Prometheus."""
    roots = {layer.module.partition(".")[0] for layer in _all_layers(subject)}
    for root in sorted(roots & set(PACKAGES)):
        package = PACKAGES[root]
        yield Finding(
            CHECK,
            f"{package.name} counts every request as well: twice the cost, and twice the series",
            f"{package.remedy}, or keep its names with preset=[...] of the door",
        )


def opentelemetry(subject: Subject) -> Iterator[Finding]:
    """Yield OpenTelemetry's instrumentation, if its metrics go anywhere."""
    layers = [layer for layer in _all_layers(subject) if layer.module.startswith(OPENTELEMETRY)]
    if layers and _meters(None):
        package = ".".join(layers[0].module.split(".")[:3])
        yield Finding(
            CHECK,
            f"{package} measures every request as well (http.server.request.duration)",
            "give its instrument...() a NoOpMeterProvider as meter_provider: traces stay, and "
            "exemplars with them",
        )


def frameworks_own(subject: Subject) -> Iterator[Finding]:
    """Yield FastAPI's own metrics, if they go anywhere."""
    for layer in subject.layers:
        config = getattr(layer.thing, "_telemetry", None)
        if not isinstance(config, dict) or not config.get("metrics"):
            continue
        if config.get("auto_configure") or _meters(config.get("meter_provider")):
            yield Finding(
                CHECK,
                "FastAPI's own telemetry measures every request as well "
                "(http.server.request.duration)",
                'app = FastAPI(telemetry={"metrics": False}): traces stay',
            )


def _all_layers(subject: Subject) -> Iterator[Layer]:
    """Yield the layers, and what a Flask application calls before each request."""
    yield from subject.layers
    for layer in subject.layers:
        hooks = getattr(layer.thing, "before_request_funcs", None)
        for hook in hooks.get(None, ()) if isinstance(hooks, dict) else ():
            yield Layer(getattr(hook, "__name__", ""), str(getattr(hook, "__module__", "")))


def _meters(given: object) -> bool:
    """Tell whether there is a provider that meters: the given one, or that of the process."""
    metrics: Any = sys.modules.get("opentelemetry.metrics")
    if metrics is None:
        return False
    provider = metrics.get_meter_provider() if given is None else given
    return type(provider).__name__ not in UNCONFIGURED
