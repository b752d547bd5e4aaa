"""What an application counts itself is shown for all workers, each metric once."""

from __future__ import annotations

import re
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from metrics import series, value
from multiprocess_servers.serving import launching, serving
from servers.support import Server, python
from waiting import eventually

pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="needs Linux's /proc"),
]

WORKERS = 3
BATCH = 20
ROUTE = {"route": "/order/<kind>"}


def order(server: Server) -> str:
    """Order a book, and return who took the order."""
    answer = server.client.get("/order/books")
    assert answer.status_code == 200
    return answer.text


def ordered(server: Server) -> tuple[int, set[str]]:
    """Order until more than one worker has answered; each of them loads in its own time."""
    number, answers = 0, set[str]()
    deadline = time.monotonic() + 30
    # Several at once: of requests that come one by one, the same worker may get all.
    with ThreadPoolExecutor(BATCH) as clients:
        while len(answers) < 2 and time.monotonic() < deadline:
            answers |= set(clients.map(order, [server] * BATCH))
            number += BATCH
    assert len(answers) > 1
    return number, answers


def counted(server: Server) -> float:
    return value(series(server.client.get("/metrics").text), "http_requests_total", ROUTE)


# Each of them with each of the others.
@pytest.mark.parametrize(
    ("named", "install", "preload"),
    [
        pytest.param(False, {}, (), id="private-as-they-are-each-loads"),
        pytest.param(False, {"INSTALL": "1"}, ("--preload",), id="private-installed-preload"),
        pytest.param(True, {}, ("--preload",), id="named-as-they-are-preload"),
        pytest.param(True, {"INSTALL": "1"}, (), id="named-installed-each-loads"),
    ],
)
def test_users_metrics(
    tmp_path: Path, named: bool, install: dict[str, str], preload: tuple[str, ...]
) -> None:
    directory = {"PROMETHEUS_MULTIPROC_DIR": str(tmp_path / "shared")} if named else {}
    if named:
        (tmp_path / "shared").mkdir()  # prometheus_client does not make it
    with launching(tmp_path / "log", TMPDIR=str(tmp_path), **directory, **install) as launch:
        address = f"127.0.0.1:{launch.port}"
        command = python("-m", "gunicorn", "--bind", address, "--workers", str(WORKERS))
        with serving(launch, [*command, *preload, "users_app:app"]) as server:
            number, answers = ordered(server)
            # The last one is recorded after its answer has come.
            eventually(lambda: counted(server), lambda found: found == number)
            shop = server.client.get("/shop/metrics").text
            pushed = [server.client.get("/push").text for _ in range(2 * WORKERS)]
            scrapes = [server.client.get("/metrics").text for _ in range(2 * WORKERS)]
    assert value(series(shop), "sold_total") == number
    if not named and not install:
        assert [value(series(text), "rows_total") for text in pushed] == [3] * len(pushed)
    for text in scrapes:
        samples = series(text)
        assert value(samples, "orders_total", {"kind": "books"}) == number
        assert value(samples, "baskets_count") == number
        assert value(samples, "baskets_bucket", {"le": "10.0"}) == number
        assert value(samples, "queue") == len(answers)
        assert value(samples, "http_requests_total", ROUTE) == number
        if install:
            assert value(samples, "state", {"state": "open"}) == 1
        families = re.findall(r"^# TYPE (\S+)", text, re.MULTILINE)
        assert len(families) == len(set(families))
