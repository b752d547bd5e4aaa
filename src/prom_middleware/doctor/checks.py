"""The checks on what an application is made of: one function each."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

from prom_middleware.doctor.findings import Finding
from prom_middleware.doctor.frameworks import FLASK, foreign_framework
from prom_middleware.doctor.guards import GUARDS, is_open
from prom_middleware.doctor.pages import pages_of
from prom_middleware.doctor.subjects import Layer, Subject, subject_of
from prom_middleware.doctor.telemetry import frameworks_own, opentelemetry, other_packages
from prom_middleware.instrumentation.labels import Facts

# Headers that differ from request to request.
ENDLESS = frozenset(
    ("x-request-id", "traceparent", "user-agent", "cookie", "authorization", "x-forwarded-for")
)
# So many label sets has a route at least, in the end: methods, and statuses.
SETS = 3
# So many routes that differ only in a number are no accident.
ALIKE = 20


def no_door(subject: Subject) -> Iterator[Finding]:
    """Yield an application that nobody records."""
    if not (subject.doors or any(subject_of(app).doors for app in subject.mounted)):
        yield Finding("no-door", "no door of prom_middleware is there", subject.framework.door)


def two_doors(subject: Subject) -> Iterator[Finding]:
    """Yield doors on one registry: the outermost records."""
    doors = Counter(id(door.config.registry) for door in subject.doors)
    if any(number > 1 for number in doors.values()):
        yield Finding(
            "two-doors",
            f"{max(doors.values())} doors stand around one application: the outermost records, "
            "and the options of the others do not count",
            "keep one of them; applications that are mounted may have their own",
        )


def order(subject: Subject) -> Iterator[Finding]:
    """Yield what stands outside of the door and answers by itself."""
    first = min((door.place for door in subject.doors), default=0)
    for layer in subject.layers[:first]:
        if GUARDS.search(layer.name):
            yield Finding(
                "order",
                f"{layer.name} stands outside of the door: what it refuses is not recorded, and "
                "scrapes have to pass it",
                subject.framework.outermost,
            )


def open_metrics(subject: Subject) -> Iterator[Finding]:
    """Yield /metrics that anybody may read."""
    for door in subject.doors:
        if door.config.metrics_path is not None and is_open(door.config.access):
            path = door.config.metrics_path
            protect = subject.framework.protect
            yield Finding("open-metrics", f"{path} is open to everybody", protect)
            break
    for page in pages_of(subject):
        if is_open(page.access):
            yield Finding("open-metrics", f"{page.place} is open to everybody", page.remedy)


def catch_all(subject: Subject) -> Iterator[Finding]:
    """Yield routes that take whatever comes."""
    for route in subject.routes:
        if route.catches_all:
            yield Finding(
                "routes",
                f"the route {route.template} takes every path: all that it answers has one name",
                "give what can be told apart a route of its own, and let the rest be 404",
            )


def too_many_routes(subject: Subject) -> Iterator[Finding]:
    """Yield routes that are made in a loop, one for each thing that there is."""
    templates = {route.template for route in subject.routes}
    shapes = Counter(re.sub(r"\d+", "0", template) for template in templates)
    for shape, number in shapes.items():
        if number > ALIKE:
            yield Finding(
                "routes",
                f"{number} routes differ in a number only, as {shape}: each has series of its own",
                "make them one route with a parameter",
            )
    most = min((door.config.max_series for door in subject.doors), default=0)
    if most and len(templates) * SETS > most:
        yield Finding(
            "routes",
            f"{len(templates)} routes do not fit into max_series={most}: some will be <overflow>",
            f"max_series={len(templates) * SETS * 2}, or exclude=[...] what nobody looks at",
        )


def unknown_routes(subject: Subject) -> Iterator[Finding]:
    """Yield frameworks whose routes nobody reads."""
    for layer in subject.layers:
        name = foreign_framework(layer.thing)
        if name:
            yield Finding(
                "routes",
                f"the routes of {name} are not known: every request is <unmatched>",
                'name them with labels={"page": ...}, a function of the request with few values',
            )
            return
    if subject.framework is FLASK and subject.doors and not any(map(_names_flask, subject.layers)):
        yield Finding(
            "routes",
            "a WSGI door does not know the rules of Flask: every request is <unmatched>",
            f"in its place, the extension: {FLASK.door}",
        )


def _names_flask(layer: Layer) -> bool:
    return type(layer.thing).__module__ == "prom_middleware.flask"


def exploding_labels(subject: Subject) -> Iterator[Finding]:
    """Yield labels whose value is another one in every request."""
    for door in subject.doors:
        for name, label in (door.config.labels or {}).items():
            source = _explodes(label) if callable(label) else ""
            if source:
                yield Finding(
                    "labels",
                    f"the label {name} is made of {source}: each request makes a series of its own",
                    f"labels={{{name!r}: ...}}: return one of few values, or leave it out",
                )


class _Headers(dict[str, str]):
    """Headers that remember what they were asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: set[str] = set()

    def get(self, name: str, default: Any = None) -> Any:
        self.asked.add(name)
        return default

    def __contains__(self, name: object) -> bool:
        return True  # and then it may be asked for

    def __missing__(self, name: str) -> str:
        self.asked.add(name)
        return ""


def _explodes(label: Callable[[Facts], object]) -> str:
    headers = _Headers()
    try:
        values = {
            str(label(Facts("GET", path, "/{path}", "200", headers, None)))
            for path in ("/items/8437", "/items/9126")
        }
    except Exception:  # it wants a real request; in a door that is an empty label
        values = set()
    if len(values) > 1:
        return "the path"
    return f"the header {min(headers.asked & ENDLESS)}" if headers.asked & ENDLESS else ""


CHECKS: tuple[Callable[[Subject], Iterator[Finding]], ...] = (
    no_door,
    two_doors,
    order,
    open_metrics,
    other_packages,
    opentelemetry,
    frameworks_own,
    catch_all,
    too_many_routes,
    unknown_routes,
    exploding_labels,
)
