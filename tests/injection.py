"""Find the package's functions that run during a call, and make one of them raise.

Two ways, because each sees what the other cannot. `raising_once` raises as the function is entered,
in whatever frame and under whatever name it was called, closures included: by `sys.monitoring`,
which costs nothing elsewhere, or before Python 3.12 from a profile function.
`raising_always` swaps the code of the function object, so that every reference to it is reached:
attributes, names it was imported under, bound methods that somebody kept.
"""

from __future__ import annotations

import inspect
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache, lru_cache
from pathlib import Path
from types import CodeType, FrameType, FunctionType, ModuleType
from typing import Any, ClassVar, TypeGuard

import prom_middleware
from garbage import no_collection

PACKAGE = Path(prom_middleware.__file__).parent
OURS = str(PACKAGE)


class InjectedError(Exception):
    """What the functions under test raise; nothing else does."""

    raised: ClassVar[list[object]] = []

    def __init__(self, *arguments: object) -> None:
        super().__init__(*arguments)
        self.raised.append(self)


Stack = tuple[CodeType, ...]


def functions_of(call: Callable[[], object]) -> dict[str, list[Stack]]:
    """Return the package's functions that run during `call`, each with the ways it was reached.

    A way is the code of the package's frames, the function's own first. The first one comes first.
    """
    # By identity: codes are compared by their contents, which takes longer than to run them.
    ways: dict[tuple[int, ...], Stack] = {}

    def note(frame: FrameType) -> None:
        if frame.f_code.co_name != "<module>":
            way = tuple(_stack(frame))
            ways.setdefault(tuple(map(id, way)), way)

    with _starting(note):
        call()
    seen: dict[str, list[Stack]] = {}
    for way in ways.values():
        seen.setdefault(name_of(way[0]), []).append(way)
    return seen


def is_ours(code: CodeType) -> bool:
    """Tell whether `code` is the package's."""
    return code.co_filename.startswith(OURS)


def _stack(frame: FrameType | None) -> Iterator[CodeType]:
    while frame is not None:
        if is_ours(frame.f_code):
            yield frame.f_code
        frame = frame.f_back


@contextmanager
def raising_once(code: CodeType) -> Iterator[list[object]]:
    """Have the first call of `code` raise; the list that is given says whether there was one."""
    fired: list[object] = []

    def inject() -> None:
        if not fired:
            fired.append(code)
            raise InjectedError(name_of(code))

    with _entering(code, inject):
        yield fired
    InjectedError.raised.clear()  # their tracebacks hold what they went through


if sys.version_info >= (3, 12):

    @contextmanager
    def _entering(code: CodeType, call: Callable[[], None]) -> Iterator[None]:
        monitoring, ours = sys.monitoring, 4  # 0 to 2 and 5 are those of debuggers and the like
        start = monitoring.events.PY_START
        monitoring.use_tool_id(ours, "injection")
        monitoring.register_callback(ours, start, lambda *_: call())
        monitoring.set_local_events(ours, code, start)
        try:
            with no_collection():
                yield
        finally:
            monitoring.set_local_events(ours, code, 0)
            monitoring.free_tool_id(ours)

    @contextmanager
    def _starting(note: Callable[[FrameType], None]) -> Iterator[None]:
        monitoring, ours = sys.monitoring, 4
        start = monitoring.events.PY_START

        def started(code: CodeType, _: int) -> object:
            return note(sys._getframe(1)) if is_ours(code) else monitoring.DISABLE

        monitoring.use_tool_id(ours, "injection")
        monitoring.register_callback(ours, start, started)
        monitoring.set_events(ours, start)
        try:
            with no_collection():
                yield
        finally:
            monitoring.set_events(ours, 0)
            monitoring.free_tool_id(ours)

else:

    @contextmanager
    def _entering(code: CodeType, call: Callable[[], None]) -> Iterator[None]:
        def profile(frame: FrameType, event: str, _: object) -> None:
            if frame.f_code is code and event == "call":
                call()

        with profiling(profile):
            yield

    @contextmanager
    def _starting(note: Callable[[FrameType], None]) -> Iterator[None]:
        def profile(frame: FrameType, event: str, _: object) -> None:
            if event == "call" and is_ours(frame.f_code):
                note(frame)

        with profiling(profile):
            yield


