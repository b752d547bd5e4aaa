"""What all constructors have in common: wrong options are refused, by name and value."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import REGISTRY, CollectorRegistry, Counter

from prom_middleware.bridge import Bridge, GraphiteCollector, StatsdCollector
from prom_middleware.errors import OptionError
from prom_middleware.exposition import ScrapeRequest, make_asgi_app, make_wsgi_app, scrape
from prom_middleware.exposition import start_http_server as start
from prom_middleware.options import access_rule
from prom_middleware.push import batch_job, push_to_gateway
from prom_middleware.pushgateway import make_asgi_app as make_gateway
from prom_middleware.pushgateway.options import GatewayOptions, Setup

Make = Callable[..., object]


def bridge(**options: Any) -> object:
    return Bridge(**{"to": "graphite://127.0.0.1", **options})


def job(**options: Any) -> object:
    return batch_job(**{"name": "nightly", "gateway": "127.0.0.1:1", **options})


def statsd(**options: Any) -> object:
    return StatsdCollector(registry=None, **options)


def graphite(**options: Any) -> object:
    return GraphiteCollector(registry=None, **options)


class Sender:
    """What a bridge leads to can do more."""

    def send(self, batch: object, timeout: float) -> None:
        pass


class Named:
    """A path that says its name when it is asked, and prints as something else."""

    def __init__(self, name: Any) -> None:
        self.name = name

    def __fspath__(self) -> Any:
        return self.name


WRONG: list[tuple[Make, str, object]] = [
    (make_asgi_app, "nonsense", 1),
    (make_asgi_app, "max_requests_in_flight", "x"),
    (make_wsgi_app, "timeout", "10"),
    (make_wsgi_app, "timeout", 10**400),
    (make_gateway, "nonsense", 1),
    (make_gateway, "persistence_file", 3),
    (make_gateway, "persistence_file", b"x.db"),
    (make_gateway, "persistence_file", Named(b"x.db")),
    (make_gateway, "telemetry_path", None),
    (make_gateway, "route_prefix", 3),
    (make_gateway, "enable_admin_api", 1),
    (make_gateway, "disable_consistency_check", "no"),
    (make_gateway, "enable_utf8_names", None),
    (make_gateway, "max_body_bytes", "x"),
    (make_gateway, "max_body_bytes", 0),
    (make_gateway, "max_body_bytes", 1.5),
    (make_gateway, "push_ttl", "1h"),
    (make_gateway, "push_ttl", -1),
    (make_gateway, "push_ttl", float("nan")),
    (make_gateway, "enable_multiple_groups", 0),
    (make_gateway, "quit", True),
    (bridge, "to", 5),
    (bridge, "to", Sender()),
    (bridge, "interval", "60"),
    (bridge, "interval", None),
    (bridge, "interval", 1e6),
    (bridge, "jitter", "x"),
    (bridge, "jitter", -0.1),
    (bridge, "jitter", 1),
    (bridge, "timeout", "x"),
    (bridge, "buffer", 1.5),
    (bridge, "tags", "yes"),
    (bridge, "prefix", None),
    (job, "name", 5),
    (job, "gateway", 5),
    (job, "grouping_key", 5),
    (job, "grouping_key", {5: "x", "a": "b"}),
    (job, "nonsense", 1),
    (job, "timeout", "30"),
    (job, "deadline", 10**400),
    (statsd, "max_series", "x"),
    (statsd, "mapping", "mapping.yml"),
    (graphite, "strict_match", "x"),
    (graphite, "sample_expiry", "60"),
]


def _shown(value: object) -> str:
    # Not an address: workers have to agree on the names of tests.
    return type(value).__name__ if isinstance(value, Sender | Named) else str(value)[:20]


@pytest.mark.parametrize(
    ("make", "option", "wrong"),
    WRONG,
    ids=[
        f"{make.__module__}.{make.__name__}-{option}={_shown(wrong)}"
        for make, option, wrong in WRONG
    ],
)
def test_a_wrong_option_is_refused(make: Make, option: str, wrong: object) -> None:
    with pytest.raises(OptionError) as caught:
        make(**{option: wrong})
    told = {
        "name": ("job=",),
        "nonsense": ("unknown option nonsense=1; ", "unknown option 'nonsense'; "),
    }
    expected = told.get(option, (f"{option}=", f"{option}: give "))
    assert str(caught.value).startswith(expected)


def test_the_nearest_option_is_told() -> None:
    with pytest.raises(OptionError, match="unknown option time=3; did you mean 'timeout'"):
        make_asgi_app(time=3)  # type: ignore[call-arg]


def test_a_secret_is_told_nobody() -> None:
    for options in (
        {"gateway": b"http://joe:hunter2@host"},
        {"basic_auth": ["joe", "hunter2"]},
        {"basic_aut": ("joe", "hunter2")},
    ):
        with pytest.raises(OptionError) as caught:
            job(**options)
        assert "hunter2" not in str(caught.value)
    for unknown in ({"basic_auth": ("joe", "hunter2")}, {"acess": "hunter2"}):
        with pytest.raises(OptionError) as caught:
            make_asgi_app(**unknown)
        assert "hunter2" not in str(caught.value)


def test_a_push_says_what_is_wrong() -> None:
    result = push_to_gateway(5, "nightly", CollectorRegistry())  # type: ignore[arg-type]
    assert not result
    assert "gateway" in str(result.reason)


def test_a_gateway_has_the_options_that_are_typed(tmp_path: Path) -> None:
    assert list(GatewayOptions.__annotations__) == list(Setup._fields)
    setup = Setup.from_options({"persistence_file": tmp_path / "x.db", "route_prefix": "pg/"})
    assert setup.persistence_file == str(tmp_path / "x.db")
    assert setup.route_prefix == "/pg"
    assert setup.flags()["persistence.file"] == setup.persistence_file


def test_a_file_of_a_gateway_has_the_name_that_its_path_says() -> None:
    assert Setup.from_options({"persistence_file": Named("x.db")}).persistence_file == "x.db"


# --- access


class Rule:
    """One whose brackets are easily forgotten: each request would make an object, which is true."""

    def __init__(self, request: object = None) -> None:
        pass

    def __call__(self, request: object) -> bool:
        return False


async def asynchronous(request: object) -> bool:
    return False


def blueprint(**options: Any) -> object:
    return import_module("prom_middleware.flask").metrics_blueprint(**options)


def resource(**options: Any) -> object:
    return import_module("prom_middleware.twisted").MetricsResource(**options)


def server(registry: Any = REGISTRY, **options: Any) -> object:
    return start(0, "127.0.0.1", registry, **options)


ENDPOINTS = {
    "asgi": (make_asgi_app, "asyncio"),
    "wsgi": (make_wsgi_app, "asyncio"),
    "flask": (blueprint, "flask"),
    "twisted": (resource, "twisted"),
    "server": (server, "asyncio"),
    "gateway": (make_gateway, "asyncio"),
}


# All but the gateway, which has no registry of its process; and a bridge.
SHOWS = [*(name for name in ENDPOINTS if name != "gateway"), "bridge"]


def _maker(name: str) -> Make:
    make, framework = {**ENDPOINTS, "bridge": (bridge, "asyncio")}[name]
    if find_spec(framework) is None:
        pytest.skip(f"{framework} is not installed")
    return make


def _name(value: object) -> str:
    # Not what it prints: that has an address, and workers have to agree on the names of tests.
    return str(getattr(value, "__name__", None) or type(value).__name__)


NO_RULES = [Rule, partial(Rule), asynchronous, "secret", ("user", "password"), True, False]


@pytest.mark.parametrize("endpoint", [name for name in ENDPOINTS if name != "gateway"])
@pytest.mark.parametrize("wrong", ["nonsense", None, 1])
def test_an_endpoint_refuses_what_is_no_switch(endpoint: str, wrong: Any) -> None:
    with pytest.raises(OptionError, match="disable_compression="):
        _maker(endpoint)(disable_compression=wrong)


@pytest.mark.parametrize("wrong", NO_RULES, ids=_name)
@pytest.mark.parametrize("endpoint", ENDPOINTS)
def test_an_endpoint_refuses_what_is_no_access_rule(endpoint: str, wrong: Any) -> None:
    with pytest.raises(OptionError, match="access="):
        _maker(endpoint)(access=wrong)


@pytest.mark.parametrize("wrong", ["x", None, CollectorRegistry, Counter], ids=_name)
@pytest.mark.parametrize("shows", SHOWS)
def test_what_shows_a_registry_refuses_what_is_none(shows: str, wrong: Any) -> None:
    with pytest.raises(OptionError, match="registry="):
        _maker(shows)(registry=wrong)


def test_a_server_with_a_web_config_file_refuses_it_too(tmp_path: Path) -> None:
    pytest.importorskip("yaml")
    file = tmp_path / "web.yml"
    file.write_text("basic_auth_users: {}\n")
    with pytest.raises(OptionError, match="access="):
        server(access=Rule, web_config_file=file)


@pytest.mark.parametrize("wrong", NO_RULES, ids=_name)
def test_a_scrape_with_no_access_rule_is_refused(wrong: Any) -> None:
    """It never raises."""
    request = ScrapeRequest("GET", "/metrics", "", {}, None)
    assert scrape(CollectorRegistry(), request, wrong).status == 403


@pytest.mark.parametrize("right", [None, Rule(), Rule().__call__, partial(Rule(), None), print])
def test_what_is_an_access_rule(right: Any) -> None:
    assert access_rule(right) is right
