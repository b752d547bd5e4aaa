"""What users rely on: names, options, and that nothing is imported before it is asked for."""

from __future__ import annotations

import ast
import inspect
import re
import subprocess
import sys
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

import prom_middleware
from prom_middleware.instrumentation import Configuration, Options

PACKAGE = Path(prom_middleware.__file__).parent
PUBLIC = {
    "prom_middleware": {
        "Facts",
        "Instrumentation",
        "Options",
        "ScrapeRequest",
        "__version__",
        "allow_networks",
        "basic_auth",
        "bearer_token",
        "instrument",
    },
    "prom_middleware.asgi": {"PrometheusMiddleware", "make_asgi_app"},
    "prom_middleware.wsgi": {"PrometheusMiddleware", "make_wsgi_app"},
    "prom_middleware.bridge": {
        "Bridge",
        "GraphiteBridge",
        "GraphiteCollector",
        "OpenTelemetryReader",
        "StatsdCollector",
        "load_mapping",
    },
    "prom_middleware.flask": {"Prometheus", "metrics_blueprint"},
    "prom_middleware.django": {"PrometheusMiddleware"},
    "prom_middleware.twisted": {"MetricsResource", "instrument_site", "observed_request"},
    "prom_middleware.exposition": {
        "AccessRule",
        "ScrapeOptions",
        "ScrapeRequest",
        "ScrapeResponse",
        "allow_networks",
        "basic_auth",
        "bearer_token",
        "make_asgi_app",
        "make_wsgi_app",
        "scrape",
        "start_http_server",
        "write_to_textfile",
    },
    "prom_middleware.exposition.webconfig": {
        "WebConfig",
        "WebConfigFile",
        "governed",
        "read_web_config",
    },
    "prom_middleware.push": {
        "BatchJob",
        "PushOptions",
        "PushResult",
        "Run",
        "basic_auth_handler",
        "batch_job",
        "current_job",
        "default_handler",
        "delete_from_gateway",
        "delete_from_gateway_async",
        "instance_ip_grouping_key",
        "passthrough_redirect_handler",
        "push_to_gateway",
        "push_to_gateway_async",
        "pushadd_to_gateway",
        "pushadd_to_gateway_async",
        "tls_auth_handler",
        "tls_context",
    },
    "prom_middleware.pushgateway": {"GatewayOptions", "StorageError", "make_asgi_app"},
    "prom_middleware.multiprocess": {"install", "uninstall", "whole"},
    "prom_middleware.errors": {
        "BucketsError",
        "ConfigurationError",
        "LabelNameError",
        "MappingError",
        "MetricConflictError",
        "MissingFrameworkError",
        "NotAnApplicationError",
        "OptionError",
        "ParseError",
        "PresetError",
        "PromMiddlewareError",
        "ReservedLabelError",
        "WebConfigError",
    },
    "prom_middleware.doctor": {"Deployment", "Finding", "examine", "examine_project"},
    "prom_middleware.check": {"Problem", "Report", "check"},
    "prom_middleware.parser": {
        "ParseError",
        "openmetrics_fd_to_metric_families",
        "openmetrics_string_to_metric_families",
        "parse",
        "protobuf_to_metric_families",
        "text_fd_to_metric_families",
        "text_string_to_metric_families",
    },
    "prom_middleware.runtime": {"install", "uninstall", "watch_event_loop"},
    "prom_middleware.stores": {
        *("Cells", "Family", "Labels", "MemoryStore", "Settlement", "Snapshot", "Store", "Turn"),
        *("Tally", "Worker"),
    },
}
FRAMEWORKS = ("starlette", "fastapi", "flask", "werkzeug", "django", "asgiref", "twisted", "klein")
OPTIONS = {
    "metrics_path": "/metrics",
    "preset": ("default",),
    "exclude": (),
    "access": None,
    "max_series": 2000,
    "exemplars": True,
    "native_histograms": False,
}
DEFAULT_METRICS = {
    "http_requests_total": ("counter", {"method", "route", "status"}),
    "http_request_duration_seconds": ("histogram", {"method", "route", "status"}),
    "http_requests_in_progress": ("gauge", {"method"}),
    "http_request_body_bytes_total": ("counter", {"method", "route", "status"}),
    "http_response_body_bytes_total": ("counter", {"method", "route", "status"}),
    "http_request_exceptions_total": ("counter", {"method", "route", "exception"}),
    "http_responses_aborted_total": ("counter", {"method", "route", "reason"}),
    "http_stream_duration_seconds": ("histogram", {"route"}),
    "http_request_queue_seconds": ("histogram", set()),
    "websocket_connections_total": ("counter", {"route", "status", "code"}),
    "websocket_connections_open": ("gauge", set()),
    "websocket_connection_duration_seconds": ("histogram", {"route"}),
    "websocket_messages_total": ("counter", {"route", "direction"}),
    "prom_middleware_errors_total": ("counter", {"cause"}),
    "prom_middleware_series_overflow_total": ("counter", {"metric"}),
    "prom_middleware_scrapes_total": ("counter", {"code"}),
    "prom_middleware_scrape_duration_seconds": ("histogram", set()),
    "prom_middleware_workers": ("gauge", {"state"}),
}


