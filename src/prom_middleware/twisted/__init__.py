"""The Twisted door: a `Site` whose requests tell of themselves, and /metrics as a resource."""

from prom_middleware.errors import MissingFrameworkError

try:
    import twisted.web as _web  # noqa: F401
except ImportError as missing:
    raise MissingFrameworkError(
        f"prom_middleware.twisted needs Twisted 22.10 or newer ({missing}): "
        'pip install "prom_middleware[twisted]"'
    ) from missing

from prom_middleware.twisted.requests import observed_request
from prom_middleware.twisted.resources import MetricsResource
from prom_middleware.twisted.site import instrument_site

__all__ = ["MetricsResource", "instrument_site", "observed_request"]
