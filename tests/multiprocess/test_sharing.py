"""Users' metrics in the store: every worker shows what all of them have counted."""

from __future__ import annotations

import os
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from time import time
from typing import Any

import pytest
from prometheus_client import (
    REGISTRY,
    CollectorRegistry,
    Counter,
    Enum,
    Gauge,
    Histogram,
    Info,
    Summary,
    generate_latest,
    values,
)
from prometheus_client.multiprocess import MultiProcessCollector

import metrics
from multiprocess.workers import Process, leave_registry, samples, value
from prom_middleware.exposition.access import ScrapeRequest
from prom_middleware.exposition.options import Limits
from prom_middleware.exposition.scraping import scrape
from prom_middleware.multiprocess import install, uninstall, whole
from prom_middleware.stores import MemoryStore
from prom_middleware.stores.multiprocess import MultiprocessStore
from stores.multiprocess.children import killed


def test_a_counter_shows_what_all_processes_counted(
    installed: MultiprocessStore, registry: CollectorRegistry
) -> None:
    counter = Counter("jobs", "Jobs done.", registry=registry)
    killed(lambda: counter.inc(2))
    killed(lambda: counter.inc(3))
    counter.inc()
    assert samples(registry) == {("jobs_total", ()): 6}


def test_labels_that_another_process_made_are_shown(
    installed: MultiprocessStore, registry: CollectorRegistry
) -> None:
    counter = Counter("jobs", "Jobs done.", ["kind"], registry=registry)
    counter.labels("here").inc()
    killed(lambda: counter.labels("there").inc(4))
    assert value(registry, "jobs_total", kind="here") == 1
    assert value(registry, "jobs_total", kind="there") == 4


def test_a_histogram_is_whole(installed: MultiprocessStore, registry: CollectorRegistry) -> None:
    histogram = Histogram("t", "Times.", ["kind"], buckets=(1, 2), registry=registry)
    histogram.labels("a").observe(0.5)
    killed(lambda: [histogram.labels("a").observe(each) for each in (1.5, 1.75, 9)])
    assert samples(registry) == {
        ("t_bucket", (("kind", "a"), ("le", "1.0"))): 1,
        ("t_bucket", (("kind", "a"), ("le", "2.0"))): 3,
        ("t_bucket", (("kind", "a"), ("le", "+Inf"))): 4,
        ("t_count", (("kind", "a"),)): 4,
        ("t_sum", (("kind", "a"),)): 12.75,
    }


def test_a_histogram_of_negative_values_has_no_sum(
    installed: MultiprocessStore, registry: CollectorRegistry
) -> None:
    Histogram("t", "Degrees.", buckets=(-1, 0), registry=registry).observe(-3)
    assert value(registry, "t_sum") is None
    assert value(registry, "t_count") == 1


def test_a_summary_is_shared(installed: MultiprocessStore, registry: CollectorRegistry) -> None:
    summary = Summary("s", "Sizes.", registry=registry)
    killed(lambda: summary.observe(4))
    summary.observe(1.5)
    assert samples(registry) == {("s_count", ()): 2, ("s_sum", ()): 5.5}


def test_a_series_is_shown_before_it_is_counted(
    installed: MultiprocessStore, registry: CollectorRegistry
) -> None:
    before = installed.snapshot().workers
    Counter("jobs", "Jobs done.", registry=registry)
    Counter("kinds", "Kinds.", ["kind"], registry=registry).labels("a")
    assert samples(registry) == {("jobs_total", ()): 0, ("kinds_total", (("kind", "a"),)): 0}
    assert installed.snapshot().workers == before


def test_a_series_says_when_it_was_made(
    installed: MultiprocessStore, registry: CollectorRegistry
) -> None:
    counter = Counter("jobs", "Jobs done.", registry=registry)
    counter.inc()
    (family,) = registry.collect()
    created = [each.value for each in family.samples if each.name == "jobs_created"]
    assert created == [pytest.approx(time(), abs=60)]


