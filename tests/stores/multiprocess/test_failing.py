"""At whatever line the store fails: what others have counted stays, and is summed once.

It may fail at any: a signal's handler raises there, or there is no memory.
"""

from __future__ import annotations

import gc
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from itertools import count
from pathlib import Path
from shutil import copytree
from tempfile import TemporaryDirectory
from types import FrameType
from typing import Any

import pytest

from prom_middleware import stores
from prom_middleware.stores.multiprocess import MultiprocessStore
from stores.multiprocess.children import IN_MEMORY, REQUESTS, add, killed, read, run, vectors

pytestmark = [
    pytest.mark.once,
    pytest.mark.no_cover,
    pytest.mark.interpreted,
    pytest.mark.usefixtures("impatient"),
]
STORES = str(Path(stores.__file__).parent)


class HandlerError(Exception):
    """What the handler of a signal raises."""


@contextmanager
def failing_at(step: int) -> Iterator[list[str]]:
    """Raise at that step through the lines of the stores; tell where that was.

    Garbage waits meanwhile: an earlier store must not end in the midst of this one.
    """
    steps, where = count(1), list[str]()

    def trace(frame: FrameType, event: str, _: object) -> Any:
        if not frame.f_code.co_filename.startswith(STORES):
            return None
        if event == "line" and next(steps) == step:
            sys.settrace(None)
            where.append(f"{frame.f_code.co_filename}:{frame.f_lineno}")
            raise HandlerError
        return trace

    before = sys.gettrace()
    gc.disable()
    sys.settrace(trace)
    try:
        yield where
    finally:
        sys.settrace(before)
        gc.enable()


@pytest.fixture(scope="module")
def dead(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a directory with what two processes have counted that were killed."""
    directory = tmp_path_factory.mktemp("dead")
    store = MultiprocessStore(directory)

    def child() -> None:
        add(store, REQUESTS, ("/",), 1)
        killed(lambda: add(store, REQUESTS, ("/",), 2))

    killed(child)
    return directory


class Scene:
    """A directory with the numbers of a living and of dead processes, and a store that is new."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.living, self.store = MultiprocessStore(directory), MultiprocessStore(directory)
        add(self.living, REQUESTS, ("/",), 4)
        self.sure = Counter({"/": 7})
        self.perhaps: Counter[str] = Counter()  # what was on its way as the store failed

    def add(self, route: str, amount: int) -> None:
        """Count in the new store."""
        try:
            add(self.store, REQUESTS, (route,), amount)
        except HandlerError:
            self.perhaps[route] += amount
        else:
            self.sure[route] += amount

    def begin(self) -> None:
        """Count for the first time, in the slot that a dead process had."""
        self.add("/", 8)

    def add_new(self) -> None:
        """Count what nobody has counted yet."""
        self.add("/new", 8)

    def end(self) -> None:
        """Have the store begin anew."""
        self.begin()
        self.store.close()

    def hear(self) -> None:
        """Have the other one count what this one has not heard of."""
        self.begin()
        add(self.living, REQUESTS, ("/other",), 16)
        self.sure["/other"] += 16

    def add_heard(self) -> None:
        """Count what another process has begun to count."""
        self.add("/other", 32)

    def read(self) -> None:
        """Look."""
        with suppress(HandlerError):
            read(self.store, REQUESTS)

    def assert_all_is_there(self) -> None:
        """Count once more, and compare what this store shows, and the one of another process."""
        self.add("/", 64)
        for store in (self.store, self.living):
            found = {route: values[0] for (route,), values in read(store, REQUESTS).items()}
            for route in {*found, *self.sure, *self.perhaps}:
                sure = self.sure[route]
                assert found.get(route, 0) in (sure, sure + self.perhaps[route]), (route, found)
        # Amid a `finally`, it may keep the lock of a slot.
        assert len(vectors(self.directory)) <= 3

    def close(self) -> None:
        """Leave the slots to others."""
        self.store.close()
        self.living.close()


Step = Callable[[Scene], None]


def nothing(_: Scene) -> None:
    """Leave it as it is at first."""


MOMENTS: dict[str, tuple[Step, Step]] = {
    "the first contact": (nothing, Scene.begin),
    "a first look": (nothing, Scene.read),
    "a look": (Scene.begin, Scene.read),
    "a label set that is new": (Scene.begin, Scene.add_new),
    "a label set of another": (Scene.hear, Scene.add_heard),
    "a look at what is another's": (Scene.hear, Scene.read),
    "a second life": (Scene.end, Scene.begin),
}


@pytest.mark.parametrize("moment", MOMENTS)
def test_no_failure_takes_what_others_have_counted(moment: str, dead: Path) -> None:
    # In a process of its own: CPython may stay in an `except` amid which a trace function raises.
    assert run(lambda: fail_at_every_line(moment, dead)) == 0


def fail_at_every_line(moment: str, dead: Path) -> None:
    for step in count(1):
        with TemporaryDirectory(dir=IN_MEMORY) as base:
            directory = copytree(dead, Path(base, "metrics"))
            where = fails(Scene(directory), *MOMENTS[moment], step)
        if not where:
            assert step > 50
            return


def fails(scene: Scene, before: Step, act: Step, step: int) -> list[str]:
    with closing(scene):
        before(scene)
        with failing_at(step) as where:
            act(scene)
        try:
            scene.assert_all_is_there()
        except AssertionError as error:
            raise AssertionError(f"after a failure at {where}") from error
        return where
