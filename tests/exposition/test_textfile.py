"""`write_to_textfile`: whole or not at all, and readable by node_exporter's own user."""

from __future__ import annotations

import inspect
import os
import stat
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import prometheus_client
import pytest
from prometheus_client import CollectorRegistry, Counter
from prometheus_client.registry import Collector

from exposition.federated import registry_of
from metrics import series, value
from prom_middleware.errors import OptionError, ReservedLabelError
from prom_middleware.exposition import write_to_textfile
from prom_middleware.exposition.textfile import replace_file


@pytest.fixture
def registry() -> CollectorRegistry:
    registry = CollectorRegistry()
    Counter("mine", "Mine.", registry=registry).inc()
    return registry


class Broken(Collector):
    """Raises after it has given something."""

    def collect(self) -> Iterator[Any]:
        yield from prometheus_client.CollectorRegistry().collect()
        raise RuntimeError("broken")


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_what_is_written(registry: CollectorRegistry, tmp_path: Path) -> None:
    target = tmp_path / "my.prom"
    write_to_textfile(str(target), registry)
    assert value(series(target.read_text(encoding="utf-8")), "mine_total") == 1
    assert list(tmp_path.iterdir()) == [target]


def test_the_arguments_are_those_of_prometheus_client() -> None:
    ours = inspect.signature(write_to_textfile).parameters
    theirs = inspect.signature(prometheus_client.write_to_textfile).parameters
    assert [name for name in ours if name in theirs] == list(theirs), "a newer one may have more"
    assert all(ours[name].default == theirs[name].default for name in theirs)


def test_a_label_that_node_exporter_does_not_survive(tmp_path: Path) -> None:
    family = prometheus_client.Metric("a", "A.", "gauge")
    family.add_sample("a", {"b": "c"}, 1)
    family.add_sample("a", {"b": "c", "__x": "1"}, 1)
    target = tmp_path / "my.prom"
    target.write_text("old 1\n")
    with pytest.raises(ReservedLabelError, match="a has the reserved label __x"):
        write_to_textfile(target, registry_of(family))
    assert target.read_text() == "old 1\n"
    assert list(tmp_path.iterdir()) == [target]


@pytest.mark.parametrize("umask", [0o077, 0o022, 0o000])
def test_mode_whatever_the_umask(registry: CollectorRegistry, tmp_path: Path, umask: int) -> None:
    target = tmp_path / "my.prom"
    before = os.umask(umask)
    try:
        write_to_textfile(target, registry)
        assert mode(target) == 0o644
        target.chmod(0o600)
        write_to_textfile(target, registry)
        assert mode(target) == 0o644
    finally:
        os.umask(before)


