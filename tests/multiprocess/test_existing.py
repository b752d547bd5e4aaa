"""Metrics that were made before `install()`: they are moved with what they have counted, once."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from prometheus_client import REGISTRY

START = """
import os, signal, sys, warnings
from prometheus_client import *
from prometheus_client import REGISTRY, values
from prom_middleware import failures
from prom_middleware.multiprocess import install, whole
from prom_middleware.stores.multiprocess import MultiprocessStore
store = MultiprocessStore(sys.argv[1])

def shown(registry=REGISTRY):
    return {
        (sample.name, *sorted(sample.labels.items())): sample.value
        for family in registry.collect()
        for sample in family.samples
        if not sample.name.endswith("_created")
        and not sample.name.startswith(("python", "process"))
    }

def child(function):
    pid = os.fork()
    if not pid:
        code = 1
        try:
            function()
            code = 0
        finally:
            sys.stdout.flush()
            os._exit(code)
    assert os.waitpid(pid, 0)[1] == 0
"""


def check(script: str, directory: Path, *arguments: str, **environment: str) -> None:
    """Run a program of its own: to install is to change a whole process."""
    subprocess.run(
        [
            sys.executable,
            "-W",
            "error",
            "-c",
            START + script,
            str(directory / "metrics"),
            *arguments,
        ],
        check=True,
        timeout=60,
        env={**os.environ, **environment},
    )


MAKE = """
registry = CollectorRegistry()
counter = Counter("jobs", "J.", ["kind"])
counter.labels("a").inc(3, exemplar={"trace": "1"})
plain = Counter("plain", "P.", registry=registry)
plain.inc(2)
loose = Counter("loose", "L.", registry=None)
loose.inc(7)
histogram = Histogram("t", "T.", buckets=(1, 2))
histogram.observe(1.5)
summary = Summary("s", "S.")
summary.observe(4)
gauge = Gauge("g", "G.", multiprocess_mode="sum")
gauge.set(5)
info = Info("build", "B.")
info.info({"version": "1"})
enum = Enum("state", "S.", states=["on", "off"])
enum.state("off")
"""
BEFORE = """
assert shown() == {
    ("jobs_total", ("kind", "a")): 3,
    ("t_bucket", ("le", "1.0")): 0, ("t_bucket", ("le", "2.0")): 1, ("t_bucket", ("le", "+Inf")): 1,
    ("t_count",): 1, ("t_sum",): 1.5, ("s_count",): 1, ("s_sum",): 4, ("g",): 5,
    ("build_info", ("version", "1")): 1,
    ("state", ("state", "on")): 0, ("state", ("state", "off")): 1,
}, shown()
assert shown(registry) == {("plain_total",): 2}
REGISTRY.register(loose)
assert shown()["loose_total",] == 7
REGISTRY.unregister(loose)
"""


def test_all_kinds_are_moved_with_what_they_have(tmp_path: Path) -> None:
    check(MAKE + BEFORE + "install(store)\n" + BEFORE, tmp_path)


def test_an_exemplar_is_moved(tmp_path: Path) -> None:
    check(
        MAKE
        + """
install(store)
(family,) = counter.collect()
assert family.samples[0].exemplar.labels == {"trace": "1"}
""",
        tmp_path,
    )


def test_what_a_master_counted_before_it_forked_is_there_once(tmp_path: Path) -> None:
    check(
        MAKE
        + "install(store)"
        + """
for _ in range(4):
    child(lambda: (counter.labels("a").inc(), plain.inc(), gauge.inc(), histogram.observe(1.5)))
def last():
    assert shown()["jobs_total", ("kind", "a")] == 7
    assert shown()["t_count",] == 5
    assert shown()["g",] == 9
    assert shown(registry) == {("plain_total",): 6}
child(last)
last()
""",
        tmp_path,
    )


def test_what_was_counted_before_the_fork_is_there_once_where_each_child_installs(
    tmp_path: Path,
) -> None:
    script = (
        MAKE
        + """
def count():
    counter.labels("a").inc(), counter.labels("b").inc(), histogram.observe(1.5), summary.observe(1)
def worker():
    count()  # its own, too, and no heir has that
    install(store)
    count()
for _ in range(4):
    child(worker)
def last():
    install(store)
    times = int(sys.argv[2])
    assert shown()["jobs_total", ("kind", "a")] == 11 * times
    assert shown()["jobs_total", ("kind", "b")] == 8 * times
    assert shown()["t_bucket", ("le", "2.0")] == shown()["t_count",] == 9 * times
    found = (shown()["t_sum",], shown()["s_count",], shown()["s_sum",])
    assert found == (13.5 * times, 9 * times, 12 * times)
