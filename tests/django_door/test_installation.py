"""How the door gets into a project; each project is a process of its own.

Most are forks of one that has imported Django; where imports are the point, it is started alone.
"""

from __future__ import annotations

from typing import Any

import pytest

from django_door import programs
from django_door.settings import CHAIN, OURS, PROCESS, PROJECT

APP = "prom_middleware.django"
PROGRAM = """
import json, sys, warnings
from django.conf import settings
changes = json.load(sys.stdin)
requests, setup = changes.pop("requests"), changes.pop("setup")
settings.configure(**changes)
if setup:
    import django
    django.setup()
from django.core.asgi import get_asgi_application
from django.core.wsgi import get_wsgi_application
from django_door.project import _asgi, _wsgi
from metrics import in_progress, records
from prometheus_client import REGISTRY
handlers = [(_wsgi, get_wsgi_application()), (_asgi, get_asgi_application())]
answers = []
for method, path in requests:
    for serve, handler in handlers:
        answers.append(serve(handler, method, path, None, {}).status)
print(json.dumps({
    "middleware": list(settings.MIDDLEWARE), "answers": answers,
    "records": records(REGISTRY), "in_progress": in_progress(REGISTRY),
}))
"""


def run(
    requests: list[tuple[str, str]] = [("GET", "/u/3/")],  # noqa: B006
    program: str = PROGRAM,
    setup: bool = True,
    alone: bool = False,
    **changes: Any,
) -> Any:
    """Serve `requests` on both handlers of a project with these settings."""
    settings = {**PROCESS, **PROJECT, **changes, "requests": requests, "setup": setup}
    return (programs.run_alone if alone else programs.run)(program, settings)


BOTH = [["GET", "/u/<int:id>/", 200, "", "complete"]] * 2
APPS = [*PROCESS["INSTALLED_APPS"], APP]
WITHOUT = CHAIN[1:]
INSTALLATIONS: dict[str, tuple[dict[str, Any], list[str]]] = {
    "the-app-alone": ({"INSTALLED_APPS": APPS, "MIDDLEWARE": WITHOUT}, CHAIN),
    "the-app-first": ({"INSTALLED_APPS": [APP], "MIDDLEWARE": WITHOUT}, CHAIN),
    "the-app-and-a-tuple": ({"INSTALLED_APPS": APPS, "MIDDLEWARE": []}, [OURS]),
    "its-configuration": (
        {"INSTALLED_APPS": [f"{APP}.apps.PromMiddlewareConfig"], "MIDDLEWARE": WITHOUT},
        CHAIN,
    ),
    "the-middleware-alone": ({"MIDDLEWARE": CHAIN}, CHAIN),
    "the-middleware-wins": ({"INSTALLED_APPS": APPS, "MIDDLEWARE": CHAIN}, CHAIN),
    "the-middleware-wins-where-it-stands": (
        {"INSTALLED_APPS": APPS, "MIDDLEWARE": [*WITHOUT, OURS]},
        [*WITHOUT, OURS],
    ),
    "its-module": (
        {
            "INSTALLED_APPS": APPS,
            "MIDDLEWARE": ["prom_middleware.django.middleware.PrometheusMiddleware", *WITHOUT],
        },
        ["prom_middleware.django.middleware.PrometheusMiddleware", *WITHOUT],
    ),
}


ALONE = ("the-app-alone", "the-middleware-alone")


@pytest.mark.parametrize("name", INSTALLATIONS)
def test_installation(name: str) -> None:
    changes, middleware = INSTALLATIONS[name]
    result = run(alone=name in ALONE, **changes)
    assert result["middleware"] == middleware
    assert result["answers"] == [200, 200]
    assert result["records"] == BOTH
    assert result["in_progress"] == 0


def test_the_handlers_set_django_up_by_themselves() -> None:
    result = run(INSTALLED_APPS=APPS, MIDDLEWARE=WITHOUT, setup=False, alone=True)
    assert result["records"] == BOTH


def test_the_app_answers_scrapes_in_front_of_everything() -> None:
    result = run(
        [("GET", "/metrics"), ("GET", "/metrics/"), ("POST", "/metrics")],
        INSTALLED_APPS=APPS,
        MIDDLEWARE=["django_door.views.refuses"],
    )
    assert result["answers"] == [200] * 4 + [405] * 2
    assert result["records"] == []


def test_atomic_requests() -> None:
    atomic = {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:", "ATOMIC_REQUESTS": True}
    result = run(
        [("GET", "/boom/")],
        INSTALLED_APPS=APPS,
        MIDDLEWARE=WITHOUT,
        DATABASES={"default": atomic},
    )
    assert result["answers"] == [500, 500]
    assert result["records"] == [["GET", "/boom/", 500, "ValueError", "complete"]] * 2


WRONG = """
import json, sys
from django.conf import settings
changes = json.load(sys.stdin)
del changes["requests"], changes["setup"]
settings.configure(**changes)
import django
try:
    django.setup()
except Exception as error:
    print(json.dumps([type(error).__name__, str(error)]))
"""


def test_wrong_options_stop_the_project_at_its_start() -> None:
    name, message = run(
        program=WRONG,
        alone=True,
        INSTALLED_APPS=APPS,
        PROM_MIDDLEWARE={"metrics_path": "no slash"},
    )
    assert name == "OptionError"
    assert "metrics_path" in message
    assert "no slash" in message


@pytest.mark.parametrize("wrong", [None, [["metrics_path", "/x"]], "metrics"], ids=str)
def test_settings_that_are_no_dictionary_stop_the_project(wrong: object) -> None:
    name, message = run(program=WRONG, INSTALLED_APPS=APPS, PROM_MIDDLEWARE=wrong)
    assert name == "OptionError"
    assert message.startswith(f"settings.PROM_MIDDLEWARE={wrong!r}: give a dictionary")


LAZY = """
import json, sys
sys.stdin.read()
import prom_middleware, prom_middleware.wsgi, prom_middleware.asgi
print(json.dumps([name for name in ("django", "flask", "werkzeug") if name in sys.modules]))
"""


ITERATORS = """
import re
changes["PROM_MIDDLEWARE"] = {"exclude": map(re.compile, ["^/u/"]), "buckets": iter([0.1, 1])}
"""
INSTRUMENTED = """
from prom_middleware import instrument
handlers = [
    (serve, instrument(handler, exclude=iter(["/u/3/"]))) for serve, handler in handlers
]
answers = []
"""


@pytest.mark.parametrize(
    "changes", [{"INSTALLED_APPS": APPS}, {"MIDDLEWARE": [OURS, *CHAIN]}], ids=["app", "middleware"]
)
def test_settings_may_have_iterators(changes: Any) -> None:
    """The project's start reads them, and after it each handler."""
    configure = "settings.configure(**changes)"
    program = PROGRAM.replace(configure, ITERATORS + configure)
    assert run(program=program, **changes)["records"] == []


def test_an_iterator_is_for_both_doors_of_a_handler() -> None:
    program = PROGRAM.replace("answers = []\n", INSTRUMENTED)
    assert run(program=program, MIDDLEWARE=WITHOUT)["records"] == []


def test_no_framework_is_imported_unless_its_door_is() -> None:
    assert programs.run_alone(LAZY, None) == []
