"""What one run of a job records.

Names and kinds follow https://prometheus.io/docs/practices/instrumentation/#batch-jobs.
"""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from prometheus_client import Metric
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from prom_middleware.push.results import PushResult

STAGES = "batch_job_stage_duration_seconds"
# All are gauges: a gateway keeps the last run's, and adds nothing up.
HELP = {
    "batch_job_duration_seconds": "How long the last run took.",
    "batch_job_items_processed": "Items that the last run has dealt with.",
    STAGES: "How long a part of the last run took.",
    "batch_job_exit_code": "The exit code of the last run.",
    "batch_job_last_completion_timestamp_seconds": "When the last run ended, however it did.",
    "batch_job_last_success_timestamp_seconds": "When the last run that succeeded ended.",
    "batch_job_last_failure_timestamp_seconds": "When the last run that failed ended.",
}


class Run(Collector):
    """One run of a job, and its metrics; after the push, `result` is what that came to.

    It is no prometheus_client Gauge, so that nothing of it stays in the files of a multi-process
    application: it belongs to one run.
    """

    def __init__(self) -> None:
        self.result: PushResult | None = None
        # Re-entrant: a signal handler or a finalizer may count while the same thread does.
        self._lock = threading.RLock()
        self._began = time.monotonic()
        self._values = {"batch_job_items_processed": 0.0}
        self._stages: dict[str, float] = defaultdict(float)

    def done(self, number: float = 1) -> None:
        """Count `number` more rows, files or whatever the job deals with; from any thread."""
        with self._lock:
            self._values["batch_job_items_processed"] += number

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Record how long a part of the job takes; parts of the same name add up."""
        began = time.monotonic()
        try:
            yield
        finally:
            with self._lock:
                self._stages[name] += time.monotonic() - began

    def finish(self, *, success: bool) -> None:
        """Record that it has ended, and how; of the other ending a gateway keeps what it has."""
        ending = "success" if success else "failure"
        now = time.time()
        with self._lock:
            self._values["batch_job_duration_seconds"] = time.monotonic() - self._began
            self._values["batch_job_last_completion_timestamp_seconds"] = now
            self._values[f"batch_job_last_{ending}_timestamp_seconds"] = now

    def exited(self, code: int) -> None:
        """Record that it was a command and has ended, with which exit code."""
        self.finish(success=code == 0)
        with self._lock:
            del self._values["batch_job_items_processed"]  # nobody could count them
            self._values["batch_job_exit_code"] = code

    def collect(self) -> Iterable[Metric]:
        """Return what is known of the run."""
        with self._lock:
            values, stages = dict(self._values), dict(self._stages)
        families = [GaugeMetricFamily(name, HELP[name], value=values[name]) for name in values]
        if stages:
            family = GaugeMetricFamily(STAGES, HELP[STAGES], labels=("stage",))
            for stage, seconds in stages.items():
                family.add_metric((stage,), seconds)
            families.append(family)
        return families
