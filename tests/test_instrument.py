"""`instrument` given callables of every shape, and what is no application."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Iterable, Iterator
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from asgi import driver as asgi_driver
from metrics import records
from naming import without_address
from prom_middleware import asgi, instrument, wsgi
from prom_middleware.errors import NotAnApplicationError
from wsgi_door import driver as wsgi_driver

NO_ROUTE = ("GET", "<unmatched>", 200, "", "complete")


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


# --- ASGI callables of every shape


async def asgi_function(scope: Any, receive: Any, send: Any) -> None:
    await asgi_driver.ok(scope, receive, send)


def asgi_plain_function(scope: Any, receive: Any, send: Any) -> Any:
    """Return the coroutine instead of being one."""
    return asgi_driver.ok(scope, receive, send)


class ASGIInstance:
    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await asgi_driver.ok(scope, receive, send)

    async def method(self, scope: Any, receive: Any, send: Any) -> None:
        await asgi_driver.ok(scope, receive, send)

    @staticmethod
    async def static(scope: Any, receive: Any, send: Any) -> None:
        await asgi_driver.ok(scope, receive, send)


class ASGISlots(ASGIInstance):
    """An instance of a class that inherits its `__call__`, and has no dictionary."""

    __slots__ = ()


class ASGIPlainInstance:
    def __call__(self, scope: Any, receive: Any, send: Any) -> Any:
        return asgi_driver.ok(scope, receive, send)


class ASGICallInASlot:
    """As Sentry's middleware: each instance chooses the method that a call of it runs."""

    __slots__ = ("__call__",)

    def __init__(self) -> None:
        self.__call__ = self.run

    async def run(self, scope: Any, receive: Any, send: Any) -> None:
        await asgi_driver.ok(scope, receive, send)


class ASGIPlainCallInASlot(ASGICallInASlot):
    __slots__ = ()

    def __init__(self) -> None:
        self.__call__ = lambda scope, receive, send: self.run(scope, receive, send)


class ASGICallIsAnInstance:
    __call__ = ASGIInstance()


class ASGIProxy:
    """Only what is wrapped knows the arguments."""

    def __init__(self, wrapped: Any) -> None:
        self.__wrapped__ = wrapped

    def __call__(self, *arguments: Any, **keywords: Any) -> Any:
        return self.__wrapped__(*arguments, **keywords)


class ASGIConsumer:
    """As Channels' consumers: the application claims to be the class that it makes."""

    def __init__(self, *arguments: Any, **keywords: Any) -> None:
        pass

    @classmethod
    def as_asgi(cls, **settings: Any) -> Any:
        async def app(scope: Any, receive: Any, send: Any) -> None:
            cls(**settings)
            await asgi_driver.ok(scope, receive, send)

        return functools.update_wrapper(app, cls, updated=())

    @classmethod
    def as_plain_asgi(cls) -> Any:
        def app(scope: Any, receive: Any, send: Any) -> Any:
            return asgi_driver.ok(scope, receive, send)

        return functools.update_wrapper(app, cls, updated=())


def wrapped(app: Any) -> Any:
    @functools.wraps(app)
    async def decorated(*arguments: Any) -> None:
        await app(*arguments)

    return decorated


def wrapped_plainly(app: Any) -> Any:
    @functools.wraps(app)
    def decorated(*arguments: Any, **keywords: Any) -> Any:
        return app(*arguments, **keywords)

    return decorated


def asgi_annotated(scope: Any, receive: Any, send: Any) -> Any:
    return asgi_driver.ok(scope, receive, send)


def annotate(form: int) -> dict[str, Any]:
    """Be what Python 3.14 makes of annotations that name what was imported for type checkers.

    Before 3.14 it is nobody's business.
    """
    if form > 2:
        raise NotImplementedError
    return {"scope": Scope}  # type: ignore[name-defined] # noqa: F821


asgi_annotated.__annotate__ = annotate  # type: ignore[attr-defined]


# Python 3.14 evaluates this annotation, and cannot write it as text.
ODD: dict[str, Any] = {"known": {"a": 1}, "ok": asgi_driver.ok}
exec(
    compile(
        "def app(scope: {k: v for k, v in known.items()}, receive, send):\n"
        "    return ok(scope, receive, send)",
        "odd",
        "exec",
        dont_inherit=True,
    ),
    ODD,
)


