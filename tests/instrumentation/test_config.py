"""Wrong options: one error class each, at construction, with the value and what to do."""

from __future__ import annotations

import math
import re
import string
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry

from prom_middleware import errors, instrument
from prom_middleware.exposition import allow_networks, basic_auth, bearer_token
from prom_middleware.instrumentation import Configuration
from prom_middleware.instrumentation.config import as_taken
from prom_middleware.instrumentation.presets import PRESETS

Build = Callable[..., object]


async def asgi_app(scope: Any, receive: Any, send: Any) -> None:
    """Serve nothing."""


def wsgi_app(environ: Any, start_response: Any) -> list[bytes]:
    return []


def asgi(**options: Any) -> object:
    from prom_middleware.asgi import PrometheusMiddleware

    return PrometheusMiddleware(asgi_app, **options)


def wsgi(**options: Any) -> object:
    from prom_middleware.wsgi import PrometheusMiddleware

    return PrometheusMiddleware(wsgi_app, **options)


def starlette(**options: Any) -> object:
    from starlette.applications import Starlette

    return instrument(Starlette(), **options)


def flask(**options: Any) -> object:
    from flask import Flask

    from prom_middleware.flask import Prometheus

    return Prometheus(Flask("wrong"), **options)


def flask_without_app(**options: Any) -> object:
    from prom_middleware.flask import Prometheus

    return Prometheus(**options)


def django(**options: Any) -> object:
    from django.conf import settings

    if not settings.configured:
        settings.configure(SECRET_KEY="not secret", ALLOWED_HOSTS=["*"])
    from prom_middleware.django import PrometheusMiddleware

    return PrometheusMiddleware(wsgi_app, **options)


def twisted(**options: Any) -> object:
    from twisted.web.resource import Resource

    return instrument(Resource(), **options)


DOORS = {
    "asgi": (asgi, "asyncio"),
    "wsgi": (wsgi, "wsgiref"),
    "starlette": (starlette, "starlette"),
    "flask": (flask, "flask"),
    "flask-later": (flask_without_app, "flask"),
    "django": (django, "django"),
    "twisted": (twisted, "twisted"),
}


@pytest.fixture(params=DOORS)
def build(request: pytest.FixtureRequest) -> Build:
    door, framework = DOORS[request.param]
    if find_spec(framework) is None:
        pytest.skip(f"{framework} is not installed")
    return door


