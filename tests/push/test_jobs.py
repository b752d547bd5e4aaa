"""`batch_job`: what it records and pushes, whatever becomes of the job."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, Gauge

from metrics import Series, series, value
from prom_middleware import failures
from prom_middleware.errors import OptionError
from prom_middleware.push import Run, batch_job, current_job
from push.gateways import Scripted, listening, scripted, silent
from stores.multiprocess.children import run

NOWHERE = "127.0.0.1:1"
SUCCESS = "batch_job_last_success_timestamp_seconds"
FAILURE = "batch_job_last_failure_timestamp_seconds"
COMPLETION = "batch_job_last_completion_timestamp_seconds"


@pytest.fixture
def server() -> Iterator[Scripted]:
    with scripted(200) as served:
        yield served


def brought(server: Scripted, number: int = -1) -> Series:
    return series(server.asked[number].body.decode())


def names(samples: Series) -> set[str]:
    return {name for name, _ in samples}


def test_a_block(server: Scripted) -> None:
    before = time.time()
    with batch_job("nightly", gateway=server.address, grouping_key={"shop": "a"}) as job:
        assert current_job() is job
        job.done()
        job.done(2)
        with job.stage("load"), job.stage("load"):
            pass
        assert job.result is None
    assert job.result
    (asked,) = server.asked
    assert (asked.method, asked.path) == ("POST", "/metrics/job/nightly/shop/a")
    found = brought(server)
    assert names(found) == {
        "batch_job_duration_seconds",
        "batch_job_items_processed",
        "batch_job_stage_duration_seconds",
        COMPLETION,
        SUCCESS,
    }
    assert value(found, "batch_job_items_processed") == 3
    assert before - 1 <= value(found, SUCCESS) == value(found, COMPLETION) <= time.time() + 1
    assert value(found, "batch_job_duration_seconds") >= 0
    assert ("batch_job_stage_duration_seconds", frozenset({("stage", "load")})) in found


class Odd(BaseException):
    """Not even an Exception."""


@pytest.mark.parametrize("kind", [ValueError, KeyboardInterrupt, Odd, SystemExit])
def test_a_job_that_raises(server: Scripted, kind: type[BaseException]) -> None:
    raised = kind(3)
    with pytest.raises(kind) as caught, batch_job("nightly", gateway=server.address) as job:
        raise raised
    assert caught.value is raised
    assert caught.value.__context__ is None
    assert job.result
    assert FAILURE in names(brought(server))
    assert SUCCESS not in names(brought(server)), "that of an earlier run stays in the gateway"


@pytest.mark.parametrize("code", [0, None])
def test_leaving_is_no_failure(server: Scripted, code: int | None) -> None:
    with pytest.raises(SystemExit), batch_job("nightly", gateway=server.address):
        sys.exit(code)
    assert SUCCESS in names(brought(server))


def test_a_decorated_function(server: Scripted) -> None:
    @batch_job("nightly", gateway=server.address)
    def add(one: int, *, other: int) -> int:
        """Add."""
        current_job().done(one)
        return one + other

    assert (add.__name__, add.__doc__) == ("add", "Add.")
    assert [add(1, other=2), add(5, other=5)] == [3, 10]
    assert [value(brought(server, n), "batch_job_items_processed") for n in (0, 1)] == [1, 5]


def test_a_decorated_function_that_raises(server: Scripted) -> None:
    @batch_job("nightly", gateway=server.address)
    def fail() -> None:
        raise ValueError("not today")

    with pytest.raises(ValueError, match="not today"):
        fail()
    assert FAILURE in names(brought(server))


def test_calls_at_the_same_time_are_runs_of_their_own(server: Scripted) -> None:
    together = threading.Barrier(4)

    @batch_job("nightly", gateway=server.address)
    def work(number: int) -> None:
        together.wait(30)
        current_job().done(number)
        together.wait(30)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    found = [value(brought(server, n), "batch_job_items_processed") for n in range(4)]
    assert sorted(found) == [0, 1, 2, 3]


def test_a_function_that_calls_itself(server: Scripted) -> None:
    @batch_job("nightly", gateway=server.address)
    def work(depth: int) -> None:
        if depth:
            work(depth - 1)
        current_job().done(depth)

    work(2)
    found = [value(brought(server, n), "batch_job_items_processed") for n in range(3)]
    assert found == [0, 1, 2]


def test_async_function_and_block(server: Scripted) -> None:
    @batch_job("nightly", gateway=server.address)
    async def work(number: int) -> int:
        await asyncio.sleep(0)
        current_job().done(number)
        return number

    async def program() -> list[int]:
        async with batch_job("outer", gateway=server.address) as job:
            results = await asyncio.gather(*map(work, range(3)))
        assert job.result
        return list(results)

    assert asyncio.run(program()) == [0, 1, 2]
    found = [value(brought(server, n), "batch_job_items_processed") for n in range(4)]
    assert sorted(found[:3]) == [0, 1, 2]
    assert server.asked[3].path == "/metrics/job/outer"


def test_an_async_job_that_raises(server: Scripted) -> None:
    async def program() -> None:
        async with batch_job("nightly", gateway=server.address):
            raise ValueError("not today")

    with pytest.raises(ValueError, match="not today"):
        asyncio.run(program())
    assert FAILURE in names(brought(server))


def test_an_async_job_that_is_cancelled(server: Scripted) -> None:
    async def job() -> None:
        async with batch_job("nightly", gateway=server.address):
            await asyncio.sleep(60)

    async def program() -> None:
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(job(), 0.05)

    asyncio.run(program())
    assert FAILURE in names(brought(server))


def test_a_cancelled_push_goes_on_behind(server: Scripted) -> None:
    """Some frameworks cancel at every await of a cancelled task."""

    async def job() -> None:
        task = asyncio.current_task()
        assert task is not None
        async with batch_job("nightly", gateway=server.address):
            asyncio.get_running_loop().call_soon(task.cancel)

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(job())
    for thread in threading.enumerate():
        if thread.name == "prom_middleware.push":
            thread.join(30)
    assert SUCCESS in names(brought(server))


def test_the_loop_goes_on_while_it_pushes() -> None:
    async def program(address: str) -> int:
        async def job() -> None:
            async with batch_job("nightly", gateway=address, deadline=0.4, retries=0):
                pass

        running, turns = asyncio.ensure_future(job()), 0
        while not running.done():
            turns += 1
            await asyncio.sleep(0.01)
        return turns

    with listening(silent) as (address, _):
        assert asyncio.run(program(address)) > 5


def test_a_registry_is_pushed_along(server: Scripted, registry: CollectorRegistry) -> None:
    with batch_job("nightly", gateway=server.address, registry=registry):
        Gauge("made_in_the_job", "It.", registry=registry).set(4)
    found = brought(server)
    assert {"rows_total", "made_in_the_job", SUCCESS} <= names(found)


def test_a_registry_that_cannot_be_collected(server: Scripted, broken: Any) -> None:
    before = failures.counts().get("push.registry", 0)
    with batch_job("nightly", gateway=server.address, registry=broken) as job:
        pass
    assert job.result
    assert SUCCESS in names(brought(server))
    assert failures.counts()["push.registry"] == before + 1


@pytest.mark.parametrize("raises", [False, True])
def test_a_push_that_fails_does_not_fail_the_job(raises: bool) -> None:
    def work() -> str:
        with batch_job("nightly", gateway=NOWHERE, retries=0) as job:
            jobs.append(job)
            if raises:
                raise ValueError("not today")
            return "done"

    jobs: list[Run] = []
    if raises:
        with pytest.raises(ValueError, match="not today"):
            work()
    else:
        assert work() == "done"
    assert jobs[0].result is not None
    assert not jobs[0].result
    assert "refused" in jobs[0].result.reason


def test_a_gateway_that_never_answers_does_not_hold_the_job() -> None:
    with listening(silent) as (address, _):
        with batch_job("nightly", gateway=address, deadline=0.3) as job:
            pass
        assert job.result is not None
        assert not job.result


@pytest.mark.parametrize(
    "options",
    [
        {"gateway": "http://["},
        {"gateway": "http://joe:\udcff@localhost"},
        {"basic_auth": ("joe", "\udcff")},
        {"basic_auth": ("\udcff", "x")},
        {"retries": -1},
        {"grouping_key": {"job": "x"}},
        {"colour": "blue"},
        {"name": ""},
        {"registry": 5},
    ],
    ids=ascii,
)
def test_wrong_options_are_refused_before_the_job(options: dict[str, Any]) -> None:
    with pytest.raises(OptionError):
        batch_job(**{"name": "nightly", "gateway": NOWHERE, **options})


def test_generators_are_refused() -> None:
    def one() -> Iterator[int]:
        yield 1

    async def other() -> Any:
        yield 1

    for function in (one, other):
        with pytest.raises(OptionError, match="generator"):
            batch_job("nightly", gateway=NOWHERE)(function)


def test_one_block_at_a_time(server: Scripted) -> None:
    job = batch_job("nightly", gateway=server.address)
    with job, pytest.raises(RuntimeError, match="runs already"), job:
        pass
    with job:
        pass
    assert len(server.asked) == 2


def test_outside_of_any_job() -> None:
    run = current_job()
    run.done()
    with run.stage("load"):
        pass
    assert current_job() is not run


def test_an_inner_job_is_not_the_outer_s(server: Scripted) -> None:
    with batch_job("outer", gateway=server.address) as outer:
        with batch_job("inner", gateway=server.address) as inner:
            assert current_job() is inner
        assert current_job() is outer
    assert [one.path.rpartition("/")[2] for one in server.asked] == ["inner", "outer"]


def run_program(program: str, address: str, **environment: str) -> str:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program, address],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def test_nothing_of_it_stays_in_the_files_of_several_processes(
    server: Scripted, tmp_path: Path
) -> None:
    program = (
        "import sys\n"
        "from prom_middleware.push import batch_job\n"
        "with batch_job('nightly', gateway=sys.argv[1]) as job:\n"
        "    job.done()\n"
        "assert job.result"
    )
    run_program(program, server.address, PROMETHEUS_MULTIPROC_DIR=str(tmp_path))
    assert list(tmp_path.glob("*.db")) == []
    assert value(brought(server), "batch_job_items_processed") == 1


FORKS = """\
import os, signal, sys, time
from prom_middleware.push import batch_job

with batch_job("nightly", gateway=sys.argv[1]):
    reading, writing = os.pipe()
    pids = []
    for ending in ("leaves", "is told to end"):
        pids.append(os.fork())
        if pids[-1] == 0:
            if ending == "leaves":
                break
            os.write(writing, b"x")
            time.sleep(60)
    else:
        os.read(reading, 1)
        os.kill(pids[1], signal.SIGTERM)
        for pid in pids:
            print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
"""


def test_a_fork_s_child_is_not_the_job(server: Scripted) -> None:
    assert run_program(FORKS, server.address) == f"0\n-{int(signal.SIGTERM)}\n"
    assert len(server.asked) == 1


def test_a_signal_handler_may_count_while_the_job_does() -> None:
    class Interrupted(dict[str, float]):
        def __getitem__(self, key: str) -> float:
            signal.raise_signal(signal.SIGUSR1)
            return super().get(key, 0.0)

    def child() -> None:
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(60)  # it would wait for itself
        job = Run()
        signal.signal(signal.SIGUSR1, lambda *_: job.done())
        job._stages = Interrupted()
        with job.stage("load"):
            pass
        assert job._values["batch_job_items_processed"] == 1

    assert run(child) == 0