async def asgi_with_settings(settings: Any, scope: Any, receive: Any, send: Any) -> None:
    await asgi_driver.ok(scope, receive, send)


ASGI = {
    "function": asgi_function,
    "plain function": asgi_plain_function,
    "annotated function": asgi_annotated,
    "oddly annotated function": ODD["app"],
    "instance": ASGIInstance(),
    "instance of a subclass": ASGISlots(),
    "plain instance": ASGIPlainInstance(),
    "bound method": ASGIInstance().method,
    "static method": ASGIInstance.static,
    "partial": functools.partial(asgi_with_settings, {}),
    "partial of a partial": functools.partial(functools.partial(asgi_with_settings), {}),
    "partial of an instance": functools.partial(ASGIInstance()),
    "partial of a plain function": functools.partial(asgi_plain_function),
    "decorated": wrapped(asgi_function),
    "decorated plainly": wrapped_plainly(asgi_function),
    "decorated instance": wrapped(ASGIInstance()),
    "call in a slot": ASGICallInASlot(),
    "plain call in a slot": ASGIPlainCallInASlot(),
    "partial of a call in a slot": functools.partial(ASGICallInASlot()),
    "call is an instance": ASGICallIsAnInstance(),
    "proxy of an instance": ASGIProxy(ASGIInstance()),
    "proxy of a plain instance": ASGIProxy(ASGIPlainInstance()),
    "consumer": ASGIConsumer.as_asgi(),
    "plain consumer": ASGIConsumer.as_plain_asgi(),
    "lambda": lambda scope, receive, send: asgi_driver.ok(scope, receive, send),
    "the door": asgi.PrometheusMiddleware(asgi_function, registry=CollectorRegistry()),
}


@pytest.mark.parametrize("kind", ASGI)
def test_asgi(kind: str, registry: CollectorRegistry) -> None:
    app = instrument(ASGI[kind], registry=registry)
    assert isinstance(app, asgi.PrometheusMiddleware)
    assert asgi_driver.request(app).body == b"ok"
    assert records(registry) == [NO_ROUTE]


@pytest.mark.parametrize("kind", ["function", "instance", "plain instance"])
def test_asgi_in_a_wrapper_of_c(kind: str, registry: CollectorRegistry) -> None:
    """As New Relic wraps applications: the wrapper has no signature of its own."""
    wrapt = pytest.importorskip("wrapt", reason="wrapt is not installed")
    passing = wrapt.FunctionWrapper(ASGI[kind], lambda app, _, given, named: app(*given, **named))
    app = instrument(passing, registry=registry)
    assert asgi_driver.request(app).body == b"ok"
    assert records(registry) == [NO_ROUTE]


# --- WSGI callables of every shape


def wsgi_function(environ: Any, start_response: Any) -> Iterable[bytes]:
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"ok"]


def wsgi_generator(environ: Any, start_response: Any) -> Iterable[bytes]:
    start_response("200 OK", [("Content-Type", "text/plain")])
    yield b"ok"


class WSGIInstance:
    def __call__(self, environ: Any, start_response: Any) -> Iterable[bytes]:
        return wsgi_function(environ, start_response)

    def method(self, environ: Any, start_response: Any) -> Iterable[bytes]:
        return wsgi_function(environ, start_response)


class WSGIGenerator:
    def __call__(self, environ: Any, start_response: Any) -> Iterable[bytes]:
        yield from wsgi_function(environ, start_response)


class WSGICallInASlot:
    __slots__ = ("__call__",)

    def __init__(self) -> None:
        self.__call__ = wsgi_function


class WSGIClass:
    """PEP 3333's second example: calling the class gives the body."""

    def __init__(self, environ: Any, start_response: Any) -> None:
        self.environ, self.start = environ, start_response

    def __iter__(self) -> Iterator[bytes]:
        yield from wsgi_function(self.environ, self.start)


class WSGISubclass(WSGIClass):
    pass


