"""Other packages, and frameworks themselves, that measure the same requests."""

from __future__ import annotations

import pytest
from prometheus_client import CollectorRegistry

from doctor.applications import (
    Options,
    asgi_app,
    fastapi_app,
    flask_app,
    found,
    only,
    starlette_app,
)
from prom_middleware import instrument


def test_prometheus_fastapi_instrumentator(options: Options) -> None:
    package = pytest.importorskip("prometheus_fastapi_instrumentator")
    app = instrument(fastapi_app(), **options)
    package.Instrumentator(registry=CollectorRegistry()).instrument(app)
    assert "prometheus-fastapi-instrumentator" in only(app, "telemetry").problem


def test_starlette_exporter(options: Options) -> None:
    package = pytest.importorskip("starlette_exporter")
    app = starlette_app()
    app.add_middleware(package.PrometheusMiddleware)
    assert "starlette-exporter" in only(instrument(app, **options), "telemetry").problem


def test_prometheus_flask_exporter(options: Options) -> None:
    package = pytest.importorskip("prometheus_flask_exporter")
    app = instrument(flask_app(), **options)
    package.PrometheusMetrics(app, registry=CollectorRegistry())
    assert "prometheus-flask-exporter" in only(app, "telemetry").problem


@pytest.fixture
def meters(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have a provider that meters in this process."""
    pytest.importorskip("opentelemetry.sdk.metrics")
    from opentelemetry import metrics
    from opentelemetry.sdk.metrics import MeterProvider

    monkeypatch.setattr(metrics, "get_meter_provider", MeterProvider)


def test_opentelemetry_around_asgi(options: Options, meters: None) -> None:
    asgi = pytest.importorskip("opentelemetry.instrumentation.asgi")
    app = asgi.OpenTelemetryMiddleware(instrument(asgi_app(), **options))
    assert "opentelemetry.instrumentation.asgi" in only(app, "telemetry").problem


def test_opentelemetry_in_flask(options: Options, meters: None) -> None:
    package = pytest.importorskip("opentelemetry.instrumentation.flask")
    app = instrument(flask_app(), **options)
    package.FlaskInstrumentor().instrument_app(app)
    assert "opentelemetry.instrumentation.flask" in only(app, "telemetry").problem


def test_opentelemetry_that_meters_nothing(options: Options) -> None:
    asgi = pytest.importorskip("opentelemetry.instrumentation.asgi")
    assert found(asgi.OpenTelemetryMiddleware(instrument(asgi_app(), **options))) == []


def has_own_telemetry() -> bool:
    fastapi = pytest.importorskip("fastapi")
    return hasattr(fastapi.FastAPI(), "_telemetry")


def test_fastapis_own_metrics(options: Options) -> None:
    if not has_own_telemetry():
        pytest.skip("this FastAPI has none")
    from opentelemetry.sdk.metrics import MeterProvider

    given = {"meter_provider": MeterProvider()}
    finding = only(instrument(fastapi_app(telemetry=given), **options), "telemetry")
    assert "FastAPI's own telemetry" in finding.problem
    other = {**options, "registry": CollectorRegistry()}
    off = {**given, "metrics": False}
    assert found(instrument(fastapi_app(telemetry=off), **other)) == []


def test_fastapis_own_metrics_where_the_process_has_a_provider(
    options: Options, meters: None
) -> None:
    if not has_own_telemetry():
        pytest.skip("this FastAPI has none")
    assert only(instrument(fastapi_app(), **options), "telemetry")


def test_fastapis_own_metrics_by_its_variable(
    options: Options, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not has_own_telemetry():
        pytest.skip("this FastAPI has none")
    monkeypatch.setenv("FASTAPI_OTEL_AUTO_CONFIGURE", "true")
    assert only(instrument(fastapi_app(), **options), "telemetry")
