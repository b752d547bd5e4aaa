"""Measure one door in this process: `python -m benchmarks.door NAME`, what was measured as JSON.

Each has processes of its own: an application has one framework, and one door's settings must not
change what another one costs.
"""

from __future__ import annotations

import json
import sys
import warnings
from importlib import import_module
from pathlib import Path
from typing import Any

from benchmarks import parts
from benchmarks.rounds import QUICK, Case, Contender, Plan, measure, verify
from prom_middleware.instrumentation import observation

# Ends the name of a door that is measured once more, see `matching.py`.
NOT_COUNTED = ", matching not counted"
SERVED = f"Starlette under uvicorn{NOT_COUNTED}"
# In the name of a door that is measured once more, with the build that `make wheel` compiles.
COMPILED = ", compiled"
BUILD = Path(__file__).parent.parent / "build" / "compiled"
DOORS = {
    "ASGI": "asgi:raw",
    "ASGI, beside its peers": "asgi:raw_beside_peers",
    "Starlette": "asgi:starlette",
    "FastAPI": "asgi:fastapi",
    f"Starlette{NOT_COUNTED}": "uncounted:starlette",
    f"FastAPI{NOT_COUNTED}": "uncounted:fastapi",
    SERVED: "uncounted:starlette_served",
    "WSGI": "wsgi:raw",
    "Flask": "wsgi:flask_cases",
    "Django, WSGI": "django:wsgi",
    f"Django, WSGI{NOT_COUNTED}": "django:wsgi_uncounted",
    "Django, ASGI": "django:asgi",
    "Twisted": "twisted:cases",
    f"ASGI{COMPILED}": "asgi:raw",
    f"ASGI, beside its peers{COMPILED}": "asgi:raw_beside_peers",
    f"Starlette{COMPILED}{NOT_COUNTED}": "uncounted:starlette",
    f"FastAPI{COMPILED}": "asgi:fastapi",
    f"FastAPI{COMPILED}{NOT_COUNTED}": "uncounted:fastapi",
    f"Starlette under uvicorn{COMPILED}{NOT_COUNTED}": "uncounted:starlette_served",
    f"WSGI{COMPILED}": "wsgi:raw",
    f"Flask{COMPILED}": "wsgi:flask_cases",
}
ROUTES, QUICK_ROUTES = (1, 500), (1, 20)


def main() -> None:
    """Measure, check the counts, and print what each round gave."""
    options = parts.options("door", "door", DOORS)
    warnings.simplefilter("ignore")  # those of the peers are not our concern
    if observation.__file__.endswith(".py") == (COMPILED in options.door):
        sys.exit(f"{options.door} is not what {observation.__file__} is")
    module, function = DOORS[options.door].split(":")
    build = getattr(import_module(f"benchmarks.doors.{module}"), function)
    cases: list[Case] = build(QUICK_ROUTES if options.quick else ROUTES)
    measure(cases, QUICK if options.quick else Plan(seconds=options.seconds))
    verify(cases)
    json.dump([_case(case) for case in cases], sys.stdout)


def _case(case: Case) -> dict[str, Any]:
    return {
        "routes": case.routes,
        "strangers": case.strangers,
        "rounds": case.rounds,
        "batch": case.batch,
        "bare": case.baseline,
        "contenders": [_contender(contender) for contender in case.contenders],
    }


def _contender(contender: Contender) -> dict[str, Any]:
    return {
        "name": contender.name,
        "role": contender.role,
        "note": contender.note,
        "latency": contender.latency,
        "added": contender.added,
    }


if __name__ == "__main__":
    main()