WRONG = [
    ("metrics_path", "metrics", errors.OptionError),
    ("metrics_path", "/", errors.OptionError),
    ("metrics_path", "", errors.OptionError),
    ("metrics_path", b"/metrics", errors.OptionError),
    ("metrics_path", "/m\udcff", errors.OptionError),
    ("metrics_path", "/m%C3%A9trics", errors.OptionError),  # servers decode it
    ("registry", "REGISTRY", errors.OptionError),
    ("registry", None, errors.OptionError),
    ("preset", "defaullt", errors.PresetError),
    ("preset", [], errors.PresetError),
    ("preset", ["default", "nothing"], errors.PresetError),
    ("preset", None, errors.PresetError),
    ("preset", 7, errors.PresetError),
    ("preset", [["default"]], errors.PresetError),
    ("buckets", [], errors.BucketsError),
    ("buckets", [math.inf], errors.BucketsError),
    ("buckets", [1, math.inf, math.inf], errors.BucketsError),
    ("buckets", [2, 1], errors.BucketsError),
    ("buckets", [1, 1], errors.BucketsError),
    ("buckets", [1, math.nan], errors.BucketsError),
    ("buckets", [-math.inf, 1], errors.BucketsError),
    ("buckets", ["soon"], errors.BucketsError),
    ("buckets", 5, errors.BucketsError),
    ("buckets", b"\x01\x02", errors.BucketsError),
    ("buckets", {0.1: "fast"}, errors.BucketsError),
    ("buckets", [True, 2], errors.BucketsError),
    ("buckets", [-0.1, 1], errors.BucketsError),
    ("buckets", None, errors.BucketsError),
    ("buckets", [10**309], errors.BucketsError),
    ("exclude", 3, errors.OptionError),
    ("exclude", [3], errors.OptionError),
    ("exclude", [re.compile(b"/x")], errors.OptionError),
    ("exclude", None, errors.OptionError),
    ("exclude", str, errors.OptionError),
    ("exclude", [Path], errors.OptionError),
    ("exclude", "healthz", errors.OptionError),
    ("exclude", ["healthz"], errors.OptionError),
    ("labels", ["tenant"], errors.OptionError),
    ("labels", None, errors.OptionError),
    ("labels", {"tenant": 3}, errors.OptionError),
    ("labels", {"tenant": None}, errors.OptionError),
    ("labels", {"tenant": "\udcff"}, errors.OptionError),
    ("labels", {"1st": "x"}, errors.LabelNameError),
    ("labels", {"a-b": "x"}, errors.LabelNameError),
    ("labels", {"": "x"}, errors.LabelNameError),
    ("labels", {"ä": "x"}, errors.LabelNameError),
    ("labels", {"a\n": "x"}, errors.LabelNameError),
    ("labels", {3: "x"}, errors.LabelNameError),
    ("labels", {"le": "x"}, errors.ReservedLabelError),
    ("labels", {"quantile": "x"}, errors.ReservedLabelError),
    ("labels", {"__x": "x"}, errors.ReservedLabelError),
    ("labels", {"method": "x"}, errors.ReservedLabelError),
    ("labels", {"route": "x"}, errors.ReservedLabelError),
    ("labels", {"status": "x"}, errors.ReservedLabelError),
    ("labels", {"exception": "x"}, errors.ReservedLabelError),
    ("labels", {"reason": "x"}, errors.ReservedLabelError),
    ("access", "secret", errors.OptionError),
    ("access", ("u", "p"), errors.OptionError),
    ("access", basic_auth, errors.OptionError),
    ("max_series", 0, errors.OptionError),
    ("max_series", -1, errors.OptionError),
    ("max_series", True, errors.OptionError),
    ("max_series", 2.5, errors.OptionError),
    ("max_series", None, errors.OptionError),
    ("exemplars", "yes", errors.OptionError),
    ("exemplars", 1, errors.OptionError),
    ("native_histograms", None, errors.OptionError),
]


@pytest.mark.parametrize(
    ("option", "wrong", "error"), WRONG, ids=[f"{option}={wrong!r}" for option, wrong, _ in WRONG]
)
def test_a_wrong_option_raises_at_construction(
    build: Build, option: str, wrong: object, error: type[Exception]
) -> None:
    options = {"registry": CollectorRegistry(), option: wrong}
    with pytest.raises(errors.ConfigurationError) as caught:
        build(**options)
    assert type(caught.value) is error
    message = str(caught.value)
    assert option in message
    assert _named(wrong) in message


def _named(wrong: object) -> str:
    """Return how a message names what is wrong: the value, or the label or item in it."""
    if isinstance(wrong, dict):
        return repr(next(iter(wrong))).strip("'")
    if isinstance(wrong, list) and wrong and isinstance(wrong[0], re.Pattern):
        return repr(wrong[0])
    return repr(wrong).strip("[]")


def test_an_unknown_option_comes_with_the_nearest_one(build: Build) -> None:
    with pytest.raises(
        errors.OptionError, match=r"unknown option bucket=\[1\]; did you mean 'buckets'"
    ):
        build(bucket=[1])


def test_an_unknown_option_that_is_like_none_comes_with_all(build: Build) -> None:
    with pytest.raises(errors.OptionError) as caught:
        build(zzzzzz=1)
    assert all(option in str(caught.value) for option in ("metrics_path", "max_series", "access"))


def test_an_unknown_preset_comes_with_the_nearest_one() -> None:
    with pytest.raises(errors.PresetError, match="did you mean 'default'"):
        Configuration.from_options({"preset": "defualt"})


async def asynchronous(told: object) -> bool:
    return False


def generating(told: object) -> Iterator[bool]:
    yield False


