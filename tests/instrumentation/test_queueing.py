"""What proxies write into X-Request-Start and X-Queue-Start, and what is no time."""

from __future__ import annotations

from time import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry

from instrumentation.driver import core
from metrics import collected, value
from prom_middleware import failures
from prom_middleware.instrumentation import queueing
from prom_middleware.instrumentation.queueing import queue_seconds

NOW = 1_700_000_000.0
KNOWN = [
    ("t=1699999999.500", 0.5),  # nginx
    ("1699999999.5", 0.5),
    ("1699999999500", 0.5),  # Heroku's router
    ("t=1699999999500", 0.5),
    ("t=1699999999500000", 0.5),  # Apache's mod_headers
    ("1700000000", 0.0),
    ("1699999999.5  ", 0.5),
    ("1700000003.0", 0.0),  # a clock ahead of ours
    ("1699996401", 3599.0),
    ("1699996399", None),  # over an hour: no clock is that wrong, so it is no time
    ("0", None),
    ("1", None),
    ("-1699999999", None),
    ("t=", None),
    ("t=now", None),
    ("1e9", None),
    ("nan", None),
    ("inf", None),
    ("", None),
    ("١٧٠٠٠٠٠٠٠٠", None),
    ("1699999999.5, 1699999999.6", 0.5),  # two lines that a server has joined
    ("t=1699999999.5,t=1699999999.6", 0.5),
    ("1699999999.5,", 0.5),
    ("1699999999.5,1699999999", 0.5),
    ("1699999999,5", None),  # a decimal comma
    ("t=1699999999,500000 ", None),
    ("t=, t=1699999999.5", None),
    ("t=t=1699999999.5", None),
    ("9" * 400, None),
    ("1699999999." + "5" * 400, None),
]


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queueing, "time", lambda: NOW)


@pytest.mark.usefixtures("now")
@pytest.mark.parametrize(("header", "seconds"), KNOWN)
def test_headers_of_proxies(header: str, seconds: float | None) -> None:
    found = queue_seconds(header)
    assert found == (None if seconds is None else pytest.approx(seconds, abs=1e-3))


@given(st.text(max_size=40))
def test_any_header_gives_a_time_of_the_last_hour_or_none(header: str) -> None:
    found = queue_seconds(header)
    assert found is None or 0 <= found < 3600


@given(st.text("t=0123456789. -+eE_", max_size=30))
def test_what_looks_like_a_time_never_raises(header: str) -> None:
    found = queue_seconds(header)
    assert found is None or 0 <= found < 3600


@given(st.floats(0, 3500), st.sampled_from([(1, "t={:.6f}"), (1e3, "{:.0f}"), (1e6, "t={:.0f}")]))
def test_every_unit_is_told_apart(waited: float, unit: tuple[float, str]) -> None:
    scale, form = unit
    found = queue_seconds(form.format((time() - waited) * scale))
    assert found is not None
    assert found == pytest.approx(waited, abs=5)


def test_the_histogram_is_there_only_with_the_header() -> None:
    registry = CollectorRegistry()
    instrumentation = core(registry)
    for header in (None, "", "nonsense"):
        instrumentation.queued(header)
    assert value(collected(registry), "http_request_queue_seconds_count") == 0
    instrumentation.queued("(null)", f"t={time() - 0.25:.3f}")  # the first that tells one
    samples = collected(registry)
    assert value(samples, "http_request_queue_seconds_count") == 1
    assert 0.2 < value(samples, "http_request_queue_seconds_sum") < 60


def test_the_histogram_has_the_bounds_of_the_door() -> None:
    registry = CollectorRegistry()
    core(registry, buckets=[0.1, 60.0]).queued(f"t={time():.3f}")
    name = "http_request_queue_seconds_bucket"
    bounds = [dict(labels)["le"] for each, labels in collected(registry) if each == name]
    assert bounds == ["0.1", "60.0", "+Inf"]


def test_a_failure_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(header: str) -> float:
        raise RuntimeError(header)

    monkeypatch.setattr("prom_middleware.instrumentation.core.queue_seconds", broken)
    before = failures.counts().get("queue", 0)
    core().queued("1")
    assert failures.counts()["queue"] == before + 1
