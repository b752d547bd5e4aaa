"""Real servers whose directory is none, or becomes none: no request and no scrape fails."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from fcntl import LOCK_EX, LOCK_UN, flock
from pathlib import Path

import httpx
import pytest

from metrics import Series, value
from multiprocess_servers.crowd import Crowd
from multiprocess_servers.kinds import ASGI, GTHREAD, UVICORN_WORKER, WORKERS, Kind
from multiprocess_servers.namespaces import with_tmpfs
from multiprocess_servers.serving import launching, serving, workers
from servers.support import Server, python
from waiting import becomes, eventually

pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="needs Linux's /proc"),
]

KINDS = {
    "wsgi": Kind((*GTHREAD, "--preload"), 0),
    "asgi": Kind((*UVICORN_WORKER, "--preload", ASGI), 0),
}
NOISE = bytes(range(256)) * 4096


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> Kind:
    return KINDS[request.param]


class Visitor:
    """One who asks all workers of a server, and insists on answers."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.crowd = Crowd(server.port)
        self.workers = eventually(self.living, lambda found: len(found) == WORKERS)
        self._pages = 0

    def living(self) -> set[int]:
        return set(workers(self.server.process.pid))

    def visit(self, pages: int = 12) -> None:
        """Ask for pages that nobody has asked for, each a label set, and for one of each worker."""
        for _ in range(pages):
            self._pages += 1
            assert self.crowd.ask(f"/page/{self._pages}")
        self.crowd.ask_all(WORKERS)

    def uncounted(self) -> float:
        """Return how many answers are in no number, once all requests are recorded."""
        samples = eventually(self.server.metrics, is_quiet, 2)
        return self.crowd.answers - value(samples, "http_requests_total")


def is_quiet(samples: Series) -> bool:
    return value(samples, "http_requests_in_progress") == 0


def lost(samples: Series) -> set[str]:
    """Return the causes of what went wrong."""
    return {
        dict(labels)["cause"]
        for (name, labels), number in samples.items()
        if name == "prom_middleware_errors_total" and number
    }


def loss_told(visitor: Visitor) -> set[str]:
    """Return what a worker tells that has lost something: not every one need have."""
    return eventually(lambda: lost(visitor.server.metrics()), bool)


Wrapper = Callable[[list[str], str], list[str]]


def as_it_is(command: list[str], directory: str) -> list[str]:
    return command


@contextmanager
def visiting(
    kind: Kind, base: Path, directory: Path, wrap: Wrapper = as_it_is
) -> Iterator[Visitor]:
    """Run a server that is told to use `directory`; in the end none of its workers is dead."""
    variables = {"PROMETHEUS_MULTIPROC_DIR": str(directory), "TMPDIR": str(base)}
    with launching(base / "log", **variables) as launch:
        command = wrap(kind.arguments(launch.port), str(directory))
        with serving(launch, command) as server:
            visitor = Visitor(server)
            yield visitor
            assert visitor.living() == visitor.workers


def read_only(command: list[str], directory: str) -> list[str]:
    return with_tmpfs(directory, "ro", command)


def full(command: list[str], directory: str) -> list[str]:
    return with_tmpfs(directory, "size=4k", command)


@pytest.mark.parametrize(("wrap", "kind"), [(read_only, "wsgi"), (full, "asgi")], indirect=["kind"])
def test_where_nothing_can_be_written_every_worker_counts_alone(
    wrap: Wrapper, kind: Kind, tmp_path: Path
) -> None:
    directory = tmp_path / "metrics"
    directory.mkdir()
    with visiting(kind, tmp_path, directory, wrap) as visitor:
        visitor.visit()
        visitor.visit()
        for _ in range(WORKERS):
            assert 0 < visitor.uncounted() < visitor.crowd.answers
            assert lost(visitor.server.metrics()) == {"store"}


@pytest.mark.parametrize(("wrap", "kind"), [(full, "wsgi"), (read_only, "asgi")], indirect=["kind"])
def test_where_nothing_can_be_written_a_worker_makes_room_for_the_next(
    wrap: Wrapper, kind: Kind, tmp_path: Path
) -> None:
    directory = tmp_path / "metrics"
    directory.mkdir()
    with launching(tmp_path / "log", PROMETHEUS_MULTIPROC_DIR=str(directory)) as launch:
        command = [*kind.arguments(launch.port), "--workers", "1", "--max-requests", "3"]
        with serving(launch, wrap(command, str(directory))) as server:
            first = set(workers(server.process.pid))
            answers = set()
            for _ in range(12):
                with suppress(httpx.TransportError):  # uvicorn's workers close what they just got
                    answers.add(server.client.get("/items", timeout=60).status_code)
            assert answers == {200}
            assert becomes(lambda: first.isdisjoint(workers(server.process.pid)), True)


# With the patience that users' servers have.
SHOP = """
import asyncio
from prom_middleware import instrument
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route

shop = Starlette(routes=[Route("/items", lambda request: PlainTextResponse("items"))])


async def tidy(scope, receive, send):
    await shop(scope, receive, send)
    await asyncio.sleep(0)  # uvicorn is told of the end by then


async def silent(scope, receive, send):
    if scope["type"] != "lifespan":
        return await shop(scope, receive, send)
    await receive()
    await send({{"type": "lifespan.startup.complete"}})
    await receive()  # it is to end, and tells nobody that it does


app = instrument({served})
"""