def test_the_exposition_is_that_of_one_process(
    installed: MultiprocessStore, registry: CollectorRegistry
) -> None:
    def text(inside: CollectorRegistry) -> list[bytes]:
        Counter("a", "A.", ["x"], registry=inside).labels("1").inc()
        Summary("b", "B.", registry=inside).observe(1)
        Histogram("c", "C.", registry=inside, unit="seconds").observe(1)
        Gauge("d", "D.", registry=inside, multiprocess_mode="sum").set(3)
        Info("e", "E.", ["x"], registry=inside).labels("1").info({"v": '"2"\n'})
        Enum("f", "F.", states=["on", "off"], registry=inside).state("off")
        lines = generate_latest(inside).splitlines()
        return [line for line in lines if b"_created" not in line]

    shared = text(registry)
    uninstall()
    assert shared == text(CollectorRegistry())


def test_registries_are_apart(installed: MultiprocessStore, registry: CollectorRegistry) -> None:
    other = CollectorRegistry()
    Counter("jobs", "Jobs done.", ["kind"]).labels("a").inc()
    one = Counter("jobs", "Jobs done.", ["kind"], registry=registry)
    two = Counter("jobs", "Jobs done.", ["kind"], registry=other)
    killed(lambda: (one.labels("a").inc(10), two.labels("a").inc(100)))
    assert value(REGISTRY, "jobs_total", kind="a") == 1
    assert value(registry, "jobs_total", kind="a") == 10
    assert value(other, "jobs_total", kind="a") == 100


def test_classes_that_users_derive_are_shared(
    installed: MultiprocessStore, registry: CollectorRegistry
) -> None:
    class Mine(Counter):
        def __init__(self, *args: object, **kwargs: object) -> None:
            super().__init__(*args, registry=registry, **kwargs)  # type: ignore[misc, arg-type]

    mine = Mine("mine", "Mine.", ["kind"])
    killed(lambda: mine.labels("a").inc(2))
    mine.labels("a").inc()
    assert samples(registry) == {("mine_total", (("kind", "a"),)): 3}


def test_a_metric_that_only_another_worker_has_is_shown_once(
    installed: MultiprocessStore,
) -> None:
    def lazy() -> None:
        Counter("lazy", "Made later.", ["kind"]).labels("a").inc(2)
        Histogram("lazy_h", "Made later.").observe(1)
        Enum("lazy_e", "Made later.", states=["on", "off"]).state("off")
        Info("lazy_i", "Made later.").info({"version": "2"})

    killed(lazy)
    assert value(REGISTRY, "lazy_total", kind="a") == 2
    assert value(REGISTRY, "lazy_h_count") == 1
    assert value(REGISTRY, "lazy_e", lazy_e="off") == 1
    assert value(REGISTRY, "lazy_i_info", version="2") == 1
    assert value(REGISTRY.restricted_registry(["lazy_total"]), "lazy_total", kind="a") == 2
    lazily = Counter("lazy", "Made later.", ["kind"])
    assert value(REGISTRY, "lazy_total", kind="a") == 2
    REGISTRY.unregister(lazily)
    assert value(REGISTRY, "lazy_total", kind="a") is None


OTHER_KINDS: dict[str, tuple[Callable[[], Any], Callable[[], Any], str]] = {
    "info": (
        lambda: Info("build", "B.").info({"v": "1"}),
        lambda: Gauge("build_info", "B.", ["v"], multiprocess_mode="max").labels("1").set(3),
        "build_info",
    ),
    "counter": (
        lambda: Counter("jobs", "J.").inc(5),
        lambda: Gauge("jobs_total", "J.", multiprocess_mode="max").set(3),
        "jobs_total",
    ),
    "gauge": (
        lambda: Gauge("jobs_total", "J.", multiprocess_mode="max").set(5),
        lambda: Counter("jobs", "J.").inc(3),
        "jobs_total",
    ),
    "same name": (
        lambda: Gauge("x", "X.", multiprocess_mode="max").set(5),
        lambda: Summary("x", "X.").observe(3),
        "x_sum",
    ),
}


