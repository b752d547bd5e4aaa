"""The Twisted door: a `Site` whose requests tell of themselves, and /metrics as a resource.

Twisted resources have no route templates. Segments that stand in a resource's `children` are the
template; the first that a resource makes up (`getChild`) and all below it are `{path}`. Klein has
rules, and they are used.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from prom_middleware import failures
from prom_middleware.errors import MissingFrameworkError, NotAnApplicationError
from prom_middleware.exposition import AccessRule, ScrapeRequest
from prom_middleware.exposition.scrape import answer
from prom_middleware.instrumentation import DISCONNECT, Instrumentation, Observation, status_label

try:
    from prometheus_client import REGISTRY
    from prometheus_client.registry import Collector
    from twisted.web.http import unquote
    from twisted.web.resource import IResource, Resource
    from twisted.web.server import Request, Site
except ImportError as missing:
    raise MissingFrameworkError(
        f"prom_middleware.twisted needs Twisted 22.10 or newer ({missing}): "
        'pip install "prom_middleware[twisted]"'
    ) from missing