def run(program: str) -> str:
    command = [sys.executable, "-W", "error", "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def _import(name: str) -> Any:
    framework = name.rpartition(".")[2]
    if framework in FRAMEWORKS and find_spec(framework) is None:
        pytest.skip(f"{framework} is not installed")
    return import_module(name)


@pytest.mark.parametrize("name", PUBLIC)
def test_public_names(name: str) -> None:
    module = _import(name)
    assert set(module.__all__) == PUBLIC[name]
    assert all(getattr(module, one) is not None for one in module.__all__)
    assert set(module.__all__) <= set(dir(module))
    assert len(module.__all__) == len(set(module.__all__))
    assert sorted(module.__all__) == list(module.__all__)


@pytest.mark.parametrize("name", PUBLIC)
def test_public_things_say_what_they_are(name: str) -> None:
    module = _import(name)
    assert module.__doc__
    for one in module.__all__:
        thing = getattr(module, one)
        if hasattr(thing, "__origin__"):  # a type alias, which Python 3.10 takes for a class
            continue
        if inspect.isclass(thing) or inspect.isfunction(thing):
            assert thing.__doc__, one


def test_every_error_is_public() -> None:
    from prom_middleware import errors

    assert {name for name, one in vars(errors).items() if inspect.isclass(one)} == PUBLIC[
        errors.__name__
    ]


@pytest.mark.parametrize("name", PUBLIC)
def test_what_has_the_options_can_be_imported(name: str) -> None:
    """Where a docstring names the keyword arguments, it says where they are."""
    module = _import(name)
    for thing in (getattr(module, one) for one in module.__all__):
        for named in re.findall(r"`([\w.]*Options)`", inspect.getdoc(thing) or ""):
            home, _, called = named.rpartition(".")
            assert hasattr(import_module(home or name), called)


@pytest.mark.parametrize(
    ("module", "name", "options"),
    [
        ("exposition", "make_asgi_app", "exposition.ScrapeOptions"),
        ("exposition", "make_wsgi_app", "exposition.ScrapeOptions"),
        ("exposition", "start_http_server", "exposition.ScrapeOptions"),
        ("flask", "metrics_blueprint", "exposition.ScrapeOptions"),
        ("pushgateway", "make_asgi_app", "pushgateway.GatewayOptions"),
    ],
)
def test_options_are_typed(module: str, name: str, options: str) -> None:
    function = getattr(_import(f"prom_middleware.{module}"), name)
    typed = function.__annotations__["options"]
    home, _, called = options.rpartition(".")
    assert typed == f"Unpack[{called}]"
    assert hasattr(import_module(f"prom_middleware.{home}"), called)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="nothing_of_the_kind"):
        prom_middleware.nothing_of_the_kind  # noqa: B018


def test_a_star_import_gives_the_public_names() -> None:
    names = run("from prom_middleware import *; print(sorted(n for n in dir() if n[0] != '_'))")
    assert names == str(sorted(PUBLIC["prom_middleware"] - {"__version__"}))


@pytest.mark.parametrize(
    "module",
    [
        "prom_middleware",
        "prom_middleware.exposition",
        "prom_middleware.asgi",
        "prom_middleware.wsgi",
    ],
)
def test_no_framework_is_imported_before_its_door(module: str) -> None:
    program = f"import sys, {module}; print([f for f in {FRAMEWORKS!r} if f in sys.modules])"
    assert run(program) == "[]"


def test_the_package_imports_no_door() -> None:
    program = (
        "import sys, prom_middleware\n"
        "print(sorted(m for m in sys.modules if m.startswith('prom_middleware.')))\n"
        "print('prometheus_client' in sys.modules)"
    )
    modules, client = run(program).splitlines()
    assert modules == "['prom_middleware._version', 'prom_middleware.lazy']"
    assert client == "False"


@pytest.mark.parametrize(
    ("door", "others"),
    [("flask", "django twisted starlette"), ("django", "flask twisted starlette")],
)
def test_a_door_imports_its_own_framework_only(door: str, others: str) -> None:
    _import(f"prom_middleware.{door}")
    program = (
        f"import sys, prom_middleware.{door}\n"
        f"print([f for f in {others.split()!r} if f in sys.modules])"
    )
    assert run(program) == "[]"


# --- options


def test_the_options_and_their_defaults() -> None:
    config = Configuration()
    assert {name: getattr(config, name) for name in OPTIONS} == OPTIONS
    assert config.labels == {}
    fields = set(Configuration.__annotations__)
    assert fields == {*OPTIONS, "registry", "buckets", "labels"}
    assert set(Options.__annotations__) == fields


def test_the_default_registry_and_buckets_are_prometheus_clients() -> None:
    from prometheus_client import REGISTRY, Histogram

    config = Configuration()
    assert config.registry is REGISTRY
    assert config.buckets == Histogram.DEFAULT_BUCKETS[:-1]
    assert len(config.buckets) == 14


