"""Names in Graphite: sanitised, and no two series under one.

https://graphite.readthedocs.io/en/stable/feeding-carbon.html, and on tags
https://graphite.readthedocs.io/en/stable/tags.html
"""

from __future__ import annotations

import re
from collections.abc import Iterable
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
# What stands before all paths is taken as it is; after a semicolon, the rest would be a tag.
NO_PREFIX = re.compile(rf"[;{_SPACES}]")


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

    def get(self, key: Key) -> str | None:
        """Return the path of a series; None where it has none yet."""
        return self._paths.get(key)

    def __len__(self) -> int:
        return len(self._paths)

    def settle(self, keys: Iterable[Key]) -> None:
        """Give each of these a path, and forget those of others.

        It is done in steps of Python rather than with whole sets: nobody else could do anything
        until such a step of many series has ended.
        """
        present: set[Key] = set()
        for key in keys:
            present.add(key)
        for gone in [key for key in self._paths if key not in present]:
            del self._owners[self._paths.pop(gone)]
            self._apart.discard(gone)
        self._add([key for key in present if key not in self._paths])

    def _add(self, new: Iterable[Key]) -> None:
        wanted: dict[str, list[Key]] = {}
        for key in new:
            wanted.setdefault(self._form.path(key), []).append(key)
        others: list[Key] = []
        for path, keys in wanted.items():
            first, *rest = sorted(keys, key=self._order) if len(keys) > 1 else keys
            others += rest
            if path in self._owners:
                others.append(first)
            else:
                self._give(path, first)
        for key in sorted(others, key=self._order):
            self._set_apart(key)

    def _order(self, key: Key) -> tuple[bool, Key]:
        return not self._form.keeps(key), key

    def _set_apart(self, key: Key) -> None:
        path = self._form.path(key)
        while path in self._owners:
            path += f"_{blake2s(repr(key).encode(), digest_size=4).hexdigest()}"
        self._apart.add(key)
        self._give(path, key)

    def _give(self, path: str, key: Key) -> None:
        self._paths[key] = path
        self._owners[path] = key