def test_relative_path(
    registry: CollectorRegistry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_to_textfile("my.prom", registry)
    write_to_textfile(Path("other.prom"), registry)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["my.prom", "other.prom"]


def test_tmpdir(registry: CollectorRegistry, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "tmp").mkdir()
    (tmp_path / "out").chmod(0o755)
    write_to_textfile(tmp_path / "out" / "my.prom", registry, tmpdir=tmp_path / "tmp")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["my.prom"]
    assert list((tmp_path / "tmp").iterdir()) == []
    with pytest.raises(FileNotFoundError):
        write_to_textfile(tmp_path / "out" / "my.prom", registry, tmpdir=tmp_path / "none")


def test_a_collector_that_raises(tmp_path: Path) -> None:
    target = tmp_path / "my.prom"
    target.write_text("before 1\n")
    with pytest.raises(RuntimeError, match="broken"):
        write_to_textfile(target, Broken())
    assert target.read_text() == "before 1\n"
    assert list(tmp_path.iterdir()) == [target]


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_a_writing_that_breaks_off(tmp_path: Path, error: BaseException) -> None:
    def content() -> Iterator[bytes]:
        yield b"a 1\n" * 100_000  # more than any buffer
        raise error

    target = tmp_path / "my.prom"
    target.write_text("before 1\n")
    with pytest.raises(type(error)):
        replace_file(target, content())
    assert target.read_text() == "before 1\n"
    assert list(tmp_path.iterdir()) == [target]


@pytest.mark.filterwarnings("ignore:.*use of fork:DeprecationWarning")
def test_a_full_disk(tmp_path: Path) -> None:
    """A limit on the size of files is a full disk that needs no root."""
    resource = pytest.importorskip("resource")
    signal = pytest.importorskip("signal")
    pid = os.fork()
    if pid == 0:  # a child, for the limit cannot be taken back
        try:
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
            replace_file(tmp_path / "my.prom", [b"x" * 1_000_000])
        except OSError:
            os._exit(3)
        finally:
            os._exit(4)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 3
    assert list(tmp_path.iterdir()) == []


def test_the_link_is_replaced_and_not_followed(registry: CollectorRegistry, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_text("precious\n")
    link = tmp_path / "my.prom"
    link.symlink_to(elsewhere)
    write_to_textfile(link, registry)
    assert elsewhere.read_text() == "precious\n"
    assert not link.is_symlink()


def test_a_link_to_nowhere(registry: CollectorRegistry, tmp_path: Path) -> None:
    link = tmp_path / "my.prom"
    link.symlink_to(tmp_path / "nowhere")
    write_to_textfile(link, registry)
    assert link.is_file()
    assert not (tmp_path / "nowhere").exists()


@pytest.mark.parametrize("kind", ["folder", "pipe", "device"])
def test_what_is_no_regular_file(registry: CollectorRegistry, tmp_path: Path, kind: str) -> None:
    """Root's `write_to_textfile("/dev/null", ...)` must not put a file there."""
    target = tmp_path / "my.prom"
    make = {"folder": os.mkdir, "pipe": os.mkfifo, "device": lambda p: os.symlink("/dev/null", p)}
    make[kind](target)
    with pytest.raises(OptionError, match="no regular file"):
        write_to_textfile(target, registry)
    assert list(tmp_path.iterdir()) == [target]
    assert not target.is_file()


@pytest.mark.parametrize("escaping", ["underscore", "", "dots;q=0", None])
def test_a_scheme_that_there_is_not(
    registry: CollectorRegistry, tmp_path: Path, escaping: Any
) -> None:
    with pytest.raises(OptionError, match=r"escaping=.*: give one of underscores, dots"):
        write_to_textfile(tmp_path / "job.prom", registry, escaping=escaping)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_not_there(registry: CollectorRegistry, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        write_to_textfile(tmp_path / "none" / "my.prom", registry)


def test_concurrent_writers_and_a_reader(tmp_path: Path) -> None:
    target = tmp_path / "my.prom"
    wholes = {f"{number}" * 200_000 for number in range(4)}

    def write(whole: str) -> None:
        for _ in range(20):
            replace_file(target, [whole.encode()])

    threads = [threading.Thread(target=write, args=(whole,)) for whole in wholes]
    for thread in threads:
        thread.start()
    seen = set()
    while any(thread.is_alive() for thread in threads):
        if target.exists():
            seen.add(target.read_text())
    for thread in threads:
        thread.join()
    assert seen | {target.read_text()} <= wholes
    assert list(tmp_path.iterdir()) == [target]


def test_no_reader_takes_the_temporary_file_for_metrics(
    registry: CollectorRegistry, tmp_path: Path
) -> None:
    names = []

    def content() -> Iterator[bytes]:
        names.extend(path.name for path in tmp_path.iterdir())
        yield b"a 1\n"

    replace_file(tmp_path / "my.prom", content())
    assert len(names) == 1
    assert not names[0].endswith(".prom")


def test_what_is_no_registry(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="registry=None: give a"):
        write_to_textfile(tmp_path / "job.prom", None)  # type: ignore[arg-type]
    assert list(tmp_path.iterdir()) == []
