"""When a bridge collects and sends: the interval, retries after failures, the end."""

from __future__ import annotations

import atexit
import logging
import random
import threading
import time
from typing import Any

from prometheus_client import REGISTRY
from prometheus_client.registry import Collector

from prom_middleware import failures
from prom_middleware.bridge.outgoing import health as healths
from prom_middleware.bridge.outgoing.buffer import Batch, Buffer
from prom_middleware.bridge.outgoing.collecting import families_of
from prom_middleware.bridge.outgoing.destination import Destination, destination
from prom_middleware.bridge.outgoing.health import Health
from prom_middleware.bridge.outgoing.paths import NO_PREFIX
from prom_middleware.forks import renew_in_child
from prom_middleware.multiprocess.showing import note_shown
from prom_middleware.options import (
    SECONDS,
    checked,
    collector,
    is_number,
    is_switch,
    rules,
    whole,
)

INTERVAL = 60.0  # seconds
TIMEOUT = 10.0  # seconds for one attempt to send
BUFFER = 100_000  # samples
FIRST_RETRY, LAST_RETRY = 1.0, 60.0  # seconds

# Of its own: an application that seeds `random` would have its whole fleet send at once.
_random = random.SystemRandom()
log = logging.getLogger(__name__)


class Bridge:
    """Sends a registry's samples to another system, again and again, from a thread of its own.

    `to` is a URL: `graphite://HOST:PORT`, `otlp+http://HOST:PORT/PATH`. `interval` and `timeout`
    are in seconds; a collection comes up to `jitter` intervals late, so that many processes do not
    send at once. What cannot be sent waits in a buffer of `buffer` samples, whose oldest make
    room. `tags` and `prefix` are Graphite's. Raises OptionError; nothing is raised afterwards.
    """

    def __init__(
        self,
        to: str | Destination,
        registry: Collector = REGISTRY,
        *,
        interval: float = INTERVAL,
        jitter: float = 0.1,
        timeout: float = TIMEOUT,
        buffer: int = BUFFER,
        tags: bool = False,
        prefix: str = "",
    ) -> None:
        timing = {"interval": interval, "jitter": jitter, "timeout": timeout}
        checked({**timing, "to": to, "buffer": buffer, "tags": tags, "prefix": prefix}, CHECKS)
        self._destination = destination(to, tags=tags, prefix=prefix) if isinstance(to, str) else to
        self.health = Health(self._destination.name)
        self._registry = collector(registry)
        note_shown(registry)
        self._interval = interval
        self._jitter = jitter
        self._timeout = timeout
        self._limit = buffer
        self._begin_anew()
        renew_in_child(self, Bridge.forget)

    def _begin_anew(self) -> None:
        self._buffer = Buffer(self._limit)
        self._retry = Retry()
        self._stopping = threading.Event()
        self._deadline = 0.0
        self._thread: threading.Thread | None = None
        self._former: threading.Thread | None = None  # stopped, and not at its end in time

    def forget(self) -> None:
        """Be as before `start` in a process that was forked: thread and buffer are the parent's."""
        healths.hide(self.health, self._registry)
        self.health = Health(self._destination.name)
        self._begin_anew()

    @property
    def is_started(self) -> bool:
        """Tell whether it was started in this process, and not stopped since."""
        return self._thread is not None

    def start(self) -> Bridge:
        """Begin to send; a bridge that has begun goes on.

        A forked process has to start it once more, and then sends by itself.
        """
        if self._thread is None:
            self._stopping = threading.Event()  # one that is stopped stays so
            healths.show(self.health, self._registry)
            self._thread = threading.Thread(
                target=self._run,
                args=(self._stopping, self._former),
                name=f"bridge to {self.health.to}",
                daemon=True,
            )
            self._thread.start()
            atexit.register(self.stop)
        return self

    def stop(self, timeout: float = 5.0) -> None:
        """Collect once more, send what there is in `timeout` seconds, and end.

        Where the other side takes nothing by then, the connection is closed; that may take a second
        more.
        """
        thread, self._thread = self._thread, None
        if thread is None:
            return
        atexit.unregister(self.stop)
        self._deadline = time.monotonic() + timeout
        self._stopping.set()
        thread.join(timeout)
        if thread.is_alive():  # it waits for the other side
            self._destination.close()
            thread.join(1.0)
        self._former = thread if thread.is_alive() else None
        healths.hide(self.health, self._registry)

    def __enter__(self) -> Bridge:
        return self.start()

    def __exit__(self, *exception: object) -> None:
        self.stop()

    def _run(self, stopping: threading.Event, former: threading.Thread | None) -> None:
        try:
            if former is not None:  # both have one buffer, one destination
                former.join()
            self._repeat(stopping)
            self._end()
        except Exception as error:  # ours: nobody waits for this thread
            failures.report("bridge", error)
        finally:
            self._destination.close()

    def _repeat(self, stopping: threading.Event) -> None:
        ticks = Ticks(self._interval, self._jitter)
        while not stopping.is_set():
            if ticks.are_due():
                self.health.late += ticks.advance()
                self._collect()
            waiting = self._buffer.first()
            if waiting and self._retry.is_due():
                self._send(waiting, self._timeout)
            retry = self._retry.wait() if self._buffer.first() else ticks.wait()
            stopping.wait(min(ticks.wait(), retry))

    def _end(self) -> None:
        self._collect()
        while (batch := self._buffer.first()) and (left := self._deadline - time.monotonic()) > 0:
            if not self._send(batch, min(self._timeout, left)):
                break
        self._drop("stopped", self._buffer.clear())
        self.health.buffered = 0

    def _collect(self) -> None:
        try:
            families = families_of(self._registry, self._timeout)
            batch = self._destination.batch(families, time.time())
        except Exception as error:  # ours; the next time may be better
            failures.report("bridge.collect", error)
            return
        if batch.samples:
            self._drop("buffer_full", self._buffer.append(batch))
            self.health.buffered = self._buffer.samples
        self._tell_collisions()

    def _send(self, batch: Batch, timeout: float) -> bool:
        self.health.last_attempt = time.monotonic()
        try:
            self._destination.send(batch, timeout)
        except Exception as error:  # OSError; a library may have more
            self._failed(error)
            return False
        self._buffer.pop()
        self.health.buffered = self._buffer.samples
        self.health.connected = True
        self.health.last_success = time.time()
        self.health.sent += batch.samples
        self._retry.reset()
        return True

    def _failed(self, error: Exception) -> None:
        if self.health.connected or not self.health.failures:
            log.warning("%s cannot be reached, trying again: %s", self.health.to, error)
        self.health.connected = False
        self.health.failures[type(error).__name__] += 1
        self._retry.put_off()

    def _drop(self, reason: str, samples: int) -> None:
        if not samples:
            return
        if reason not in self.health.dropped:
            log.warning("%s: samples are lost (%s)", self.health.to, reason)
        self.health.dropped[reason] += samples

    def _tell_collisions(self) -> None:
        before, self.health.collisions = self.health.collisions, self._destination.collisions
        if self.health.collisions > before:
            log.warning(
                "%s: %d series would have another one's name, and got a longer one",
                self.health.to,
                self.health.collisions,
            )


