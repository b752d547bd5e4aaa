"""WSGI applications: a raw one and Flask."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import flask
from prometheus_client import CollectorRegistry
from prometheus_flask_exporter import PrometheusMetrics

from benchmarks import traffic
from benchmarks.counting import Called, otel, samples
from benchmarks.limits import PassWSGI, TimedWSGI
from benchmarks.rounds import OURS, PASS, PEER, TIMER, Case, Contender
from prom_middleware.flask import Prometheus
from prom_middleware.wsgi import PrometheusMiddleware

PARAMETER = "<item_id>"


def raw_app() -> Any:
    """Return an application without a framework."""
    headers = [("Content-Type", "application/json"), ("Content-Length", str(len(traffic.BODY)))]

    def app(environ: Any, start_response: Any) -> list[bytes]:
        start_response("200 OK", headers)
        return [traffic.BODY]

    return app


def flask_app(routes: int) -> flask.Flask:
    """Return a Flask application."""
    app = flask.Flask("benchmarks")
    app.json.compact = True  # type: ignore[attr-defined]
    app.json.sort_keys = False  # type: ignore[attr-defined]

    def item(item_id: str) -> dict[str, Any]:
        return {**traffic.DATA, "id": item_id}

    for number in range(routes):
        app.add_url_rule(traffic.template(number, PARAMETER), f"item{number}", item)
    return app


def raw(routes: tuple[int, ...]) -> list[Case]:
    """Return the case of the raw application, which has no routes."""
    from opentelemetry.instrumentation.wsgi import OpenTelemetryMiddleware

    path, registry, timed = traffic.path(1), CollectorRegistry(), TimedWSGI(raw_app())
    ours = PrometheusMiddleware(raw_app(), registry=registry)
    provider, points = otel()
    peer = OpenTelemetryMiddleware(raw_app(), meter_provider=provider)
    name = "opentelemetry-instrumentation-wsgi"
    contenders = [
        Contender(PASS, PASS, traffic.wsgi(PassWSGI(raw_app()), path)),
        Contender(TIMER, TIMER, traffic.wsgi(timed, path), Called(timed.count)),
        Contender(
            "prom_middleware",
            OURS,
            traffic.wsgi(ours, path),
            samples(registry, "http_requests_total", method="GET", status="200"),
        ),
        Contender(name, PEER, traffic.wsgi(peer, path), points()),
    ]
    return [Case(1, Contender("bare", "bare", traffic.wsgi(raw_app(), path)), contenders)]


def flask_cases(routes: tuple[int, ...]) -> list[Case]:
    """Return the cases of Flask."""
    return [
        Case(
            number,
            Contender("bare", "bare", traffic.wsgi(flask_app(number), traffic.path(number))),
            list(_flask(number)),
        )
        for number in routes
    ]


def _flask(routes: int) -> Iterator[Contender]:
    from opentelemetry.instrumentation.flask import FlaskInstrumentor

    path, rule = traffic.path(routes), traffic.template(routes - 1, PARAMETER)
    timed = TimedWSGI(flask_app(routes))
    yield Contender(PASS, PASS, traffic.wsgi(PassWSGI(flask_app(routes)), path))
    yield Contender(TIMER, TIMER, traffic.wsgi(timed, path), Called(timed.count))

    app, registry = flask_app(routes), CollectorRegistry()
    Prometheus(app, registry=registry)
    count = samples(registry, "http_requests_total", method="GET", route=rule, status="200")
    yield Contender("prom_middleware", OURS, traffic.wsgi(app, path), count)

    app, registry = flask_app(routes), CollectorRegistry()
    exporter = PrometheusMetrics(app, group_by="url_rule", registry=registry)
    # As its documentation has it for all endpoints: the requests in progress, which we count too.
    labels = {"method": lambda: flask.request.method}
    exporter.register_default(exporter.gauge("flask_in_progress", "In progress.", labels=labels))
    name = "flask_http_request_duration_seconds_count"
    count = samples(registry, name, method="GET", url_rule=rule, status="200")
    name = "prometheus-flask-exporter"
    yield Contender(name, PEER, traffic.wsgi(app, path), count)

    app = flask_app(routes)
    provider, points = otel()
    FlaskInstrumentor.instrument_app(app, meter_provider=provider, enable_commenter=False)
    name = "opentelemetry-instrumentation-flask"
    yield Contender(name, PEER, traffic.wsgi(app, path), points(rule))
