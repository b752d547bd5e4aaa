"""A `Site` that records its requests."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

from twisted.web.http import Request
from twisted.web.resource import IResource
from twisted.web.server import Site

from prom_middleware.errors import NotAnApplicationError
from prom_middleware.instrumentation import Instrumentation
from prom_middleware.twisted.lag import sample_while_listening
from prom_middleware.twisted.requests import CORES, observed_request
from prom_middleware.twisted.routing import Dialect

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from prom_middleware.instrumentation import Options


def instrument_site(site: Any, **options: Unpack[Options]) -> Site:
    """Record the requests of a `Site`, or of a new one around a root resource, and answer /metrics.

    A given site keeps its own request class; ours is derived from it. Raises a ConfigurationError
    for wrong options, NotAnApplicationError for what is neither a site nor a resource.
    """
    if not isinstance(site, Site):
        if not IResource.providedBy(site):
            raise NotAnApplicationError(f"{site!r} is neither a twisted.web Site nor a resource")
        site = Site(site)
    core = Instrumentation(options, Dialect())
    site.requestFactory = _request_factory(site.requestFactory, core)
    sample_while_listening(site)
    return site


def _request_factory(factory: Any, core: Instrumentation) -> Any:
    if inspect.isclass(factory) and issubclass(factory, Request):
        return observed_request(factory, core)

    derived: dict[type, Any] = {}

    def make_request(*arguments: Any, **keywords: Any) -> Request:
        request = factory(*arguments, **keywords)
        kind = type(request)
        if kind not in derived:
            derived[kind] = observed_request(kind, core)
        request.__class__ = derived[kind]
        return request

    setattr(make_request, CORES, (core, *getattr(factory, CORES, ())))
    return make_request