child(last)
"""
    )
    for times in "12":  # the second one in a directory that is known
        check(script, tmp_path, times)


LATE = """
import os, sys
from prometheus_client import REGISTRY, Counter
counter = Counter("jobs", "J.")
for number in range(1, 4):
    pid = os.fork()
    if not pid:
        counter.inc()
        from prom_middleware.multiprocess import install
        from prom_middleware.stores.multiprocess import MultiprocessStore
        install(MultiprocessStore(sys.argv[1]))
        counter.inc()
        os._exit(REGISTRY.get_sample_value("jobs_total") != 2 * number)
    assert os.waitpid(pid, 0)[1] == 0
"""


def test_where_we_are_imported_after_the_fork_all_is_a_child_s_own(tmp_path: Path) -> None:
    command = [sys.executable, "-c", LATE, str(tmp_path / "metrics")]
    subprocess.run(command, check=True, timeout=60)


def test_children_wait_for_who_brings_what_all_inherited(tmp_path: Path) -> None:
    check(
        """
import fcntl, time
import prom_middleware.stores.multiprocess.store as module
module.PATIENCE = 60.0  # a busy machine
counter = Counter("jobs", "J.")
counter.inc(3)
os.makedirs(sys.argv[1])
ready, locked = os.pipe()
holder = os.fork()
if not holder:
    lock = os.open(f"{sys.argv[1]}/prom_middleware-1.lock", os.O_RDWR | os.O_CREAT)
    fcntl.flock(lock, fcntl.LOCK_EX)
    os.write(locked, b"!")
    time.sleep(0.5)
    os._exit(0)
os.read(ready, 1)
def worker():
    install(store)
    counter.inc()
def last():
    install(store)
    assert shown()["jobs_total",] == 5, shown()
child(worker)
child(worker)
os.waitpid(holder, 0)
child(last)
""",
        tmp_path,
    )


NOTED = """
import os, sys
from prometheus_client import Counter
import prom_middleware.{door}  # none is made yet
from prom_middleware.multiprocess import inherited
counter = Counter("jobs", "J.")
counter.inc(3)
pid = os.fork()
if not pid:
    os._exit(int(inherited.take_note(counter._value)))
print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
"""


@pytest.mark.parametrize("door", ["asgi", "wsgi"])
@pytest.mark.parametrize(
    ("environment", "server", "noted"),
    [
        ({}, "", 0),
        ({}, "gunicorn", 3),
        ({"PROM_MIDDLEWARE_MULTIPROC_DIR": "/nowhere"}, "", 3),
        ({"PROM_MIDDLEWARE_MULTIPROC": "off"}, "gunicorn", 0),
    ],
)
def test_a_fork_costs_nothing_where_nothing_can_come_to_be_shared(
    environment: dict[str, str], server: str, noted: int, door: str
) -> None:
    program = NOTED.format(door=door)
    program = f"import {server}\n{program}" if server else program
    names = ("PROM_MIDDLEWARE_MULTIPROC_DIR", "PROM_MIDDLEWARE_MULTIPROC")
    kept = {name: value for name, value in os.environ.items() if name not in names}
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**kept, **environment},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.stdout == f"{noted}\n", done.stderr


def test_where_nobody_can_be_asked_nothing_is_lost(tmp_path: Path) -> None:
    (tmp_path / "metrics").write_text("not a directory")
    check(
        """
counter = Counter("jobs", "J.")
counter.inc(3)
def worker():
    install(store)
    counter.inc()
    assert shown() == {("jobs_total",): 4}
for _ in range(2):
    child(worker)
""",
        tmp_path,
    )


def test_a_child_may_begin_anew(tmp_path: Path) -> None:
    check(
        """
counter = Counter("jobs", "J.")
counter.inc(3)
def worker():
    counter.reset()
    counter.inc(2)
    install(store)
child(lambda: install(store))
child(worker)
install(store)
assert shown() == {("jobs_total",): 3 + 2 + 3}, shown()  # the parent's own are not inherited
""",
        tmp_path,
    )


def test_a_sum_may_fall(tmp_path: Path) -> None:
    check(
        """
summary = Summary("s", "S.")
summary.observe(5)
def worker():
    summary.observe(-2)
    install(store)
child(lambda: install(store))
child(worker)
def last():
    install(store)
    assert (shown()["s_sum",], shown()["s_count",]) == (5 - 2, 2), shown()
child(last)
""",
        tmp_path,
    )


def test_a_directory_that_stays_gets_a_line_for_each_server_that_counted_before_it_forked(
    tmp_path: Path,
) -> None:
    check(
        """
