"""From bytes to metric families: the text format, OpenMetrics and protobuf.

choosing.py       `parse`: which format a Content-Type means
text.py           families of the text format
blocks.py         pages in blocks of lines; quick.py reads most of their lines at a time
families.py       a family, made of what was checked
samples.py        the other lines of that format, read with care: what is wrong, and where
declared.py       which names a page has used, and for what
openmetrics.py    families of OpenMetrics; rules.py has what they must keep
exemplars.py      the other lines of that one, read with care
composite.py      OpenMetrics 2.0, a draft, in which a histogram is one line
native.py         native histograms in OpenMetrics, as prometheus_client reads them
protobuf.py       families of delimited messages; messages.py has what those are
line.py           one line, and how far it is read
numbers.py        values and times

Families are those of `prometheus_client`, and equal to what its own parsers give wherever both
accept a page.
"""

from __future__ import annotations

from prom_middleware.errors import ParseError
from prom_middleware.parser.choosing import parse
from prom_middleware.parser.openmetrics import (
    openmetrics_fd_to_metric_families,
    openmetrics_string_to_metric_families,
)
from prom_middleware.parser.protobuf import protobuf_to_metric_families
from prom_middleware.parser.text import text_fd_to_metric_families, text_string_to_metric_families

__all__ = [
    "ParseError",
    "openmetrics_fd_to_metric_families",
    "openmetrics_string_to_metric_families",
    "parse",
    "protobuf_to_metric_families",
    "text_fd_to_metric_families",
    "text_string_to_metric_families",
]
