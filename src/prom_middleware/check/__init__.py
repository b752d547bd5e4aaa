"""What is wrong with a /metrics: promtool's rules, and what promtool misses.

checking.py      `check`: all rules over one page
problems.py      what a rule yields
page.py          a page as Prometheus' parser groups it, with the number of each line
naming.py        promtool's rules: names, help, units, reserved endings and labels
histograms.py    buckets that lack, decrease or contradict the count
series.py        series that are there twice, families in pieces, names that collide
cardinality.py   how many series a family has, and which label makes them
formats.py       pages that are not in the text format
reporting.py     remarks as text, as JSON and as annotations of GitHub
"""

from __future__ import annotations

from prom_middleware.check.checking import Report, check
from prom_middleware.check.problems import Problem

__all__ = ["Problem", "Report", "check"]
