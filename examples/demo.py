"""Serve the FastAPI example, send it traffic, and show what /metrics says of it.

    make demo                       until Ctrl-C
    DEMO_SECONDS=20 make demo       for that long
    PORT=9000 make demo             on that port

Standard library and `prometheus_client`'s parser: what is shown is what any scraper sees.
"""

from __future__ import annotations

import http.client
import io
import itertools
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from math import inf, nan
from pathlib import Path
from typing import IO, NamedTuple

from prometheus_client.parser import text_string_to_metric_families

APP = Path(__file__).resolve().parent / "fastapi"
HOST = "127.0.0.1"
WORKERS = 2
START_SECONDS = 30.0
REQUESTS = 600
CLIENTS = 8

# (weight, method, path); `{}` becomes a random number: half of the items exist.
TRAFFIC = (
    (30, "GET", "/"),
    (40, "GET", "/items/{}"),
    (8, "GET", "/nowhere/{}"),
    (6, "GET", "/account"),
    (4, "POST", "/login/joe"),
    (4, "GET", "/boom"),
    (3, "GET", "/events"),
    (3, "GET", "/report"),
    (2, "GET", "/slow"),
)

LONGEST = 1e6  # seconds

Buckets = list[tuple[float, float]]  # (upper bound, cumulative count), +Inf last


class Failed(Exception):
    """What the demo cannot go on with, in words for its user."""


class Row(NamedTuple):
    """A line of the table; durations in seconds, none is told apart below `finest`."""

    route: str
    requests: int
    errors: int
    p50: float
    p99: float
    finest: float


def main() -> int:
    if isinstance(sys.stdout, io.TextIOWrapper):  # of a terminal that may have no ≤
        sys.stdout.reconfigure(errors="replace")
    # Whoever ends us (Ctrl-C, a supervisor, a closed terminal), the server below ends too.
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.default_int_handler)
    try:
        seconds = number("DEMO_SECONDS", inf)
        deadline = time.monotonic() + seconds
        run(int(number("PORT", 0)), deadline)
    except KeyboardInterrupt:
        say("\nStopped.")
    except Failed as failure:
        print(failure, file=sys.stderr)
        return 1
    return 0


def run(port: int, deadline: float) -> None:
    port = free_port(port)
    with tempfile.TemporaryFile() as log:
        server = start(port, log)
        try:
            if not wait_until_serving(server, port, log, deadline):
                say("DEMO_SECONDS was over before the server had started.")
                return
            # What is left after the traffic is for looking at the page.
            send_traffic(port, time.monotonic() + (deadline - time.monotonic()) * 0.7)
            text = fetch(port, "/metrics")
            show(rows(text))
            say("", f"Counted by {workers(text)} workers; any of them shows what all have counted.")
            say(interpreters(text))
            serve_on(server, port, deadline)
        finally:
            stop(server)


def number(name: str, default: float) -> float:
    """Return the environment's number of that name."""
    text = os.environ.get(name, "")
    try:
        value = float(text) if text else default
    except ValueError:
        value = nan
    if not value >= 0:
        raise Failed(f"{name}={text!r} is not a number of 0 or more.")
    return value


def say(*lines: str) -> None:
    print(*lines, sep="\n", flush=True)


# The server