@pytest.mark.parametrize("kinds", OTHER_KINDS.values(), ids=OTHER_KINDS)
@pytest.mark.parametrize("third", [False, True], ids=["who-has-it", "who-has-neither"])
def test_another_kind_that_has_the_name_of_an_older_one_is_shown_alone(
    third: bool,
    kinds: tuple[Callable[[], Any], Callable[[], Any], str],
    installed: MultiprocessStore,
) -> None:
    older, newer, name = kinds
    killed(older)
    if third:
        killed(newer)
    else:
        newer()
    asked = ScrapeRequest("GET", "/metrics", "", {}, None)
    answer = scrape(REGISTRY, asked, limits=Limits(error_handling="http_error"))
    assert answer.status == 200, answer.body
    assert metrics.value(metrics.series(answer.body.decode()), name) == 3
    families = {each.name for each in REGISTRY.collect()}
    assert not {"build", "build_info"} <= families
    assert not {"jobs", "jobs_total"} <= families


def test_who_reads_the_files_sees_the_store_too(
    installed: MultiprocessStore, registry: CollectorRegistry, tmp_path: Path
) -> None:
    kept = CollectorRegistry()
    jobs, mine = Counter("jobs", "J."), Counter("mine", "M.", registry=kept)
    Gauge("unset", "U.", multiprocess_mode="sum")
    jobs.inc(2)
    mine.inc()
    Counter("mine", "M.", registry=None).inc()  # with the same file, it would be the same
    killed(lambda: (jobs.inc(3), Counter("lazy", "L.").inc()))
    MultiProcessCollector(registry, installed.directory)
    expected = {
        ("jobs_total", ()): 5.0,
        ("mine_total", ()): 2.0,
        ("lazy_total", ()): 1.0,
        ("unset", ()): 0.0,
    }
    names = ("jobs", "mine", "lazy", "unset")
    assert samples(registry, *names) == samples(whole(registry), *names) == expected
    [found] = [family for family in registry.collect() if family.name == "mine"]
    created = [each.value for each in found.samples if each.name == "mine_created"]
    assert created == [pytest.approx(time(), abs=60)]  # of two counters, the older one's
    other = CollectorRegistry()
    MultiProcessCollector(other, str(tmp_path))  # another directory
    assert samples(other) == {}


def test_who_reads_the_files_in_the_default_registry_shows_nothing_twice(
    installed: MultiprocessStore,
) -> None:
    Counter("jobs", "J.").inc(2)
    MultiProcessCollector(REGISTRY, installed.directory)
    assert samples(REGISTRY, "jobs") == samples(whole(REGISTRY), "jobs") == {("jobs_total", ()): 2}


def test_another_help_is_the_same_metric(
    installed: MultiprocessStore,
) -> None:
    Counter("jobs", "Jobs done.", ["kind"]).labels("a").inc()
    before = time()
    script = f"""
from prometheus_client import Counter
from prom_middleware.multiprocess import install
from prom_middleware.stores.multiprocess import MultiprocessStore
install(MultiprocessStore({installed.directory!r}))
Counter("jobs", "Jobs that were done.", ["kind"]).labels("a").inc(2)
"""
    subprocess.run([sys.executable, "-c", script], check=True, timeout=30)
    assert value(REGISTRY, "jobs_total", kind="a") == 3
    created = REGISTRY.get_sample_value("jobs_created", {"kind": "a"})
    assert created is not None
    assert created < before


class Translated:
    """A text that is made when it is shown, as of Django's `gettext_lazy`."""

    def __str__(self) -> str:
        return "Jobs done."

    def __getattr__(self, name: str) -> Any:
        return getattr(str(self), name)


def test_a_help_that_is_no_text_keeps_no_number_from_others(
    installed: MultiprocessStore, registry: CollectorRegistry
) -> None:
    jobs = Counter("jobs", Translated(), registry=registry)  # type: ignore[arg-type]
    other = Counter("other", "Another.", registry=registry)
    jobs.inc()
    killed(lambda: [jobs.inc(), other.inc()])
    assert samples(registry) == {("jobs_total", ()): 2, ("other_total", ()): 1}
    assert b"# HELP jobs_total Jobs done." in generate_latest(registry)


