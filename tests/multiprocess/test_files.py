"""Without `install()`: the files of `prometheus_client` stand for what this process has."""

from __future__ import annotations

import os
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import REGISTRY, CollectorRegistry, Counter, Gauge, Histogram, values
from prometheus_client.metrics_core import Metric
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector
from prometheus_client.samples import Sample

from multiprocess.workers import leave_registry, samples, value
from prom_middleware import failures
from prom_middleware.multiprocess import whole
from stores.multiprocess.children import run

# Not every version closes its files when nobody uses them any more.
_kept: list[Any] = []


@pytest.fixture
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Let `prometheus_client` write files, as it does where the variable is set at its import."""
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", str(tmp_path))
    monkeypatch.setattr(values, "ValueClass", values.MultiProcessValue())
    _kept.append(values.ValueClass)
    with leave_registry():
        yield tmp_path


def reported() -> float:
    return failures.counts().get("multiprocess.file", 0)


def other(make: Callable[[], object]) -> None:
    """Do something in another process."""
    assert run(make) == 0


def test_all_processes_are_shown_once(directory: Path) -> None:
    counter = Counter("jobs", "Jobs done.", ["kind"])
    histogram = Histogram("t", "Times.", buckets=(1, 2))
    counter.labels("a").inc()
    histogram.observe(1.5)
    other(lambda: (counter.labels("a").inc(2), histogram.observe(0.5)))
    assert value(REGISTRY, "jobs_total", kind="a") == 1
    assert value(whole(REGISTRY), "jobs_total", kind="a") == 3
    assert value(whole(REGISTRY), "t_bucket", le="1.0") == 1
    assert value(whole(REGISTRY), "t_count") == 2


def test_a_gauge_is_not_shown_beside_its_processes(directory: Path) -> None:
    gauge = Gauge("g", "G.")
    gauge.set(2)
    other(lambda: gauge.set(3))
    assert sorted(samples(whole(REGISTRY), "g").values()) == [2, 3]
    assert all(labels for _, labels in samples(whole(REGISTRY), "g"))


def test_what_only_another_process_has_is_shown_with_the_default_registry(
    directory: Path, registry: CollectorRegistry
) -> None:
    other(lambda: Counter("lazy", "L.").inc(2))
    Counter("mine", "M.", registry=registry).inc()
    assert value(whole(REGISTRY), "lazy_total") == 2
    assert samples(whole(registry)) == {("mine_total", ()): 1}


def test_what_is_in_no_file_is_shown_as_it_is(directory: Path) -> None:
    assert samples(whole(REGISTRY), "python_info") == samples(REGISTRY, "python_info") != {}


def test_a_collector_may_have_no_labels_for_what_is_in_files(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Own(Collector):
        def collect(self) -> Iterator[Metric]:
            family = Metric("jobs", "J.", "counter")
            family.samples = [Sample("jobs_total", None, 1.0)]  # type: ignore[arg-type]
            yield family

    other(lambda: Counter("jobs", "J.").inc(2))
    REGISTRY.register(Own())
    monkeypatch.setattr(values.ValueClass, "_shared", True, raising=False)  # as `install()` says
    [found] = [family for family in whole(REGISTRY).collect() if family.name == "jobs"]
    assert [sample.value for sample in found.samples] == [3.0]


def test_another_kind_that_has_the_name_of_an_older_one_is_shown_alone(directory: Path) -> None:
    other(lambda: Counter("jobs", "J.").inc(5))
    Gauge("jobs_total", "J.", multiprocess_mode="max").set(2)
    assert samples(whole(REGISTRY), "jobs", "jobs_total") == {("jobs_total", ()): 2}


def test_names_may_be_selected(directory: Path) -> None:
    counter, another = Counter("jobs", "J."), Counter("another", "A.")
    counter.inc()
    another.inc()
    other(lambda: (counter.inc(), Counter("lazy", "L.").inc()))
    selected = whole(REGISTRY.restricted_registry(["jobs_total", "lazy_total"]))
    assert samples(selected) == {("jobs_total", ()): 2, ("lazy_total", ()): 1}


def test_a_registry_that_reads_the_files_itself_shows_them_once(
    directory: Path, registry: CollectorRegistry
) -> None:
    MultiProcessCollector(registry)
    Counter("jobs", "J.").inc()
    Counter("alone", "A.", registry=registry)
    registry.set_target_info({"env": "test"})
    (directory / "counter_1.db").write_bytes(b"")
    with pytest.raises(struct.error):
        list(registry.collect())
    assert samples(whole(registry)) == {
        ("jobs_total", ()): 1,
        ("alone_total", ()): 0,
        ("target_info", (("env", "test"),)): 1,
    }


BROKEN = {
    "empty": b"",
    "short": b"\x00\x01",
    "cut": struct.pack("ii", 500, 0) + struct.pack("i", 400) + b'["jobs"',
    "noise": bytes(range(7, 250)) * 40,
    "no json": struct.pack("ii", 40, 0) + struct.pack("i", 12) + b"x" * 12 + bytes(16),
    "another": struct.pack("ii", 40, 0) + struct.pack("i", 12) + b"[1, 2, 3]   " + bytes(16),
}


@pytest.mark.parametrize("content", BROKEN.values(), ids=BROKEN)
@pytest.mark.parametrize("name", ["counter_99999.db", "gauge_all_99999.db", "gauge.db", "x.db"])
def test_a_broken_file_is_passed_over_and_counted(
    content: bytes, name: str, directory: Path
) -> None:
    counter = Counter("jobs", "J.")
    counter.inc()
    other(lambda: counter.inc(4))
    before = reported()
    (directory / name).write_bytes(content)
    assert value(whole(REGISTRY), "jobs_total") == 5
    assert reported() == before + 1


def test_a_file_that_may_not_be_read_is_passed_over(directory: Path) -> None:
    counter = Counter("jobs", "J.")
    counter.inc()
    before = reported()
    (directory / "counter_99999.db").mkdir()
    assert value(whole(REGISTRY), "jobs_total") == 1
    assert reported() == before + 1


def test_a_file_that_is_gone_meanwhile_is_no_failure(directory: Path) -> None:
    counter = Counter("jobs", "J.")
    counter.inc()
    before = reported()
    (directory / "counter_99999.db").symlink_to("gone")  # it is listed, and cannot be found
    assert value(whole(REGISTRY), "jobs_total") == 1
    assert reported() == before


def test_a_directory_may_have_brackets_in_its_name(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    named = directory / "shop[1]"
    named.mkdir()
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", str(named))
    counter = Counter("jobs", "J.")
    counter.inc()
    other(lambda: counter.inc(2))
    assert list(named.iterdir())
    assert value(whole(REGISTRY), "jobs_total") == 3


@pytest.mark.parametrize("name", ["missing", ""])
def test_without_a_directory_a_registry_is_as_it_is(
    name: str, registry: CollectorRegistry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PROMETHEUS_MULTIPROC_DIR", raising=False)
    if name:
        monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", str(tmp_path / name))
    Counter("jobs", "J.", registry=registry).inc()
    assert samples(whole(registry)) == {("jobs_total", ()): 1}
    assert not os.path.exists(tmp_path / "missing")
