"""Series and families beside each other; promtool sees one family at a time."""

from __future__ import annotations

from collections.abc import Iterator

from prom_middleware.check.page import Family
from prom_middleware.check.problems import Found, Page, Rule
from prom_middleware.parser.declared import BOUNDS

# The endings of the samples that a family has, by its type.
_ENDINGS = {"histogram": ("_bucket", "_count", "_sum"), "summary": ("_count", "_sum")}


def _reordered(family: Family, page: Page) -> Iterator[Found]:
    """Find the series that are there twice and that promtool takes for two."""
    seen: dict[tuple[str, frozenset[tuple[str, str]]], tuple[tuple[str, str], ...]] = {}
    for sample, line in family.rows:
        labels = tuple(sample.labels.items())
        before = seen.setdefault((sample.name, frozenset(labels)), labels)
        if before is not labels and before != labels:
            yield Found("metric not unique, with its labels in another order", line)
        elif before is not labels and family.type in BOUNDS and not _is_bucket(sample.name, labels):
            yield Found(f"{sample.name} not unique", line)


def _is_bucket(name: str, labels: tuple[tuple[str, str], ...]) -> bool:
    return name.endswith("_bucket") and "le" in dict(labels)


def _interleaved(family: Family, page: Page) -> Iterator[Found]:
    if len(family.pieces) > 1:
        text = "samples should stand together, without those of other metrics between them"
        yield Found(text, family.pieces[1])


def _collision(family: Family, page: Page) -> Iterator[Found]:
    for kind, endings in _ENDINGS.items():
        for ending in endings:
            other = page.get(family.name.removesuffix(ending))
            if family.name.endswith(ending) and other is not None and other.type == kind:
                yield Found(f'metric name collides with the samples of {kind} "{other.name}"')


SERIES: dict[str, Rule] = {
    "label-order": _reordered,
    "interleaved": _interleaved,
    "collision": _collision,
}
