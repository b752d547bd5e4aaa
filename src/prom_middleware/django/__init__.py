"""The Django door: `INSTALLED_APPS = [..., "prom_middleware.django"]`.

`settings.PROM_MIDDLEWARE` is a dictionary of options. The middleware puts itself in front of
`settings.MIDDLEWARE`, unless it stands there already: an explicit entry wins. To show the metrics
behind your own middleware, set `"metrics_path": None` and include `prom_middleware.django.urls`.
"""

from prom_middleware.errors import MissingFrameworkError

try:
    import django as _django  # noqa: F401
except ImportError as missing:
    raise MissingFrameworkError(
        f"prom_middleware.django needs Django 4.2 or newer ({missing}): "
        'pip install "prom_middleware[django]"'
    ) from missing

from prom_middleware.django.middleware import PrometheusMiddleware

__all__ = ["PrometheusMiddleware"]