async def generating_asynchronously(told: object) -> AsyncIterator[bool]:
    yield False


class Asynchronous:
    async def __call__(self, told: object) -> bool:
        return False


@pytest.mark.parametrize(
    "wrong",
    [
        *(asynchronous, Asynchronous(), partial(asynchronous)),
        *(generating, partial(generating), generating_asynchronously),
    ],
    ids=["function", "object", "partial", "generator", "partial-generator", "async-generator"],
)
@pytest.mark.parametrize(
    ("option", "given"),
    [
        ("access", lambda one: one),
        ("exclude", lambda one: [one]),
        ("labels", lambda one: {"x": one}),
    ],
    ids=["access", "exclude", "labels"],
)
def test_what_nobody_awaits_or_iterates_is_refused(
    option: str, given: Callable[[object], object], wrong: object
) -> None:
    """A coroutine is true, and as a label it would be another value for each request."""
    with pytest.raises(errors.OptionError, match="returns its answer") as caught:
        Configuration.from_options({option: given(wrong)})
    assert str(caught.value).startswith(option)
    assert repr(wrong) in str(caught.value)


def test_a_class_may_make_a_label_though_its_objects_are_asynchronous() -> None:
    assert Configuration.from_options({"labels": {"x": Asynchronous}}).labels


def test_bytes_are_no_list_of_paths() -> None:
    with pytest.raises(errors.OptionError, match=re.escape("exclude: b'/a' is neither")):
        Configuration.from_options({"exclude": b"/a"})


def test_a_name_that_is_no_string_is_an_unknown_option() -> None:
    with pytest.raises(errors.OptionError, match="unknown option 3"):
        Configuration.from_options({3: "x"})  # type: ignore[dict-item]


def test_options_are_keyword_only() -> None:
    from prom_middleware.asgi import PrometheusMiddleware

    with pytest.raises(TypeError):
        PrometheusMiddleware(asgi_app, "/metrics")  # type: ignore[misc]


def test_every_error_is_ours_and_a_value_error() -> None:
    classes = [one for one in vars(errors).values() if isinstance(one, type)]
    assert all(issubclass(one, errors.PromMiddlewareError) for one in classes)
    ours = [one for one in classes if one is not errors.PromMiddlewareError]
    assert all(issubclass(one, (errors.ConfigurationError, ValueError)) for one in ours)


@pytest.mark.parametrize("app", [None, 3, "app", object(), [], CollectorRegistry])
def test_what_cannot_be_served_is_no_application(app: object) -> None:
    with pytest.raises(errors.NotAnApplicationError) as caught:
        instrument(app, registry=CollectorRegistry())
    assert repr(app)[:20] in str(caught.value)


@pytest.mark.parametrize("door", ["asgi", "wsgi"])
def test_a_door_refuses_what_is_not_callable(door: str) -> None:
    from importlib import import_module

    middleware = import_module(f"prom_middleware.{door}").PrometheusMiddleware
    with pytest.raises(errors.NotAnApplicationError, match="app=3"):
        middleware(3, registry=CollectorRegistry())


def test_flask_refuses_what_is_not_flask() -> None:
    pytest.importorskip("flask")
    from prom_middleware.flask import Prometheus

    with pytest.raises(errors.NotAnApplicationError, match="app="):
        Prometheus(wsgi_app, registry=CollectorRegistry())  # type: ignore[arg-type]


def test_twisted_refuses_what_is_no_resource() -> None:
    pytest.importorskip("twisted")
    from prom_middleware.twisted import instrument_site

    with pytest.raises(errors.NotAnApplicationError, match="wsgi_app"):
        instrument_site(wsgi_app, registry=CollectorRegistry())


def test_a_refused_application_leaves_the_registry_alone() -> None:
    registry = CollectorRegistry()
    with pytest.raises(errors.ConfigurationError):
        asgi(registry=registry, max_series=0)
    assert not list(registry.collect())


