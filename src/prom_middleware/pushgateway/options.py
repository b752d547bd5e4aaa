"""How a gateway is set up: the options of `make_asgi_app`, checked once."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from functools import partial
from os import PathLike
from typing import Any, NamedTuple, TypedDict

from prom_middleware.errors import OptionError
from prom_middleware.exposition.access import AccessRule
from prom_middleware.options import Check, access_rule, checked, is_number, is_switch, rules, whole
from prom_middleware.pushgateway.ttl import LONGEST

# As many bytes as a push may have, as it comes and unpacked: half a million series.
MAX_BODY_BYTES = 32 * 1024 * 1024
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


class GatewayOptions(TypedDict, total=False):
    """Keyword-only options of a gateway; those of the original are named as its flags are.

    persistence_file            where groups are kept; None: in memory only
    telemetry_path              where it is scraped, below the prefix
    route_prefix                what stands before all paths
    enable_admin_api            wiping, and deleting by selector
    disable_consistency_check   pushes are answered 202, and the last one wins
    enable_utf8_names           names with any characters in text and in grouping keys
    access                      who may do anything at all: a rule as /metrics has them
    max_body_bytes              more than that, as it comes or unpacked, is answered 413
    push_ttl                    seconds after which a group that is no longer pushed is removed; a
                                grouping key may set its own with `__push_ttl__`; 0: only those that
                                do; None: none, and no key may set it
    enable_multiple_groups      several groups in one request
    quit                        what ends the server, for /-/quit; None: it is not enabled
    """

    persistence_file: str | PathLike[str] | None
    telemetry_path: str
    route_prefix: str
    enable_admin_api: bool
    disable_consistency_check: bool
    enable_utf8_names: bool
    access: AccessRule | None
    max_body_bytes: int
    push_ttl: float | None
    enable_multiple_groups: bool
    quit: Callable[[], object] | None


class Setup(NamedTuple):
    """The options of one gateway, checked by `from_options`; the paths in order."""

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

    @classmethod
    def from_options(cls, options: Mapping[str, Any]) -> Setup:
        """Return the setup; raise OptionError for an option that is none, or a wrong value."""
        return cls(**checked(options, CHECKS))

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


def _prefix(name: str, path: object) -> str:
    if not isinstance(path, str):
        raise OptionError(f"{name}={path!r}: give a path")
    stripped = path.strip("/")
    return f"/{stripped}" if stripped else ""


def _file(path: object) -> str | None:
    if path is None:
        return None
    named = os.fspath(path) if isinstance(path, str | PathLike) else path
    if isinstance(named, str):
        return named
    raise OptionError(f"persistence_file={path!r}: give a file's path, or None")


def _boolean(value: bool) -> str:
    return "true" if value else "false"


def _is_ttl(value: Any) -> bool:
    return value is None or (is_number(value) and 0 <= value <= LONGEST)


def _is_callback(value: object) -> bool:
    return value is None or callable(value)


SWITCH = (is_switch, "True or False")
CHECKS: Mapping[str, Check] = {
    "persistence_file": _file,
    "telemetry_path": partial(_prefix, "telemetry_path"),
    "route_prefix": partial(_prefix, "route_prefix"),
    "access": access_rule,
    **rules(
        {
            "enable_admin_api": SWITCH,
            "disable_consistency_check": SWITCH,
            "enable_utf8_names": SWITCH,
            "max_body_bytes": (whole(1), "a number of bytes above 0"),
            "push_ttl": (_is_ttl, "a number of seconds, or None"),
            "enable_multiple_groups": SWITCH,
            "quit": (_is_callback, "a function without arguments, or None"),
        }
    ),
}
