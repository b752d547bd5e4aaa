"""Names in Graphite: sanitised, and no two series under one.

https://graphite.readthedocs.io/en/stable/feeding-carbon.html, and on tags
https://graphite.readthedocs.io/en/stable/tags.html
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from hashlib import blake2s
from typing import NamedTuple

# A series: its name and its labels in their order.
Key = tuple[str, tuple[tuple[str, str], ...]]

# What does as the name of a file. No dot: it would begin another directory.
_NO_FILE_NAME = re.compile(r"[^a-zA-Z0-9_-]")
# White space ends a name, of any kind: carbon splits as Python does. Surrogates are no UTF-8.
_SPACES = r"\s\x00-\x1f\x7f\ud800-\udfff"
_NO_TAG = re.compile(rf"[;!^={_SPACES}]")
_NO_TAG_VALUE = re.compile(rf"^~|[;{_SPACES}]")


def key_of(name: str, labels: Iterable[tuple[str, str]]) -> Key:
    """Return a sample's series; a label without a value is the same as none in Prometheus."""
    return name, tuple(sorted((label, value) for label, value in labels if value))


class Form(NamedTuple):
    """How a series is named: what names and values must not have, and what joins them."""

    no_name: re.Pattern[str]
    no_value: re.Pattern[str]
    between: str
    within: str
    reserved: frozenset[str] = frozenset()

    def path(self, key: Key) -> str:
        """Return the sanitised name, which another series may have as well."""
        used = set(self.reserved)
        parts = [self.no_name.sub("_", key[0])]
        for label, value in key[1]:
            tag = self.no_name.sub("_", label)
            while tag in used:
                tag += "_"
            used.add(tag)
            parts.append(f"{tag}{self.within}{self.no_value.sub('_', value)}")
        return self.between.join(parts)

    def keeps(self, key: Key) -> bool:
        """Tell whether the whole series can be seen in its path."""
        names = (key[0], *(label for label, _ in key[1]))
        return not (
            any(map(self.no_name.search, names))
            or any(self.no_value.search(value) for _, value in key[1])
        )


# `name.label.value`, and with tags `name;label=value`: as prometheus_client's bridge has them.
PLAIN = Form(_NO_FILE_NAME, _NO_FILE_NAME, ".", ".")
STRICTLY_TAGGED = Form(_NO_FILE_NAME, _NO_FILE_NAME, ";", "=")
# All that Graphite allows in tags: `le=0.5` and not `le=0_5`. `name` is a tag of its own.
TAGGED = Form(_NO_TAG, _NO_TAG_VALUE, ";", "=", frozenset({"name"}))


class Paths:
    """Gives each series a path of its own, and the same one as long as the series is there.

    Where two would have the same, the one that sanitising has not changed gets it, else the one
    that came first; the other one's has a hash of its series at the end.
    """

    def __init__(self, form: Form) -> None:
        self._form = form
        self._paths: dict[Key, str] = {}
        self._owners: dict[str, Key] = {}
        self._apart: set[Key] = set()

    @property
    def collisions(self) -> int:
        """How many series have a longer path because another one has theirs."""
        return len(self._apart)

    def of(self, keys: Sequence[Key]) -> list[str]:
        """Return the paths of all series that there are now; those of others are forgotten."""
        if len(self._paths) != len(keys) or not all(map(self._paths.__contains__, keys)):
            self._settle(set(keys))
        return [self._paths[key] for key in keys]

    def _settle(self, present: set[Key]) -> None:
        for gone in self._paths.keys() - present:
            del self._owners[self._paths.pop(gone)]
        self._apart &= present
        new = present - self._paths.keys()
        for key in sorted(new, key=lambda key: (not self._form.keeps(key), key)):
            self._claim(key)

    def _claim(self, key: Key) -> None:
        path = self._form.path(key)
        while path in self._owners:
            self._apart.add(key)
            path += f"_{blake2s(repr(key).encode(), digest_size=4).hexdigest()}"
        self._paths[key] = path
        self._owners[path] = key
