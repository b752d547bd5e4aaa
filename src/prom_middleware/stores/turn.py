"""Whose turn it is to write: exact updates from any number of threads, without ever waiting.

Part of the hot path: the rules of `instrumentation/observation.py` hold here as well. Whoever takes
the one token may write: `deque.pop` and `deque.append` are atomic, and cost a third of
`Lock.acquire` and `release`. Whoever finds the token taken, by another thread or by the code that a
signal interrupted, leaves the write in `pending`; whoever gives the token back then looks there,
but for `CellTally`, which says who does.

The token is the `append` of the deque that it came from: `give(give)` returns it. So a deque can be
replaced when its token is lost, which takes an exception from a signal handler at the very moment
of taking it, and a holder that comes back late cannot put a second token into the new one. Readers
notice that, and so do writers: there are workers that nobody reads.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from math import inf
from threading import Event, get_ident
from time import monotonic, sleep
from typing import Any, TypeVar
from weakref import WeakSet

from prom_middleware import failures
from prom_middleware.forks import in_child

View = TypeVar("View")

# How often a reader tries to take the token itself, a millisecond apart.
PATIENCE = 20
# Seconds in one piece of waiting: a process that is stopped meanwhile loses no more than that.
PIECE = 0.05
# How many times as long whoever has the token may keep it while he `waits`.
INDULGENCE = 10
# How much may wait: threads that do nothing but record leave more than one of them carries out.
MOST_PENDING = 1000
# And while whoever has the token `waits`: requests are kept with their headers, 5 kB or so each.
MOST_KEPT = 20_000
# Seconds in which nobody waits for him again.
PAUSE = 1.0
# How often a writer has to see, a piece apart, that nobody carries out what waits: then the token
# is lost. More than a reader, for he does not wait meanwhile.
MOST_LOOKS = 60


_turns: WeakSet[Turn] = WeakSet()


@in_child
def _in_child() -> None:
    # With the locks, and not with what is renewed later: that may write.
    for turn in list(_turns):
        turn.forget()  # a thread that is not in the child may have had it


class Turn:
    """The one token of a store, and what waits for it.

    Whoever has the token says in `waits` that he waits himself, for a disk or a lock.
    """

    __slots__ = (
        "__weakref__",
        "_carried",
        "_carrier",
        "_in_vain_until",
        "_look_at",
        "_looks",
        "_seen",
        "pending",
        "tokens",
        "waits",
    )

    def __init__(self) -> None:
        self.waits, self._in_vain_until = False, -inf
        self.pending: deque[tuple[Callable[..., object], tuple[Any, ...]]] = deque()
        self._carrier: int | None = None  # the thread that carries out what others left
        self._carried = self._seen = 0  # how often somebody began with it, now and at the last look
        self._look_at, self._looks = -inf, 0.0
        self._renew()
        _turns.add(self)

    def _renew(self) -> None:
        tokens: deque[Any] = deque()
        tokens.append(tokens.append)
        self.tokens = tokens

    def forget(self) -> None:
        """Begin anew in a process that was forked: what waits here, the parent carries out."""
        self.pending.clear()
        self._carrier, self.waits = None, False
        self._renew()

    def update(self, write: Callable[..., object], *arguments: Any) -> None:
        """Call `write(*arguments)`: now, or as soon as whoever writes is done."""
        self.pending.append((write, arguments))
        self.drain()
        # What is carried out may leave more: to wait for that would be to wait for ourselves, with
        # the token in our hands, once for each of them.
        if len(self.pending) > MOST_PENDING and self._carrier != get_ident():
            self.settle()

    def settle(self) -> None:
        """Wait until nothing is pending, for 20 ms at most; if that is in vain, not each time."""
        if self._is_in_vain():
            return
        for _ in range(PATIENCE):
            if not self.pending:
                return
            sleep(0.001)
            self.drain()
        if self.waits:
            self._in_vain_until = monotonic() + PAUSE

    def _is_in_vain(self) -> bool:
        # Else each request would be late for as long as somebody waits for a lock or a disk.
        return self.waits and len(self.pending) < MOST_KEPT and monotonic() < self._in_vain_until

    def read(self, view: Callable[[], View], timeout: float = 1.0) -> View:
        """Return what `view` sees between two updates.

        A reader may wait, a writer never does. A write takes microseconds: where nobody gave the
        token back for `timeout` seconds, it is lost, and there is a new one.
        """
        for _ in range(PATIENCE):
            try:
                give = self.tokens.pop()
            except IndexError:
                sleep(0.001)
                continue
            try:
                self._carry_out()
                return view()
            finally:
                give(give)
                self.drain()
        return self._read_in_turn(view, timeout)

    def _read_in_turn(self, view: Callable[[], View], timeout: float) -> View:
        # Under so many writers that the token was never free: one of them looks for us.
        seen: list[View] = []
        done = Event()

        def look() -> None:
            try:
                seen.append(view())
            finally:
                done.set()

        self.update(look)
        if not self._comes(done, timeout):
            self._renew()
            self.drain()
        return seen[0] if seen else view()

    def _comes(self, done: Event, timeout: float) -> bool:
        # Two who write at once would lose counts: who is only slow must not be taken for lost.
        while timeout > 0:
            if done.wait(PIECE):
                return True
            timeout -= PIECE / INDULGENCE if self.waits else PIECE
        return False

    def drain(self) -> None:
        """Carry out what others left, unless whoever has the token will."""
        while self.pending:
            try:
                give = self.tokens.pop()
            except IndexError:
                if not self._is_lost():
                    return
                self._renew()
                continue
            try:
                self._carry_out()
            finally:
                give(give)

    def give_way(self, may: Callable[[Callable[..., object]], bool]) -> None:
        """Carry out what others left, amid a write that takes long; the token must be ours.

        In its order, and so up to the first write that may not be carried out there.
        """
        while self.pending and may(self.pending[0][0]):
            self._carry_out_next()

    def _is_lost(self) -> bool:
        """Tell whether nobody has the token: he would carry out what waits, or do so now."""
        now = monotonic()
        if now < self._look_at:
            return False
        self._look_at = now + PIECE
        if self._carrier is not None or self._carried != self._seen:
            self._seen, self._looks = self._carried, 0.0
        self._looks += 1 / INDULGENCE if self.waits else 1
        return self._looks > MOST_LOOKS

    def _carry_out(self) -> None:
        self._carrier = get_ident()
        self._carried += 1
        try:
            while self.pending:
                self._carry_out_next()
        finally:
            self._carrier = None

    def _carry_out_next(self) -> None:
        write, arguments = self.pending.popleft()
        try:
            write(*arguments)
        except Exception as error:
            failures.report("record", error)
