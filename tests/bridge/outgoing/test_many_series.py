"""A bridge with 100,000 series, and with many over many intervals that nobody takes."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bridge.systems import Closing, Deaf, Sink
from metrics import value
from ports import free_port
from servers.support import Server, python, running
from waiting import eventually

pytest.importorskip("starlette")
pytestmark = [
    pytest.mark.real,
    pytest.mark.once,
    pytest.mark.timeout(300),
    pytest.mark.skipif(sys.platform != "linux", reason="it is Linux that tells of memory"),
]
SERIES = 100_000
NOT_TAKEN = 10_000
OTHERS = 50  # samples of the bridge's own, at most


class Nobody:
    """An address where nobody listens."""

    def __init__(self) -> None:
        self.url = f"graphite://127.0.0.1:{free_port()}"

    def close(self) -> None:
        pass


def burdened(to: str, series: int, interval: float) -> Any:
    port = free_port()
    program = str(Path(__file__).with_name("burdened.py"))
    return running(python(program, str(port), to, str(series), str(interval)), port)


def peak(server: Server) -> int:
    """Return the most bytes that the process has ever had in memory."""
    status = Path(f"/proc/{server.process.pid}/status").read_text()
    return int(re.findall(r"VmHWM:\s+(\d+) kB", status)[0]) * 1024


def lost(health: dict[str, Any]) -> int:
    return int(health["dropped"].get("buffer_full", 0))


@pytest.mark.parametrize("other", [Nobody, Deaf, Closing])
def test_memory_stays_and_what_is_lost_is_counted(other: Callable[[], Any]) -> None:
    system, series, asked = other(), NOT_TAKEN, 0
    with burdened(system.url, series, 0.2) as server:

        def health() -> dict[str, Any]:
            nonlocal asked
            answer = server.client.get("/")
            assert answer.status_code == 200
            asked += 1
            return dict(answer.json())

        assert eventually(lambda: lost(health()), lambda number: number >= series, 120.0)
        before, after = peak(server), lost(health())
        found = eventually(health, lambda now: lost(now) >= after + 2 * series, 120.0)
        assert lost(found) >= after + 2 * series
        assert found["buffered"] <= series + OTHERS
        assert found["failures"]
        assert not found["connected"]
        # Each loss is a whole collection: one after the other, and no sample of it twice.
        turns, rest = divmod(lost(found), series)
        assert rest <= turns * OTHERS
        assert peak(server) - before < 640 * series
        assert value(server.metrics(), "http_requests_total", {"route": "/"}) == asked
    system.close()


def test_all_of_them_arrive_where_they_are_taken() -> None:
    sink = Sink()
    with burdened(sink.url, SERIES, 600.0) as server:  # one collection is enough
        found = eventually(
            lambda: server.client.get("/").json(), lambda health: health["sent"] >= SERIES, 120.0
        )
        server.process.kill()  # it would collect once more before it ends
    sent = found["sent"]
    assert sent >= SERIES
    lines = eventually(lambda: sink.text.count("\n"), lambda number: number >= sent)
    assert lines >= sent
    assert len({line for line in sink.lines if line.startswith("number.label.")}) == SERIES
    assert not lost(found)
    sink.close()
