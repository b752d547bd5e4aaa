"""Pages that are not in the text format: which one they are in, and how to have the text.

The rules are for the text, as promtool's are. A page of OpenMetrics is nearly text, so that it may
be read, and what is said of it then is beside the point.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from prom_middleware.errors import ParseError
from prom_middleware.parser import protobuf_to_metric_families

TEXT = "the rules are those of the text format: curl -H 'Accept: text/plain;version=0.0.4'"


class Form(NamedTuple):
    """What a page is, and how there would be text in its place."""

    name: str
    mend: str

    def __str__(self) -> str:
        return f"this is {self.name}; {self.mend}"


OPENMETRICS = Form("OpenMetrics", TEXT)
PROTOBUF = Form("protobuf", TEXT)
COMPRESSED = Form("compressed", "curl --compressed, or gunzip, makes text of it")
HTML = Form("HTML", "metrics are elsewhere, mostly at /metrics")

# By the media type of a Content-Type. HTML is not among them: frameworks call metrics so as well.
MEDIA_TYPES = {
    "application/openmetrics-text": OPENMETRICS,
    "application/vnd.google.protobuf": PROTOBUF,
}


def announced(content_type: str) -> Form | None:
    """Return the format that a Content-Type announces, if it is not the text."""
    return MEDIA_TYPES.get(content_type.partition(";")[0].strip().lower())


def recognised(body: bytes) -> Form | None:
    """Return the format that a page looks like, if it is not the text."""
    return next((form for form, looks_like in SIGNS.items() if looks_like(body)), None)


def _is_compressed(body: bytes) -> bool:
    return body.startswith((b"\x1f\x8b", b"\x28\xb5\x2f\xfd"))  # RFC 1952, RFC 8878


def _is_html(body: bytes) -> bool:
    return body[:100].lstrip().lower().startswith((b"<!doctype", b"<html"))


def _is_openmetrics(body: bytes) -> bool:
    # It has to end with that, and to the text it would be one comment of many.
    return body.rstrip(b"\n").rpartition(b"\n")[2] == b"# EOF"


def _is_protobuf(body: bytes) -> bool:
    try:
        return next(protobuf_to_metric_families(body), None) is not None
    except ParseError:
        return False


SIGNS: dict[Form, Callable[[bytes], bool]] = {
    COMPRESSED: _is_compressed,
    HTML: _is_html,
    OPENMETRICS: _is_openmetrics,
    PROTOBUF: _is_protobuf,
}
