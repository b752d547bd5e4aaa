"""The figures as Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from benchmarks import environment, exposed, floods, imports, parsing, pushed, several
from benchmarks.door import COMPILED, NOT_COUNTED, SERVED
from benchmarks.figures import Figure, Target
from benchmarks.rounds import OURS, PEER, RECORDER, TIMER
from benchmarks.tables import table

METHOD = """\
Every application is called in a process, as a server would call it: a GET with eight headers, 57
bytes in the answer, the last of the routes. A figure is what a request takes *more* than with the
bare application and the same routes, in microseconds of processor time, which other programs on the
machine disturb less than they do a wall clock. All contenders of a door take turns in one process;
each short batch of one stands between two batches of the bare application, whose mean is
subtracted, and the order rotates. Where a process has its objects in memory makes a difference of a
twentieth, so each door has several processes, with a seed for hashes of its own, and their rounds
are put together. Shown is the median of these differences, with the quartiles in brackets. The
garbage collector is on. Each contender has a registry of its own where it allows that, and all have
counted exactly the requests that they were given, under the right route and status, or there would
be no figures. Peers record a latency histogram and requests by method, route and status, and the
requests in progress and body sizes where they have them; OpenTelemetry has the SDK's real
MeterProvider with an in-memory reader, and tracing is off. The bare timer is the practical limit:
two readings of the clock and one unlabelled histogram, without a lock. The bare recorder keeps what
requests are to be counted by, and cares for nothing else: latency, bytes and requests in progress
by method, route and status (bytes of responses alone with Django), but no client that leaves, no
error, no thread, no failure of its own. "Compiled" is the build that `make wheel` makes, beside the
same applications and peers.
"""

IMPORTS = """
The first door of a process imports what the first scrape needs, which may come when no file can be
opened. What an application has imported itself, as `dataclasses`, is not taken off.
"""

ASGI_DOORS = ("ASGI", "Starlette", "FastAPI")
ROLES = {OURS: "**prom_middleware**"}
LIMITS = (TIMER, RECORDER)

REMARKS = {
    "ASGI": " In this process there is nothing else: no peer, no OpenTelemetry.",
    "ASGI, beside its peers": " They import OpenTelemetry, so a request is asked for its span.",
    "Twisted": " No peer is known.",
    SERVED: " uvicorn's protocol is given the bytes of a request, and writes those of the answer.",
}
UNCOUNTED = (
    " The framework's matching of routes is done, but its time is not counted: its noise hides "
    "what the middleware does."
)


@dataclass(frozen=True)
class Results:
    """All that was measured."""

    doors: dict[str, list[dict[str, Any]]]
    several: dict[str, dict[str, Any]]
    exposition: dict[str, dict[str, Any]]
    pushgateway: dict[str, dict[str, Any]]
    parsing: dict[str, dict[str, Any]]
    floods: dict[str, dict[str, Any]]
    memory: dict[int, dict[str, float]]
    imports: dict[str, Figure]
    date: str


def markdown(results: Results) -> str:
    """Return the whole report."""
    where = f"{results.date}, {environment.machine()}, {environment.python()}"
    parts = [
        "# What it costs",
        f"{where}, load average {environment.load()} at the end. Made by `make bench`.",
        METHOD.strip(),
        "## Targets",
        _targets(results),
        "## Added to a request (µs)",
        *(_door(name, cases) for name, cases in results.doors.items()),
        *several.section(results.several),
        *exposed.section(results.exposition),
        *pushed.section(results.pushgateway),
        *parsing.section(results.parsing),
        *floods.section(results.floods),
        "## Memory for each label set (bytes)",
        _memory(results.memory),
        "## Import beyond `import prometheus_client` (ms)",
        table(
            ("statement", "added"),
            [(f"`{name}`", figure.show(1e3, 1)) for name, figure in results.imports.items()],
        ),
        IMPORTS.strip(),
        "## Versions",
        table(("package", "version"), environment.versions().items()),
    ]
    return "\n\n".join(parts) + "\n"


def _door(name: str, cases: list[dict[str, Any]]) -> str:
    columns = [{c["name"]: c for c in case["contenders"]} for case in cases]
    head = ["", *map(_routes, cases)]
    rows = [["bare application", *(Figure.of(case["bare"]).show() for case in cases)]]
    for contender in cases[0]["contenders"]:
        note = f" ({contender['note']})" if contender["note"] else ""
        title = ROLES.get(contender["role"], contender["name"]) + note
        rows.append([title, *(_added(column[contender["name"]]).show() for column in columns)])
    rounds = ", ".join(
        f"{case['rounds']} rounds of batches of {case['batch']}"
        + (f" at {_routes(case)}" if len(cases) > 1 else "")
        for case in cases
    )
    uncounted = UNCOUNTED if name.endswith(NOT_COUNTED) else ""
    remark = REMARKS.get(name.replace(COMPILED, ""), "")
    remarks = f"{rounds}.{uncounted}{remark}{_growth(cases)}"
    return f"### {name}\n\n{table(head, rows)}\n\n{remarks}"


def _growth(cases: list[dict[str, Any]]) -> str:
    """Say what more routes do to the limits, where it stands out of the noise."""
    grown = [growth for role in LIMITS if (growth := _grown(role, *cases[:2])) is not None]
    if not grown:
        return ""
    return (
        f" With the many: {', '.join(grown)}. These know nothing of the number of routes: the "
        "application's own work leaves other things in the processor's caches."
    )


def _grown(role: str, few: dict[str, Any], many: dict[str, Any] | None = None) -> str | None:
    if many is None or not _role(few, role):
        return None
    over, under = (_added(_role(case, role)[0]) for case in (many, few))
    ratio = Target.ratio(role, over, under, 1.1)
    return f"{ratio.show()} times as much for the {role}" if ratio.error < ratio.value / 3 else None


def _routes(case: dict[str, Any]) -> str:
    number, strangers = case["routes"], case["strangers"]
    own = "1 route" if number == 1 else f"{number} routes"
    return f"{own} and {strangers} strangers" if strangers else own


def _added(contender: dict[str, Any]) -> Figure:
    return Figure.of(contender["added"])


def _role(case: dict[str, Any], role: str) -> list[dict[str, Any]]:
    return [c for c in case["contenders"] if c["role"] == role]


def _targets(results: Results) -> str:
    rows = [(t.what, t.show(), f"≤ {t.limit:g}{t.unit}", t.verdict) for t in targets(results)]
    note = (
        "± is the 95 % interval of the medians. Peers that record no latency (aioprometheus) "
        "stand in the tables below, and are not counted as the cheapest. Strangers are tried as "
        "the application's own routes are, and leave as much in the processor's caches, but they "
        "are none of its routes: beside them, 500 routes show what their number does to us, and "
        "without them also what it does to the caches. That our work is the same, line for line, "
        "is a test: `tests/test_flat_routes.py`."
    )
    return f"{table(('what', 'measured', 'target', ''), rows)}\n\n{note}"


def targets(results: Results) -> Iterator[Target]:
    """Yield every target with what was measured."""
    # What the matching's noise would hide is told by the doors that do not count it.
    exact = {
        name: cases
        for name, cases in results.doors.items()
        if f"{name}{NOT_COUNTED}" not in results.doors
    }
    for name, cases in exact.items():
        if name.startswith(ASGI_DOORS):
            yield from _against_timer(name, cases)
    for name, cases in results.doors.items():
        yield from _against_peers(name, cases)
    for name, cases in exact.items():
        if len(cases) > 1:
            yield from _flat(name, cases)
    yield from several.targets(results.several)
    yield from exposed.targets(results.exposition)
    yield from pushed.targets(results.pushgateway)
    yield from parsing.targets(results.parsing)
    yield from floods.targets(results.floods)
    for number, figures in results.memory.items():
        for what, value in figures.items():
            if what.startswith("prom_middleware"):
                what = what.removeprefix("prom_middleware, ")
                yield Target(f"memory, {number:,} label sets, {what}", value, 0.0, 600, " bytes")
    for statement in imports.STATEMENTS:
        figure = results.imports[statement]
        yield Target(f"`{statement}`", figure.median * 1e3, figure.error * 1e3, 10, " ms")


def _against_timer(name: str, cases: Iterable[dict[str, Any]]) -> Iterator[Target]:
    for case in cases:
        if not case["strangers"]:
            what = f"{name}, {_routes(case)}: ours / bare timer"
            yield Target.ratio(what, _added(_role(case, OURS)[0]), _added(_role(case, TIMER)[0]), 3)


def _flat(name: str, cases: list[dict[str, Any]]) -> Iterator[Target]:
    few, many, *beside = cases
    for other in (few, *beside):
        over, under = (_added(_role(case, OURS)[0]) for case in (many, other))
        yield Target.ratio(f"{name}: {_routes(many)} / {_routes(other)}", over, under, 1.1)


def _against_peers(name: str, cases: Iterable[dict[str, Any]]) -> Iterator[Target]:
    for case in cases:
        peers = [peer for peer in _role(case, PEER) if peer["latency"]]
        if peers:
            cheapest = min(peers, key=lambda peer: _added(peer).median)
            what = f"{name}, {_routes(case)}: ours / {cheapest['name']}"
            yield Target.ratio(what, _added(_role(case, OURS)[0]), _added(cheapest), 0.2)


def _memory(memory: dict[int, dict[str, float]]) -> str:
    numbers = list(memory)
    rows = [
        (what, *(f"{memory[number][what]:.0f}" for number in numbers))
        for what in memory[numbers[0]]
    ]
    head = ("", *(f"{number:,} label sets" for number in numbers))
    explained = (
        "Measured by `tracemalloc` with the default 14 buckets: latencies in three buckets (usual) "
        "or in every one. prometheus_client holds the same as a histogram and three counters."
    )
    return f"{table(head, rows)}\n\n{explained}"
