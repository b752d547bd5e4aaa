"""Starlette and FastAPI with sessions and authentication, /metrics before and behind them."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from asgi.driver import Answer, check, request
from metrics import series, value
from prom_middleware import instrument
from prom_middleware.asgi import PrometheusMiddleware
from prom_middleware.exposition import make_asgi_app

pytest.importorskip("starlette", reason="Starlette is not installed")
pytest.importorskip("itsdangerous", reason="itsdangerous, which sessions need, is not installed")

from starlette.applications import Starlette
from starlette.authentication import (
    AuthCredentials,
    AuthenticationBackend,
    AuthenticationError,
    SimpleUser,
    requires,
)
from starlette.middleware import Middleware
from starlette.middleware.authentication import AuthenticationMiddleware
from starlette.middleware.sessions import SessionMiddleware
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.routing import Mount, Route

GET = "GET"
Place = Callable[[Any, CollectorRegistry], Any]


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


class SessionBackend(AuthenticationBackend):
    """Who is in the session is logged in; a session that was tampered with is refused."""

    async def authenticate(self, conn: Any) -> Any:
        if "x-broken" in conn.headers:
            raise AuthenticationError("the session is broken")
        user = conn.session.get("user")
        if user is None:
            return None
        scopes = ["authenticated", "admin"] if user == "root" else ["authenticated"]
        return AuthCredentials(scopes), SimpleUser(user)


class StrictBackend(SessionBackend):
    """Nobody comes in without a session."""

    async def authenticate(self, conn: Any) -> Any:
        found = await super().authenticate(conn)
        if found is None and conn.url.path != "/login":
            raise AuthenticationError("log in first")
        return found


def refused(conn: Any, error: Exception) -> Response:
    return PlainTextResponse(str(error), 401, {"WWW-Authenticate": "Session"})


def redirected(conn: Any, error: Exception) -> Response:
    return RedirectResponse("/login", 302)


async def login(request: Any) -> Response:
    request.session["user"] = request.query_params["user"]
    return RedirectResponse("/", 302)


async def page(request: Any) -> Response:
    return PlainTextResponse("page")


def routes(*more: Any) -> list[Any]:
    admin = [Route("/users/{id:int}", requires("admin")(page), methods=["GET", "DELETE"])]
    return [
        Route("/", page),
        Route("/login", login),
        Route("/orders/{id}", requires("authenticated", status_code=401)(page)),
        Route("/account/{id}", requires("authenticated", redirect="login")(page)),
        Mount("/admin", routes=admin),
        *more,
    ]


def middleware(backend: Any = None, on_error: Any = refused) -> list[Middleware]:
    chosen = backend or SessionBackend()
    return [
        Middleware(SessionMiddleware, secret_key="only for tests", max_age=None),
        Middleware(AuthenticationMiddleware, backend=chosen, on_error=on_error),
    ]


def added(app: Any, registry: CollectorRegistry) -> Any:
    app.add_middleware(PrometheusMiddleware, registry=registry)
    return app


OUTSIDE: dict[str, Place] = {
    "instrumented": lambda app, registry: instrument(app, registry=registry),
    "wrapped": lambda app, registry: PrometheusMiddleware(app, registry=registry),
    "added last": added,
}
outside = pytest.mark.parametrize("place", OUTSIDE.values(), ids=OUTSIDE)


def cookie(answer: Answer) -> dict[str, str]:
    return {"cookie": answer.headers["set-cookie"].partition(";")[0]}


def session_of(user: str, app: Any = None) -> dict[str, str]:
    """Log in, and return the headers that say so."""
    return cookie(
        request(app or Starlette(routes=routes(), middleware=middleware()), f"/login?user={user}")
    )


CASES: dict[str, tuple[str, str, str, str, int]] = {
    "session alone": ("", GET, "/", "/", 200),
    "login": ("", GET, "/login?user=joe", "/login", 302),
    "requires() 401": ("", GET, "/orders/3", "/orders/{id}", 401),
    "requires() passed": ("joe", GET, "/orders/3", "/orders/{id}", 200),
    "requires() redirects": ("", GET, "/account/3", "/account/{id}", 303),
    "requires() 403 in a mount": ("joe", GET, "/admin/users/3", "/admin/users/{id:int}", 403),
    "requires() another method": (
        "joe",
        "DELETE",
        "/admin/users/3",
        "/admin/users/{id:int}",
        403,
    ),
    "requires() passed in a mount": ("root", GET, "/admin/users/3", "/admin/users/{id:int}", 200),
    "a miss": ("joe", GET, "/nope", "<unmatched>", 404),
}


def template(route: str) -> str:
    """Return `route` as the door tells it."""
    return route.replace("{id:int}", "{id}")


@outside
@pytest.mark.parametrize("case", CASES)
def test_answers_have_their_route(place: Place, case: str, registry: CollectorRegistry) -> None:
    user, method, target, route, status = CASES[case]
    app = place(Starlette(routes=routes(), middleware=middleware()), registry)
    answer = request(app, target, method, headers=session_of(user) if user else {})
    assert answer.status == status
    check(registry, [(method, template(route), status, "", "complete")])


@outside
@pytest.mark.parametrize(("on_error", "status"), [(refused, 401), (redirected, 302)])
@pytest.mark.parametrize(
    ("target", "route"),
    [
        ("/orders/3", "/orders/{id}"),
        ("/admin/users/3", "/admin/users/{id:int}"),
        ("/admin/nope", "/admin/{path}"),
        ("/nope", "<unmatched>"),
    ],
)
def test_on_error_answers_before_the_router(
    place: Place, on_error: Any, status: int, target: str, route: str, registry: CollectorRegistry
) -> None:
    app = place(Starlette(routes=routes(), middleware=middleware(on_error=on_error)), registry)
    answer = request(app, target, headers={"x-broken": "yes"})
    assert answer.status == status
    check(registry, [(GET, template(route), status, "", "complete")])


def test_the_door_inside_sees_what_the_application_answers(registry: CollectorRegistry) -> None:
    """It cannot see what is answered around it."""
    app = added(Starlette(routes=routes()), registry)
    for one in reversed(middleware()):
        app.add_middleware(one.cls, **one.kwargs)
    assert request(app, "/orders/3").status == 401
    assert request(app, "/orders/3", headers={"x-broken": "yes"}).status == 401
    check(registry, [(GET, "/orders/{id}", 401, "", "complete")])


# --- /metrics


def no_session(answer: Answer) -> Answer:
    assert "set-cookie" not in answer.headers
    assert answer.headers["vary"] == "Accept, Accept-Encoding"  # and no cookie
    return answer


@outside
@pytest.mark.parametrize("on_error", [refused, redirected])
@pytest.mark.parametrize("target", ["/metrics", "/metrics/"])
def test_metrics_outside(
    place: Place, on_error: Any, target: str, registry: CollectorRegistry
) -> None:
    stack = middleware(StrictBackend(), on_error)
    app = place(Starlette(routes=routes(), middleware=stack), registry)
    request(app, "/orders/3")
    logged_in = session_of("joe")
    for headers in ({}, logged_in, {"x-broken": "yes"}):
        answer = no_session(request(app, target, headers=headers))
        assert answer.status == 200
        assert value(series(answer.body.decode()), "http_requests_total") == 1
    # A page has what the scrape has not: older Starlettes send the cookie anew, newer ones vary.
    assert {"set-cookie", "vary"} & set(request(app, "/", headers=logged_in).headers)


def mounted(registry: CollectorRegistry, stack: list[Middleware]) -> Any:
    """Metrics are a route of the application, the door stands outside."""
    app = Starlette(routes=routes(Route("/metrics", make_asgi_app(registry))), middleware=stack)
    return instrument(app, registry=registry, metrics_path=None)


def mounted_below(registry: CollectorRegistry, stack: list[Middleware]) -> Any:
    """Metrics are an application of their own below a mount."""
    app = Starlette(routes=routes(Mount("/metrics", make_asgi_app(registry))), middleware=stack)
    return instrument(app, registry=registry, metrics_path=None)


def answered_by_an_inner_door(registry: CollectorRegistry, stack: list[Middleware]) -> Any:
    """The outer door records, the one below the authentication answers scrapes."""
    app: Any = PrometheusMiddleware(Starlette(routes=routes()), registry=registry)
    for one in reversed(stack):
        app = one.cls(app, **one.kwargs)
    return instrument(app, registry=registry, metrics_path=None)


INSIDE = {
    "route": (mounted, "/metrics"),
    "mount": (mounted_below, "/metrics/"),
    "inner door": (answered_by_an_inner_door, "/metrics"),
}


@pytest.mark.parametrize("way", INSIDE)
@pytest.mark.parametrize(("on_error", "status"), [(refused, 401), (redirected, 302)])
def test_metrics_inside(way: str, on_error: Any, status: int, registry: CollectorRegistry) -> None:
    build, target = INSIDE[way]
    app = build(registry, middleware(StrictBackend(), on_error))
    answer = request(app, target)
    assert answer.status == status
    assert b"http_requests" not in answer.body
    logged_in = session_of("joe", app)
    for _ in range(2):
        scrape = request(app, target, headers=logged_in)
        assert scrape.status == 200
        # What was refused, and the login: no scrape that was answered.
        assert value(series(scrape.body.decode()), "http_requests_total") == 2


def test_a_refused_scrape_inside_is_a_request_with_its_route(registry: CollectorRegistry) -> None:
    app = mounted(registry, middleware(StrictBackend()))
    assert request(app, "/metrics").status == 401
    check(registry, [(GET, "/metrics", 401, "", "complete")])


def test_a_session_is_the_same_with_and_without_the_door(registry: CollectorRegistry) -> None:
    app = instrument(Starlette(routes=routes(), middleware=middleware()), registry=registry)
    sent = cookie(request(app, "/login?user=joe"))["cookie"]
    signed = sent.partition("=")[2].split(".")[0]
    assert json.loads(base64.b64decode(signed)) == {"user": "joe"}


# --- FastAPI's own way


def fastapi_app() -> Any:
    fastapi = pytest.importorskip("fastapi", reason="FastAPI is not installed")
    from fastapi.security import HTTPBasic

    app = fastapi.FastAPI()

    def known(given: Any = fastapi.Depends(HTTPBasic())) -> str:  # noqa: B008
        if given.password != "secret":
            raise fastapi.HTTPException(403, "that is not it")
        return str(given.username)

    guarded = fastapi.APIRouter(prefix="/v1", dependencies=[fastapi.Depends(known)])
    guarded.add_api_route("/orders/{id}", lambda id: id)  # noqa: A006
    app.include_router(guarded)
    return app


@outside
@pytest.mark.parametrize(
    ("user", "status"), [(None, 401), (b"joe:wrong", 403), (b"joe:secret", 200)]
)
def test_fastapi_s_security(
    place: Place, user: bytes | None, status: int, registry: CollectorRegistry
) -> None:
    app = place(fastapi_app(), registry)
    headers = {"authorization": f"Basic {base64.b64encode(user).decode()}"} if user else {}
    assert request(app, "/v1/orders/3", headers=headers).status == status
    assert no_session(request(app, "/metrics")).status == 200
    check(registry, [(GET, "/v1/orders/{id}", status, "", "complete")])
