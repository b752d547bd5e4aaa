"""Workers for the tests of users' metrics: forked processes that do what they are told."""

from __future__ import annotations

import os
import pickle
import resource
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from prometheus_client import REGISTRY
from prometheus_client.registry import Collector

from stores.multiprocess.children import end, fork

Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


@contextmanager
def leave_registry() -> Iterator[None]:
    """Unregister at the end what was registered in REGISTRY meanwhile."""
    before = set(REGISTRY._collector_to_names)
    try:
        yield
    finally:
        for collector in set(REGISTRY._collector_to_names) - before:
            REGISTRY.unregister(collector)


def samples(collector: Collector, *names: str) -> Samples:
    """Return the samples of the families `names`, or of all; fail if one is there twice."""
    found: Samples = {}
    for family in collector.collect():
        for sample in family.samples:
            key = sample.name, tuple(sorted(sample.labels.items()))
            if (names and family.name not in names) or sample.name.endswith("_created"):
                continue
            assert key not in found, key
            found[key] = sample.value
    return found


def value(collector: Collector, name: str, **labels: str) -> float | None:
    """Return one sample."""
    return samples(collector).get((name, tuple(sorted(labels.items()))))


@contextmanager
def no_descriptors() -> Iterator[None]:
    """Have no descriptor be free in this process."""
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    free = os.dup(0)
    os.close(free)
    resource.setrlimit(resource.RLIMIT_NOFILE, (free, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)


class Process:
    """A forked process with an object that `make` makes there, whose methods are called."""

    def __init__(self, make: Callable[[], Any]) -> None:
        asked, self._ask = os.pipe()
        self._answered, answer = os.pipe()
        self.pid = fork(lambda: _serve(make, asked, answer))
        os.close(asked)
        os.close(answer)
        self._pipe = os.fdopen(self._answered, "rb")

    def call(self, method: str, *arguments: Any) -> Any:
        """Call a method of the object there."""
        message = pickle.dumps((method, arguments))
        os.write(self._ask, len(message).to_bytes(4, "little") + message)
        return pickle.load(self._pipe)

    def kill(self) -> None:
        """Kill the process without a warning."""
        os.kill(self.pid, signal.SIGKILL)
        assert end(self.pid) == -signal.SIGKILL
        os.close(self._ask)
        self._pipe.close()


def _serve(make: Callable[[], Any], asked: int, answer: int) -> None:
    there = make()
    while size := os.read(asked, 4):
        method, arguments = pickle.loads(os.read(asked, int.from_bytes(size, "little")))
        os.write(answer, pickle.dumps(getattr(there, method)(*arguments)))
