"""Django: the doctor on a module of settings, and the same as system checks."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from commands import programs

pytest.importorskip("django")

HEALTHY = """\
from prom_middleware import basic_auth

SECRET_KEY = "secret"
USE_TZ = True
ALLOWED_HOSTS = ["*"]
ROOT_URLCONF = "urls"
INSTALLED_APPS = ["prom_middleware.django"]
MIDDLEWARE = [
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
]
PROM_MIDDLEWARE = {"access": basic_auth("prometheus", "secret")}
"""
URLS = """\
from django.http import HttpResponse
from django.urls import include, path, re_path

def view(request, **kwargs):
    return HttpResponse("view")

urlpatterns = [path("items/<int:item_id>/", view), path("shop/", include([path("", view)]))]
"""
SESSION = "django.contrib.sessions.middleware.SessionMiddleware"
DOOR = "prom_middleware.django.PrometheusMiddleware"
BEHIND_A_LOGIN = """
from django.contrib.auth.decorators import login_required
from prom_middleware.django.urls import metrics
urlpatterns.append(path("inside", login_required(metrics)))
"""
# What is added to the settings and to the URLs, and what is found of it.
FAULTS = {
    "healthy": ("", "", ""),
    "no-door": ("INSTALLED_APPS = []", "", "no-door: no door of prom_middleware is there"),
    "two-doors": (f"MIDDLEWARE = ['{DOOR}', '{DOOR}']", "", "two-doors: 2 doors stand around"),
    "order": (
        f"MIDDLEWARE = ['{SESSION}', '{DOOR}']",
        "",
        "order: SessionMiddleware stands outside of the door",
    ),
    "open-metrics": ("PROM_MIDDLEWARE = {}", "", "open-metrics: /metrics is open to everybody"),
    "options-that-are-read-once": (
        "PROM_MIDDLEWARE = {'buckets': map(float, '123')}",
        "",
        "open-metrics: /metrics is open to everybody",
    ),
    "open-metrics-in-a-route": (
        "PROM_MIDDLEWARE = {'metrics_path': None}",
        "urlpatterns.append(path('inside/', include('prom_middleware.django.urls')))",
        "open-metrics: /inside/metrics is open to everybody",
    ),
    "metrics-in-a-route-with-a-rule": (
        "PROM_MIDDLEWARE['metrics_path'] = None",
        "urlpatterns.append(path('inside/', include('prom_middleware.django.urls')))",
        "",
    ),
    "metrics-in-a-route-behind-a-login": (
        "PROM_MIDDLEWARE = {'metrics_path': None}",
        BEHIND_A_LOGIN,
        "",
    ),
    "routes-path": (
        "",
        "urlpatterns.append(path('<path:path>', view))",
        "routes: the route /<path:path> takes every path",
    ),
    "routes-regex": (
        "",
        "urlpatterns.append(re_path(r'^.*$', view))",
        "routes: the route /^.*$ takes every path",
    ),
    "routes-loop": (
        "",
        "urlpatterns += [path(f'item-{number}/', view) for number in range(30)]",
        "routes: 30 routes differ in a number only, as /item-0/",
    ),
    "labels": (
        "PROM_MIDDLEWARE['labels'] = {'page': lambda facts: facts.path}",
        "",
        "labels: the label page is made of the path",
    ),
}
PACKAGES = {
    "django_prometheus": (
        "MIDDLEWARE.append('django_prometheus.middleware.PrometheusAfterMiddleware')",
        "telemetry: django-prometheus counts every request as well",
    ),
}


def project(folder: Path, settings: str, urls: str) -> Path:
    (folder / "settings.py").write_text(f"{HEALTHY}{settings}\n")
    (folder / "urls.py").write_text(f"{URLS}{urls}\n")
    return folder


@pytest.fixture(autouse=True)
def settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DJANGO_SETTINGS_MODULE", "settings")
    monkeypatch.setenv("NO_COLOR", "1")


# Both in one process: to start Django takes the most of the time.
BOTH = """
import sys
from prom_middleware.cli import main
print("exit code", main(["doctor", "settings"]))
from django.core.management import call_command
call_command("check", deploy=True)
"""


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-W", "error", *arguments],
        cwd=folder,
        capture_output=True,
        encoding="utf-8",
        timeout=60,
    )


# What takes longest when Django starts, and reads no settings.
DJANGO = "django.core.management.commands.check django.core.handlers.asgi django.urls"


def ask(folder: Path, *arguments: str, **program: str) -> Any:
    return programs.ask(*arguments, cwd=folder, imported=DJANGO, **program)


def findings(folder: Path) -> tuple[list[str], list[str]]:
    """Return what the doctor finds, and the warnings of the system checks, less their numbers."""
    done = ask(folder, program=BOTH)
    assert done.returncode == 0, done.stderr
    told, _, code = done.stdout.partition("exit code ")
    *lines, last = told.splitlines()
    assert last.startswith("settings: ")
    found = [line for line in lines if not line.startswith("    mend: ")]
    assert len(found) * 2 == len(lines)
    assert code[0] == ("2" if found else "0")
    warnings = re.findall(r"^\?: \(prom_middleware\.W\d+\) (.*)\n\tHINT: .+$", done.stderr, re.M)
    assert done.stderr.count("prom_middleware.W") == len(warnings)
    return found, warnings


@pytest.mark.parametrize("fault", FAULTS)
def test_faults(tmp_path: Path, fault: str) -> None:
    settings, urls, expected = FAULTS[fault]
    found, warnings = findings(project(tmp_path, settings, urls))
    assert [line[: len(expected)] for line in found] == ([expected] if expected else [])
    if fault != "no-door":  # then nobody is there to check
        assert warnings == [line.partition(": ")[2] for line in found]


@pytest.mark.parametrize("package", PACKAGES)
def test_other_packages(tmp_path: Path, package: str) -> None:
    pytest.importorskip(package)
    settings, expected = PACKAGES[package]
    (found,), (warning,) = findings(project(tmp_path, settings, ""))
    assert found.startswith(expected)
    assert found.endswith(warning)


def test_instrument_beside_the_installed_application(tmp_path: Path) -> None:
    folder = project(tmp_path, "", "")
    (folder / "served.py").write_text(
        "from django.core.wsgi import get_wsgi_application\n"
        "from prom_middleware import instrument\n"
        "application = instrument(get_wsgi_application())\n"
    )
    done = run(folder, "-m", "prom_middleware", "doctor", "served")
    assert (done.returncode, done.stderr) == (2, "")
    assert done.stdout.startswith("two-doors: 2 doors")


@pytest.mark.parametrize("interface", ["wsgi", "asgi"])
def test_a_handler(tmp_path: Path, interface: str) -> None:
    folder = project(tmp_path, "", "")
    (folder / "served.py").write_text(
        f"from django.core.{interface} import get_{interface}_application as make\n"
        "application = make()\n"
    )
    done = ask(folder, "doctor", "served:application")
    assert (done.returncode, done.stderr) == (0, "")


def test_open_metrics_stop_nobody_but_a_deployment(tmp_path: Path) -> None:
    check = ("-m", "django", "check", "--fail-level", "WARNING")
    folder = project(tmp_path, "PROM_MIDDLEWARE = {}", "")
    done = run(folder, *check)
    assert (done.returncode, "prom_middleware.W" in done.stderr) == (0, False), done.stderr
    done = run(folder, *check, "--deploy", "--tag", "security")
    assert done.returncode == 1
    assert re.search(r"W004.*\n\tHINT: PROM_MIDDLEWARE = {\"access\": basic_auth", done.stderr)


def test_a_silenced_check(tmp_path: Path) -> None:
    settings = "PROM_MIDDLEWARE = {}\nSILENCED_SYSTEM_CHECKS = ['prom_middleware.W004']"
    (found,), warnings = findings(project(tmp_path, settings, ""))
    assert found.startswith("open-metrics")
    assert warnings == []


def test_a_check_that_fails_stops_no_command(tmp_path: Path) -> None:
    settings = (
        "import prom_middleware.doctor.examining as examining\n"
        "def broken(*_): raise RuntimeError('no doctor today')\n"
        "examining._examined = broken"
    )
    done = run(project(tmp_path, settings, ""), "-m", "django", "check")
    assert done.returncode == 0
    assert "prom_middleware failed in doctor" in done.stderr
