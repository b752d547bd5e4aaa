"""Options, of whatever takes any: checked once, when it is made, and refused by name and value."""

from __future__ import annotations

import inspect
import os
import sys
from collections.abc import (
    AsyncGenerator,
    Callable,
    Container,
    Generator,
    Iterable,
    Mapping,
)
from functools import partial
from typing import Any

from prom_middleware.errors import NotAnApplicationError, OptionError

# Returns what is made of a value, or raises.
Check = Callable[[Any], Any]
Test = Callable[[Any], bool]


# Digits of a number that somebody may mean: int() refuses thousands of them.
MOST_DIGITS = 18


def is_encodable(value: object) -> bool:
    """Tell whether a value is text that can be written as UTF-8."""
    return isinstance(value, str) and value == value.encode("utf-8", "replace").decode("utf-8")


def checked(options: Mapping[str, Any], checks: Mapping[str, Check]) -> dict[str, Any]:
    """Return what `checks` make of `options`; raise OptionError for one that does not exist.

    Its value is told if it is of numbers: others may be a password.
    """
    for name, value in options.items():
        if name not in checks:
            told = f"{name}={value!r}" if _is_of_numbers(value) else repr(name)
            raise OptionError(f"unknown option {told}{nearest(str(name), checks)}")
    return {name: checks[name](value) for name, value in options.items()}


def _is_of_numbers(value: object) -> bool:
    items = value if isinstance(value, list | tuple) else (value,)
    return all(type(item) in (int, float, bool, type(None)) for item in items)


def rules(table: Mapping[str, tuple[Test, str]], secrets: Container[str] = ()) -> dict[str, Check]:
    """Return the checks of options that are taken as they are: what is right, and its words.

    The values of `secrets` are told nobody.
    """
    return {name: partial(_right, name, *row, name in secrets) for name, row in table.items()}


def _right(name: str, is_right: Test, wanted: str, secret: bool, value: object) -> object:
    if is_right(value):
        return value
    raise OptionError(f"{name}{'' if secret else f'={value!r}'}: give {wanted}")


def nearest(name: str, known: Iterable[str]) -> str:
    """Return the end of a message about a name that is not one of those."""
    import difflib  # only who is about to see an error waits for it

    near = difflib.get_close_matches(name, list(known), n=1)
    if near:
        return f"; did you mean {near[0]!r}?"
    return f"; known: {', '.join(sorted(known))}"


_NOT_PLAIN = (
    inspect.iscoroutinefunction,
    inspect.isgeneratorfunction,
    inspect.isasyncgenfunction,
)


def plain(option: str, value: object) -> None:
    """Raise OptionError for an asynchronous function, or a generator's.

    What it returned would be true, and different each time; nobody would await or iterate it.
    """
    calls = (value, type(value).__call__) if callable(value) else ()
    if any(kind(call) for kind in _NOT_PLAIN for call in calls):
        raise OptionError(f"{option}={value!r}: give a plain function, that returns its answer")


def plain_answer(option: str, answer: object) -> object:
    """Return what a function has answered; raise TypeError where there is more to be done for it.

    `plain` does not know a function that only hands on what an asynchronous one returns.
    """
    if not (inspect.isawaitable(answer) or isinstance(answer, Generator | AsyncGenerator)):
        return answer
    if inspect.iscoroutine(answer):
        answer.close()
    raise TypeError(f"{option}: what the function returns is no answer; give a plain one")


def makes_objects(value: object) -> bool:
    """Tell whether something is a class: what it makes of anything at all is true."""
    return inspect.isclass(value.func if isinstance(value, partial) else value)


def application(value: object, interface: str) -> None:
    """Raise NotAnApplicationError for what cannot be called, as `interface` asks for."""
    if not callable(value):
        raise NotAnApplicationError(f"app={value!r} is not callable: give {interface} application")


def access_rule(value: object) -> Callable[[Any], object] | None:
    """Return a rule of who may scrape, or None; raise OptionError for what is none."""
    plain("access", value)
    if value is None or (callable(value) and not makes_objects(value)):
        return value
    raise OptionError(
        f"access={value!r}: give basic_auth(...), bearer_token(...), allow_networks(...), "
        "a callable, or None"
    )


def collects(value: object) -> bool:
    """Tell whether something is a registry, or is collected as one; a class is to be called."""
    return callable(getattr(value, "collect", None)) and not inspect.isclass(value)


def collector(value: Any) -> Any:
    """Return a registry, or anything that is collected as one; raise OptionError for other things.

    Each scrape would fail otherwise.
    """
    if collects(value):
        return value
    raise OptionError(f"registry={value!r}: give a prometheus_client.CollectorRegistry")


def is_switch(value: object) -> bool:
    """Tell whether something is True or False."""
    return isinstance(value, bool)


def is_text(value: object) -> bool:
    """Tell whether something is a string."""
    return isinstance(value, str)


def is_digits(value: str) -> bool:
    """Tell whether a text is a whole number of 0 or more, of ASCII digits."""
    return value.isascii() and value.isdigit()


def is_path(value: object) -> bool:
    """Tell whether something is the path of a file, or None."""
    return value is None or isinstance(value, str | os.PathLike)


def is_number(value: object) -> bool:
    """Tell whether something is a number; a bool is none."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def whole(least: int) -> Test:
    """Return what tells whether something is a whole number from `least` on."""
    return lambda value: is_number(value) and isinstance(value, int) and value >= least


def between(low: float, high: float) -> Test:
    """Return what tells whether something is a number above `low` and below `high`."""
    return lambda value: is_number(value) and low < value < high


def is_duration(value: object) -> bool:
    """Tell whether something is None or a number of seconds that a float can have."""
    return value is None or between(0, sys.float_info.max)(value)


# A thread or a socket that waits longer may raise.
LONGEST_WAIT = 1e6
# Of what waits again and again.
SECONDS = (between(0, LONGEST_WAIT), "a number of seconds, above 0 and below 1e6")
SECONDS_OR_NONE = (is_duration, "a number of seconds above 0, or None")
