"""Whatever function of the store fails: what others have counted stays, and is summed once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory as OnDisk

import pytest

from injection import InjectedError, functions_of, raising_once
from prom_middleware.stores.multiprocess import MultiprocessStore
from stores.multiprocess.children import IN_MEMORY, REQUESTS, add, killed, read, vectors

pytestmark = [pytest.mark.once, pytest.mark.no_cover, pytest.mark.usefixtures("impatient")]


class Scene:
    """A directory with the numbers of a living and of a dead process, and a store that is new."""

    def __init__(self, base: str) -> None:
        self.directory = Path(base, "metrics")
        self.living = MultiprocessStore(self.directory)
        add(self.living, REQUESTS, ("/",), 1)
        killed(lambda: add(MultiprocessStore(self.directory), REQUESTS, ("/",), 2))
        self.store = MultiprocessStore(self.directory)
        self.sure = Counter({"/": 3})
        self.perhaps: Counter[str] = Counter()  # what was on its way as the store failed

    def add(self, route: str, amount: int) -> None:
        """Count in the new store."""
        try:
            add(self.store, REQUESTS, (route,), amount)
        except InjectedError:
            self.perhaps[route] += amount
        else:
            self.sure[route] += amount

    def begin(self) -> None:
        """Count for the first time, in the slot that the dead process had."""
        self.add("/", 4)

    def add_new(self) -> None:
        """Count what nobody has counted yet."""
        self.add("/new", 8)

    def close(self) -> None:
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
        with suppress(InjectedError):
            read(self.store, REQUESTS)

    def assert_all_is_there(self) -> None:
        """Count once more, and compare what this store shows, and one of another process."""
        self.add("/", 64)
        for store in (self.store, self.living):
            found = {route: values[0] for (route,), values in read(store, REQUESTS).items()}
            for route in {*found, *self.sure, *self.perhaps}:
                sure = self.sure[route]
                assert found.get(route, 0) in (sure, sure + self.perhaps[route]), (route, found)
        assert len(vectors(self.directory)) <= 3


Step = Callable[[Scene], None]
TemporaryDirectory = partial(OnDisk, dir=IN_MEMORY)


def nothing(_: Scene) -> None:
    """Be as it is at first."""


MOMENTS: dict[str, tuple[Step, Step]] = {
    "the first contact": (nothing, Scene.begin),
    "a first look": (nothing, Scene.read),
    "a look": (Scene.begin, Scene.read),
    "a label set that is new": (Scene.begin, Scene.add_new),
    "a label set of another": (Scene.hear, Scene.add_heard),
    "a look at what is another's": (Scene.hear, Scene.read),
    "a second life": (Scene.close, Scene.begin),
}


@pytest.mark.parametrize("moment", MOMENTS)
def test_no_failure_takes_what_others_have_counted(moment: str) -> None:
    before, act = MOMENTS[moment]
    reached = 0
    with TemporaryDirectory() as base:
        scene = Scene(base)
        before(scene)
        functions = functions_of(lambda: act(scene))
    for name, stacks in sorted(functions.items()):
        with TemporaryDirectory() as base:
            scene = Scene(base)
            before(scene)
            with raising_once(next(iter(stacks))[0]) as fired:
                act(scene)
            reached += bool(fired)
            try:
                scene.assert_all_is_there()
            except AssertionError as error:
                raise AssertionError(f"after a failure of {name}") from error
            scene.store.close()
            scene.living.close()
    assert reached > 10
