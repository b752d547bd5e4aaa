"""Batch jobs and the Pushgateway: run jobs, and show what Prometheus says of them.

    make demo-batch                      until Ctrl-C
    DEMO_SECONDS=30 make demo-batch      for that long
    PORT=9000 make demo-batch            with the gateway on that port, not 9091

The jobs and prometheus.yml are in batch/. Without a `prometheus` on the PATH, what it would scrape
is shown.
"""

from __future__ import annotations

import http.client
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from math import inf
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

from demo import HOST, START_SECONDS, Failed, fetch, free_port, number, say, stop
from prometheus_client.parser import text_string_to_metric_families

BATCH = Path(__file__).resolve().parent / "batch"
PORT = 9091
ADDRESS = f"localhost:{PORT}"  # as the jobs and prometheus.yml have it
INTERVAL = "global:\n  scrape_interval: 1s\n"
SHOWN = "(my|JOE|batch)_job_.*|push_(failure_)?time_seconds"
PROGRAMS = ("4-12-pushgateway.py", "4-12-pushgateway_more.py", "nightly.py")
COMMAND = ("sh", "-c", "sleep 1; exit 3")


class Over(Exception):
    """There is no time left."""


class Row(NamedTuple):
    """A series; `-` for a label that is not there."""

    metric: str
    job: str
    instance: str
    exported_job: str
    value: float


def main() -> int:
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.default_int_handler)
    try:
        deadline = time.monotonic() + number("DEMO_SECONDS", inf)
        run(free_port(int(number("PORT", PORT))), deadline)
    except KeyboardInterrupt:
        say("\nStopped.")
    except Over:
        say("DEMO_SECONDS was over before there was anything to show.")
    except Failed as failure:
        print(failure, file=sys.stderr)
        return 1
    return 0


def run(port: int, deadline: float) -> None:
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        copy_for(port, folder)
        say(f"Starting the gateway on port {port} ...")
        gateway = python("-m", "prom_middleware", "pushgateway")
        address = f"--web.listen-address={HOST}:{port}"
        stack.enter_context(running([*gateway, address], port, deadline))
        run_jobs(port, folder, deadline)
        prometheus = shutil.which("prometheus")
        if prometheus is None:
            say("", "No Prometheus here (Debian: apt-get install prometheus). What it would get:")
            show(list(scraped(port)))
        else:
            other = free_port(0)
            command = prometheus_command(prometheus, folder, other)
            stack.enter_context(running(command, other, deadline))
            say("", f'{{job!=""}}, says Prometheus on port {other}, which scrapes the gateway:')
            show(queried(other, deadline))
            say("", f"Prometheus: http://{HOST}:{other}/graph")
        say(f"The gateway's page: http://{HOST}:{port}/")
        wait(deadline)


def copy_for(port: int, folder: Path) -> None:
    """Copy the example, with the gateway's port where it has 9091."""
    for path in BATCH.iterdir():
        if path.is_file():
            text = path.read_text(encoding="utf-8").replace(ADDRESS, f"{HOST}:{port}")
            (folder / path.name).write_text(text, encoding="utf-8")


def python(*arguments: str) -> list[str]:
    return [sys.executable, *arguments]


# The programs


@contextmanager
def running(command: Sequence[str], port: int, deadline: float) -> Iterator[None]:
    """Run a server for as long as the block, which begins when it is ready."""
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,  # Ctrl-C reaches us first, and we stop it
        )
        try:
            patience = time.monotonic() + START_SECONDS
            while not is_ready(port):
                if time.monotonic() > deadline:
                    raise Over
                if process.poll() is not None or time.monotonic() > patience:
                    log.seek(0)
                    told = log.read().decode(errors="replace")
                    raise Failed(f"{command[0]} has not started. It said:\n{told}")
                time.sleep(0.05)
            yield
        finally:
            stop(process)


def is_ready(port: int) -> bool:
    connection = http.client.HTTPConnection(HOST, port, timeout=10)
    try:
        connection.request("GET", "/-/ready")
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()


def run_jobs(port: int, folder: Path, deadline: float) -> None:
    gateway = ("--gateway", f"{HOST}:{port}")
    jobs = (
        *(python(str(folder / name)) for name in PROGRAMS),
        python("-m", "prom_middleware", "push", *gateway, "--job", "backup", "--run", *COMMAND),
    )
    for job in jobs:
        say(f"$ {' '.join(['python', *job[1:]])}".replace(f"{folder}{os.sep}", ""))
        left = None if deadline == inf else max(deadline - time.monotonic(), 0.1)
        try:
            done = subprocess.run(job, timeout=left, check=False)
        except subprocess.TimeoutExpired as expired:
            raise Over from expired
        if done.returncode:
            say(f"(exit code {done.returncode})")


def prometheus_command(program: str, folder: Path, port: int) -> list[str]:
    """Return how to start Prometheus, after adding to the file that it scrapes each second."""
    config = folder / "prometheus.yml"
    config.write_text(INTERVAL + config.read_text(encoding="utf-8"), encoding="utf-8")
    return [
        program,
        f"--config.file={config}",
        f"--storage.tsdb.path={folder / 'data'}",
        f"--web.listen-address={HOST}:{port}",
    ]


# The table


def queried(port: int, deadline: float) -> list[Row]:
    """Return what Prometheus has, as soon as it has scraped."""
    query = quote(f'{{__name__=~"{SHOWN}"}}')
    patience = min(time.monotonic() + START_SECONDS, deadline)
    while True:
        answer = json.loads(fetch(port, f"/api/v1/query?query={query}"))
        rows = [row(one["metric"], one["value"][1]) for one in answer["data"]["result"]]
        if rows or time.monotonic() > patience:
            return rows
        time.sleep(0.2)


def scraped(port: int) -> Iterator[Row]:
    for family in text_string_to_metric_families(fetch(port, "/metrics")):
        for sample in family.samples:
            if "job" in sample.labels:
                yield row({"__name__": sample.name, **sample.labels}, sample.value)


def row(labels: dict[str, str], value: Any) -> Row:
    names = Row._fields[1:-1]
    others = [f'{key}="{labels[key]}"' for key in sorted(set(labels) - {"__name__", *names})]
    metric = labels["__name__"] + (f"{{{','.join(others)}}}" if others else "")
    return Row(metric, *(labels.get(name) or "-" for name in names), float(value))


def show(rows: Sequence[Row]) -> None:
    ordered = sorted(rows, key=lambda one: (one.job, one))
    lines = [Row._fields, *((*one[:-1], written(one)) for one in ordered)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    say("")
    for line in lines:
        cells = [cell.ljust(width) for cell, width in zip(line, widths, strict=True)]
        say("  ".join(cells).rstrip())


def written(one: Row) -> str:
    """Return a value as people read it; those of times of the day are seconds since 1970."""
    is_time = "time" in one.metric and "duration" not in one.metric
    if is_time and one.value:
        return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(one.value))
    return f"{one.value:.4g}"


def wait(deadline: float) -> None:
    left = deadline - time.monotonic()
    say("Ctrl-C stops it." if left == inf else f"Ctrl-C stops it, or {max(left, 0):.0f} seconds.")
    while time.monotonic() < deadline:
        time.sleep(min(1.0, max(deadline - time.monotonic(), 0.0)))


if __name__ == "__main__":
    sys.exit(main())