def wsgi_with_settings(settings: Any, environ: Any, start_response: Any) -> Iterable[bytes]:
    return wsgi_function(environ, start_response)


@functools.wraps(wsgi_with_settings)
def wsgi_with_settings_given(environ: Any, start_response: Any) -> Iterable[bytes]:
    return wsgi_function(environ, start_response)


def wsgi_shown_as_another(environ: Any, start_response: Any) -> Iterable[bytes]:
    return wsgi_function(environ, start_response)


vars(wsgi_shown_as_another)["__signature__"] = inspect.signature(lambda request: None)


def wsgi_with_default(environ: Any, start_response: Any, more: Any = None) -> Iterable[bytes]:
    return wsgi_function(environ, start_response)


WSGI = {
    "function": wsgi_function,
    "generator": wsgi_generator,
    "instance": WSGIInstance(),
    "generator instance": WSGIGenerator(),
    "class": WSGIClass,
    "class that inherits": WSGISubclass,
    "bound method": WSGIInstance().method,
    "partial": functools.partial(wsgi_with_settings, {}),
    "partial with a keyword": functools.partial(wsgi_with_default, more=3),
    "partial of an instance": functools.partial(WSGIInstance()),
    "call in a slot": WSGICallInASlot(),
    "decorated with less": wsgi_with_settings_given,
    "optional third argument": wsgi_with_default,
    "shown with another's arguments": wsgi_shown_as_another,
    "decorated": wrapped_plainly(wsgi_function),
    "any arguments": lambda *arguments: wsgi_function(*arguments),
    "the door": wsgi.PrometheusMiddleware(wsgi_function, registry=CollectorRegistry()),
}


@pytest.mark.parametrize("kind", WSGI)
def test_wsgi(kind: str, registry: CollectorRegistry) -> None:
    app = instrument(WSGI[kind], registry=registry)
    assert isinstance(app, wsgi.PrometheusMiddleware)
    assert wsgi_driver.call(app, wsgi_driver.environ()).body == b"ok"
    assert records(registry) == [NO_ROUTE]


# --- what is no application


class NotCallable:
    pass


class Module:
    app = asgi_function


class Pair:
    """It takes two arguments, and is no body."""

    def __init__(self, environ: Any, start_response: Any) -> None:
        self.pair = environ, start_response


class Listing:
    """It can be iterated, but is not made of two arguments."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __iter__(self) -> Iterator[bytes]:
        yield self.path.encode()


@pytest.mark.parametrize(
    "thing",
    [
        *(None, 3, 1.5, "main:app", b"app", (), {}, NotCallable(), dict, list, zip),
        *(Module, ASGIInstance, WSGIInstance, Pair, Listing),
        # As aiohttp's and Tornado's applications.
        *(lambda request: [], functools.partial(lambda environ, start: [], {})),
    ],
    ids=without_address,
)
def test_no_application(thing: object, registry: CollectorRegistry) -> None:
    with pytest.raises(NotAnApplicationError) as caught:
        instrument(thing, registry=registry)
    assert repr(thing) in str(caught.value)
    assert "application" in str(caught.value)
    assert not registry._collector_to_names  # nothing was set up before it was refused


def test_a_class_of_a_framework_is_no_application(registry: CollectorRegistry) -> None:
    starlette = pytest.importorskip("starlette.applications", reason="Starlette is not installed")
    with pytest.raises(NotAnApplicationError, match="Starlette"):
        instrument(starlette.Starlette, registry=registry)


# --- twice


@pytest.mark.parametrize("kind", ["function", "instance", "partial", "decorated"])
def test_asgi_twice_is_counted_once(kind: str, registry: CollectorRegistry) -> None:
    app = instrument(instrument(ASGI[kind], registry=registry), registry=registry)
    asgi_driver.request(app)
    assert records(registry) == [NO_ROUTE]


@pytest.mark.parametrize("kind", ["function", "instance", "partial", "generator"])
def test_wsgi_twice_is_counted_once(kind: str, registry: CollectorRegistry) -> None:
    app = instrument(instrument(WSGI[kind], registry=registry), registry=registry)
    wsgi_driver.call(app, wsgi_driver.environ())
    assert records(registry) == [NO_ROUTE]
