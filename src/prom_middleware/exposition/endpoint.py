"""What every endpoint is given: a registry, who may scrape it, and how."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from prom_middleware.multiprocess.showing import note_shown
from prom_middleware.options import access_rule, collector

if TYPE_CHECKING:
    from prom_middleware.exposition.access import AccessRule
    from prom_middleware.exposition.options import Limits


def endpoint(
    registry: object,
    access: object,
    options: Mapping[str, Any],
    disable_compression: bool = False,
) -> tuple[AccessRule | None, Limits | None]:
    """Return the rule and the limits of an endpoint, from now on one that shows `registry`.

    The limits are None where they are those of all. Raises OptionError for wrong options.
    """
    limits = None
    if options or disable_compression is not False:
        from prom_middleware.exposition.options import Limits  # few endpoints have any

        limits = Limits.from_options(options, disable_compression)
    rule = access_rule(access)
    note_shown(collector(registry))
    return rule, limits
