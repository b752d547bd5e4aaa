"""A scraper that rests little, and looks for what must not be in a scrape."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator
from http.client import HTTPConnection, HTTPException
from threading import Event, Thread
from time import monotonic, sleep

from metrics import Series, series
from multiprocess_servers.crowd import ended

PATIENCE = 60.0
REST = 0.03  # seconds between two scrapes
GROWING = ("_total", "_count", "_sum", "_bucket")
# What prometheus_client tells of the interpreter is one process's.
SHARED = ("http_", "websocket_", "prom_middleware_", "process_cpu_")


def scrape(port: int) -> str:
    """Return an exposition; the scrape is made again where the worker that had it was killed."""
    deadline = monotonic() + PATIENCE
    while monotonic() < deadline:
        found = attempt(port)
        if found is not None:
            return found
        sleep(0.01)
    raise AssertionError(f"no scrape was answered for {PATIENCE} s")


def attempt(port: int) -> str | None:
    """Scrape once; None where there was no whole answer."""
    connection = HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
    try:
        connection.request("GET", "/metrics", headers={"Connection": "close"})
        answer = connection.getresponse()
        content = answer.read()
    except (OSError, HTTPException):
        return None
    finally:
        connection.close()
    if answer.status != 200:
        raise AssertionError(f"a scrape was answered {answer.status}: {content!r}")
    return content.decode()


def faults(before: Series, now: Series) -> Iterator[str]:
    """Yield what is wrong in a scrape, and between it and the one before."""
    for (name, labels), then in before.items():
        value = now.get((name, labels), 0.0)
        if name.startswith(SHARED) and name.endswith(GROWING) and value < then:
            yield f"{name}{dict(labels)} fell from {then} to {value}"
    for (name, labels), value in now.items():
        if name == "prom_middleware_errors_total":
            yield f"{name}{dict(labels)} is {value}"
    yield from _uneven_histograms(now)


def _uneven_histograms(now: Series) -> Iterator[str]:
    buckets: dict[object, dict[float, float]] = defaultdict(dict)
    for (name, labels), value in now.items():
        if name.endswith("_bucket"):
            rest = frozenset(label for label in labels if label[0] != "le")
            buckets[name[:-7], rest][float(dict(labels)["le"])] = value
    for (name, labels), value in now.items():
        if name.endswith("_count"):
            found = [amount for _, amount in sorted(buckets[name[:-6], labels].items())]
            if found != sorted(found) or found[-1] != value:
                yield f"{name}{dict(labels)} is {value}, its buckets are {found}"


class Watch(Thread):
    """Scrape until it is stopped; `look` is called with each scrape and returns faults as well."""

    def __init__(self, port: int, look: Callable[[Series], Iterator[str]]) -> None:
        super().__init__()
        self.faults: list[str] = []
        self.scrapes = 0
        self._port = port
        self._look = look
        self._enough = Event()

    def run(self) -> None:
        """Scrape."""
        last: Series = {}
        while not self._enough.is_set():
            try:
                now = series(scrape(self._port))
                self.faults += [*faults(last, now), *self._look(now)]
                last = now
                self.scrapes += 1
                self._enough.wait(REST)
            except Exception as error:
                self.faults.append(repr(error))

    def stop(self, meanwhile: Callable[[], object] = lambda: None) -> None:
        """Scrape a last time, at most."""
        self._enough.set()
        ended(self, meanwhile)