DOORS = [
    ("prom_middleware", "instrument", ["app"]),
    ("prom_middleware.asgi", "PrometheusMiddleware", ["app"]),
    ("prom_middleware.wsgi", "PrometheusMiddleware", ["app"]),
    ("prom_middleware.flask", "Prometheus", ["app"]),
    ("prom_middleware.django", "PrometheusMiddleware", ["get_response"]),
    ("prom_middleware.twisted", "instrument_site", ["site"]),
]


@pytest.mark.parametrize(("module", "name", "positional"), DOORS)
def test_doors_take_options_as_keywords_only(module: str, name: str, positional: list[str]) -> None:
    parameters = inspect.signature(getattr(_import(module), name)).parameters
    kinds = {p.name: p.kind for p in parameters.values()}
    assert list(kinds) == [*positional, "options"]
    assert kinds["options"] is inspect.Parameter.VAR_KEYWORD


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("prom_middleware.exposition", "make_asgi_app"),
        ("prom_middleware.exposition", "make_wsgi_app"),
        ("prom_middleware.exposition", "start_http_server"),
        ("prom_middleware.twisted", "MetricsResource"),
    ],
)
def test_what_prometheus_client_has_takes_access_as_a_keyword(module: str, name: str) -> None:
    parameters = inspect.signature(getattr(_import(module), name)).parameters
    assert parameters["access"].kind is inspect.Parameter.KEYWORD_ONLY
    assert parameters["access"].default is None


@pytest.mark.parametrize("name", ["make_asgi_app", "make_wsgi_app", "write_to_textfile"])
def test_arguments_are_those_of_prometheus_client(name: str) -> None:
    import prometheus_client

    ours = inspect.signature(getattr(import_module("prom_middleware.exposition"), name)).parameters
    theirs = inspect.signature(getattr(prometheus_client, name)).parameters
    positional = inspect.Parameter.POSITIONAL_OR_KEYWORD
    shared = [one for one in ours if ours[one].kind is positional]
    together = min(len(shared), len(theirs))  # an older one may have fewer
    assert shared[:together] == list(theirs)[:together]
    assert all(ours[one].default == theirs[one].default for one in shared[:together])


# --- metrics


@pytest.mark.parametrize("name", DEFAULT_METRICS)
def test_metrics_of_the_default_preset(name: str) -> None:
    from prometheus_client import CollectorRegistry

    from instrumentation.driver import core

    registry = CollectorRegistry()
    core(registry)
    collector: Any = next(iter(registry._collector_to_names))
    kind, labels = DEFAULT_METRICS[name]
    described = {f"{f.name}{'_total' * (f.type == 'counter')}": f for f in collector.describe()}
    assert described[name].type == kind
    assert described[name].documentation.endswith(".")
    assert set(described[name]._labelnames) == labels
    assert described.keys() == DEFAULT_METRICS.keys()


# --- the package itself


def test_the_command_line_tells_the_version() -> None:
    for command in ("--version", "--help"):
        done = subprocess.run(
            [sys.executable, "-m", "prom_middleware", command],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert "prom-middleware" in done.stdout
    assert prom_middleware.__version__ in run_version()


def run_version() -> str:
    from prom_middleware.cli import main

    with pytest.raises(SystemExit) as left:
        main(["--version"])
    assert left.value.code == 0
    return run("import prom_middleware; print(prom_middleware.__version__)")


def test_an_unknown_command_is_an_error() -> None:
    from prom_middleware.cli import main

    with pytest.raises(SystemExit) as left:
        main(["--nothing-of-the-kind"])
    assert left.value.code == 2


def test_the_version_is_the_distributions() -> None:
    from importlib.metadata import version

    assert version("prom_middleware") == prom_middleware.__version__


def test_the_package_is_typed() -> None:
    assert Path(prom_middleware.__file__).with_name("py.typed").exists()


def test_the_one_dependency_is_prometheus_client() -> None:
    from importlib.metadata import requires

    always = [line for line in requires("prom_middleware") or () if "extra ==" not in line]
    assert [re.split("[<>=]", line)[0].replace("_", "-") for line in always] == [
        "prometheus-client"
    ]


INDEXED = [
    path
    for path in sorted(PACKAGE.rglob("__init__.py"))
    if len(re.findall(r"^\w+(?:\.py|/) ", path.read_text("utf-8"), re.MULTILINE)) > 2
]


def test_rooms_say_what_is_in_them() -> None:
    assert len(INDEXED) >= 14


@pytest.mark.parametrize("index", INDEXED, ids=lambda path: path.parent.name)
def test_a_room_that_says_what_is_in_it_says_all_of_it(index: Path) -> None:
    text = ast.get_docstring(ast.parse(index.read_text("utf-8"))) or ""
    named = set(re.findall(r"\b(\w+)(?:\.py|/)(?=[ :])", text))
    there = {
        path.stem
        for path in index.parent.iterdir()
        if (path.suffix == ".py" or path.is_dir()) and not path.stem.startswith("__")
    }
    assert named == there
