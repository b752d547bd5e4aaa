"""The rule of real programs: without one its tests are skipped, unless the machine must have it."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import pytest


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


# What real programs make of us, and long searches for bad input, are the same with every version of
# Python and of the frameworks: `make test` runs them, the matrix does not.
ONCE = frozenset(
    (
        "check/test_beside_promtool.py",
        "bridge/test_real_receivers.py",
        "examples/test_batch.py",
        "examples/test_demo.py",
        "parser/test_fuzzing.py",
        "parser/test_real_pages.py",
        "pushgateway/test_durability.py",
        "pushgateway/test_page.py",
        "pushgateway/test_real_peers.py",
        "servers/test_federated.py",
        "servers/test_growing.py",
        "servers/test_scraped_histograms.py",
        "servers/test_scrapers.py",
    )
)
TESTS = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what need not run more than once."""
    for item in items:
        if item.path.relative_to(TESTS).as_posix() in ONCE:
            item.add_marker("once")


# A shell's background jobs ignore it, and what a test starts and interrupts would inherit that.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_configure(config: pytest.Config) -> None:
    """Let Twisted warn of itself: it uses what it deprecated, when imported and for every 404."""
    # A regular expression that a module's name begins with.
    config.addinivalue_line("filterwarnings", "ignore::DeprecationWarning:twisted")
