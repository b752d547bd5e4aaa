"""Which format a Content-Type means."""

from __future__ import annotations

import io
from collections.abc import Iterator

from prometheus_client import Metric as MetricFamily

from prom_middleware.errors import ParseError
from prom_middleware.exposition.accept import Range, ranges
from prom_middleware.exposition.negotiation import is_delimited
from prom_middleware.parser.composite import composite_fd_to_metric_families
from prom_middleware.parser.openmetrics import openmetrics_fd_to_metric_families
from prom_middleware.parser.protobuf import protobuf_to_metric_families
from prom_middleware.parser.text import text_fd_to_metric_families

OPENMETRICS = "application/openmetrics-text"


def parse(
    body: bytes | str, content_type: str, *, strict: bool = True, utf8_names: bool = True
) -> Iterator[MetricFamily]:
    """Yield the families of a body, in the format that its Content-Type means.

    What is neither OpenMetrics nor delimited protobuf is read as text, as Prometheus' own decoder
    does. Strict, a body has to keep to its format; else what cannot be read is left out.
    `utf8_names` are names between quotes in the text format. Raises ParseError, when the families
    are iterated over.
    """
    found = next(iter(ranges(content_type)), Range("", {}, 1.0))
    if isinstance(body, bytes) and is_delimited(content_type):
        return protobuf_to_metric_families(body, strict=strict)
    lines = io.StringIO(body) if isinstance(body, str) else _decoded(io.BytesIO(body), strict)
    if found.name == OPENMETRICS and found.parameters.get("version") == "2.0.0":
        return composite_fd_to_metric_families(lines, strict=strict)
    if found.name == OPENMETRICS:
        return openmetrics_fd_to_metric_families(lines, strict=strict)
    return text_fd_to_metric_families(lines, strict=strict, utf8_names=utf8_names)


def _decoded(lines: io.BytesIO, strict: bool) -> Iterator[str]:
    """Yield lines, which have to be UTF-8."""
    for number, line in enumerate(lines, 1):
        try:
            yield line.decode()
        except UnicodeDecodeError as error:
            if strict:
                column = len(line[: error.start].decode()) + 1
                raise ParseError("this is not UTF-8", number, column) from error
            yield line.decode(errors="replace")
