"""The batch jobs in examples/, and their demo, as `make demo-batch` runs it."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from metrics import Series, value
from ports import free_port
from prom_middleware.cli import COMMANDS
from push.gateways import pushed, real
from servers.support import Server

pytestmark = pytest.mark.real

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
DEMO = EXAMPLES / "demo_batch.py"
ADDRESS = "localhost:9091"
OURS = "pushgateway" in COMMANDS
needs_ours = pytest.mark.skipif(not OURS, reason="the gateway is not there yet")


@pytest.fixture(params=["debian", *(["ours"] if OURS else [])], scope="module")
def gateway(request: pytest.FixtureRequest) -> Iterator[Server]:
    with real(request.param) as server:
        yield server


@pytest.fixture
def job(gateway: Server, environment: Any, tmp_path: Path) -> Callable[..., Any]:
    """Run a job of the example, with this gateway where it has its own address."""

    def run(name: str, *arguments: str) -> Any:
        text = (EXAMPLES / "batch" / name).read_text(encoding="utf-8")
        assert ADDRESS in text
        (tmp_path / name).write_text(text.replace(ADDRESS, gateway.url.removeprefix("http://")))
        return subprocess.run(
            [sys.executable, "-W", "error", str(tmp_path / name), *arguments],
            env=environment(),
            capture_output=True,
            encoding="utf-8",
            timeout=60,
        )

    return run


def test_the_seed_s_programs(gateway: Server, job: Any) -> None:
    with ThreadPoolExecutor(2) as pool:  # they sleep for some seconds
        both = list(pool.map(job, ("4-12-pushgateway.py", "4-12-pushgateway_more.py")))
    for done in both:
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout.startswith("aSleepTime:  ")
    found = pushed(gateway, "batch")
    assert {name for name, _ in found} == {
        "my_job_duration_seconds",
        "my_job_last_success_seconds",
        "JOE_job_duration_seconds",
        "JOE_job_last_success_seconds",
        "push_time_seconds",
        "push_failure_time_seconds",
    }
    assert {labels for _, labels in found} == {frozenset({("instance", ""), ("job", "batch")})}
    assert 1 <= value(found, "my_job_duration_seconds") < 60


def test_the_nightly_job(gateway: Server, job: Any) -> None:
    assert job("nightly.py").returncode == 0
    found = pushed(gateway, "nightly")
    assert value(found, "batch_job_items_processed") == 600
    success = "batch_job_last_success_timestamp_seconds"
    assert job("nightly.py", "a.csv", "broken.csv").returncode == 1
    later: Series = pushed(gateway, "nightly")
    assert value(later, "batch_job_items_processed") == 200
    assert value(later, success) == value(found, success), "it stays"
    assert value(later, "batch_job_last_failure_timestamp_seconds") > value(later, success)


def test_the_section_of_prometheus_yml(real_program: Any) -> None:
    promtool = real_program("promtool", "prometheus")
    config = EXAMPLES / "batch" / "prometheus.yml"
    done = subprocess.run(
        [promtool, "check", "config", str(config)], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "honor_labels: true" in config.read_text()


def rows(printed: str) -> dict[tuple[str, str], tuple[str, ...]]:
    """Return {(metric, job): (instance, exported_job)}."""
    found = re.findall(
        r"^(\w+_job_\w+|push_\w+)(?:{\S+)? +(\w+) +(\S+) +(\S+) +\S", printed, re.MULTILINE
    )
    return {(metric, job): tuple(labels) for metric, job, *labels in found}


@pytest.fixture
def demo() -> Iterator[Callable[[dict[str, str]], subprocess.Popen[str]]]:
    """Start a demo, which ends with the test at the latest."""
    begun: list[subprocess.Popen[str]] = []

    def begin(environment: dict[str, str]) -> subprocess.Popen[str]:
        command = [sys.executable, str(DEMO)]
        pipe = subprocess.PIPE
        process = subprocess.Popen(command, env=environment, stdout=pipe, stderr=pipe, text=True)
        begun.append(process)
        return process

    yield begin
    for process in begun:
        if process.returncode is None:
            process.terminate()
            process.communicate(timeout=60)


def until_it_serves(process: subprocess.Popen[str]) -> str:
    """Return what the demo prints until it only waits; then end it."""
    assert process.stdout is not None
    printed = ""
    while "Ctrl-C stops it." not in printed:
        line = process.stdout.readline()
        assert line, printed
        printed += line
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (0, "")
    return printed


@needs_ours
def test_the_demo(demo: Any, environment: Any, real_program: Any, tmp_path: Path) -> None:
    real_program("prometheus", "prometheus")
    for program in ("sh", "sleep"):
        (tmp_path / program).symlink_to(real_program(program, "coreutils, dash"))
    # Both at once: they take their time.
    scraped = demo(environment(PORT=str(free_port())))
    alone = demo(environment(PORT=str(free_port()), PATH=str(tmp_path)))
    for process, said in ((scraped, "says Prometheus"), (alone, "apt-get install prometheus")):
        printed = until_it_serves(process)
        assert said in printed
        found = rows(printed)
        assert {
            ("my_job_duration_seconds", "batch"),
            ("JOE_job_last_success_seconds", "batch"),
            ("push_time_seconds", "batch"),
            ("batch_job_items_processed", "nightly"),
            ("batch_job_exit_code", "backup"),
        } <= found.keys()
        assert set(found.values()) == {("-", "-")}, "neither an instance nor an exported_job"


@needs_ours
def test_the_demo_s_time_is_bounded(demo: Any, environment: Any) -> None:
    process = demo(environment(PORT=str(free_port()), DEMO_SECONDS="2"))
    printed, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (0, "")
    assert "DEMO_SECONDS was over" in printed
