"""`instrument`: find out what kind of application something is, and which door it needs."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Collection
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar, overload

from prom_middleware import failures
from prom_middleware.errors import NotAnApplicationError

if TYPE_CHECKING:
    from typing import Protocol

    from typing_extensions import Unpack

    from prom_middleware.instrumentation import Options

    class Resource(Protocol):
        """What Twisted serves below a Site."""

        def getChildWithDefault(self, path: Any, request: Any) -> Any:  # noqa: N802 - Twisted's name
            """Return what is one segment further down."""

    class Klein(Protocol):
        """A Klein application: it makes a resource of itself."""

        def resource(self) -> Any:
            """Return it."""


App = TypeVar("App")

# Annotations are evaluated when somebody asks for them (PEP 649), and may name what is not there.
_UNREAD: dict[str, Any] = {}
if sys.version_info >= (3, 14):
    import annotationlib

    _UNREAD["annotation_format"] = annotationlib.Format.STRING


@overload
def instrument(app: Resource | Klein, **options: Unpack[Options]) -> Any: ...


@overload
def instrument(app: App, **options: Unpack[Options]) -> App: ...


def instrument(app: Any, **options: Unpack[Options]) -> Any:
    """Return `app` instrumented: what is to be served in its place.

    Takes a Starlette, FastAPI or Flask application, a Django handler, a Twisted resource or Site, a
    Klein application, or any ASGI or WSGI callable. Starlette, FastAPI and Flask applications come
    back as themselves, what Twisted serves as a Site, a Django handler and other callables as the
    middleware around them. Raises NotAnApplicationError for anything else, MissingFrameworkError
    for a framework that is too old, a ConfigurationError for wrong options.
    """
    if _is_flask_s_own(app):
        return _flask(app.__self__, **options).wsgi_app
    bases = _bases(app)
    for base, door in DOORS.items():
        if base in bases:
            return door(app, **options)
    if _provides_resource(app):
        return _twisted(app, **options)
    if not is_application(app):
        raise NotAnApplicationError(
            f"{app!r} is not an application: give an ASGI or WSGI callable, a Flask, Starlette, "
            "FastAPI or Klein application, a Django handler, or a Twisted resource or Site"
        )
    return _asgi(app, **options) if is_asgi(app) else _wsgi(app, **options)


def is_application(app: Any) -> bool:
    """Tell whether something can be served: whether `instrument` takes it."""
    if is_twisted(app):
        return True
    if inspect.isclass(app):
        return _is_wsgi_class(app)
    return callable(app) and (is_asgi(app) or _takes_two(app))


def _bases(app: object) -> set[str]:
    return {f"{base.__module__}.{base.__qualname__}" for base in type(app).__mro__}


def _is_wsgi_class(app: type) -> bool:
    """Tell whether each request makes an instance, which is the body: PEP 3333's own example."""
    init = getattr(app, "__init__", None)  # of Python: what C needs, nobody can tell
    return inspect.isfunction(init) and _required_arguments(app) == 2 and hasattr(app, "__iter__")


def _asgi(app: Any, **options: Any) -> Any:
    from prom_middleware.asgi import PrometheusMiddleware

    return PrometheusMiddleware(app, **options)


def _wsgi(app: Any, **options: Any) -> Any:
    from prom_middleware.wsgi import PrometheusMiddleware

    return PrometheusMiddleware(app, **options)


def _starlette(app: Any, **options: Any) -> Any:
    """Put the door around the application's whole stack, its error pages included."""
    door = _asgi(app, **options)
    try:
        app.__class__ = _with_door(type(app), door)
    except Exception:  # a class that nothing can be derived from
        return door
    app.middleware_stack = app.middleware_stack  # of one that has started
    return app


def _with_door(base: Any, door: Any) -> type:
    """Derive an application's class whose stack gets the door around it, whoever sets it.

    Others build the stack anew, or take it apart: what is built is the framework's own. To be set
    is rare, and to be read, as each request does, costs nothing. It is named like its base, and is
    another class all the same: `isinstance` tells, `type(app) is FastAPI` does not.
    """

    class Application(base):  # type: ignore[misc]
        __module__, __qualname__, __doc__ = base.__module__, base.__qualname__, base.__doc__

        def __setattr__(self, name: str, value: Any) -> None:
            super().__setattr__(name, value)
            if name != "middleware_stack" or value is None:
                return
            try:
                # Not by way of a class with another door, which would put that one around it.
                object.__setattr__(self, name, door.around(self.middleware_stack))
            except Exception as error:
                failures.report("start", error)

        def build_middleware_stack(self) -> Any:
            own = list(self.user_middleware)
            try:
                self.user_middleware += _innermost(door) if own else ()
                return super().build_middleware_stack()
            finally:
                self.user_middleware[:] = own

    Application.__name__ = base.__name__
    if _answers_itself(base):
        Application.__call__ = _call_around(base, door)
    return Application


def _innermost(door: Any) -> Collection[Any]:
    """Return an entry for a middleware that comes last: what the others do to a scope is done."""
    try:
        from starlette.middleware import Middleware

        return [Middleware(door.inside)]
    except Exception as error:
        failures.report("start", error)
        return ()


def _answers_itself(base: type) -> bool:
    """Tell whether a class derived from the framework's own has a call before that of the stack."""
    own = next(kind for kind in base.__mro__ if "__call__" in vars(kind))
    return own.__module__.partition(".")[0] not in ("starlette", "fastapi")


