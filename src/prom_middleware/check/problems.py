"""What a rule yields."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

from prom_middleware.check.page import Family


class Problem(NamedTuple):
    """A remark on a metric: what promtool says, or would; the rule's name; the number of a line."""

    metric: str
    text: str
    rule: str
    line: int


class Found(NamedTuple):
    """A remark of a rule on the family that it was given."""

    text: str
    line: int | None = None


Page = Mapping[str, Family]
Rule = Callable[[Family, Page], Iterable[Found]]
