"""Whatever is parsed, there are families or our error, and never another one.

PROM_MIDDLEWARE_FUZZ_SECONDS=60 goes on for so long; else it is a few hundred pages of each kind.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from check.random_pages import pages
from exposition.formats.comparing import OPENMETRICS, PROTOBUF, render
from exposition.formats.random_families import CLASSIC, LABELS, UTF_8, UTF_8_LABELS, families
from prom_middleware.check import check
from prom_middleware.parser import ParseError, parse

# The other tests of the parser cover it; of these there are many more.
pytestmark = pytest.mark.no_cover

SECONDS = float(os.environ.get("PROM_MIDDLEWARE_FUZZ_SECONDS", "0"))
TEXT = "text/plain;version=1.0.0"
OPENMETRICS_2 = "application/openmetrics-text;version=2.0.0"
FORMATS = (TEXT, OPENMETRICS, PROTOBUF, OPENMETRICS_2)
# What means something in one of the formats.
PIECES = [b"{", b"}", b'"', b"\\", b"\n", b"#", b" ", b",", b"=", b"le", b"# EOF\n", b"# TYPE a "]
PIECES += [b"histogram", b"NaN", b"+Inf", b"1e999", b"9" * 400, b"\xff", b"\x00", b"\x80" * 11]
PIECES += [
    b" st@1",
    b"bucket:[1:2]",
    b"{count:",
    b"[0:1]",
    b"_bucket",
    b"_total",
    b"\r",
    "\u2028".encode(),
    b"1.5",
    b"-",
]
FAMILIES = st.lists(
    families(st.one_of(CLASSIC, UTF_8), (*LABELS, *UTF_8_LABELS)),
    max_size=2,
    unique_by=lambda family: family.name,
)


@st.composite
def bodies(draw: st.DrawFn, accept: str) -> bytes:
    """Return a body of a format, cut up and put together again with pieces that are not its own."""
    body = render(f"{accept};escaping=allow-utf-8", draw(FAMILIES))
    if accept == TEXT and draw(st.booleans()):
        body = draw(pages()).encode()
    for _ in range(draw(st.integers(0, 4))):
        at = draw(st.integers(0, len(body)))
        end = at + draw(st.sampled_from([0, 0, 1, 2, 9]))
        body = body[:at] + draw(st.sampled_from(PIECES)) + body[end:]
    return body


def use(body: bytes, accept: str) -> None:
    """Read a body in every way there is; whatever it raises beside our error fails the test."""
    for strict in (True, False):
        with suppress(ParseError):
            read(parse(body, accept, strict=strict))
    assert check(body).exit_code in (0, 1, 3)


def read(found: Iterable[Any]) -> None:
    for family in found:
        assert isinstance(family.name, str)
        assert isinstance(family.documentation, str)
        for sample in family.samples:
            assert isinstance(sample.name, str)
            assert sample.value is None or isinstance(sample.value, int | float)


@pytest.mark.parametrize(
    "accept", FORMATS, ids=("text", "openmetrics", "protobuf", "openmetrics 2")
)
@settings(max_examples=150, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_a_body_that_was_tampered_with(accept: str, data: Any) -> None:
    use(data.draw(bodies(accept)), accept)


@given(st.binary(max_size=60), st.sampled_from(FORMATS))
def test_any_bytes(body: bytes, accept: str) -> None:
    use(body, accept)


@pytest.mark.skipif(not SECONDS, reason="PROM_MIDDLEWARE_FUZZ_SECONDS is not set")
@pytest.mark.timeout(SECONDS * 2 + 60)
def test_for_as_long_as_one_likes() -> None:
    @settings(max_examples=500, suppress_health_check=list(HealthCheck), database=None)
    @given(st.data())
    def some(data: Any) -> None:
        accept = data.draw(st.sampled_from(FORMATS))
        use(data.draw(bodies(accept)), accept)

    end = time.monotonic() + SECONDS
    while time.monotonic() < end:
        some()


@pytest.mark.parametrize(
    "body",
    [
        b'a{b="' + b"\\\\" * 50_000,
        b"a" * 1_000_000 + b"\n",
        b"a{" + b'b="1",' * 100_000 + b"} 1\n",
        b"a " + b" " * 1_000_000 + b"x\n",
        b"# HELP a " + b"\\" * 200_000 + b"\n",
        b'a{b="1' * 100_000 + b"\n",
        b'a{b="1"' + b" " * 500_000 + b"x} 1\n",
        b"# TYPE a histogram\na {" + b"count:1," * 100_000 + b"\n",
        b"\n" * 20_000,
        b"a 1 " + b"9" * 100_000 + b"\n",
    ],
    ids=range(10),
)
def test_long_lines(body: bytes) -> None:
    # Were it quadratic, each would take minutes, and the test would be stopped.
    for accept in (TEXT, OPENMETRICS, OPENMETRICS_2):
        use(body, accept)


def test_many_labels_of_one_series() -> None:
    inner = ",".join(f'l{number}="{number}"' for number in range(10_000))
    (family,) = parse(f"a{{{inner}}} 1\n", TEXT)
    assert len(family.samples[0].labels) == 10_000
