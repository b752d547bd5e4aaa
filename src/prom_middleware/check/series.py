"""Series and families beside each other; promtool sees one family at a time."""

from __future__ import annotations

from collections.abc import Iterator

from prom_middleware.check.page import Family, Labels, LabelSet
from prom_middleware.check.problems import Found, Page, Rule
from prom_middleware.parser.declared import BOUNDS, ENDINGS


def _reordered(family: Family, page: Page) -> Iterator[Found]:
    """Find the series that are there twice and that promtool takes for two."""
    seen: dict[tuple[str, LabelSet], Labels] = {}
    for row in family.rows:
        sample, line = row
        labels = tuple(sample.labels.items())
        key = (sample.name, frozenset(labels))
        before = seen.get(key)
        if before is None:
            seen[key] = labels
        elif before != labels:
            yield Found("metric not unique, with its labels in another order", line)
        elif family.type in BOUNDS and not row.is_bucket:
            yield Found(f"{sample.name} not unique", line)


def _interleaved(family: Family, page: Page) -> Iterator[Found]:
    if len(family.pieces) > 1:
        text = "samples should stand together, without those of other metrics between them"
        yield Found(text, family.pieces[1])


def _collision(family: Family, page: Page) -> Iterator[Found]:
    for kind, endings in ENDINGS.items():
        for ending in endings:
            other = page.get(family.name.removesuffix(ending))
            if family.name.endswith(ending) and other is not None and other.type == kind:
                yield Found(f'metric name collides with the samples of {kind} "{other.name}"')


SERIES: dict[str, Rule] = {
    "label-order": _reordered,
    "interleaved": _interleaved,
    "collision": _collision,
}