counter = Counter("jobs", "J.", ["kind"])
for kind in range(100):
    counter.labels(str(kind)).inc(int(sys.argv[2]))
child(lambda: install(store))
store = MultiprocessStore(sys.argv[1])
child(lambda: install(store))
families = [each.name for each in store.snapshot().families()]
assert families == ["jobs"] + ["inheritances"] * int(sys.argv[2]), families
""",
        tmp_path,
        "0",
    )


def test_a_child_brings_what_it_has_counted_in_metrics_of_its_own(tmp_path: Path) -> None:
    check(
        """
def worker():
    counter = Counter("jobs", "J.")
    counter.inc(2)
    install(store)
for _ in range(3):
    child(worker)
install(store)
counter = Counter("jobs", "J.")
assert shown() == {("jobs_total",): 6}
""",
        tmp_path,
    )


def test_what_an_earlier_process_of_this_pid_has_left_in_a_file_stays(tmp_path: Path) -> None:
    directory = tmp_path / "files"
    directory.mkdir()
    check(
        """
first = values.MultiProcessValue(os.getpid)
orders = first("counter", "orders", "orders_total", (), (), "O.")
orders.inc(5)
values.ValueClass = values.MultiProcessValue(os.getpid)  # as in a later process
counter = Counter("jobs", "J.")
counter.inc(2)
install(MultiprocessStore(os.environ["PROMETHEUS_MULTIPROC_DIR"]))
counter.inc()
found = shown(whole(REGISTRY))
assert (found["jobs_total",], found["orders_total",]) == (3, 5), found
""",
        tmp_path,
        PROMETHEUS_MULTIPROC_DIR=str(directory),
    )


def test_values_in_hand_go_on_into_the_store(tmp_path: Path) -> None:
    check(
        """
counter = Counter("jobs", "J.")
value = counter._value
install(store)
value.inc(2)
child(lambda: value.inc(3))
assert shown() == {("jobs_total",): 5}
""",
        tmp_path,
    )


def test_a_worker_that_installs_by_itself_shares_with_the_others(tmp_path: Path) -> None:
    check(
        """
def worker():
    counter = Counter("jobs", "J.", ["kind"])
    counter.labels("a").inc(2)
    install(store)
    counter.labels("a").inc()
    global last
    last = shown()
for number in range(1, 4):
    child(lambda: (worker(), last["jobs_total", ("kind", "a")] == 3 * number or 1 / 0))
""",
        tmp_path,
    )


def test_what_their_files_had_is_moved_and_shown_once(tmp_path: Path) -> None:
    (tmp_path / "metrics").mkdir()
    check(
        MAKE
        + """
assert values.ValueClass is not values.MutexValue
assert [name for name in os.listdir(sys.argv[1]) if name.endswith(".db")]
install(store)
counter.labels("a").inc()
child(lambda: counter.labels("a").inc())
assert shown(whole(REGISTRY))["jobs_total", ("kind", "a")] == 5
assert shown(whole(REGISTRY))["g",] == 5
assert not [name for name in os.listdir(sys.argv[1]) if name.endswith(".db")]
""",
        tmp_path,
        PROMETHEUS_MULTIPROC_DIR=str(tmp_path / "metrics"),
    )


def test_a_zero_that_was_set_is_moved_as_well(tmp_path: Path) -> None:
    (tmp_path / "metrics").mkdir()
    check(
        """
gauge = Gauge("g", "G.", multiprocess_mode="mostrecent")
never = Gauge("never", "N.", multiprocess_mode="mostrecent")
gauge.set(0)
install(store)
assert shown() == {("g",): 0}
""",
        tmp_path,
        PROMETHEUS_MULTIPROC_DIR=str(tmp_path / "metrics"),
    )


def test_what_another_program_writes_without_install_is_added(tmp_path: Path) -> None:
    (tmp_path / "metrics").mkdir()
    check(
        """
def other():
    Counter("jobs", "J.", ["kind"]).labels("a").inc(2)
    Counter("cron", "C.").inc(4)
    Gauge("g", "G.").set(3)
child(other)
install(store)
Counter("jobs", "J.", ["kind"]).labels("a").inc()
Counter("jobs2", "J.").inc()
found = shown(whole(REGISTRY))
assert found["jobs_total", ("kind", "a")] == 3
assert found["cron_total",] == 4
assert [value for key, value in found.items() if key[0] == "g"] == [3]
""",
        tmp_path,
        PROMETHEUS_MULTIPROC_DIR=str(tmp_path / "metrics"),
    )


def test_a_store_that_nobody_asked_for_has_only_what_is_shown(tmp_path: Path) -> None:
    check(
        """
