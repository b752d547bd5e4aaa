"""What all tests share: real programs, a store of several processes, and which tests run when."""

from __future__ import annotations

import gc
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

from huge_pages import use_huge_pages

if TYPE_CHECKING:
    from prom_middleware.stores.multiprocess import MultiprocessStore


def find_program(name: str, debian_package: str) -> str:
    """Return the path of the program `name`, which Debian has in `debian_package`.

    Without it the test is skipped; where PROM_MIDDLEWARE_REQUIRE_REAL=1, it fails.
    """
    path = shutil.which(name)
    if path is not None:
        return path
    missing = f"{name} is missing: apt-get install {debian_package}"
    if os.environ.get("PROM_MIDDLEWARE_REQUIRE_REAL") == "1":
        pytest.fail(f"{missing} (PROM_MIDDLEWARE_REQUIRE_REAL is set)", pytrace=False)
    pytest.skip(missing)


@pytest.fixture(scope="session")
def real_program() -> Callable[[str, str], str]:
    """Return `find_program`."""
    return find_program


@pytest.fixture
def shared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MultiprocessStore:
    """Have cores write to a store of several processes, and leave all else to this one."""
    from prom_middleware.instrumentation import registration
    from prom_middleware.stores.multiprocess import MultiprocessStore

    store = MultiprocessStore(tmp_path)
    monkeypatch.setattr(registration, "shared_store", lambda: store)
    monkeypatch.setattr(registration, "_share", lambda *_: None)
    return store


# What real programs make of us, long searches for bad input, and what no framework has a part in
# are the same with every version of Python and of the frameworks: `make test` runs them, the matrix
# does not. Of each room, other files run everywhere.
ONCE = frozenset(
    (
        "bridge/incoming/test_graphite_lines.py",
        "bridge/incoming/test_mapping.py",
        "bridge/outgoing/test_bridge.py",
        "bridge/outgoing/test_paths.py",
        "bridge/test_real_receivers.py",
        "check/test_beside_promtool.py",
        "check/test_more_rules.py",
        "commands/test_bridge_command.py",
        "commands/test_check_applications.py",
        "commands/test_check_command.py",
        "commands/test_command_line.py",
        "commands/test_doctor_command.py",
        "commands/test_push_command.py",
        "commands/test_serve_command.py",
        "commands/test_textfile_command.py",
        "doctor/test_django_checks.py",
        "doctor/test_examined_examples.py",
        "examples/test_batch.py",
        "examples/test_demo.py",
        "examples/test_examples.py",
        "exposition/webconfig/test_webconfig_serving.py",
        "exposition/webconfig/test_webconfig_settings.py",
        "multiprocess/test_removing_death.py",
        "multiprocess_servers/test_bad_directories.py",
        "multiprocess_servers/test_containers.py",
        "multiprocess_servers/test_example.py",
        "multiprocess_servers/test_recognition.py",
        "multiprocess_servers/test_users_metrics.py",
        "multiprocess_servers/test_uwsgi_forks.py",
        "parser/test_fuzzing.py",
        "parser/test_real_pages.py",
        "parser/test_round_trips.py",
        "push/test_against_gateways.py",
        "push/test_bad_gateways.py",
        "pushgateway/test_bad_input.py",
        "pushgateway/test_durability.py",
        "pushgateway/test_odd_bodies.py",
        "pushgateway/test_page.py",
        "pushgateway/test_real_peers.py",
        "pushgateway/test_recorded_exchanges.py",
        "servers/test_abuse.py",
        "servers/test_federated.py",
        "servers/test_growing.py",
        "servers/test_odd_families.py",
        "servers/test_promtool.py",
        "servers/test_scraped_histograms.py",
        "servers/test_scrapers.py",
        "servers/test_wsgi_bodies.py",
        "stores/multiprocess/test_death.py",
        "stores/multiprocess/test_ending.py",
        "stores/multiprocess/test_kills.py",
        "stores/multiprocess/test_model.py",
        "stores/multiprocess/test_surroundings.py",
        "test_readme.py",
    )
)
# A process takes a file after the other: what begins late and takes long is waited for by the rest.
LONGEST = (
    "multiprocess_servers/test_kills_under_load.py",
    "servers/test_federated.py",
    "multiprocess_servers/test_bad_directories.py",
    "test_failsafe.py",
    "multiprocess/test_removing_death.py",
    "examples/test_examples.py",
    "instrumentation/test_recorder.py",
    "multiprocess_servers/test_recognition.py",
    "examples/test_demo.py",
    "servers/test_real_servers.py",
    "test_cardinality.py",
    "stores/multiprocess/test_death.py",
    "parser/test_fuzzing.py",
    "parser/test_round_trips.py",
    "django_door/test_django_auth.py",
    "commands/test_bridge_command.py",
    "servers/test_abuse.py",
    "servers/test_growing.py",
    "bridge/incoming/test_listener.py",
)
# Nothing of ours runs in the process of these tests: what they ask is a server. On Python 3.11 it
# takes as long to trace a client as to be one.
UNMEASURED = (
    "multiprocess_servers/",
    "servers/test_real_servers.py",
    "servers/test_wsgi_bodies.py",
)
TESTS = Path(__file__).parent
# Set in a process that runs a single test.
ALONE = "PROM_MIDDLEWARE_ALONE"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what need not run more than once, and put first what takes longest."""
    names = {path: path.relative_to(TESTS).as_posix() for path in {item.path for item in items}}
    for item in items:
        name = names[item.path]
        if name in ONCE:
            item.add_marker("once")
        if name.startswith(UNMEASURED):
            item.add_marker("no_cover")
    places = {name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: places.get(names[item.path], len(LONGEST)))


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Have the garbage collector wait: what comes into being here stays."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.enable()


@pytest.hookimpl(trylast=True)
def pytest_collection_finish() -> None:
    """Have the garbage collector and forks leave alone what thousands of tests are made of."""
    gc.collect()
    gc.freeze()
    use_huge_pages()


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Have what is marked so run in a process of its own, which has imported next to nothing."""
    if pyfuncitem.get_closest_marker("forks") is None or os.environ.get(ALONE):
        return None
    config = pyfuncitem.config
    options = [f"-W{one}" for one in config.getoption("pythonwarnings") or ()]
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *options]
    found = subprocess.run(
        [*command, pyfuncitem.nodeid],
        cwd=config.rootpath,
        env=os.environ | {ALONE: "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    if found.returncode:
        pytest.fail(found.stdout, pytrace=False)
    return True


@pytest.hookimpl(wrapper=True, trylast=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    """Measure nothing of what is marked so: in processes of pytest-xdist, pytest-cov goes on."""
    if item.get_closest_marker("no_cover") is None:
        yield
        return
    before, of_threads = sys.gettrace(), threading.gettrace()
    sys.settrace(None)
    threading.settrace(None)  # type: ignore[arg-type]
    try:
        yield
    finally:
        sys.settrace(before)
        threading.settrace(of_threads)  # type: ignore[arg-type]


# Examples where neither a test nor the command line says how many: the matrix is content with few.
settings.register_profile("matrix", max_examples=15)


# A shell's background jobs ignore it, and what a test starts and interrupts would inherit that.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_configure(config: pytest.Config) -> None:
    """Let Twisted warn of itself: it uses what it deprecated, when imported and for every 404."""
    # A regular expression that a module's name begins with.
    config.addinivalue_line("filterwarnings", "ignore::DeprecationWarning:twisted")
