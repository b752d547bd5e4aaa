"""The whole example at once: three shops, payments, and four Prometheus servers that federate.

    python examples/federation/run.py                      until Ctrl-C
    DEMO_SECONDS=30 python examples/federation/run.py      for that long

It needs `prometheus` (Debian's package). The configurations beside this file are copied into a
temporary folder, with ports that are free and with an interval of 1 second in the place of 15.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from urllib.parse import quote

HERE = Path(__file__).parent
# What runs, by the port that it has in the configurations.
APPLICATIONS = {8001: "shop.py", 8002: "shop.py", 8004: "shop.py", 8003: "payments.py"}
SERVERS = {9091: "dc-a.yml", 9092: "dc-b.yml", 9090: "global.yml", 9093: "payments.yml"}
QUERIES = {
    "orders per second, by data centre": (
        9090,
        'sum by (datacenter) (job:http_requests:rate5m{route="/orders"})',
    ),
    "shops that are up, by data centre": (9090, "sum by (datacenter) (job:up:sum)"),
    "payments for each order in data centre a": (9093, "payments:paid_orders:ratio_rate5m"),
}
PATIENCE = 60.0
# What ends it, with all that it has started: a terminal that is closed does as well.
ENDS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
# No proxy that the environment names has a part in this.
opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def main() -> int:
    until = time.monotonic() + seconds()
    prometheus = shutil.which("prometheus")
    if prometheus is None:
        print("prometheus is missing: apt-get install prometheus", file=sys.stderr)
        return 1
    for number in ENDS:
        signal.signal(number, signal.default_int_handler)
    ports = {port: free_port() for port in (*APPLICATIONS, *SERVERS)}
    with ExitStack() as stack, suppress(KeyboardInterrupt):
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        copy_configurations(folder, ports)
        for port, name in APPLICATIONS.items():
            command = [sys.executable, str(HERE / name), "--port", str(ports[port])]
            stack.enter_context(running(command, ports[port], "/metrics"))
        for port, name in SERVERS.items():
            listen = f"--web.listen-address=127.0.0.1:{ports[port]}"
            data = f"--storage.tsdb.path={folder / name}.data"
            command = [prometheus, f"--config.file={folder / name}", data, listen]
            stack.enter_context(running([*command, "--log.level=error"], ports[port], "/-/ready"))
            print(f"{name:<14} http://127.0.0.1:{ports[port]}/", flush=True)
        serve(ports, until)
    return 0


def seconds() -> float:
    """Return how long it is to run."""
    text = os.environ.get("DEMO_SECONDS") or "inf"
    with suppress(ValueError):
        if (value := float(text)) >= 0:
            return value
    sys.exit(f"DEMO_SECONDS={text!r} is not a number of 0 or more.")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def copy_configurations(folder: Path, ports: dict[int, int]) -> None:
    """Copy the configurations, with other ports and a shorter interval."""
    for source in HERE.glob("*.yml"):
        text = re.sub(
            r"(127\.0\.0\.1:)(\d+)",
            lambda found: f"{found[1]}{ports.get(int(found[2]), found[2])}",
            source.read_text(),
        )
        (folder / source.name).write_text(text.replace(": 15s", ": 1s"))


@contextmanager
def running(command: list[str], port: int, ready: str) -> Iterator[None]:
    """Run a command until the block ends; the block begins when it answers."""
    with ExitStack() as ends:
        with undisturbed():
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True)
            ends.callback(end, process)
        deadline = time.monotonic() + PATIENCE
        while process.poll() is None and time.monotonic() < deadline:
            with suppress(OSError):
                fetch(port, ready)
                break
            time.sleep(0.1)
        yield


@contextmanager
def undisturbed() -> Iterator[None]:
    """Have a signal wait for the end of the block: what it cuts off from its start is nobody's."""
    noted: list[int] = []
    known = {number: signal.signal(number, lambda *_: noted.append(0)) for number in ENDS}
    try:
        yield
    finally:
        for number, handler in known.items():
            signal.signal(number, handler)
    if noted:
        raise KeyboardInterrupt


def end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    process.wait()


def fetch(port: int, path: str, method: str = "GET") -> bytes:
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", method=method)
    with opener.open(request, timeout=PATIENCE) as response:
        return bytes(response.read())


def serve(ports: dict[int, int], until: float) -> None:
    """Order and pay, and show what the servers say of it."""
    print("Ctrl-C stops it.", flush=True)
    for turn in range(10**9):
        for port in (8001, 8002, 8004):
            fetch(ports[port], "/orders", "POST")
        if turn % 2:
            fetch(ports[8003], f"/payments/{turn}", "POST")
        if turn % 10 == 9:
            show(ports)
        if time.monotonic() > until:
            return
        time.sleep(0.5)


def show(ports: dict[int, int]) -> None:
    for title, (port, query) in QUERIES.items():
        answer = json.loads(fetch(ports[port], f"/api/v1/query?query={quote(query)}"))
        values = [
            f"{row['metric'].get('datacenter', '')} {float(row['value'][1]):.2f}".strip()
            for row in answer["data"]["result"]
        ]
        print(f"{title}: {', '.join(sorted(values)) or 'not yet'}", flush=True)
    print(flush=True)


if __name__ == "__main__":
    sys.exit(main())
