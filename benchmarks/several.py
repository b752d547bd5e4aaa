"""What the report says of several processes; the figures are those of `multiprocess.py`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from benchmarks.figures import Figure, Target
from benchmarks.tables import table

METHOD = """\
Beside the multi-process mode of prometheus_client, in turns in one process. Forked workers record
the same requests into a directory of each, through our real instrumentation and through a histogram
and three counters of prometheus_client; each worker has all label sets, which is what all but the
rarest of routes come to. A scrape is what `/metrics` answers, from files to text; before it is
measured, the counters and counts in both answers were equal, to the last request of a killed
worker. Dead workers were killed by SIGKILL and replaced, as a server does it. A new label set is
what its first request takes more than the second; doors are measured as above.
"""

Several = dict[str, dict[str, Any]]


def targets(figures: Several) -> Iterator[Target]:
    """Yield every target with what was measured."""
    if not figures:
        return
    for what, limit in (("alive", 1 / 30), ("dead", 1 / 100)):
        ours, theirs = _pair(figures["scrapes"][what])
        title = f"scrape, {_over(figures, what)}: ours / prometheus_client"
        yield Target.ratio(title, ours, theirs, round(limit, 4))
    for name, added in figures["doors"]["doors"].items():
        alone, shared = (Figure(**added[role]) for role in ("ours", "ours, shared"))
        yield Target.ratio(f"{name}: shared store / own memory", shared, alone, 1.3)
    new = Figure(**figures["label_sets"]["ours"])
    yield Target("new label set, shared store", new.median * 1e6, new.error * 1e6, 60, " µs")
    alone, shared = (Figure(**figures["user_metrics"][where]) for where in ("alone", "shared"))
    yield Target.ratio("Counter.inc(): after install() / prometheus_client", shared, alone, 1.2)
    yield _size(figures["sizes"]["sizes"])
    restarts = figures["restarts"]
    none, restarted = (Figure(**restarts[what]) for what in ("none", "restarted"))
    title = f"scrape after {restarts['size']['restarts']:,} restarts / after none"
    yield Target.ratio(title, restarted, none, 1.2)


def _pair(figures: dict[str, Any]) -> tuple[Figure, Figure]:
    return Figure(**figures["ours"]), Figure(**figures["theirs"])


def _over(figures: Several, what: str) -> str:
    size = figures["scrapes"]["size"]
    dead = f" and {size['dead']} dead ones" if what == "dead" else ""
    return f"{size['workers']} workers{dead}"


def _size(sizes: dict[str, dict[str, float]]) -> Target:
    ratio = sizes["ours"]["disk"] / sizes["theirs"]["disk"]
    return Target("bytes on disk: ours / prometheus_client, less metrics", ratio, 0.0, 0.1)


def section(figures: Several) -> Iterator[str]:
    """Yield the paragraphs."""
    if not figures:
        return
    yield "## Several processes"
    yield METHOD.strip()
    yield table(("", "prom_middleware", "prometheus_client", ""), _rows(figures))
    yield _doors(figures["doors"]["doors"])
    yield _incs(figures["user_metrics"])
    yield _sizes(figures["sizes"]["sizes"])
    yield _restarts(figures["restarts"])


def _rows(figures: Several) -> Iterator[tuple[str, ...]]:
    lines = figures["scrapes"]["size"]["label_sets"] * 20
    measured = [
        (f"scrape of {lines:,} samples, {_over(figures, what)} (ms)", figures["scrapes"][what], 1e3)
        for what in ("alive", "dead")
    ]
    measured.append(("new label set (µs)", figures["label_sets"], 1e6))
    for what, found, scale in measured:
        ours, theirs = _pair(found)
        times = f"{theirs.median / ours.median:.3g} times"
        yield what, ours.show(scale, 1), theirs.show(scale, 1), times


def _doors(doors: dict[str, dict[str, Any]]) -> str:
    head = ("added to a request (µs)", "own memory", "shared store")
    rows = [
        (name, *(Figure(**added[role]).show() for role in ("ours", "ours, shared")))
        for name, added in doors.items()
    ]
    return table(head, rows)


def _incs(found: dict[str, Any]) -> str:
    head = ("`Counter.inc()` (µs)", "prometheus_client, one process", "after `install()`")
    shown = [Figure(**found[where]).show() for where in ("alone", "shared")]
    return table(head, [("without labels", *shown)])


SIZES = {
    "ours": "prom_middleware: histogram and three counters",
    "theirs": "prometheus_client: histogram and counter",
    "theirs, the same metrics": "prometheus_client: histogram and three counters",
}


def _sizes(sizes: dict[str, dict[str, float]]) -> str:
    head = ("bytes for each label set and worker", "on disk", "as long as the files say")
    rows = [
        (what, f"{sizes[name]['disk']:.0f}", f"{sizes[name]['length']:.0f}")
        for name, what in SIZES.items()
    ]
    return table(head, rows)


def _restarts(restarts: dict[str, Any]) -> str:
    number = f"{restarts['size']['restarts']:,} restarts"
    before, after = restarts["files"]["before"], restarts["files"]["after"]
    rows = [
        (
            f"scrape of {restarts['size']['restarting']} workers (ms)",
            *(Figure(**restarts[what]).show(1e3) for what in ("none", "restarted")),
        ),
        *((what, f"{before[key]:,}", f"{after[key]:,}") for key, what in USED.items()),
    ]
    return table(("", "no restart", number), rows)


USED = {"files": "files", "length": "bytes in them"}
