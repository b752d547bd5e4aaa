"""What `module:name` names, of a module that the user wrote."""

# Nothing of prometheus_client before that module: see doctor.py.
from __future__ import annotations

import inspect
import os
import sys
from collections.abc import Callable
from importlib import import_module
from operator import attrgetter
from types import ModuleType
from typing import Any

from prom_middleware.applications import signature_of
from prom_middleware.commands import told

# What servers call applications with, PEP 3333 and ASGI; who has defaults for it is no factory.
SERVED = ({"environ", "start_response"}, {"scope", "receive", "send"})


def load(source: str, default: Callable[[ModuleType], Any]) -> Any:
    """Import what `module:name` names, or what that function makes; of a module alone, `default`.

    The working directory is looked into as well. Raises CommandError for whatever goes wrong.
    """
    name, colon, attribute = source.partition(":")
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    with told(source):
        module = import_module(name)
        found = attrgetter(attribute.removesuffix("()"))(module) if colon else default(module)
        return _made(found) if _is_factory(found) else found


def _made(factory: Callable[[], Any]) -> Any:
    made = factory()
    if inspect.iscoroutine(made):
        made.close()  # Python would complain that nobody awaits it
        raise TypeError("it is asynchronous: name a plain function, or what it makes")
    return made


def _is_factory(found: Any) -> bool:
    """Tell whether something wants no arguments; every application is called with some."""
    if not callable(found) or inspect.isclass(found):
        return False
    try:
        parameters = signature_of(found).parameters
    except Exception:  # of C, or odd in another way: nobody can tell
        return False
    if any(names <= parameters.keys() for names in SERVED):
        return False
    return all(
        one.default is not one.empty or one.kind is one.VAR_KEYWORD for one in parameters.values()
    )
