"""OpenMetrics has the samples of a label set together, in whatever order a collector gives them."""

from __future__ import annotations

import copy
import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import Histogram, Metric

from exposition.formats.comparing import OPENMETRICS, render
from exposition.formats.random_families import families
from prom_middleware.exposition.collecting.live import live_family
from prom_middleware.exposition.formats.label_sets import SLICE, together
from prom_middleware.parser import parse


def family_of(kind: str, *samples: Any) -> Metric:
    family = Metric("a", "A.", kind)
    for sample in samples:
        family.add_sample(*sample)
    return family


X, Y = {"i": "x"}, {"i": "y"}
MORE = {**X, "j": "x"}  # a label set that has what another one is
MIXED = [
    family_of(
        "counter", ("a_total", X, 1), ("a_total", Y, 2), ("a_created", X, 3), ("a_created", Y, 4)
    ),
    family_of("counter", ("a_total", {}, 1), ("a_total", Y, 2), ("a_created", {}, 3)),
    family_of("counter", ("a_total", X, 1, 1), ("a_total", Y, 2, 1), ("a_total", X, 3, 2)),
    family_of(
        "counter",
        *((f"a_{ending}", labels, 1) for ending in ("total", "created") for labels in (X, MORE)),
    ),
    family_of("gauge", ("a", X, 1, 1), ("a", Y, 2, 1), ("a", X, 3, 2)),
    family_of("gauge", ("a", Y, 1), ("a", X, 2, 1), ("a", {"i": "z"}, 3), ("a", X, 4, 2)),
    family_of(
        "summary",
        ("a", {**X, "quantile": "0.5"}, 1),
        ("a", {**Y, "quantile": "0.5"}, 2),
        ("a_count", X, 3),
        ("a_count", {"j": "x"}, 3),
        ("a_sum", X, 3),
        ("a_count", Y, 4),
        ("a_sum", Y, 4),
    ),
    family_of(
        "histogram",
        ("a_bucket", {"le": "1.0", **X}, 1),
        ("a_bucket", {"le": "1.0", **Y}, 1),
        ("a_bucket", {**X, "le": "+Inf"}, 2),
        ("a_bucket", {**Y, "le": "+Inf"}, 2),
        *((f"a_{ending}", labels, 2) for ending in ("count", "sum") for labels in (X, Y)),
    ),
    family_of(
        "histogram",
        *(("a_bucket", {**labels, "le": le}, 1) for le in ("1", "+Inf") for labels in (X, MORE)),
        *((f"a_{ending}", labels, 1) for ending in ("count", "sum") for labels in (X, MORE)),
    ),
    family_of(
        "gaugehistogram",
        ("a_bucket", {**X, "le": "+Inf"}, 2),
        ("a_bucket", {**Y, "le": "+Inf"}, 2),
        *((f"a_{ending}", labels, 2) for ending in ("gcount", "gsum") for labels in (X, Y)),
    ),
    family_of(
        "stateset",
        *(("a", {**labels, "a": state}, 1) for state in ("on", "off") for labels in (X, Y)),
    ),
]


def series(sample: Any) -> tuple[Any, ...]:
    return sample.name, frozenset(sample.labels.items()), sample.value


@pytest.mark.parametrize("family", MIXED, ids=lambda family: str(family.type))
def test_label_sets_come_together(family: Metric) -> None:
    body = render(OPENMETRICS, [family])
    (parsed,) = parse(body, OPENMETRICS)  # strict: it would say that they do not
    assert len(parsed.samples) == len(family.samples)
    assert set(map(series, parsed.samples)) == set(map(series, family.samples))
    # They are where the first of them was.
    first = [one.labels.get("i") for one in parsed.samples]
    assert first == sorted(first, key=[one.labels.get("i") for one in family.samples].index)


def run(family: Metric) -> tuple[Any, int]:
    steps, number = together(family), 0
    try:
        while True:
            assert next(steps) == b""
            number += 1
    except StopIteration as end:
        return end.value, number


@given(families())
def test_what_stands_together_is_left_as_it_is(family: Metric) -> None:
    samples, _ = run(family)
    assert samples is family.samples


@given(families(), st.randoms(use_true_random=False))
def test_any_order_is_mended(family: Metric, chance: random.Random) -> None:
    mixed, mended = copy.copy(family), copy.copy(family)
    mixed.samples = chance.sample(family.samples, len(family.samples))
    mended.samples, _ = run(mixed)
    assert sorted(map(str, mended.samples)) == sorted(map(str, family.samples))
    assert run(mended)[0] is mended.samples
    assert render(OPENMETRICS, [mixed]) == render(OPENMETRICS, [mended])


@pytest.mark.parametrize("size", [1, SLICE, SLICE + 1, 10 * SLICE])
def test_large_families_in_steps(size: int) -> None:
    samples = [(f"a_{one}", {"i": str(n)}, 1) for n in range(size) for one in ("total", "created")]
    family = family_of("counter", *samples)
    assert run(family) == (family.samples, (2 * size - 1) // SLICE)
    mixed = family_of("counter", *samples[::2], *samples[1::2])
    found, steps = run(mixed)
    assert found == family.samples
    assert steps <= 2 * (2 * size // SLICE + 1)


def test_samples_that_are_made_one_by_one_are_not_asked_twice() -> None:
    family = live_family(Histogram("a", "A.", ["i"], registry=None))
    assert family is not None
    samples, steps = run(family)
    assert (type(samples), steps) == (type(family.samples), 0)
