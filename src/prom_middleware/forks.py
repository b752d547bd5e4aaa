"""What is done in every child process that is forked, and what Linux says of a process."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any, Protocol, TypeVar
from weakref import WeakKeyDictionary, WeakSet

Renew = TypeVar("Renew", bound=Callable[[], object])
Owner = TypeVar("Owner")


class Closing(Protocol):
    """What can be closed."""

    def close(self) -> object:
        """Close it."""


# The place in `stat_fields` of when a process began, in ticks since the system was started.
BEGAN = 19
_REPLACED = ("spooler", "mule_msg_hook")  # what else the import of `uwsgidecorators` sets
_pid = os.getpid()
_in_children: list[Callable[[], object]] = []
_closing: WeakSet[Closing] = WeakSet()
_renewed: WeakKeyDictionary[Any, Callable[[Any], object]] = WeakKeyDictionary()


def in_child(renew: Renew) -> Renew:
    """Have `renew` called in each child that is forked, and return it: a decorator.

    A lock is made anew there, for a thread that is not in the child may have held it. Where there
    is no fork, as on Windows, nobody calls it.
    """
    _in_children.append(renew)
    return renew


def close_in_child(one: Closing) -> None:
    """Have `one` closed in each child that is forked, for as long as somebody uses it.

    What listens for a thread of the parent listens for nobody in a child that outlives it: who
    comes in the parent's place could not have the port, and peers would wait for ever.
    """
    _closing.add(one)


def renew_in_child(owner: Owner, renew: Callable[[Owner], object]) -> None:
    """Have `renew(owner)` called in each child that is forked, for as long as somebody uses it.

    See `in_child`, which comes first: `renew` may take a lock. It must not hold the owner.
    """
    _renewed[owner] = renew


def stat_fields(pid: int | str, root: str = "/proc") -> list[bytes]:
    """Return what Linux says of a process in proc(5)'s `stat`, from the state (field 3) on.

    Raises OSError where there is no such process, or no /proc.
    """
    with open(os.path.join(root, str(pid), "stat"), "rb") as file:
        # The name, in parentheses, may have anything in it.
        return file.read().rpartition(b")")[2].split()


def _forked() -> None:
    global _pid
    _pid = os.getpid()
    for renew in _in_children:
        with suppress(Exception):  # the others are to be renewed all the same
            renew()
    for owner, renew_it in list(_renewed.items()):
        with suppress(Exception):
            renew_it(owner)
    for one in list(_closing):
        with suppress(OSError):
            one.close()


def _forked_by_uwsgi() -> None:
    # Else Python's hooks were called as well, or this was imported after the fork.
    if _pid != os.getpid():
        _forked()


def _watch(uwsgi: Any) -> None:
    """Have the same done where uWSGI forks, which calls one hook of its own instead of Python's."""
    hook = getattr(uwsgi, "post_fork_hook", None)
    others = {name: getattr(uwsgi, name) for name in _REPLACED if hasattr(uwsgi, name)}
    with suppress(Exception):  # it is not there, or refuses to work without a master
        # Comes with uWSGI. Imported later, by the application, it would replace our hook, as now it
        # replaces what the application has set.
        import uwsgidecorators  # noqa: F401
    chain = getattr(uwsgi, "post_fork_hook", None)
    theirs = [one for one in dict.fromkeys((hook, chain)) if one is not None]
    # First: before what the application begins there.
    uwsgi.post_fork_hook = partial(_in_turn, [_forked_by_uwsgi, *theirs])
    for name, other in others.items():
        setattr(uwsgi, name, other)


def _in_turn(hooks: list[Callable[[], object]]) -> None:
    for hook in hooks:
        hook()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)
if sys.modules.get("uwsgi") is not None:
    with suppress(Exception):
        _watch(sys.modules["uwsgi"])
