"""All rules over one page."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import NamedTuple

from prom_middleware.check.cardinality import Cardinality, cardinalities, high_cardinality
from prom_middleware.check.formats import recognised
from prom_middleware.check.histograms import HISTOGRAMS
from prom_middleware.check.naming import MORE, PROMTOOL
from prom_middleware.check.page import Family, read_page
from prom_middleware.check.problems import Problem, Rule
from prom_middleware.check.series import SERIES
from prom_middleware.errors import ParseError

MAX_SERIES = 1000  # label sets of one metric of one target


class Report(NamedTuple):
    """What was found: remarks by metric and text, or why the page could not be read at all.

    `hint` says so where the page seems to be in another format than the text.
    """

    problems: list[Problem]
    cardinality: list[Cardinality]
    error: ParseError | None = None
    hint: str = ""

    @property
    def exit_code(self) -> int:
        """Return promtool's: 1 for what cannot be read, 3 for remarks."""
        return 1 if self.error else 3 if self.problems else 0


def check(
    body: bytes | str,
    *,
    more: bool = True,
    max_series: int = MAX_SERIES,
    utf8_names: bool = False,
) -> Report:
    """Check a page in the text format.

    `more` are the rules that promtool has not; `max_series` are the label sets that a metric may
    have, for one of them. `utf8_names` allows names between quotes, which promtool refuses.
    """
    text = body if isinstance(body, str) else body.decode(errors="surrogateescape")
    try:
        families = read_page(io.StringIO(text), utf8_names)
    except ParseError as error:
        return Report([], [], error, _hint(text))
    rules: dict[str, Rule] = dict(PROMTOOL)
    if more:
        cardinality = {"cardinality": high_cardinality(max_series)}
        rules |= {**MORE, **HISTOGRAMS, **SERIES, **cardinality}
    problems = sorted(set(_problems(families, rules)))
    return Report(problems, cardinalities(families), None, _hint(text) if problems else "")


def _hint(text: str) -> str:
    form = recognised(text.encode(errors="surrogateescape"))
    return "" if form is None else str(form)


def _problems(families: Iterable[Family], rules: dict[str, Rule]) -> Iterator[Problem]:
    page = {family.name: family for family in families}
    for family in page.values():
        for name, rule in rules.items():
            found = rule(family, page)
            # A metric of many series is remarked on once.
            for text, line in found if name in PROMTOOL else islice(found, 1):
                yield Problem(family.name, text, name, line or family.rows[0].line)
