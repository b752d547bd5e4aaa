"""How a gateway is set up: the options of `make_asgi_app`, checked once."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from prom_middleware.errors import OptionError
from prom_middleware.exposition.access import AccessRule
from prom_middleware.pushgateway.ttl import LONGEST

# As many bytes as a push may have, as it comes and unpacked: a million series and more.
MAX_BODY_BYTES = 64 * 1024 * 1024
# Flags of the original that are no options of a gateway.
OTHER_FLAGS = (
    "log.format",
    "log.level",
    "persistence.interval",
    "web.config.file",
    "web.external-url",
    "web.listen-address",
    "web.local-assets",
)


class GatewayOptions(NamedTuple):
    """Keyword-only options of a gateway; those of the original are named as its flags are.

    persistence_file            where groups are kept; None: in memory only
    telemetry_path              where it is scraped, below the prefix
    route_prefix                what stands before all paths
    enable_admin_api            wiping, and deleting by selector
    disable_consistency_check   pushes are answered 202, and the last one wins
    enable_utf8_names           names with any characters in text and in grouping keys
    access                      who may do anything at all: a rule as /metrics has them
    max_body_bytes              more than that, as it comes or unpacked, is answered 413
    push_ttl                    seconds after which a group goes that is not pushed; a grouping key
                                may say `__push_ttl__`; 0: only where it does; None: never
    enable_multiple_groups      several groups in one request
    quit                        what ends the server, for /-/quit; None: it is not enabled
    """

    persistence_file: str | None = None
    telemetry_path: str = "/metrics"
    route_prefix: str = ""
    enable_admin_api: bool = False
    disable_consistency_check: bool = False
    enable_utf8_names: bool = False
    access: AccessRule | None = None
    max_body_bytes: int = MAX_BODY_BYTES
    push_ttl: float | None = None
    enable_multiple_groups: bool = False
    quit: Callable[[], object] | None = None

    def checked(self) -> GatewayOptions:
        """Return the options with their paths in order; raise OptionError for wrong values."""
        if self.push_ttl is not None and not 0 <= self.push_ttl <= LONGEST:
            raise OptionError(f"push_ttl={self.push_ttl!r} is not a number of seconds")
        if self.max_body_bytes < 1:
            raise OptionError(f"max_body_bytes={self.max_body_bytes!r} is no size")
        return self._replace(
            route_prefix=_prefix(self.route_prefix), telemetry_path=_prefix(self.telemetry_path)
        )

    def flags(self) -> dict[str, str]:
        """Return the options as the page and the API show them: all of the original's flags."""
        shown = {
            **dict.fromkeys(OTHER_FLAGS, ""),
            "persistence.file": self.persistence_file or "",
            "push.disable-consistency-check": _boolean(self.disable_consistency_check),
            "push.enable-utf8-names": _boolean(self.enable_utf8_names),
            "web.enable-admin-api": _boolean(self.enable_admin_api),
            "web.enable-lifecycle": _boolean(self.quit is not None),
            "web.route-prefix": self.route_prefix,
            "web.systemd-socket": "false",
            "web.telemetry-path": self.telemetry_path,
            **self._flags_of_ours(),
        }
        return dict(sorted(shown.items()))

    def _flags_of_ours(self) -> dict[str, str]:
        """Return those that the original has not, where they say anything."""
        flags = {}
        if self.max_body_bytes != MAX_BODY_BYTES:
            flags["push.max-body-size"] = str(self.max_body_bytes)
        if self.push_ttl is not None:
            flags["push.ttl"] = f"{self.push_ttl:g}s"
        if self.enable_multiple_groups:
            flags["push.enable-multiple-groups"] = "true"
        return flags


def _prefix(path: str) -> str:
    stripped = path.strip("/")
    return f"/{stripped}" if stripped else ""


def _boolean(value: bool) -> str:
    return "true" if value else "false"