def _leads(to: object) -> bool:
    return isinstance(to, str | Destination)


def _is_jitter(value: Any) -> bool:
    return is_number(value) and 0 <= value < 1


def _is_prefix(value: object) -> bool:
    # Graphite would drop every line, and nobody would hear of it: there are no acknowledgements.
    return isinstance(value, str) and NO_PREFIX.search(value) is None


CHECKS = rules(
    {
        "to": (_leads, "a URL, or a Destination"),
        "interval": SECONDS,
        "jitter": (_is_jitter, "a part of the interval, from 0 to less than 1"),
        "timeout": SECONDS,
        "buffer": (whole(0), "a number of samples"),
        "tags": (is_switch, "True or False"),
        "prefix": (_is_prefix, "a string without white space and semicolons"),
    }
)


class Ticks:
    """The times of collections: an interval apart, each of them a little late at random.

    Those that have passed while something else was done are left out.
    """

    def __init__(self, interval: float, jitter: float) -> None:
        self._interval = interval
        self._jitter = jitter
        self._next = time.monotonic()
        self._due = self._later()

    def are_due(self) -> bool:
        """Tell whether the next time has come."""
        return time.monotonic() >= self._due

    def wait(self) -> float:
        """Return the seconds until then."""
        return max(0.0, self._due - time.monotonic())

    def advance(self) -> int:
        """Go on to the next time; return how many had passed as well."""
        missed = int((time.monotonic() - self._next) / self._interval)
        self._next += (missed + 1) * self._interval
        self._due = self._later()
        return missed

    def _later(self) -> float:
        return self._next + self._interval * self._jitter * _random.random()


class Retry:
    """When to try again after failures: each time twice as long later, at random below that."""

    def __init__(self) -> None:
        self._pause = FIRST_RETRY
        self._due = 0.0

    def is_due(self) -> bool:
        """Tell whether an attempt may be made."""
        return time.monotonic() >= self._due

    def wait(self) -> float:
        """Return the seconds until then."""
        return max(0.0, self._due - time.monotonic())

    def put_off(self) -> None:
        """Wait longer after one more failure."""
        self._due = time.monotonic() + self._pause * (0.5 + _random.random() / 2)
        self._pause = min(LAST_RETRY, self._pause * 2)

    def reset(self) -> None:
        """Begin with the shortest time again."""
        self._pause = FIRST_RETRY
        self._due = 0.0
