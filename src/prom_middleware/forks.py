"""What is done in every child process that is forked."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TypeVar

Renew = TypeVar("Renew", bound=Callable[[], object])


def in_child(renew: Renew) -> Renew:
    """Have `renew` called in each child that is forked, and return it: a decorator.

    A lock is made anew there, for a thread that is not in the child may have held it. Where there
    is no fork, as on Windows, nobody calls it.
    """
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=renew)
    return renew