import gc
from prom_middleware.exposition import make_wsgi_app
from prom_middleware.multiprocess.patches import share
Counter("jobs", "J.", ["kind"]).labels("a").inc()
first, shop, later, early = (CollectorRegistry() for _ in range(4))
sold = Counter("sold", "S.", ["kind"], registry=shop)
sold.labels("a").inc()
first.register(sold)  # which nobody shows, and which is the older one
make_wsgi_app(shop.restricted_registry(["sold_total"]))

class Own:
    __slots__ = ()
    def collect(self):
        return []

class Derived(Counter):
    pass

share(store)
make_wsgi_app(Own())
asked = Counter("asked", "A.", ["kind"], registry=later)
asked.labels("a").inc()
Enum("state", "S.", states=["on", "off"], registry=later).state("off")
loose = Counter("loose", "L.", registry=None)
REGISTRY.register(loose)
make_wsgi_app(later.restricted_registry(["asked_total"]))

def push():
    registry = CollectorRegistry()
    rows = Counter("rows", "R.", ["table"], registry=registry)
    rows.labels("a").inc(3, exemplar={"trace": "1"})
    Counter("all", "A.", registry=registry).inc(3)
    Derived("derived", "D.", ["t"], registry=registry).labels("a").inc(3)
    Gauge("last", "L.", registry=registry).set(7)
    Histogram("t", "T.", registry=registry, buckets=(1,)).observe(1)
    Info("i", "I.", registry=registry).info({"v": "1"})
    Enum("e", "E.", states=["on", "off"], registry=registry).state("off")
    found = shown(registry)
    rows.remove("a")
    rows.clear()
    return found

expected = {
    ("rows_total", ("table", "a")): 3, ("derived_total", ("t", "a")): 3, ("all_total",): 3,
    ("last",): 7, ("t_count",): 1,
    ("t_bucket", ("le", "1.0")): 1, ("t_bucket", ("le", "+Inf")): 1, ("t_sum",): 1,
    ("i_info", ("v", "1")): 1, ("e", ("e", "on")): 0, ("e", ("e", "off")): 1,
}
def worker():
    sold.labels("a").inc()
    asked.labels("a").inc()
    loose.inc()
    assert push() == expected, push()

for _ in range(2):
    child(worker)
    assert push() == expected, push()
assert shown(shop) == {("sold_total", ("kind", "a")): 3}
assert shown(later)["asked_total", ("kind", "a")] == 3
assert shown(later)["state", ("state", "off")] == 1
assert shown() == {("jobs_total", ("kind", "a")): 1, ("loose_total",): 2}
kept = Counter("kept", "K.", registry=early)
kept.inc(2)
install()
child(lambda: kept.inc(3))
assert shown(early) == {("kept_total",): 5}
assert shown(shop) == {("sold_total", ("kind", "a")): 3}
assert not failures.counts(), failures.counts()
""",
        tmp_path,
    )


def test_a_proxy_that_raises_is_left_alone(tmp_path: Path) -> None:
    check(
        """
class Proxy:
    @property
    def __class__(self):
        raise RuntimeError("outside of a request")
proxy = Proxy()
Counter("jobs", "J.").inc()
install(store)
assert shown() == {("jobs_total",): 1}
assert not failures.counts(), failures.counts()
""",
        tmp_path,
    )


def test_threads_that_count_meanwhile_lose_nothing(tmp_path: Path) -> None:
    check(
        """
import threading
counter = Counter("jobs", "J.", ["kind"])
go = threading.Event()
def count():
    go.wait()
    for number in range(20_000):
        counter.labels("a").inc()
threads = [threading.Thread(target=count) for _ in range(4)]
for thread in threads:
    thread.start()
go.set()
install(store)
for thread in threads:
    thread.join()
assert shown() == {("jobs_total", ("kind", "a")): 80_000}, shown()
""",
        tmp_path,
    )


def test_this_process_is_as_it_was() -> None:
    assert type(REGISTRY).collect.__module__ == "prometheus_client.registry"


def test_what_is_shown_is_moved_though_the_garbage_collector_hides_it(tmp_path: Path) -> None:
    script = """
import gc
from prom_middleware.exposition import make_wsgi_app
registry = CollectorRegistry()
counter = Counter("jobs", "J.", registry=registry)
application = make_wsgi_app(registry)
counter.inc()
gc.freeze()
install(store)
child(lambda: counter.inc(2))
assert shown(registry) == {("jobs_total",): 3}, shown(registry)
"""
    check(script, tmp_path)
