"""What StatsD and Graphite have in common: rules, a store, losses, listeners, a Collector."""

from __future__ import annotations

from abc import abstractmethod
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from prometheus_client import REGISTRY, CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from prom_middleware import failures
from prom_middleware.bridge.incoming.listener import Address, Listener
from prom_middleware.bridge.incoming.mapping import Match, Rule, Rules
from prom_middleware.bridge.incoming.series import RefusedError, Store, Target
from prom_middleware.options import checked, is_switch, rules, whole
from prom_middleware.parser.declared import BOUNDS

MOST_SERIES = 10_000
CACHED = 1000  # names, as in statsd_exporter
# A label that a kind has of its own: with another one like it, readers would not know the buckets.
OWN_LABELS = BOUNDS


def _are_rules(value: object) -> bool:
    return value is None or isinstance(value, Rules)


CHECKS = rules(
    {
        "mapping": (_are_rules, "what load_mapping returns, or None"),
        "max_series": (whole(1), "a whole number above 0"),
        "strict_match": (is_switch, "True or False"),
    }
)


class Resolved(NamedTuple):
    """What the rules make of a name."""

    rule: Rule
    target: Target
    labels: Mapping[str, str]


class Receiver(Collector):
    """A Collector of what comes in by one protocol.

    `mapping` has the rules for names and labels, see `load_mapping`; `registry` is where it is
    registered, None for nowhere. There are never more than `max_series` series: samples of others
    are lost, and counted. With `strict_match`, what no rule matches is dropped. Raises OptionError.
    """

    protocol = ""

    def __init__(
        self,
        mapping: Rules | None = None,
        registry: CollectorRegistry | None = REGISTRY,
        *,
        max_series: int = MOST_SERIES,
        strict_match: bool = False,
    ) -> None:
        given = {"mapping": mapping, "max_series": max_series, "strict_match": strict_match}
        checked(given, CHECKS)
        self._rules = mapping or Rules()
        self._strict = strict_match
        self._store = Store(max_series)
        self._resolved: dict[str, Resolved | None] = {}
        self._listeners: list[Listener] = []
        self._samples = 0
        self._dropped = 0
        self._lost: Counter[str] = Counter()
        if registry is not None:
            registry.register(self)

    def listen(
        self, *, udp: Address | None = None, tcp: Address | None = None, **limits: int
    ) -> Listener:
        """Listen on (host, port) until `stop`; port 0 is any free one, which the Listener tells.

        `limits` are those of `Listener`. Raises OSError.
        """
        listener = Listener(self.receive, self.lose, udp=udp, tcp=tcp, **limits)
        self._listeners.append(listener)
        return listener

    def stop(self) -> None:
        """Listen no more; what was received stays."""
        while self._listeners:
            self._listeners.pop().stop()

    def receive(self, lines: list[bytes]) -> int:
        """Take lines, and return how many samples and tags were lost, counted by reason."""
        with self._store.lock:
            before = self._lost.total()
            for line in lines:
                try:
                    text = line.decode().strip()
                    if text:
                        self.take(text)
                except UnicodeDecodeError:
                    self._lost["malformed_line"] += 1
                except RefusedError as refused:
                    self._lost[refused.reason] += 1
                except Exception as error:  # ours; the other lines have no part in it
                    failures.report("bridge.receive", error)
                    self._lost["failure"] += 1
            return self._lost.total() - before

    @abstractmethod
    def take(self, line: str) -> None:
        """Take one line; raise RefusedError."""
        ...

    def lose(self, reason: str, number: int = 1) -> None:
        """Count what is lost."""
        with self._store.lock:
            self._lost[reason] += number

    def find(
        self, name: str, kind: str, tags: Mapping[str, str], age: float = 0.0
    ) -> tuple[Any, float] | None:
        """Return the value that a sample changes, and what its number is to be multiplied by.

        `age` is in seconds. None: a rule drops it. Raises RefusedError.
        """
        key = f"{kind} {name}"
        resolved = self._resolved[key] if key in self._resolved else self._resolve(name, kind)
        if resolved is None:
            self._dropped += 1
            self._remember(key, None)
            return None
        rule, target, labels = resolved
        value = self._store.find(target, self._with_tags(rule, target, labels, tags), age)
        self._remember(key, resolved)
        self._samples += 1
        return value, 1.0 if rule.scale is None else rule.scale

    def _remember(self, key: str, resolved: Resolved | None) -> None:
        """Keep what the rules make of a name, so many names in all.

        Not of one that is refused. In a flood of those, each would live as long as the cache has
        places, which is long enough for the garbage collector to take it for one that stays: it
        then looks at everything in the process, again and again.
        """
        if key in self._resolved:
            return
        if len(self._resolved) >= CACHED:
            del self._resolved[next(iter(self._resolved))]
        self._resolved[key] = resolved

    def _with_tags(
        self, rule: Rule, target: Target, labels: Mapping[str, str], tags: Mapping[str, str]
    ) -> Mapping[str, str]:
        """Return all labels: a rule's go before tags, unless it honors those."""
        together = {**labels, **tags} if rule.honor_labels else {**tags, **labels}
        if together.pop(OWN_LABELS.get(target.kind, ""), None) is not None:
            self.lose("reserved_tag")
        return together

    def _resolve(self, name: str, kind: str) -> Resolved | None:
        match = self._rules.find(name, kind)
        if match is None and not self._strict:
            match = Match(self._rules.default, name, {})
        if match is None or match.rule.drops:
            return None
        shown = self.shown_name(match.name)
        if not shown:
            raise RefusedError("empty_metric_name")
        return Resolved(match.rule, self.target(shown, kind, match.rule), match.labels)

    @abstractmethod
    def shown_name(self, name: str) -> str:
        """Return a name that Prometheus takes."""
        ...

    @abstractmethod
    def target(self, name: str, kind: str, rule: Rule) -> Target:
        """Return the family that samples of a kind are in."""
        ...

    def collect(self) -> Iterator[Metric]:
        """Yield what was received, and what this tells of itself."""
        yield from self._store.families()
        with self._store.lock:
            own = list(self._own(self._store.count))
        yield from own

    def describe(self) -> list[Metric]:
        """Return the families of its own: what will come in, nobody knows."""
        return list(self._own(0))

    def _own(self, series: int) -> Iterator[Metric]:
        prefix = f"prom_middleware_{self.protocol}_"
        yield CounterMetricFamily(prefix + "samples", "Samples taken.", value=self._samples)
        yield CounterMetricFamily(
            prefix + "dropped_samples", "Samples that the rules drop.", value=self._dropped
        )
        lost = CounterMetricFamily(
            prefix + "lost", "Lines, samples and tags that are lost, by reason.", labels=["reason"]
        )
        for reason, number in sorted(self._lost.items()):
            lost.add_metric([reason], number)
        yield lost
        yield GaugeMetricFamily(prefix + "series", "Series that there are.", value=series)
