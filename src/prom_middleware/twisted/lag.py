"""The reactor's lag, sampled while a site listens.

A call that is left in the reactor when nothing listens any more would keep the tests of an
application from ending clean, so the sampling ends with the last port, as Site's own clock does.
"""

from __future__ import annotations

import sys
from typing import Any

from prom_middleware import failures


def sample_while_listening(site: Any) -> None:
    """Have `site` sample its reactor's lag from its first port to its last."""
    if getattr(site, "_prom_middleware_sampled", False):  # instrumented for two registries
        return
    site._prom_middleware_sampled = True
    start, stop = site.startFactory, site.stopFactory
    samplers: list[Any] = []

    def start_factory() -> None:
        start()
        try:
            samplers.extend(_started(site))
        except Exception as error:
            failures.report("event_loop", error)

    def stop_factory() -> None:
        while samplers:
            try:
                samplers.pop().stop()
            except Exception as error:
                failures.report("event_loop", error)
        stop()

    site.startFactory, site.stopFactory = start_factory, stop_factory


def _started(site: Any) -> list[Any]:
    # Loaded by whoever called `runtime.install`.
    installation = sys.modules.get("prom_middleware.runtime.installation")
    if installation is None:
        return []
    sampler = installation.reactor_sampler(site.reactor.callLater)
    if sampler is None:
        return []
    sampler.start()
    return [sampler]
