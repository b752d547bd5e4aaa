"""Grouping keys: the labels in a push's path.

https://github.com/prometheus/pushgateway#url
"""

from __future__ import annotations

import base64
import re

from prom_middleware import naming
from prom_middleware.options import is_encodable
from prom_middleware.parser.line import go_quoted
from prom_middleware.pushgateway.families import Labels

_BASE64 = "@base64"
_LABEL_NAME = re.compile(naming.LABEL_NAME)
_ALPHABET = re.compile(r"[A-Za-z0-9_-]*")
_HEXADECIMAL = re.compile(r"[0-9a-fA-F]{1,6}")
# Half of a surrogate pair, in the place of a NUL: neither can be in a name.
_NOTHING = 0xD800
# A label of this name is no part of the key: it says how long the group is kept.
TTL_LABEL = "__push_ttl__"


class GroupingError(Exception):
    """A path that names no group; its text goes to whoever has sent it."""


def grouping_key(job: str, labels: str, *, utf8_names: bool = False) -> Labels:
    """Return the key of the group that a path names: `job` and `/name/value/name/value`.

    `job` comes with its kind before it, `job/x` or `job@base64/eA`. Bytes that are not UTF-8 come
    as lone surrogates, and stay so. Raises GroupingError.
    """
    kind, _, value = job.partition("/")
    own = _decoded(value, "in job name") if kind.endswith(_BASE64) else value
    found = {**dict(_pairs(labels, utf8_names)), "job": own}
    if not own:
        raise GroupingError("job name is required")
    return tuple(sorted(found.items()))


def take_ttl(key: Labels) -> tuple[Labels, str | None]:
    """Return a key without the label that says how long the group is kept, and what that says."""
    rest = tuple(pair for pair in key if pair[0] != TTL_LABEL)
    return rest, dict(key).get(TTL_LABEL)


def _pairs(labels: str, utf8_names: bool) -> list[tuple[str, str]]:
    if len(labels) <= 1:
        return []
    components = labels[1:].split("/")
    if len(components) % 2:
        raise GroupingError(f"odd number of components in label string {go_quoted(labels)}")
    pairs = zip(components[::2], components[1::2], strict=True)
    return [_pair(name, value, utf8_names) for name, value in pairs]


def checked_key(labels: Labels, utf8_names: bool) -> Labels:
    """Return the labels as a key, if they can be one; raise GroupingError."""
    for name, _ in labels:
        _check_name(name, any_characters=utf8_names)
    if not dict(labels).get("job"):
        raise GroupingError("job name is required")
    return labels


def _check_name(name: str, *, any_characters: bool = False, given: str | None = None) -> None:
    reserved = name.startswith("__") and name != TTL_LABEL
    proper = (name and is_encodable(name)) if any_characters else _LABEL_NAME.fullmatch(name)
    if reserved or not proper:
        raise GroupingError(f"improper label name {go_quoted(given or name)}")


def _pair(given: str, value: str, utf8_names: bool) -> tuple[str, str]:
    written = given.removesuffix(_BASE64)
    name = unescaped_name(written) if utf8_names else written
    _check_name(name, any_characters=utf8_names, given=written)
    if given != written:
        value = _decoded(value, f"for label {written}=")
    return name, value


def _decoded(value: str, where: str) -> str:
    """Decode base64 with the alphabet for URLs (RFC 4648 section 5); padding is no matter."""
    text = value.replace("\r", "").replace("\n", "").rstrip("=")  # as Go reads what is in lines
    good = _ALPHABET.match(text)
    end = good.end() if good else 0
    if end < len(text) or end % 4 == 1:
        # Of a label the original tells the value, of a job what it has read of that.
        is_job = not where.endswith("=")
        quoted = f" {go_quoted(_bytes(text[: end // 4 * 4]))}" if is_job else go_quoted(value)
        place = end if end < len(text) else end - 1
        raise GroupingError(
            f"invalid base64 encoding {where}{quoted}: illegal base64 data at input byte {place}"
        )
    return _bytes(text + "=" * (-len(text) % 4))


def _bytes(text: str) -> str:
    return base64.urlsafe_b64decode(text).decode("utf-8", "surrogateescape")


def unescaped_name(name: str) -> str:
    """Undo the escaping scheme `values`; what is not of it stays as it is.

    https://prometheus.io/docs/instrumenting/escaping_schemes/
    """
    if not name.startswith("U__"):
        return name
    parts = name[3:].replace("__", "\0").split("_")
    # Every second part stands between two underscores, and is a character's number.
    if len(parts) % 2 == 0 or not all(map(_HEXADECIMAL.fullmatch, parts[1::2])):
        return name
    try:
        parts[1::2] = [chr(int(code, 16) or _NOTHING) for code in parts[1::2]]
        "".join(parts).encode()
    except (ValueError, OverflowError):
        return name
    return "".join(parts).replace("\0", "_")
