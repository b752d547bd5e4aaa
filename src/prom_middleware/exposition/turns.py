"""Who makes which scrape when: those that wait for the same registry share one collection.

A scrape that comes while another is being made waits for the next collection, which all that came
meanwhile share: no number is older than the scrape that shows it. (What takes longer than a second
to collect may be: see `runs`; and who wants something else than one that takes longer than that to
write begins beside it.) Whoever waits does the work; one thread at a time, in slices.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from functools import partial
from math import inf
from time import perf_counter
from typing import Any

from prometheus_client.registry import Collector

from prom_middleware import failures
from prom_middleware.exposition.collecting.collection import Collection, Steps
from prom_middleware.exposition.collecting.runs import PATIENCE
from prom_middleware.exposition.federation import FederatedRendering
from prom_middleware.exposition.refusals import Broken, Busy, TimedOut
from prom_middleware.exposition.rendering import Rendering, Wanted
from prom_middleware.forks import in_child

# How long is worked at a time, and how long the interpreter is left to others after that, where an
# event loop waits for it: seconds. What a request waits for, and often twice, is a slice. A gap has
# to be longer than it takes a thread to wake up: a loop that comes too late finds the interpreter
# taken again, and has to wait the 5 ms after which a thread is asked to let go of it.
SLICE = 0.00015
GAP = 0.0002
# Greenlets need no interpreter to be left to them, and a gap takes long where they are busy: there,
# a scrape works for this long between two gaps, or for as long as the last one took.
GREEN = ("gevent.", "eventlet.")
TURN = 0.002
# Nobody wakes the one who works when a time is up.
PATROL = 0.02


class Scrape:
    """One scrape that waits for its body."""

    def __init__(self, registry: Collector, wanted: Wanted, *, strict: bool, gentle: bool) -> None:
        self.registry = registry
        self.wanted = wanted
        self.strict = strict  # nothing rather than less than everything
        self.gentle = gentle  # an event loop waits for the interpreter, or greenlets for us
        self.deadline = perf_counter() + wanted.seconds
        self.body: list[bytes] = []
        self.error: BaseException | None = None
        self.done = False

    def fail(self, error: BaseException) -> None:
        """Answer with an error."""
        if not self.done:
            self.error = error
            self.done = True


class Generation:
    """The scrapes of one registry that share a collection."""

    def __init__(
        self, scrapes: list[Scrape], wake: Callable[[], object], used: float = 0.0
    ) -> None:
        self.registry = scrapes[0].registry
        self.scrapes = scrapes
        self.used = used  # seconds of work; who comes later begins with those of who has least
        self.late = False  # it waits for slow collectors, or has long to write: others begin
        self._late_at = inf
        self.idle = False
        self._rendering = False
        self._wake = wake
        self._steps = self._run()

    @property
    def ended(self) -> bool:
        """Tell whether nobody waits any more."""
        return all(scrape.done for scrape in self.scrapes)

    def holds(self, scrape: Scrape) -> bool:
        """Tell whether a scrape that came later has to wait for this one to end.

        Where it has long to write, for who wants the same alone: they share the next one.
        """
        if scrape.registry is not self.registry or (self.late and self.idle):
            return False
        return not self.late or any(one.wanted.key == scrape.wanted.key for one in self.scrapes)

    def advance(self) -> None:
        """Work for a slice of time; never raises."""
        begun = now = perf_counter()
        try:
            self.idle = False
            while not self.idle and now < begun + SLICE:
                self.idle = bool(next(self._steps))
                now = perf_counter()
            self.used += now - begun
            self.late = self._rendering and (self.idle or now > self._late_at)
        except StopIteration:
            self._fail(Broken("The metrics cannot be shown."))  # those that nobody has answered
        except Exception as error:
            self._fail(error)

    def expire(self, now: float) -> None:
        """Answer those whose time is up."""
        for scrape in self.scrapes:
            if now >= scrape.deadline:
                scrape.fail(TimedOut(scrape.wanted.seconds))
        if self.ended:
            self._steps.close()

    def _fail(self, error: BaseException) -> None:
        for scrape in self.scrapes:
            scrape.fail(error)

    def _run(self) -> Steps:
        selections = [scrape.wanted.selection for scrape in self.scrapes]

        def wants(names: Any) -> bool:
            return any(selection.may_want(names) for selection in selections)

        collection = Collection(self.registry, wants, self._wake)
        try:
            yield from self._answer(collection)
        finally:  # also where time is up, or a signal's handler has raised
            try:
                collection.leave()
            except Exception as error:  # everybody has been answered by now
                failures.report("collect", error)

    def _answer(self, collection: Collection) -> Steps:
        yield from collection.steps(max(scrape.wanted.seconds for scrape in self.scrapes))
        self._rendering = True
        self._late_at = perf_counter() + PATIENCE
        groups: dict[Any, list[Scrape]] = {}
        for scrape in self.scrapes:
            groups.setdefault(scrape.wanted.key, []).append(scrape)
        yield from _in_turns([self._render(group, collection) for group in groups.values()])

    def _render(self, scrapes: list[Scrape], collection: Collection) -> Steps:
        wanted = scrapes[0].wanted
        # A little is left for what comes after the last family.
        deadline = min(scrape.deadline for scrape in scrapes) - wanted.seconds / 20
        make = Rendering if wanted.external_labels is None else FederatedRendering
        rendering = make(wanted, collection, deadline)
        try:
            yield from rendering.steps()
        except Exception as error:
            for scrape in scrapes:
                scrape.fail(error)
            return
        collection.count_missing()
        for scrape in scrapes:
            _answer(scrape, rendering, collection)


def _answer(scrape: Scrape, rendering: Rendering, collection: Collection) -> None:
    errors = [*collection.errors, *collection.missing()]
    if errors and scrape.strict:
        words = "\n".join(errors)
        scrape.fail(Broken(f"An error has occurred while serving metrics:\n\n{words}"))
    elif errors and not rendering.kept and scrape.wanted.selection.everything:
        scrape.fail(Broken("The metrics cannot be shown; the application's log says why."))
    elif not scrape.done:
        scrape.body = rendering.parts
        scrape.done = True


def _in_turns(jobs: list[Steps]) -> Steps:
    """Go through several in turns; idle when all of them are."""
    while jobs:
        idle = True
        for job in list(jobs):
            try:
                idle = bool(next(job)) and idle
            except StopIteration:
                jobs.remove(job)
                idle = False
        yield idle


def is_green() -> bool:
    """Tell whether threads are greenlets here, of gevent's or eventlet's.

    Where who sleeps gives way to others, and who waits for them does not, it waits for ever.
    """
    both = (time.sleep, threading.get_ident)
    return all(str(getattr(one, "__module__", None)).startswith(GREEN) for one in both)


class Desk:
    """Where the scrapes of this process wait."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._waiting: list[Scrape] = []
        self._generations: list[Generation] = []
        self._fresh = False  # somebody came, or something ended, that nobody has looked at
        self._driven = False
        self._rested, self._turn = 0.0, TURN
        self._places: dict[int, set[object]] = {}

    def enter(self, registry: Collector, limit: int) -> Callable[[], None]:
        """Take a place among the scrapes of `registry`; return what gives it back.

        Raises Busy where `limit` of them are under way; 0 is no limit.
        """
        with self._changed:
            if id(registry) not in self._places:
                self._places = {key: places for key, places in self._places.items() if places}
            places = self._places.setdefault(id(registry), set())
            if limit and len(places) >= limit:
                raise Busy(limit)
            place = object()
            places.add(place)
        return partial(places.discard, place)

    def make(self, scrape: Scrape) -> None:
        """Return when `scrape` is done; never raises."""
        with self._changed:
            self._waiting.append(scrape)
            self._fresh = True
            self._changed.notify_all()
        try:
            while not scrape.done:
                if self._take_over(scrape):
                    try:
                        self._work(scrape)
                    except Exception as error:
                        failures.report("scrape", error)
                        scrape.fail(error)
                    finally:
                        self._driven = False
                        with self._changed:
                            self._changed.notify_all()
        finally:
            scrape.done = True  # also where a greenlet is ended meanwhile: nobody waits for it then
            self._forget(scrape)

    def _take_over(self, scrape: Scrape) -> bool:
        """Become the one that works, or wait a while for whoever is."""
        with self._changed:
            if not self._driven:
                self._driven = True
                return True
            self._changed.wait(PATROL)
        if perf_counter() > scrape.deadline:
            scrape.fail(TimedOut(scrape.wanted.seconds))
        return False

    def _work(self, own: Scrape) -> None:
        while not own.done:
            self._begin()
            self._advance()
            ended = [each for each in self._generations if each.ended]
            for generation in ended:
                self._generations.remove(generation)
            if ended:
                self._wake()
            self._pause()

    def _advance(self) -> None:
        """Have whoever worked least work for a slice, and the idle ones look for work.

        By their time and not in turns: what one selects may have steps that take very long.
        """
        busy = [generation for generation in self._generations if not generation.idle]
        first = min(busy, key=lambda generation: generation.used, default=None)
        for generation in self._generations:
            if generation.idle and first is not None:  # to wait saves nothing for later
                generation.used = max(generation.used, first.used)
            if generation.idle or generation is first:
                generation.advance()
            generation.expire(perf_counter())

    def _begin(self) -> None:
        """Make a generation of those that wait for a registry that is not being collected."""
        with self._changed:
            waiting, self._waiting, self._fresh = self._waiting, [], False
            groups: dict[int, list[Scrape]] = {}
            for scrape in waiting:
                if scrape.done:
                    continue
                if any(generation.holds(scrape) for generation in self._generations):
                    self._waiting.append(scrape)
                else:
                    groups.setdefault(id(scrape.registry), []).append(scrape)
        used = min((one.used for one in self._generations if not one.idle), default=0.0)
        self._generations += [Generation(group, self._wake, used) for group in groups.values()]

    def _pause(self) -> None:
        """Let others have the interpreter, for longer where there is nothing to do."""
        generations = self._generations
        if all(generation.idle for generation in generations):
            with self._changed:
                if not self._fresh:
                    self._changed.wait(PATROL)
        elif any(scrape.gentle for generation in generations for scrape in generation.scrapes):
            self._rest()

    def _rest(self) -> None:
        now = perf_counter()
        if not is_green() or now - self._rested > self._turn:
            time.sleep(GAP)
            self._rested = perf_counter()
            self._turn = max(TURN, self._rested - now)

    def _wake(self) -> None:
        with self._changed:
            self._fresh = True
            self._changed.notify_all()

    def _forget(self, scrape: Scrape) -> None:
        with self._changed:
            if scrape in self._waiting:
                self._waiting.remove(scrape)


desk = Desk()


@in_child
def _in_child() -> None:
    global desk
    desk = Desk()  # a thread that is not in the child may have held the other