def free_port(port: int) -> int:
    """Return `port`, or for 0 one that nobody listens on."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except (OSError, OverflowError) as error:
            raise Failed(f"PORT={port} cannot be used: {error}") from error
        return int(probe.getsockname()[1])


def start(port: int, log: IO[bytes]) -> subprocess.Popen[bytes]:
    """Start uvicorn in a session of its own: Ctrl-C reaches us first, and we stop it."""
    say(f"Starting {APP.name}/app.py under uvicorn, {WORKERS} workers, on port {port} ...")
    command = [sys.executable, "-m", "uvicorn", "app:app", "--app-dir", str(APP), "--host", HOST]
    command += ["--port", str(port), "--no-access-log", "--log-level", "error"]
    command += ["--workers", str(WORKERS)]
    return subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
    )


def wait_until_serving(
    server: subprocess.Popen[bytes], port: int, log: IO[bytes], deadline: float
) -> bool:
    patience = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if server.poll() is not None or time.monotonic() > patience:
            log.seek(0)
            told = log.read().decode(errors="replace")
            raise Failed(f"The server did not start. It said:\n{told}")
        try:
            fetch(port, "/metrics")  # which is not counted
        except OSError:
            time.sleep(0.05)
        else:
            return True
    return False


def serve_on(server: subprocess.Popen[bytes], port: int, deadline: float) -> None:
    say("", f"Serving http://{HOST}:{port}/ - its metrics: http://{HOST}:{port}/metrics")
    left = deadline - time.monotonic()
    say(
        "Ctrl-C stops it."
        if left == inf
        else f"Ctrl-C stops it, or {counted(round(max(left, 0)))}."
    )
    try:
        # With a timeout it looks again and again: a signal just before `waitpid` would be missed.
        server.wait(min(max(left, 0), LONGEST))
    except subprocess.TimeoutExpired:
        return
    raise Failed(f"The server has ended by itself, with code {server.returncode}.")


def counted(seconds: int) -> str:
    return f"{seconds} second" if seconds == 1 else f"{seconds} seconds"


def stop(server: subprocess.Popen[bytes]) -> None:
    # A second Ctrl-C must not leave the server behind.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    server.terminate()
    try:
        server.wait(10)
    except subprocess.TimeoutExpired:
        os.killpg(server.pid, signal.SIGKILL)  # its workers as well
        server.wait()


# The traffic


def send_traffic(port: int, until: float) -> None:
    """Send REQUESTS requests, or as many as there is time for."""
    todo = iter(mixed(REQUESTS))
    turn, stopped = threading.Lock(), threading.Event()
    bar = Progress(REQUESTS)

    def client() -> None:
        connection = http.client.HTTPConnection(HOST, port, timeout=30)
        while not stopped.is_set() and time.monotonic() < until:
            with turn:
                chosen = next(todo, None)
            if chosen is None:
                break
            exchange(connection, *chosen)
            bar.step()
        connection.close()

    with ThreadPoolExecutor(CLIENTS) as pool:
        try:
            for done in as_completed([pool.submit(client) for _ in range(CLIENTS)]):
                done.result()
        finally:
            stopped.set()
            bar.close()


def mixed(count: int) -> Iterator[tuple[str, str]]:
    """Return each kind of request once, then a random mix: the same one in every run."""
    dice = random.Random(4)
    weights = [weight for weight, _, _ in TRAFFIC]
    picked = dice.choices(TRAFFIC, weights, k=count)
    for _, method, path in itertools.islice(itertools.chain(TRAFFIC, picked), count):
        yield method, path.format(dice.randrange(200))


def exchange(connection: http.client.HTTPConnection, method: str, path: str) -> None:
    """Send a request; where the server had closed the connection after an error, anew."""
    for _ in range(2):
        try:
            connection.request(method, path)
            connection.getresponse().read()
            return
        except (ConnectionError, http.client.HTTPException):
            connection.close()


def fetch(port: int, path: str) -> str:
    connection = http.client.HTTPConnection(HOST, port, timeout=10)
    try:
        connection.request("GET", path)
        return connection.getresponse().read().decode()
    finally:
        connection.close()


class Progress:
    """A bar on a terminal; elsewhere a line for each quarter."""

    def __init__(self, total: int) -> None:
        self.total = total
        self.done = 0
        self.terminal = sys.stdout.isatty()
        self.lock = threading.Lock()

    def step(self) -> None:
        with self.lock:
            before, self.done = self.done, self.done + 1
            if self.terminal:
                self.draw()
            elif before * 4 // self.total < self.done * 4 // self.total:
                say(self.text())

    def draw(self) -> None:
        # A terminal that does not tell its size has 0 columns, until Python 3.11.
        columns = shutil.get_terminal_size().columns or 80
        width = min(40, columns - len(self.text()) - 4)
        filled = self.done * max(width, 0) // self.total
        bar = f"[{'#' * filled}{'.' * (width - filled)}] " if width > 5 else ""
        print(f"\r{bar}{self.text()}", end="", flush=True)

    def text(self) -> str:
        return f"{self.done:{len(str(self.total))}} of {self.total} requests"

    def close(self) -> None:
        if self.terminal:
            self.draw()
            say("")


# The table


def rows(text: str) -> list[Row]:
    """Return a row for each route, the busiest first; event streams count as durations, too."""
    requests: dict[str, int] = defaultdict(int)
    errors: dict[str, int] = defaultdict(int)
    counts: dict[str, dict[float, float]] = defaultdict(lambda: defaultdict(float))
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            name, labels, value = sample[:3]
            if name == "http_requests_total":
                requests[labels["route"]] += int(value)
                errors[labels["route"]] += int(value) if labels["status"] >= "500" else 0
            elif name in (
                "http_request_duration_seconds_bucket",
                "http_stream_duration_seconds_bucket",
            ):
                counts[labels["route"]][float(labels["le"])] += value
    return [
        Row(route, count, errors[route], *quantiles(counts[route]), min(counts[route], default=0))
        for route, count in sorted(requests.items(), key=lambda item: (-item[1], item[0]))
    ]


def workers(text: str) -> int:
    """Return how many processes answer requests."""
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            if sample.name == "prom_middleware_workers" and sample.labels["state"] == "live":
                return int(sample.value)
    return 1


def interpreters(text: str) -> str:
    """Return a line on what `runtime.install` shows of them."""
    found = {
        (sample.name, sample.labels.get("generation")): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }
    stopped = sum(v for (name, _), v in found.items() if name == "python_gc_duration_seconds_sum")
    calls = found.get(("asyncio_event_loop_lag_seconds_count", None), 0)
    late = found.get(("asyncio_event_loop_lag_seconds_sum", None), nan)
    lag = f"{late / calls * 1000:.1f} ms late on average" if calls else "not sampled yet"
    return f"Garbage collection stopped them for {stopped * 1000:.0f} ms; event loops: {lag}."


def quantiles(counts: Mapping[float, float]) -> tuple[float, float]:
    buckets = sorted(counts.items())
    return quantile(0.5, buckets), quantile(0.99, buckets)


def quantile(q: float, buckets: Buckets) -> float:
    """Interpolate within the bucket that holds the quantile, as PromQL's histogram_quantile does.

    What lies above the last finite bound is that bound; NaN where nothing was observed.
    """
    if len(buckets) < 2 or not buckets[-1][1]:
        return nan
    rank = q * buckets[-1][1]
    index = bisect_left([count for _, count in buckets], rank)
    if index == len(buckets) - 1:
        return buckets[-2][0]
    lower, below = buckets[index - 1] if index else (0.0, 0.0)
    upper, count = buckets[index]
    return lower + (upper - lower) * (rank - below) / (count - below)


def show(table: Sequence[Row]) -> None:
    head = ("route", "requests", "errors", "p50", "p99")
    body = [
        (r.route, str(r.requests), str(r.errors), span(r.p50, r.finest), span(r.p99, r.finest))
        for r in table
    ]
    total = sum(row.requests for row in table), sum(row.errors for row in table)
    lines = [head, *body, ("all", str(total[0]), str(total[1]), "", "")]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    say(
        "", "What /metrics says (errors: 500 and above; p50, p99: interpolated within buckets):", ""
    )
    for line in lines:
        first, *others = line
        cells = [first.ljust(widths[0])]
        cells += [cell.rjust(width) for cell, width in zip(others, widths[1:], strict=True)]
        say("  ".join(cells).rstrip())


def span(seconds: float, finest: float) -> str:
    """Return a duration as people write it; of what is in the first bucket, its bound."""
    if seconds != seconds:
        return "-"
    if seconds <= finest:
        return f"≤ {finest:g} s" if finest >= 1 else f"≤ {finest * 1000:g} ms"
    return f"{seconds:.2f} s" if seconds >= 1 else f"{seconds * 1000:.1f} ms"


if __name__ == "__main__":
    sys.exit(main())