def test_the_order_in_which_labels_are_named_makes_no_difference(
    installed: MultiprocessStore,
) -> None:
    def count(names: list[str]) -> None:
        labels = {"kind": "a", "place": "1"}
        Counter("jobs", "J.", names).labels(**labels).inc(2, exemplar={"trace": "1"})
        Histogram("h", "H.", names, buckets=(1,)).labels(**labels).observe(1)
        Gauge("g", "G.", names, multiprocess_mode="sum").labels(**labels).set(2)
        Gauge("f", "F.", names, multiprocess_mode="sum").labels(**labels).set_function(lambda: 3)
        Enum("e", "E.", names, states=["on", "off"]).labels(**labels).state("off")
        Info("i", "I.", names).labels(**labels).info({"v": "2"})

    killed(lambda: count(["place", "kind"]))
    count(["kind", "place"])
    where = (("kind", "a"), ("place", "1"))
    assert samples(REGISTRY, "jobs", "h", "g", "f", "e", "i") == {
        ("jobs_total", where): 4,
        ("h_bucket", (("kind", "a"), ("le", "1.0"), ("place", "1"))): 2,
        ("h_bucket", (("kind", "a"), ("le", "+Inf"), ("place", "1"))): 2,
        ("h_count", where): 2,
        ("h_sum", where): 2,
        ("g", where): 4,
        ("f", where): 3,
        ("e", (("e", "off"), *where)): 1,
        ("e", (("e", "on"), *where)): 0,
        ("i_info", (*where, ("v", "2"))): 1,
    }
    [jobs] = REGISTRY.restricted_registry(["jobs_total"]).collect()
    assert jobs.samples[0].exemplar is not None


def test_labels_may_be_a_set_whose_order_each_process_has_for_itself(
    installed: MultiprocessStore,
) -> None:
    script = f"""
from prometheus_client import Counter
from prom_middleware.multiprocess import install
from prom_middleware.stores.multiprocess import MultiprocessStore
install(MultiprocessStore({installed.directory!r}))
jobs = Counter("jobs", "J.", {{"shop", "country", "payment"}})
jobs.labels(shop="a", country="b", payment="c").inc()
print(jobs._labelnames)
"""
    orders = set()
    for seed in "0123":
        environment = {**os.environ, "PYTHONHASHSEED": seed}
        command = [sys.executable, "-c", script]
        orders.add(subprocess.check_output(command, env=environment, timeout=30))
    assert len(orders) > 1
    assert value(REGISTRY, "jobs_total", shop="a", country="b", payment="c") == 4


