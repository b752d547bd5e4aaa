"""Paths that are not recorded."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any

from prom_middleware import failures
from prom_middleware.options import plain_answer

Test = Callable[[str], object]


def excluder(exclusions: Iterable[Any]) -> Callable[[str], bool]:
    """Return a function that tells whether a path is excluded.

    A string must equal the path, a pattern must be found in it (`re.search`), a callable must
    return something true for it; one that raises does not exclude it.
    """
    exact = frozenset(item for item in exclusions if isinstance(item, str))
    searches = [item.search for item in exclusions if isinstance(item, re.Pattern)]
    tests: list[Test] = searches + [_guarded(item) for item in exclusions if callable(item)]
    return lambda path: path in exact or any(test(path) for test in tests)


def _guarded(test: Test) -> Test:
    def excludes(path: str) -> bool:
        try:
            answer = test(path)
            return answer if isinstance(answer, bool) else bool(plain_answer("exclude", answer))
        except failures.ENDING:
            raise
        except BaseException as error:
            failures.report("exclude", error)
            return False

    return excludes
