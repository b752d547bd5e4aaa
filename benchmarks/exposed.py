"""What the report says of scrapes; the figures are those of `exposition.py`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from benchmarks.figures import Figure, Target
from benchmarks.tables import table

METHOD = """\
Beside prometheus_client, in turns in one process. Both have seen the same requests: our door's
instrumentation recorded them, and a histogram and three counters of prometheus_client, by method,
route and status; each label set is 20 series, and both answers had the same counters and counts.
Its `_created` series are switched off. Each is called as a WSGI server calls it, `make_wsgi_app`
with the headers of a scraper, and a figure is the processor time of the process, all threads of it,
from the call to the last byte: choosing the format, collecting, writing, compressing. Each piece of
an answer is let go when it has come, as a server that has sent it does. A user's own metrics are
histograms, counters and gauges of prometheus_client, the same objects for both sides.
"""

SERVED = """\
A uvicorn server in a process of its own has {large:,} series and is scraped once a second by
another process, while a third one sends {rate} requests a second over connections that stay, each
when it is due and not when the one before is answered. A task on the event loop wakes up each
millisecond: what it wakes up later is how long the loop stood still. Phases of {phase:g} seconds,
with and without scrapes, take turns; shown is the median over {phases} phases of the longest stall
and, of as many phases without that task, whose look at the kernel's figures would hold requests up,
the 99th percentile of the latencies of all requests, with its 95 % interval. The wall clock
also shows what the machine does beside: the idle rows, with neither requests nor scrapes, say how
much that is. Of its own is what the server can have done itself: the smaller one of what is left
after the time for which a thread of it was ready to run and had no processor, as the kernel counts
it, and of the processor time that it used between two beats. prometheus_client has its
`make_asgi_app` at /metrics, beside the same application without any instrumentation.
"""

PEAKS = """\
Of {series:,} series as text: the peak of what `tracemalloc` sees during one scrape whose bytes are
not kept, over the number of these bytes; the larger one of the first and the second scrape.
"""

# Figures by part and name, with what they are of and how many times faster we should be.
SCRAPES = {
    ("text", "usual"): ("scrape of {series:,} series", 8),
    ("text", "many"): ("scrape of {many:,} series", 20),
    ("compressed", "gzip"): ("scrape of {series:,} series, gzip", 5),
    ("user_metrics", "users"): ("scrape of {users:,} series of a user's own", 2),
}
SERVERS = {"plain": "plain scrapes", "gzip": "scrapes as Prometheus 3 makes them"}
ROWS = {"idle": "nothing", "busy": "requests", **{k: f"requests, {v}" for k, v in SERVERS.items()}}
SIDES = {"ours": "**prom_middleware**", "theirs": "prometheus_client"}
STALL, LATENCY, MEMORY = 10, 1.5, 3

Parts = dict[str, dict[str, Any]]


def targets(parts: Parts) -> Iterator[Target]:
    """Yield every target with what was measured."""
    if not parts:
        return
    for (part, name), (title, times) in SCRAPES.items():
        ours, theirs = _pair(parts[part][name])
        what = f"{title.format(**parts[part]['size'])}: ours / prometheus_client"
        yield Target.ratio(what, ours, theirs, round(1 / times, 4))
    loop = parts["event_loop"]["ours"]
    for kind, how in SERVERS.items():
        stall = Figure(**loop[kind]["stall"])
        what = f"longest stall of the event loop, {how}"
        yield Target(what, stall.median * 1e3, stall.error * 1e3, STALL, " ms")
        # What the machine does is not in this one, so that the worst of all phases can count.
        what = f"{what}, of its own, ever"
        yield Target(what, loop[kind]["worst_own"] * 1e3, 0.0, STALL, " ms")
        with_scrapes, without = Figure(**loop[kind]["p99"]), Figure(**loop["busy"]["p99"])
        yield Target.ratio(f"p99 of requests, {how} / none", with_scrapes, without, LATENCY)
    for name, peaks in parts["memory"]["peaks"].items():
        if name.startswith("ours"):
            door = name.removeprefix("ours, ")
            yield Target(f"memory of a scrape / bytes sent, {door}", _peak(peaks), 0.0, MEMORY)


def _pair(figures: dict[str, Any]) -> tuple[Figure, Figure]:
    return Figure(**figures["ours"]), Figure(**figures["theirs"])


def _peak(peaks: list[dict[str, int]]) -> float:
    return max(peak["peak"] / peak["sent"] for peak in peaks)


def section(parts: Parts) -> Iterator[str]:
    """Yield the paragraphs."""
    if not parts:
        return
    yield "## Scrapes"
    yield METHOD.strip()
    yield table(("milliseconds", "prom_middleware", "prometheus_client", ""), _scrapes(parts))
    yield _formats(parts["formats"])
    yield "### Beside requests"
    yield SERVED.format(**parts["event_loop"]["size"], **parts["event_loop"]["load"]).strip()
    yield _served(parts["event_loop"])
    yield "### Memory of a scrape"
    yield PEAKS.format(series=parts["memory"]["size"]["large"]).strip()
    yield _peaks(parts["memory"]["peaks"])


def _scrapes(parts: Parts) -> Iterator[tuple[str, ...]]:
    for (part, name), (title, _) in SCRAPES.items():
        ours, theirs = _pair(parts[part][name])
        times = f"{theirs.median / ours.median:.3g} times"
        what = title.format(**parts[part]["size"])
        yield what, ours.show(1e3, 1), theirs.show(1e3, 1), times


def _formats(part: dict[str, Any]) -> str:
    head = (f"{part['size']['series']:,} series", "milliseconds", "bytes")
    rows = []
    for name, figures in part["formats"].items():
        side, _, form = name.partition(", ")
        title = f"{SIDES[side]}, {form}"
        rows.append((title, Figure(**figures).show(1e3, 1), f"{part['bytes'][name]:,}"))
    return table(head, rows)


def _served(part: dict[str, Any]) -> str:
    head = (
        "milliseconds",
        "longest stall",
        "worst of all",
        "of its own",
        "worst of all",
        "p99 of requests",
        "a scrape",
    )
    rows = [
        (f"{SIDES[side]}: {what}", *_phase(part[side][kind]))
        for side in SIDES
        for kind, what in ROWS.items()
        if kind in part[side]
    ]
    return table(head, rows)


def _phase(figures: dict[str, Any]) -> Iterator[str]:
    for name, worst in (("stall", "worst"), ("own", "worst_own")):
        yield Figure(**figures[name]).show(1e3, 1)
        yield f"{figures[worst] * 1e3:.1f}"
    for name in ("p99", "scrape"):
        yield Figure(**figures[name]).show(1e3, 1) if name in figures else ""


def _peaks(peaks: dict[str, list[dict[str, int]]]) -> str:
    rows = [
        (
            f"{SIDES[name.partition(', ')[0]]}, {name.partition(', ')[2]}",
            f"{each[0]['sent']:,}",
            f"{max(peak['peak'] for peak in each):,}",
            f"{_peak(each):.2f}",
        )
        for name, each in peaks.items()
    ]
    return table(("", "bytes sent", "peak", "peak / sent"), rows)
