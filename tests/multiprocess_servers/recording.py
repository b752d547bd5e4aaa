"""Programs that record as a door does, for what no server is needed for.

python recording.py exactly THREADS NUMBER   record when told to, and end when told to
python recording.py restart TIMES            kill that many forked workers; tell the files' sizes
python recording.py fork THREADS             fork while threads record; tell what was recorded
"""

from __future__ import annotations

import gc
import json
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from threading import Thread

from prometheus_client import REGISTRY

from huge_pages import use_huge_pages
from instrumentation.driver import Plain, record
from metrics import collected, value
from prom_middleware.instrumentation import Instrumentation

CHILDREN = 6
core = Instrumentation({}, Plain())


def exactly(threads: int, number: int) -> None:
    print("ready", flush=True)
    sys.stdin.readline()
    in_threads(threads, lambda: [record(core) for _ in range(number)])
    print("recorded", flush=True)
    sys.stdin.readline()


def in_threads(number: int, work: Callable[[], object]) -> None:
    threads = [Thread(target=work) for _ in range(number)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def restart(times: int) -> None:
    for route in range(50):
        record(core, f"/{route}")
    before = sizes()
    # As the tests themselves: what is in memory by now costs each child next to nothing.
    gc.freeze()
    use_huge_pages()
    for number in range(times):
        kill_one_that_records(f"/{number % 50}")
    print(json.dumps([before, sizes(), requests()]))


def kill_one_that_records(route: str) -> None:
    pid = os.fork()
    if not pid:
        record(core, route)
        unfinished = core.start({"route": route}, "GET")
        unfinished.status = "200"
        unfinished.promise()
        os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(pid, 0)


def sizes() -> dict[str, int]:
    directory = Path(os.environ["PROMETHEUS_MULTIPROC_DIR"])
    return {path.name: path.stat().st_size for path in directory.iterdir()}


def requests(route: str | None = None) -> float:
    where = {"route": route} if route else {}
    return value(collected(REGISTRY), "http_requests_total", where)


def fork(threads: int) -> None:
    done: list[int] = []
    enough = False

    def work() -> None:
        number = 0
        while not enough:
            record(core, "/parent")
            number += 1
        done.append(number)

    workers = [Thread(target=work) for _ in range(threads)]
    for worker in workers:
        worker.start()
    codes = [record_in_a_child() for _ in range(CHILDREN)]
    enough = True
    for worker in workers:
        worker.join()
    print(json.dumps([codes, sum(done), requests("/parent"), requests("/child")]))


def record_in_a_child() -> int:
    pid = os.fork()
    if not pid:
        in_threads(2, lambda: [record(core, "/child") for _ in range(50)])
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


if __name__ == "__main__":
    programs: dict[str, Callable[..., None]] = {
        "exactly": exactly,
        "restart": restart,
        "fork": fork,
    }
    programs[sys.argv[1]](*map(int, sys.argv[2:]))
