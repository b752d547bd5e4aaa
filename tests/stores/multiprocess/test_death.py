"""A writer may be killed at any moment: the next writer and the next snapshot are right.

Each test runs one life of a worker again and again in a forked child, and kills it one step later
each time, until it gets through: before and after each call that changes a file or a lock, and at
each line that is run while a slot is taken over.
"""

from __future__ import annotations

import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from prom_middleware import failures
from prom_middleware.stores import Family, Settlement
from prom_middleware.stores.multiprocess import MultiprocessStore, takeover
from stores.multiprocess.children import LIVE, REQUESTS, add, killed, read, run, vectors
from stores.multiprocess.deaths import STEPS, Death, at_calls, at_lines

pytestmark = pytest.mark.forks
SETTLED = Family("settled", (), 5, settlement=Settlement(0, (1, 2), 2, (3, 5)))
MODES = {mode: Family(mode, (), 3, mode=mode) for mode in ("sum", "max", "mostrecent", "all")}
WIDE = Family("wide", ("n",), 5000)


def lives(
    root: Path, arm: Callable[[Death], None], life: Callable[[Path], object]
) -> Iterator[Path]:
    """Run `life` in children that die one step later each time; yield what each one leaves.

    Each begins with a copy of the directory `root / "left"`, if there is one.
    """
    for at in range(1, STEPS):
        directory = root / str(at)
        if (root / "left").exists():
            shutil.copytree(root / "left", directory)

        def child(at: int = at, directory: Path = directory) -> None:
            arm(Death(at))
            life(directory)

        code = run(child)
        if code == 0:
            assert at > 20
            return
        assert code == -signal.SIGKILL
        yield directory
        shutil.rmtree(directory)
    pytest.fail("the child never got through")


def test_every_moment_of_a_first_life(tmp_path: Path) -> None:
    def life(directory: Path) -> None:
        add(MultiprocessStore(directory), REQUESTS, ("/",), 1)

    before = failures.counts()
    for directory in lives(tmp_path, at_calls, life):
        found = read(MultiprocessStore(directory), REQUESTS).get(("/",), [0.0] * 3)
        assert found in ([0.0] * 3, [1.0, 0.0, 0.0])
        after = MultiprocessStore(directory)
        add(after, REQUESTS, ("/",), 10)
        assert read(after, REQUESTS) == {("/",): [found[0] + 10, 0.0, 0.0]}
        assert len(vectors(directory)) == 1
        assert len(list(directory.iterdir())) <= 4
        assert failures.counts() == before


def set_gauge(store: MultiprocessStore, mode: str, value: float, at: float) -> None:
    """Set a gauge of a user, as one does: value, time, and that it was set."""
    offset = store.allocate(MODES[mode], ())
    for index, cell in enumerate((value, at, 1.0), offset):
        store.cells[index] = cell


def leave_everything(directory: Path) -> None:
    """Have two workers die in one slot, with something of every kind."""

    def worker(value: float) -> None:
        store = MultiprocessStore(directory)
        add(store, LIVE, (), 1)
        add(store, SETTLED, (), 5, 3, 0, 3)
        add(store, REQUESTS, ("/",), value, 0.5)
        for mode in MODES:
            set_gauge(store, mode, value, 100 - value)

    killed(lambda: worker(7))
    killed(lambda: worker(4))


# In each: what the two have left. The mostrecent is the one with the smaller value.
LEFT = {"sum": 11.0, "max": 7.0, "mostrecent": 4.0}


def check_everything(store: MultiprocessStore, more: float = 0.0) -> None:
    """Check what two dead workers left, and what was added since."""
    taken = store.snapshot()
    assert dict(taken.read(LIVE)) == {(): [more]}
    assert dict(taken.read(SETTLED)) == {(): [10.0, 6.0, 4.0, 6.0, 4.0]}
    (requests,) = taken.read(REQUESTS)
    assert requests[1] in ([11.0 + more, 1.0, 0.0], [12.0 + more, 1.0, 0.0])
    assert {mode: next(taken.read(MODES[mode]))[1][0] for mode in LEFT} == LEFT
    ((_, found),) = taken.each(MODES["all"])
    # It may be dropped as soon as somebody has begun to take the slot.
    values = [block[0] for _, block in found]
    assert values == [] if more else values in ([], [4.0])


def later_life(directory: Path) -> None:
    """Take the slot over, make a block, grow."""
    store = MultiprocessStore(directory)
    add(store, REQUESTS, ("/",), 1)
    add(store, WIDE, ("new",), *([0.0] * 4999), 1)


@pytest.mark.parametrize(
    "arm",
    [
        pytest.param(at_calls, id="calls"),
        pytest.param(at_lines(takeover), id="lines", marks=pytest.mark.once),
    ],
)
def test_every_moment_of_taking_a_slot_over(tmp_path: Path, arm: Callable[[Death], None]) -> None:
    leave_everything(tmp_path / "left")
    for directory in lives(tmp_path, arm, later_life):
        check_everything(MultiprocessStore(directory))
        after = MultiprocessStore(directory)
        add(after, LIVE, (), 1)
        add(after, REQUESTS, ("/",), 1)
        check_everything(after, 1)
        after.close()
        # All of it was the other worker's: a third take-over changes nothing more.
        check_everything_again(directory)
        assert len(vectors(directory)) == 1


def check_everything_again(directory: Path) -> None:
    """Take the slot over once more."""
    third = MultiprocessStore(directory)
    add(third, LIVE, (), 1)
    check_everything(third, 1)


@pytest.mark.once
def test_every_moment_of_beginning_a_new_dictionary(tmp_path: Path) -> None:
    leave_everything(tmp_path / "left")
    noise = (tmp_path / "left" / "prom_middleware-1.dictionary").read_bytes()[:60] + b"noise" * 99
    (tmp_path / "left" / "prom_middleware-1.dictionary").write_bytes(noise)
    for directory in lives(tmp_path, at_calls, later_life):
        after = MultiprocessStore(directory)
        found = read(after, REQUESTS).get(("/",), [0.0])
        assert found[0] in (0.0, 1.0)
        add(after, REQUESTS, ("/",), 1)
        assert read(after, REQUESTS)["/",][0] == found[0] + 1
        assert len(vectors(directory)) == 1
        assert len(list(directory.iterdir())) <= 5
