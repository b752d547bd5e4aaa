"""Options of an endpoint that answers scrapes, named as Go's `promhttp.HandlerOpts` names them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Literal, NamedTuple, TypedDict

from prom_middleware.naming import is_label_name
from prom_middleware.options import SECONDS_OR_NONE, checked, is_encodable, is_switch, rules, whole

ErrorHandling = Literal["continue", "http_error"]
# Prometheus's own scrape_timeout, for whoever sends none.
UNSAID = 10.0
# A header may not ask for more, unless the option allows it.
LONGEST = 300.0
# What is left for the way back: the scraper's time began before ours and ends after it.
MARGIN = 0.5
HEADER = "x-prometheus-scrape-timeout-seconds"


class ScrapeOptions(TypedDict, total=False):
    """Keyword-only options of whatever answers scrapes by itself, beside `access`.

    max_requests_in_flight   scrapes of one registry at a time; those over it get 503; 0: no limit
    timeout                  seconds that a scrape may take at most, though the scraper's header may
                             say less; None: what the header says, less half a second, or 10
    error_handling           "continue": what fails is left out and counted; "http_error": 500
    external_labels          labels that series get at /federate where they have none of that name
    """

    max_requests_in_flight: int
    timeout: float | None
    error_handling: ErrorHandling
    external_labels: Mapping[str, str]


class Limits(NamedTuple):
    """The options of one endpoint, checked."""

    max_requests_in_flight: int = 40  # as node_exporter's --web.max-requests
    timeout: float | None = None
    error_handling: ErrorHandling = "continue"
    disable_compression: bool = False
    external_labels: Mapping[str, str] = MappingProxyType({})

    @classmethod
    def from_options(cls, options: Mapping[str, Any], disable_compression: bool = False) -> Limits:
        """Return the limits; raise OptionError for an option that is none, or a wrong value."""
        given = {**options, "disable_compression": disable_compression}
        return cls(**checked(given, CHECKS))

    def seconds(self, headers: Mapping[str, str]) -> float:
        """Return how long a scrape with these headers may take."""
        said = _number(headers.get(HEADER, ""))
        if said is None:
            return UNSAID if self.timeout is None else self.timeout
        said = max(said - MARGIN, said / 2)
        return min(said, LONGEST if self.timeout is None else self.timeout)


def _number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if number > 0 and math.isfinite(number) else None


def _is_handling(value: object) -> bool:
    return value in ("continue", "http_error")


def _are_labels(value: object) -> bool:
    return isinstance(value, Mapping) and all(
        is_label_name(name) and is_encodable(text) for name, text in value.items()
    )


CHECKS = rules(
    {
        "max_requests_in_flight": (whole(0), "a number of scrapes, or 0 for no limit"),
        "timeout": SECONDS_OR_NONE,
        "error_handling": (_is_handling, '"continue" or "http_error"'),
        "disable_compression": (is_switch, "True or False"),
        "external_labels": (_are_labels, "a dictionary of labels' names and values"),
    }
)
