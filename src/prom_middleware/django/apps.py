"""What the entry in INSTALLED_APPS does."""

from __future__ import annotations

from django.apps import AppConfig
from django.conf import settings

from prom_middleware.django.checks import register_checks
from prom_middleware.django.requests import configured

MIDDLEWARE = "prom_middleware.django.PrometheusMiddleware"


class PromMiddlewareConfig(AppConfig):
    """Put the middleware outermost, where it sees what all others answer."""

    name = "prom_middleware.django"
    label = "prom_middleware"
    verbose_name = "Prometheus metrics"

    def ready(self) -> None:
        """Run before any handler reads `settings.MIDDLEWARE`."""
        configured()  # wrong options are refused here, before anything is served
        register_checks()
        middleware = list(settings.MIDDLEWARE)
        if not any(entry.startswith("prom_middleware.django.") for entry in middleware):
            settings.MIDDLEWARE = [MIDDLEWARE, *middleware]