def _call_around(base: Any, door: Any) -> Any:
    """Return a call with the door around it: what it answers itself never comes to the stack."""

    async def call(self: Any, scope: Any, receive: Any, send: Any) -> None:
        app = partial(base.__call__, self)
        try:
            app = door.around(app)
        except Exception as error:
            failures.report("start", error)
        await app(scope, receive, send)

    return call


def _is_flask_s_own(app: Any) -> bool:
    """Tell whether this is the `wsgi_app` of a Flask application, which knows the rules."""
    owner: Any = getattr(app, "__self__", None)
    return FLASK in _bases(owner) and bool(app == owner.wsgi_app)


def _flask(app: Any, **options: Any) -> Any:
    from prom_middleware.flask import Prometheus

    Prometheus(app, **options)
    return app


def _django(door: Callable[..., Any], handler: Any, **options: Any) -> Any:
    from prom_middleware.django.middleware import PrometheusMiddleware
    from prom_middleware.django.requests import configured

    options = configured(**options)
    inner = handler
    # A StaticFilesHandler has no chain of its own: what it does not serve is its application's.
    while getattr(inner, "_middleware_chain", None) is None and hasattr(inner, "application"):
        inner = inner.application
    chain = getattr(inner, "_middleware_chain", None)
    if chain is not None:
        # This one names the route for the outer one, which sees the request from its first byte.
        inner._middleware_chain = PrometheusMiddleware(chain, **options)
    return door(handler, **options)


def _twisted(app: Any, **options: Any) -> Any:
    from prom_middleware.twisted import instrument_site

    return instrument_site(app, **options)


def _klein(app: Any, **options: Any) -> Any:
    return _twisted(app.resource(), **options)


FLASK = "flask.app.Flask"
SITE, KLEIN = "twisted.web.server.Site", "klein._app.Klein"
DOORS: dict[str, Callable[..., Any]] = {
    "starlette.applications.Starlette": _starlette,
    FLASK: _flask,
    "django.core.handlers.asgi.ASGIHandler": partial(_django, _asgi),
    "django.core.handlers.wsgi.WSGIHandler": partial(_django, _wsgi),
    SITE: _twisted,
    KLEIN: _klein,
}


def _provides_resource(app: object) -> bool:
    if "twisted.web.resource.Resource" in _bases(app):
        return True
    # zope.interface's mark on what implements IResource; asking it would import Twisted.
    provided = getattr(app, "__provides__", None)
    return "IResource" in {interface.__name__ for interface in provided or ()}


def is_klein(app: object) -> bool:
    """Tell whether something is a Klein application, which is asked for its resource."""
    return KLEIN in _bases(app)


def is_twisted(app: object) -> bool:
    """Tell whether something is a site, a resource or a Klein application."""
    return not _bases(app).isdisjoint((SITE, KLEIN)) or _provides_resource(app)


def is_asgi(app: Callable[..., Any]) -> bool:
    """Tell whether a callable is an ASGI application, and no WSGI one."""
    inner = app = _own_call(app)
    while isinstance(inner, partial):
        inner = _own_call(inner.func)
    call = inner if inspect.isroutine(inner) else type(inner).__call__
    # What it is itself, whatever it claims to wrap: a class, as Channels' `as_asgi` does.
    if inspect.iscoroutinefunction(inner) or inspect.iscoroutinefunction(call):
        return True
    if inspect.isgeneratorfunction(call):
        return False
    return _required_arguments(app) == 3


def _takes_two(app: Callable[..., Any]) -> bool:
    """Tell whether a callable may be called as PEP 3333 says; aiohttp's and Tornado's may not."""
    call = _own_call(app)
    try:
        signature = signature_of(call, follow_wrapped=False)
    except Exception:  # of C, or odd in another way: it tells nothing
        return True
    if hasattr(call, "__signature__"):  # another one's
        return True
    try:
        signature.bind(None, None)
    except TypeError:
        return False
    return True


def _own_call(app: Any) -> Any:
    """Return what a call runs where each instance has its own: Sentry's middleware, in a slot."""
    if inspect.isroutine(app) or inspect.isroutine(type(app).__call__):
        return app
    return app.__call__


def signature_of(call: Callable[..., Any], *, follow_wrapped: bool = True) -> inspect.Signature:
    """Return a signature, whatever its annotations name.

    Raises TypeError or ValueError where there is none, as `inspect.signature` does.
    """
    try:
        return inspect.signature(call, follow_wrapped=follow_wrapped, **_UNREAD)
    except Exception:  # there is none, or an annotation that can be evaluated and not be written
        return inspect.signature(call, follow_wrapped=follow_wrapped)


def _required_arguments(app: Callable[..., Any]) -> int:
    parameters = _parameters(app, follow_wrapped=False)
    if not parameters or any(p.kind is p.VAR_POSITIONAL for p in parameters):
        parameters = _parameters(app, follow_wrapped=True)  # what it wraps knows
    if parameters is None:  # a callable of C tells nothing: WSGI is the older contract
        return 2
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return sum(p.kind in kinds and p.default is p.empty for p in parameters)


def _parameters(
    app: Callable[..., Any], *, follow_wrapped: bool
) -> Collection[inspect.Parameter] | None:
    try:
        return signature_of(app, follow_wrapped=follow_wrapped).parameters.values()
    except Exception:
        return None