@pytest.mark.parametrize(
    "make",
    [
        lambda: basic_auth("", "p"),
        lambda: basic_auth("a:b", "p"),
        lambda: basic_auth("u"),
        lambda: basic_auth("u", ""),
        lambda: basic_auth({}),
        lambda: basic_auth({"u": 3}),  # type: ignore[dict-item]
        lambda: basic_auth(None),  # type: ignore[arg-type]
        lambda: basic_auth({1: "x"}),  # type: ignore[dict-item]
        lambda: basic_auth(b"u", b"p"),  # type: ignore[arg-type]
        lambda: basic_auth("u\udcff", "p"),
        lambda: basic_auth("u", "p\udcff"),
        lambda: bearer_token(),
        lambda: bearer_token(""),
        lambda: bearer_token("a b"),
        lambda: bearer_token("ä"),
        lambda: bearer_token(3),  # type: ignore[arg-type]
        lambda: allow_networks(),
        lambda: allow_networks("10.0.0.1/8"),
        lambda: allow_networks("localhost"),
        lambda: allow_networks("10.0.0.0/33"),
        lambda: allow_networks("fe80::1%eth0"),  # it would be allowed on all other links, too
        lambda: allow_networks(10),  # type: ignore[arg-type]
        lambda: allow_networks(True),  # type: ignore[arg-type]
        lambda: allow_networks(b"\x7f\0\0\1"),  # type: ignore[arg-type]
    ],
)
def test_wrong_access_rules_raise_at_construction(make: Callable[[], object]) -> None:
    with pytest.raises(errors.OptionError, match=r"basic_auth|bearer_token|allow_networks"):
        make()


@pytest.mark.parametrize("secret", ["hunter2:", 7])
def test_a_message_never_shows_a_secret(secret: Any) -> None:
    with pytest.raises(errors.OptionError) as caught:
        basic_auth({"ok": "hunter2", "": secret})
    assert "hunter2" not in str(caught.value)


def test_what_is_no_user_is_not_shown_either() -> None:
    with pytest.raises(errors.OptionError, match="of type list") as caught:
        basic_auth([("u", "hunter2")])  # type: ignore[arg-type]
    assert "hunter2" not in str(caught.value)


# --- what is right


@given(st.lists(st.floats(0, allow_infinity=False), min_size=1, unique=True))
def test_increasing_bounds_are_taken_as_they_are(bounds: list[float]) -> None:
    bounds = [bound + 0.0 for bound in sorted(bounds)]
    config = Configuration.from_options({"buckets": bounds})
    assert list(config.buckets) == bounds
    with_infinity = Configuration.from_options({"buckets": (*bounds, math.inf)})
    assert with_infinity.buckets == config.buckets


@given(st.lists(st.floats(), max_size=6))
def test_bounds_are_increasing_finite_or_refused(bounds: list[float]) -> None:
    finite = bounds[:-1] if bounds and bounds[-1] == math.inf else bounds
    good = bool(finite) and all(map(math.isfinite, finite))
    good = good and finite == sorted(set(finite)) and finite[0] >= 0
    if good:
        assert Configuration.from_options({"buckets": bounds}).buckets == tuple(finite)
    else:
        with pytest.raises(errors.BucketsError):
            Configuration.from_options({"buckets": bounds})


LETTERS = string.ascii_letters + "_"
OURS = {"method", "route", "status", "exception", "reason", "le", "quantile"}


@given(
    st.builds(
        "{}{}".format, st.sampled_from(LETTERS), st.text(LETTERS + string.digits, max_size=20)
    )
)
def test_label_names_of_the_data_model_are_taken(name: str) -> None:
    if name.startswith("__") or name in OURS:
        with pytest.raises(errors.ReservedLabelError):
            Configuration.from_options({"labels": {name: "x"}})
    else:
        assert Configuration.from_options({"labels": {name: "x"}}).schema.extra_labels == (name,)


@given(st.text(max_size=8))
def test_label_names_outside_the_data_model_are_refused(name: str) -> None:
    if re.fullmatch(r"[a-zA-Z_][a-zA-Z0-9_]*", name, re.ASCII) is None:
        with pytest.raises(errors.LabelNameError):
            Configuration.from_options({"labels": {name: "x"}})