@pytest.mark.parametrize(
    ("number", "served"), [("1", "shop"), ("2", "shop"), ("1", "tidy"), ("1", "silent")]
)
def test_uvicorn_writes_at_its_end_what_it_could_not_before(
    number: str, served: str, tmp_path: Path
) -> None:
    directory = tmp_path / "metrics"
    directory.mkdir()
    (tmp_path / "shop.py").write_text(SHOP.format(served=served))
    options = ("--app-dir", str(tmp_path), "shop:app", "--workers")
    with launching(tmp_path / "log", PROMETHEUS_MULTIPROC_DIR=str(directory)) as launch:
        command = python("-m", "uvicorn", "--port", str(launch.port), *options)
        with (directory / "prom_middleware-1.lock").open("w") as lock:
            flock(lock, LOCK_EX)
            with serving(launch, [*command, number], "/items") as server:
                for _ in range(5):
                    assert server.client.get("/items").status_code == 200
                flock(lock, LOCK_UN)
        with serving(launch, [*command, "1"]) as server:
            assert value(server.metrics(), "http_requests_total", {"status": "200"}) == 6


def test_a_directory_that_can_be_made_only_later(kind: Kind, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a directory")
    with visiting(kind, tmp_path, tmp_path / "file" / "metrics") as visitor:
        visitor.visit()
        assert 0 < visitor.uncounted() < visitor.crowd.answers
        assert "store" in loss_told(visitor) <= {"store"}
        (tmp_path / "file").unlink()
        nothing_is_lost(visitor)


def nothing_is_lost(visitor: Visitor) -> None:
    """Let the workers notice that they can write again, and compare."""

    def uncounted() -> float:
        visitor.visit(1)
        return visitor.uncounted()

    # Each look asks every worker, and may itself take seconds on a busy machine.
    assert becomes(uncounted, 0, 60) == 0


def counting_goes_on(visitor: Visitor) -> None:
    """Let the workers notice that their files are none, and then lose nothing more."""

    def difference() -> float:
        before = visitor.uncounted()
        visitor.visit()
        return visitor.uncounted() - before

    assert becomes(difference, 0) == 0


def remove(directory: Path) -> None:
    shutil.rmtree(directory)


def replace_files(directory: Path) -> None:
    for path in list(directory.iterdir()):
        path.unlink()
        path.write_bytes(NOISE)


def overwrite_files(directory: Path) -> None:
    for path in directory.iterdir():
        with path.open("r+b") as file:
            file.write(NOISE[: path.stat().st_size])


def put_a_file_in_its_place(directory: Path) -> None:
    shutil.rmtree(directory)
    directory.write_text("not a directory")


@pytest.mark.parametrize(
    ("misfortune", "kind"), [(remove, "wsgi"), (replace_files, "asgi")], indirect=["kind"]
)
def test_files_that_are_gone_are_made_again_with_all_that_was_in_them(
    misfortune: Callable[[Path], None], kind: Kind, tmp_path: Path
) -> None:
    directory = tmp_path / "metrics"
    with visiting(kind, tmp_path, directory) as visitor:
        visitor.visit()
        misfortune(directory)
        visitor.visit()
        nothing_is_lost(visitor)
        assert "store" in loss_told(visitor) <= {"store", "store.foreign"}


def test_what_stands_in_the_place_of_the_directory_may_go_again(kind: Kind, tmp_path: Path) -> None:
    directory = tmp_path / "metrics"
    with visiting(kind, tmp_path, directory) as visitor:
        visitor.visit()
        put_a_file_in_its_place(directory)
        visitor.visit()
        assert 0 < visitor.uncounted() < visitor.crowd.answers
        directory.unlink()
        nothing_is_lost(visitor)
        assert "store" in loss_told(visitor) <= {"store"}


def test_after_noise_in_the_files_counting_goes_on(kind: Kind, tmp_path: Path) -> None:
    directory = tmp_path / "metrics"
    with visiting(kind, tmp_path, directory) as visitor:
        visitor.visit()
        overwrite_files(directory)
        visitor.visit()
        counting_goes_on(visitor)
        assert "store" in loss_told(visitor) <= {"store", "store.foreign"}


def small(command: list[str], directory: str) -> list[str]:
    return with_tmpfs(directory, "size=1m", command)


def test_a_disk_that_is_full_for_a_while_ends_no_worker(kind: Kind, tmp_path: Path) -> None:
    directory = tmp_path / "metrics"
    directory.mkdir()
    with visiting(kind, tmp_path, directory, small) as visitor:
        visitor.visit()
        # The disk is the server's alone; this is the way to it from here.
        inside = Path(f"/proc/{visitor.server.process.pid}/root{directory}")
        fill(inside / "ballast")
        visitor.visit(420)  # more than a worker's file has room for
        assert "store" in loss_told(visitor) <= {"store"}
        (inside / "ballast").unlink()
        nothing_is_lost(visitor)


def fill(ballast: Path) -> None:
    """Write a file for as long as the disk has place for more of it."""
    with ballast.open("wb", buffering=0) as file, suppress(OSError):
        while True:
            file.write(bytes(4096))
    with pytest.raises(OSError, match="No space left"):
        ballast.with_name("more").write_bytes(bytes(4096))