@contextmanager
def raising_always(code: CodeType) -> Iterator[list[object]]:
    """Have every call of `code` raise; the list that is given says whether there was one."""
    functions = _function_objects(len(sys.modules)).get(code, [])
    raiser = _raiser(code)
    try:
        for function in functions:
            function.__code__ = raiser
        InjectedError.raised.clear()
        yield InjectedError.raised
    finally:
        for function in functions:
            function.__code__ = code


@contextmanager
def profiling(profile: Callable[[FrameType, str, object], None]) -> Iterator[None]:
    """Have `profile` told of all calls, in new threads, too.

    Garbage waits meanwhile: what an earlier call left must not end in the midst of this one.
    """
    threading.setprofile(profile)
    sys.setprofile(profile)
    try:
        with no_collection():
            yield
    finally:
        sys.setprofile(None)
        threading.setprofile(None)  # type: ignore[arg-type]


def name_of(code: CodeType) -> str:
    """Return the module and qualified name of `code`, without the package's name."""
    path = Path(code.co_filename)
    module = ".".join(path.relative_to(PACKAGE).with_suffix("").parts).removesuffix(".__init__")
    return f"{module}.{_qualified_names(path)[code.co_firstlineno, code.co_name]}"


@cache
def _qualified_names(path: Path) -> dict[tuple[int, str], str]:
    # Code objects know their qualified names from Python 3.11 on.
    names: dict[tuple[int, str], str] = {}

    def walk(code: CodeType, prefix: str) -> None:
        for inner in code.co_consts:
            if isinstance(inner, CodeType):
                names[inner.co_firstlineno, inner.co_name] = name = prefix + inner.co_name
                walk(inner, f"{name}.")

    walk(compile(path.read_text(encoding="utf-8"), str(path), "exec"), "")
    return names


@lru_cache(maxsize=1)
def _function_objects(_: int) -> dict[CodeType, list[FunctionType]]:
    found: dict[CodeType, list[FunctionType]] = {}
    for name, module in list(sys.modules.items()):
        if name == "prom_middleware" or name.startswith("prom_middleware."):
            for function in _functions_in(module):
                known = found.setdefault(function.__code__, [])
                if not any(function is one for one in known):
                    known.append(function)
    return found


def _functions_in(owner: ModuleType | type) -> Iterator[FunctionType]:
    for value in list(vars(owner).values()):
        plain: Any = inspect.unwrap(value) if callable(value) else value
        plain = plain.fget if isinstance(plain, property) else getattr(plain, "__func__", plain)
        if isinstance(plain, FunctionType):
            yield plain
        elif value is not owner and _is_our_class(value):
            yield from _functions_in(value)


def _is_our_class(value: object) -> TypeGuard[type]:
    return isinstance(value, type) and value.__module__.startswith("prom_middleware")


def _raiser(code: CodeType) -> CodeType:
    """Return code that raises and can stand in the place of `code`: same kind, same free names."""
    flags = code.co_flags
    asynchronous = flags & (inspect.CO_COROUTINE | inspect.CO_ASYNC_GENERATOR)
    generator = flags & (inspect.CO_GENERATOR | inspect.CO_ASYNC_GENERATOR)
    free = code.co_freevars
    source = (
        f"def outer():\n"
        f"    {''.join(f'{name} = ' for name in free)}unused = None\n"
        f"    {'async ' if asynchronous else ''}def {_identifier(code)}(*_, **__):\n"
        f"        raise 'placeholder'\n"
        f"        {'yield' if generator else 'pass'}\n"
        f"        ({', '.join((*free, '_'))})\n"
    )
    outer = next(c for c in compile(source, "<raiser>", "exec").co_consts if _is_code(c))
    raiser = next(c for c in outer.co_consts if _is_code(c))
    # The globals stay those of the function, so the class comes in as a constant.
    constants = tuple(InjectedError if c == "placeholder" else c for c in raiser.co_consts)
    return raiser.replace(co_consts=constants)


def _identifier(code: CodeType) -> str:
    return code.co_name if code.co_name.isidentifier() else "nameless"


def _is_code(value: object) -> bool:
    return isinstance(value, CodeType)