RIGHT = [
    ("metrics_path", None, None),
    ("metrics_path", "/m/", "/m"),
    ("preset", "default", ("default",)),
    ("preset", ["default", "default"], ("default",)),
    ("buckets", [1, 2.5], (1.0, 2.5)),
    ("exclude", "/health", ("/health",)),
    ("exclude", ["/a", "/b"], ("/a", "/b")),
    ("exclude", ["/", "/a b?", "", "*"], ("/", "/a b?", "", "*")),
    ("labels", {}, {}),
    ("access", None, None),
    ("max_series", 1, 1),
    ("exemplars", False, False),
    ("native_histograms", True, True),
]


@pytest.mark.parametrize(("option", "given_value", "taken"), RIGHT)
def test_right_options_are_taken(option: str, given_value: object, taken: object) -> None:
    assert getattr(Configuration.from_options({option: given_value}), option) == taken


def test_a_configuration_cannot_be_changed() -> None:
    config = Configuration()
    with pytest.raises(AttributeError):
        config.max_series = 3  # type: ignore[misc]
    config = Configuration.from_options({"labels": {"tenant": "a"}})
    with pytest.raises(AttributeError):
        del config.labels
    with pytest.raises(TypeError):
        config.labels["other"] = "b"  # type: ignore[index]


def test_changing_the_given_labels_later_changes_nothing() -> None:
    labels: dict[str, Any] = {"tenant": "a"}
    config = Configuration.from_options({"labels": labels})
    labels["other"] = "b"
    assert config.schema.extra_labels == ("tenant",)


def test_a_configuration_can_be_made_of_what_another_one_was() -> None:
    """A door may be made several times of the same options, and an iterator is read once."""
    given = {
        "exclude": map(re.compile, ["^/healthz$"]),
        "buckets": (number / 10 for number in (1, 2)),
        "labels": {"tenant": "a"},
        "metrics_path": "/m/",
        "preset": ["default"],
    }
    one = Configuration.from_options(given)
    other = Configuration.from_options(one.options)
    assert given.keys() == one.options.keys()
    assert one.options == other.options
    assert other.buckets == (0.1, 0.2)
    assert [pattern.pattern for pattern in other.exclude] == ["^/healthz$"]  # type: ignore[union-attr]


def test_there_is_a_default_preset() -> None:
    assert "default" in PRESETS


# --- frameworks that are not installed

BLOCKED = """
import sys

class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {blocked!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Blocker())
from prom_middleware.errors import ConfigurationError, MissingFrameworkError
try:
    {statement}
except MissingFrameworkError as error:
    assert isinstance(error, ImportError) and isinstance(error, ConfigurationError)
    print(error)
"""

MISSING = [
    ("flask", {"flask"}, "import prom_middleware.flask"),
    ("django", {"django"}, "import prom_middleware.django"),
    ("twisted", {"twisted"}, "import prom_middleware.twisted"),
]


@pytest.mark.parametrize(("extra", "blocked", "statement"), MISSING)
def test_a_missing_framework_is_named(extra: str, blocked: set[str], statement: str) -> None:
    program = BLOCKED.format(blocked=blocked, statement=statement)
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    assert f'pip install "prom_middleware[{extra}]"' in done.stdout


def test_asgi_and_wsgi_need_no_framework() -> None:
    blocked = {"starlette", "fastapi", "flask", "werkzeug", "django", "asgiref", "twisted", "klein"}
    statement = "import prom_middleware.asgi, prom_middleware.wsgi, prom_middleware.exposition"
    program = BLOCKED.format(blocked=blocked, statement=statement + "; print('fine')")
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.stdout == "fine\n", done.stderr


def test_options_that_several_ask_for_are_read_once() -> None:
    given: dict[str, Any] = {"exclude": iter(["/health"])}
    assert [as_taken(given)["exclude"] for _ in range(2)] == [("/health",)] * 2
    given["exclude"] = ["/other"]  # as the tests of a project override its settings
    assert as_taken(given)["exclude"] == ("/other",)
