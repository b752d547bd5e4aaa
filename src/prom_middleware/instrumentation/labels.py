"""Extra labels: what a user's callable is told, and what becomes of its answer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from prom_middleware import failures
from prom_middleware.options import plain_answer

if TYPE_CHECKING:
    from prom_middleware.instrumentation.dialect import Dialect
    from prom_middleware.instrumentation.observation import Observation
    from prom_middleware.stores import Labels

# Longer values cost memory in every worker and at every scrape, and help nobody to read a graph.
MAX_LENGTH = 128


class Facts(NamedTuple):
    """What a label callable is told about a request that has ended, or has begun to be answered.

    `path` is what the door was asked for, `headers` maps lower-case names to values; `request` is
    the framework's own object: the ASGI scope, the WSGI environ, the Django or Twisted request.
    """

    method: str
    path: str
    route: str
    status: str
    headers: Mapping[str, str]
    request: Any


class ExtraLabels:
    """Make the values of the extra labels; `asks` tells whether a request has a say in them."""

    def __init__(self, labels: Mapping[str, Any], dialect: Dialect) -> None:
        self._labels = tuple(labels.values())
        self.asks = any(map(callable, self._labels))
        self._dialect = dialect

    def __call__(self, observation: Observation, labels: Labels) -> Labels:
        """Return one string for each extra label; a callable that fails gives an empty one."""
        if not self.asks:
            return self._labels
        try:
            facts = self._facts(observation, labels)
            return tuple([_value(one, facts) if callable(one) else one for one in self._labels])
        except Exception as error:
            failures.report("label", error)
            return ("",) * len(self._labels)

    def _facts(self, observation: Observation, labels: Labels) -> Facts:
        (method, route, status), request = labels, observation.request
        path, headers = self._dialect.path(observation), self._dialect.headers(request)
        return Facts(method, path, route, status, headers, request)


def _value(label: Callable[[Facts], object], facts: Facts) -> str:
    try:
        value = label(facts)
        if value is None:
            return ""
        # A lone surrogate cannot be exposed in UTF-8, so it would break every scrape after it.
        text = value if isinstance(value, str) else str(plain_answer("labels", value))
        return text[:MAX_LENGTH].encode("utf-8", "replace").decode("utf-8")
    except failures.ENDING:
        raise
    except BaseException as error:  # as gevent's Timeout is
        failures.report("label", error)
        return ""