def test_one_collection_takes_one_snapshot_and_the_next_another(
    installed: MultiprocessStore, registry: CollectorRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    counters = [Counter(f"c{number}", "C.", registry=registry) for number in range(5)]
    taken = []
    snapshot = MultiprocessStore.snapshot

    def counted(store: MultiprocessStore) -> object:
        taken.append(store)
        return snapshot(store)

    monkeypatch.setattr(MultiprocessStore, "snapshot", counted)
    list(registry.collect())
    assert len(taken) == 1
    for number, counter in enumerate(counters):
        counter.inc(number + 1)
        assert value(registry, f"c{number}_total") == number + 1


def test_a_scrape_in_the_middle_of_another_is_fresh(
    installed: MultiprocessStore, registry: CollectorRegistry
) -> None:
    counter = Counter("jobs", "Jobs done.", registry=registry)
    families = iter(registry.collect())
    next(families)
    counter.inc()
    (family,) = counter.collect()
    assert family.samples[0].value == 1


def test_install_again_changes_nothing(
    installed: MultiprocessStore, registry: CollectorRegistry, tmp_path: Path
) -> None:
    counter = Counter("jobs", "Jobs done.", registry=registry)
    counter.inc()
    install()
    install(MultiprocessStore(tmp_path / "another"))
    assert samples(registry) == {("jobs_total", ()): 1}
    assert not (tmp_path / "another").exists()


def test_install_does_nothing_in_a_process_that_is_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PROM_MIDDLEWARE_MULTIPROC", "off")
    before = values.ValueClass
    install()
    assert values.ValueClass is before


def test_install_does_nothing_where_no_process_can_be_forked() -> None:
    script = """
import os, sys
sys.modules["fcntl"] = None
del os.register_at_fork, os.fork
from prom_middleware.multiprocess import install
install()
from prometheus_client import Counter, REGISTRY
Counter("jobs", "Jobs done.").inc()
assert REGISTRY.get_sample_value("jobs_total") == 1
"""
    unset = {key: each for key, each in os.environ.items() if "MULTIPROC" not in key.upper()}
    subprocess.run([sys.executable, "-c", script], check=True, timeout=60, env=unset)


def test_install_finds_the_store_of_this_process(tmp_path: Path) -> None:
    script = """
import os
from prometheus_client import Counter, REGISTRY
from prom_middleware.multiprocess import install
install()
jobs = Counter("jobs", "Jobs done.")
if not os.fork():
    jobs.inc(2)
    os._exit(0)
os.wait()
jobs.inc()
assert REGISTRY.get_sample_value("jobs_total") == 3
assert not [name for name in os.listdir(os.environ["PROMETHEUS_MULTIPROC_DIR"]) if ".db" in name]
"""
    environment = {**os.environ, "PROMETHEUS_MULTIPROC_DIR": str(tmp_path / "made")}
    subprocess.run([sys.executable, "-W", "error", "-c", script], check=True, env=environment)


def test_uninstalled_metrics_go_on_alone(store: MultiprocessStore) -> None:
    with leave_registry():
        install(store)
        counter = Counter("jobs", "Jobs done.", ["kind"])
        counter.labels("a").inc(2)
        uninstall()
        counter.labels("a").inc()
        counter.labels("b").inc()
        assert value(REGISTRY, "jobs_total", kind="a") == 3
        assert value(REGISTRY, "jobs_total", kind="b") == 1


def test_a_store_in_memory_will_do(registry: CollectorRegistry) -> None:
    with leave_registry():
        install(MemoryStore())
        try:
            gauge = Gauge("g", "G.", ["kind"], registry=registry)
            gauge.labels("a").inc(2)
            Counter("jobs", "Jobs done.", registry=registry).inc()
            assert value(registry, "g", kind="a", pid=str(os.getpid())) == 2
            gauge.remove("a")
            assert samples(registry) == {("jobs_total", ()): 1}
            gauge.labels("a").inc(3)
            assert value(registry, "g", kind="a", pid=str(os.getpid())) == 3
        finally:
            uninstall()


def test_two_processes_that_share_no_memory_agree(installed: MultiprocessStore) -> None:
    script = f"""
from prometheus_client import Counter, REGISTRY
from prom_middleware.multiprocess import install
from prom_middleware.stores.multiprocess import MultiprocessStore
install(MultiprocessStore({installed.directory!r}))
Counter("jobs", "Jobs done.", ["kind"]).labels("a").inc(2)
assert REGISTRY.get_sample_value("jobs_total", {{"kind": "a"}}) == 3
"""
    Counter("jobs", "Jobs done.", ["kind"]).labels("a").inc()
    subprocess.run([sys.executable, "-c", script], check=True, timeout=30)
    assert value(REGISTRY, "jobs_total", kind="a") == 3


def test_a_reset_sets_this_process_s_part(
    installed: MultiprocessStore, registry: CollectorRegistry
) -> None:
    counter = Counter("jobs", "Jobs done.", registry=registry)
    counter.inc(5)
    process = Process(lambda: counter)
    process.call("inc", 2)
    counter.reset()
    assert value(registry, "jobs_total") == 2
    process.kill()


def test_no_warning_is_given(
    installed: MultiprocessStore, registry: CollectorRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", installed.directory)
    counter = Counter("jobs", "Jobs done.", ["kind"], registry=registry)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        counter.labels("a").inc()
        counter.remove("a")
        counter.clear()
