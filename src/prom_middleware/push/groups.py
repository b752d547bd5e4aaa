"""Where a group of metrics is in a gateway: the URL for a job and its grouping key.

https://github.com/prometheus/pushgateway#url
"""

from __future__ import annotations

import re
from base64 import urlsafe_b64encode
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple
from urllib.parse import quote, urlsplit

from prom_middleware.errors import OptionError
from prom_middleware.logins import login_of, place_of, said
from prom_middleware.naming import is_label_name
from prom_middleware.options import checked, is_encodable, is_text, rules

# Servers and proxies take these for something else than a value, whether escaped or not.
_MISTAKEN = re.compile(r"|\.\.?|.*[/ ].*", re.DOTALL)

Credentials = tuple[str, str]


def _is_key(value: object) -> bool:
    return value is None or (isinstance(value, Mapping) and all(map(is_text, value)))


def _is_job(value: object) -> bool:
    return is_text(value) and value != ""


CHECKS = rules(
    {
        "gateway": (is_encodable, "host:port or a URL, in UTF-8"),
        "job": (_is_job, "a name, which a gateway insists on"),
        "grouping_key": (_is_key, "a dictionary of labels' names and values"),
    },
    secrets=("gateway",),  # it may have a password
)


class Group(NamedTuple):
    """A group's URL, and the user and password that stood in its gateway's."""

    url: str
    user: Credentials | None


def locate(gateway: str, job: str, grouping_key: Mapping[str, Any] | None) -> Group:
    """Return where the group is; raise OptionError for what can be no group."""
    checked({"gateway": gateway, "job": job, "grouping_key": grouping_key}, CHECKS)
    base, user = _base(gateway)
    return Group(f"{base}/metrics{''.join(_segments(job, grouping_key or {}))}", user)


def _base(gateway: str) -> tuple[str, Credentials | None]:
    """Return the gateway's URL, without who is to enter; `http` where it has no scheme."""
    whole = gateway if "://" in gateway else f"http://{gateway}"
    try:
        parts = urlsplit(whole)
        _ = parts.port  # raises for what is no port
    except ValueError as error:
        raise OptionError(f"gateway: {said(whole, error)}") from None
    place = place_of(parts)
    wrong = parts.query or parts.fragment or re.search(r"[\s\0]", whole)
    if parts.scheme not in ("http", "https") or not parts.hostname or wrong:
        raise OptionError(f"gateway={place!r} is neither host:port nor a http or https URL")
    return f"{parts.scheme}://{place}{parts.path.rstrip('/')}", login_of(parts)


def _segments(job: str, grouping_key: Mapping[str, Any]) -> Iterator[str]:
    yield _segment("job", job)
    for name, value in sorted(grouping_key.items()):
        if not is_label_name(name) or name == "job":
            raise OptionError(f"grouping_key: {name!r} cannot be the name of a label")
        yield _segment(name, str(value))


def _segment(name: str, value: str) -> str:
    try:
        encoded = value.encode()
    except UnicodeEncodeError as error:  # half of a surrogate pair, from bytes that are not UTF-8
        raise OptionError(f"{name}={value!r} is not UTF-8") from error
    if _MISTAKEN.fullmatch(value):
        # One `=` says that it is empty: two slashes would be taken for one.
        return f"/{name}@base64/{urlsafe_b64encode(encoded).decode() or '='}"
    return f"/{name}/{quote(value, safe='')}"
