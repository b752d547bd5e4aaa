"""Several workers: what their environment says, and whether their numbers come together."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from prom_middleware.doctor.processes import (
    Deployment,
    alone,
    several_users,
    unusable_directory,
)

DIRECTORY = "PROMETHEUS_MULTIPROC_DIR"


@pytest.mark.parametrize(
    ("environment", "workers", "server"),
    [
        ({}, 1, "gunicorn"),
        ({"WEB_CONCURRENCY": "4"}, 4, "gunicorn"),
        ({"WEB_CONCURRENCY": "many"}, 1, "gunicorn"),
        ({"GUNICORN_CMD_ARGS": "--bind=:80 --workers=3"}, 3, "gunicorn"),
        ({"GUNICORN_CMD_ARGS": "-w 3"}, 3, "gunicorn"),
        ({"WEB_CONCURRENCY": "4", "GUNICORN_CMD_ARGS": "-w3"}, 3, "gunicorn"),
        ({"UWSGI_PROCESSES": "2"}, 2, "uwsgi"),
        ({"GRANIAN_WORKERS": "2"}, 2, "gunicorn"),
        ({"UVICORN_WORKERS": "2"}, 2, "gunicorn"),
        ({"UWSGI_WORKERS": "2"}, 2, "uwsgi"),
    ],
    ids=repr,
)
def test_what_an_environment_says(environment: Any, workers: int, server: str) -> None:
    assert Deployment.of(environment)[:2] == (workers, server)


def test_arguments_win() -> None:
    environment = {"WEB_CONCURRENCY": "4", "GUNICORN_CMD_ARGS": "-w 3"}
    assert Deployment.of(environment, 2, "waitress")[:2] == (2, "waitress")


@pytest.mark.parametrize(
    ("deployment", "reason"),
    [
        (Deployment.of({}), ""),
        (Deployment.of({}, 4, "gunicorn"), ""),
        (Deployment.of({"WEB_CONCURRENCY": "4"}), ""),
        (Deployment.of({}, 4), "only gunicorn, uvicorn"),
        (Deployment.of({}, 4, "mod_wsgi"), "only gunicorn, uvicorn"),
        (Deployment.of({DIRECTORY: "/run/shop"}, 4, "mod_wsgi"), ""),
        (Deployment.of({"UWSGI_PROCESSES": "4"}), "uWSGI has no master"),
        (Deployment.of({"UWSGI_PROCESSES": "4", "UWSGI_MASTER": "0"}), "uWSGI has no master"),
        (Deployment.of({"UWSGI_PROCESSES": "4", "UWSGI_MASTER": "false"}), "uWSGI has no master"),
        (Deployment.of({"UWSGI_PROCESSES": "4", "UWSGI_MASTER": "1"}), ""),
        (Deployment.of({"UWSGI_PROCESSES": "4", DIRECTORY: "/run/shop"}), ""),
        (
            Deployment.of({"WEB_CONCURRENCY": "4", "PROM_MIDDLEWARE_MULTIPROC": "off"}),
            "PROM_MIDDLEWARE_MULTIPROC is off",
        ),
        (Deployment.of({"PROM_MIDDLEWARE_MULTIPROC": "off"}), ""),
    ],
    ids=range(13),
)
def test_workers_without_a_shared_directory(deployment: Deployment, reason: str) -> None:
    findings = list(alone(deployment))
    assert bool(findings) is bool(reason)
    is_off = "PROM_MIDDLEWARE_MULTIPROC" in deployment.environment
    for one in findings:
        assert one.check == "workers"
        assert reason in one.problem
        assert "4 workers without a shared directory" in one.problem
        assert one.remedy.startswith("unset " if is_off else f"set {DIRECTORY}")


def test_no_folder_for_temporary_files(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", "/nonexistent")
    (finding,) = alone(Deployment.of({}, 2, "gunicorn"))
    assert "no folder for temporary files" in finding.problem


def directory_problem(path: str) -> str:
    found = list(unusable_directory(Deployment.of({DIRECTORY: path})))
    assert all("writable" in one.remedy and path in one.problem for one in found)
    return found[0].problem if found else ""


def test_directories_that_can_be_used(tmp_path: Path) -> None:
    assert directory_problem(str(tmp_path)) == ""
    assert directory_problem(str(tmp_path / "is" / "made")) == ""
    assert directory_problem("") == ""


def test_directories_that_cannot(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    assert "is no directory" in directory_problem(str(file))
    assert "cannot be written" in directory_problem(str(file / "below"))
    assert "is relative" in directory_problem("metrics")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_directory_of_somebody_else(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    assert "cannot be written" in directory_problem(str(tmp_path))
    tmp_path.chmod(0o700)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make what is somebody else's")
def test_files_of_several_users(tmp_path: Path) -> None:
    ours = [tmp_path / f"prom_middleware-1.000{number}.vector" for number in range(2)]
    for path in (tmp_path / "counter_1.db", *ours):
        path.touch()
    deployment = Deployment.of({DIRECTORY: str(tmp_path)})
    os.chown(tmp_path / "counter_1.db", 65534, -1)
    assert not list(several_users(deployment))
    os.chown(tmp_path, 65534, -1)
    (finding,) = several_users(deployment)
    assert "files of several users" in finding.problem
    tmp_path.chmod(0o1777)
    assert not list(several_users(deployment))
    os.chown(ours[1], 65534, -1)
    assert list(several_users(deployment))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_a_directory_that_may_be_listed_and_not_entered() -> None:
    with TemporaryDirectory() as directory:  # pytest's own are below one that others cannot enter
        (Path(directory) / "prom_middleware-1.0000.vector").touch()
        os.chmod(directory, 0o744)
        os.seteuid(65534)
        try:
            assert os.listdir(directory)
            assert not list(several_users(Deployment.of({DIRECTORY: directory})))
        finally:
            os.seteuid(0)


def test_a_directory_without_files_has_no_users(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for name in ("", "file", "missing"):
        assert not list(several_users(Deployment.of({DIRECTORY: str(tmp_path / name)})))


EARLY = """
import os, sys
{before}
from prometheus_client import Counter
Counter("one", "One.").inc()
Counter("two", "Two.", ["who"]).labels("joe").inc()
Counter("none", "None.", ["who"])
{after}
from prom_middleware.doctor.processes import Deployment, made_too_early
for one in made_too_early(Deployment()):
    print(one.check, one.problem, one.remedy, sep="|")
"""
SET = f"os.environ['{DIRECTORY}'] = sys.argv[1]"
INSTALL = "from prom_middleware.multiprocess import install; install()"


@pytest.mark.parametrize(
    ("before", "after", "found"),
    [("", "", False), (SET, "", False), ("", SET, True), ("", f"{SET}; {INSTALL}", False)],
    ids=["alone", "in-time", "too-late", "installed"],
)
def test_metrics_made_before(tmp_path: Path, before: str, after: str, found: bool) -> None:
    done = subprocess.run(
        [sys.executable, "-c", EARLY.format(before=before, after=after), str(tmp_path)],
        env={name: text for name, text in os.environ.items() if name != DIRECTORY},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert bool(done.stdout) is found
    if found:
        assert "early-metrics|none, one, two: made before" in done.stdout
        assert "multiprocess.install()" in done.stdout
