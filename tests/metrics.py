"""Reading metrics back, the way a scraper sees them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import lru_cache

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

Key = tuple[str, frozenset[tuple[str, str]]]
Series = dict[Key, float]


def series(text: str) -> Series:
    """Parse an exposition into {(sample name, labels): value}."""
    return dict(_samples(text))


def _samples(text: str) -> Iterator[tuple[Key, float]]:
    kind = ""
    for line in map(str.strip, text.split("\n")):
        if line.startswith("# TYPE "):
            kind = line
        elif line and not line.startswith("#"):
            end = line.rfind("}") + 1 or line.index(" ")
            yield _key(kind, line[:end]), float(line[end:].split()[0])


@lru_cache(100_000)  # tests ask for the same ones again and again, and their parser is slow
def _key(kind: str, words: str) -> Key:
    """Return what prometheus_client's parser makes of a name and labels, below a line of TYPE."""
    (sample,) = (
        sample
        for family in text_string_to_metric_families(f"{kind}\n{words} 0\n")
        for sample in family.samples
    )
    return sample.name, frozenset(sample.labels.items())


def collected(registry: CollectorRegistry) -> Series:
    """Return the samples of `registry`, by way of its exposition."""
    return series(generate_latest(registry).decode())


def names(registry: CollectorRegistry) -> list[str]:
    """Return the names of the families in `registry`, sorted."""
    return sorted(family.name for family in registry.collect())


def value(samples: Series, name: str, labels: Mapping[str, str] | None = None) -> float:
    """Return the sum of the samples of `name` whose labels include `labels`."""
    wanted = set((labels or {}).items())
    return sum(v for (n, have), v in samples.items() if n == name and wanted <= have)


def records(registry: CollectorRegistry) -> list[tuple[str, str, int, str, str]]:
    """Return one (method, route, status, exception, outcome) for each recorded request.

    The metrics do not tie an exception or an abort to a status, so this is for registries that
    saw one kind of request.
    """
    samples = collected(registry)
    found: list[tuple[str, str, int, str, str]] = []
    for (name, have), count in sorted(samples.items(), key=lambda item: sorted(item[0][1])):
        if name != "http_requests_total" or not count:
            continue
        labels = dict(have)
        where = {"method": labels["method"], "route": labels["route"]}
        exception = _only(samples, "http_request_exceptions_total", where, "exception")
        reason = _only(samples, "http_responses_aborted_total", where, "reason") or "complete"
        row = (labels["method"], labels["route"], int(labels["status"]), exception, reason)
        found.extend([row] * int(count))
    return found


def in_progress(registry: CollectorRegistry) -> float:
    """Return how many requests are in progress."""
    return value(collected(registry), "http_requests_in_progress")


def _only(samples: Series, name: str, where: Mapping[str, str], label: str) -> str:
    wanted = set(where.items())
    found = [
        dict(have)[label] for (n, have), v in samples.items() if n == name and wanted <= have and v
    ]
    assert len(found) <= 1, found
    return found[0] if found else ""
