"""The README says what is so: its blocks run, its tables are true, its links lead somewhere."""

from __future__ import annotations

import ast
import json
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from prometheus_client import REGISTRY, CollectorRegistry, Histogram

from metrics import series
from prom_middleware.errors import MetricConflictError
from prom_middleware.instrumentation import Configuration, Options
from prom_middleware.wsgi import PrometheusMiddleware
from readme_block import KINDS

ROOT = Path(__file__).parent.parent
README = ROOT / "README.md"
TEXT = README.read_text(encoding="utf-8")


class Block(NamedTuple):
    """One fenced block; `info` is what stands behind the opening fence."""

    name: str
    info: str
    code: str


def blocks(text: str) -> list[Block]:
    found: list[Block] = []
    heading, info, code = "", None, []
    for number, line in enumerate(text.splitlines(), 1):
        if info is None and line.startswith("```"):
            info, code, opened = line.removeprefix("```"), [], number
        elif info is not None and line == "```":
            found.append(Block(f"{heading}:{opened}", info, "\n".join(code) + "\n"))
            info = None
        elif info is not None:
            code.append(line)
        elif line.startswith("#"):
            heading = line.lstrip("# ")
    assert info is None, "a fence is not closed"
    return found


BLOCKS = blocks(TEXT)
PROMTOOL = {"config", "rules"}
NEEDED = {"django": "django", "twisted": "twisted"}


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: block.name)
def test_block(block: Block) -> None:
    language, _, kind = block.info.partition(" ")
    assert language in ("python", "sh", "yaml"), f"nobody runs {language!r} blocks"
    if language == "yaml":  # promtool does: see servers/test_growing.py
        assert kind in PROMTOOL
        return
    if language == "sh":
        check_commands(block.code)
        return
    assert kind in KINDS, f"nobody runs python blocks of the kind {kind!r}"
    skip_without(NEEDED.get(kind), *re.findall(r"^(?:from|import) (\w+)", block.code, re.M))
    told = run_block(kind, block.code)
    if kind != "run":
        check_answers(told)


def skip_without(*modules: str | None) -> None:
    pytest.importorskip("httpx", reason="httpx is not installed")
    for module in modules:
        if module is not None and find_spec(module) is None:
            pytest.skip(f"{module} is not installed")


def run_block(kind: str, code: str) -> dict[str, Any]:
    """Run a block in a process of its own: they all use the default registry."""
    done = subprocess.run(
        [sys.executable, str(Path(__file__).with_name("readme_block.py")), kind],
        input=code,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    told: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return told


def check_answers(told: dict[str, Any]) -> None:
    """The page was answered and recorded; the scrape is one, open or behind its password."""
    assert told["scrape"] == 200
    assert told["without password"] == (401 if told["protected"] else 200)
    assert "set-cookie" not in told["headers"]
    assert "cookie" not in str(told["headers"]).lower()
    doors = [told.get("before"), told]
    requests = [
        (dict(labels), value)
        for (name, labels), value in series(told["text"]).items()
        if name == "http_requests_total"
    ]
    assert [value for _, value in requests] == [len([door for door in doors if door])]
    [(labels, _)] = requests
    assert (labels["method"], labels["status"]) == ("GET", str(told["status"]))
    if told["template"] == "/":
        assert labels["route"] in ("/", "<unmatched>")
    else:
        assert (told["status"], labels["route"]) == (200, plain(told["template"]))


def plain(template: str) -> str:
    """Return a template as Starlette and FastAPI tell it: without the convertor."""
    return re.sub(r"\{(\w+):\w+\}", r"{\1}", template)


def check_commands(code: str) -> None:
    for line in code.splitlines():
        program, *words = shlex.split(line)
        assert program in COMMANDS, f"nobody runs {line!r}"
        COMMANDS[program](words)


def check_make(words: list[str]) -> None:
    make = shutil.which("make")
    if make is None:
        pytest.skip("make is missing: apt-get install make")
    done = subprocess.run(
        [make, "-n", *words], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr


def check_pip(words: list[str]) -> None:
    """It is not run, for it would fetch packages: what it names is there."""
    command, what = words
    directory, _, extras = what.rstrip("]").partition("[")
    assert (command, directory) == ("install", ".")
    assert not extras or set(extras.split(",")) <= EXTRAS


COMMANDS: dict[str, Callable[[list[str]], None]] = {"make": check_make, "pip": check_pip}
# Python 3.10 has no reader of TOML.
_PROJECT = (ROOT / "pyproject.toml").read_text("utf-8")
_, _, _REST = _PROJECT.partition("optional-dependencies]\n")
EXTRAS = set(re.findall(r"^([\w-]+) = \[", _REST.partition("\n[")[0], re.MULTILINE))


def test_there_is_a_block_of_every_kind() -> None:
    assert {block.info.partition(" ")[2] for block in BLOCKS} == {*KINDS, *PROMTOOL, ""}


def test_make_commands_in_the_text_are_targets() -> None:
    targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.M))
    assert set(re.findall(r"`(?:\w+=\w+ )*make ([\w-]+)", TEXT)) <= targets


def test_a_source_distribution_has_what_the_text_names() -> None:
    include = re.search(r"sdist\]\n.*?include = \[(.*?)\]", _PROJECT, re.DOTALL)
    assert include is not None
    patterns = [Path(one) for one in re.findall(r'"([^"]+)"', include[1])]
    named = {"Makefile", "noxfile.py", "requirements", "tests", "examples"}
    named |= {link.partition("/")[0] for link in re.findall(r"\]\(([\w./-]+)\)", TEXT)}
    missing = {one for one in named if not any(Path(one).match(str(p)) for p in patterns)}
    assert missing == set()


def table(heading: str) -> list[list[str]]:
    """Return the rows of the first table below `heading`, without its head."""
    section = TEXT.split(f"\n## {heading}\n")[1].split("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


Families = dict[str, tuple[str, frozenset[str]]]


def documented() -> Families:
    """Read the table of metrics; a row may have several names, each with a type and labels."""
    found: Families = {}
    for names, types, labels in table("Metrics"):
        kinds = types.split(", ")
        sets = re.sub(r"\([^)]*\)", "", labels).split("; ")
        for index, name in enumerate(re.findall(r"`(\w+)`", names)):
            own = index if len(kinds) > 1 else 0
            found[name] = (kinds[own], frozenset(re.findall(r"\w+", sets[own])) - {"none"})
    return found


def described() -> Families:
    registry = CollectorRegistry()
    door = PrometheusMiddleware(lambda *_: [], registry=registry)
    [collector] = {id(one): one for one in registry._collector_to_names}.values()
    assert door.core.recorder is collector.recorder  # type: ignore[attr-defined]
    families: Families = {}
    for family in collector.describe():
        name = family.name + "_total" * (family.type == "counter")
        families[name] = (family.type, frozenset(family._labelnames))  # type: ignore[attr-defined]
    return families


def test_the_extras() -> None:
    named = {name for extra, _, _ in table("Install") for name in re.findall(r"`([\w-]+)`", extra)}
    assert named == EXTRAS


def test_what_doors_on_one_registry_must_agree_on() -> None:
    options: list[dict[str, Any]] = [
        {"buckets": [1]},
        {"native_histograms": True},
        {"labels": {"app": "shop"}},
    ]
    for option in options:
        registry = CollectorRegistry()
        PrometheusMiddleware(lambda *_: [], registry=registry)
        with pytest.raises(MetricConflictError):
            PrometheusMiddleware(lambda *_: [], registry=registry, **option)
    assert "Doors on one registry must agree on `preset`, `buckets`, `native_histograms`" in TEXT


def test_the_only_preset() -> None:
    from prom_middleware.instrumentation.presets import PRESETS

    assert list(PRESETS) == ["default"]
    assert "this is the only one so far" in TEXT


def test_where_extra_labels_are() -> None:
    registry = CollectorRegistry()
    PrometheusMiddleware(lambda *_: [], registry=registry, labels={"app": "shop"})
    [collector] = {id(one): one for one in registry._collector_to_names}.values()
    having = {one.name for one in collector.describe() if "app" in one._labelnames}  # type: ignore[attr-defined]
    assert having == {
        *("http_requests", "http_request_duration_seconds", "http_stream_duration_seconds"),
        *("http_request_body_bytes", "http_response_body_bytes"),
        *("http_request_exceptions", "http_responses_aborted"),
    }


def test_the_facts_of_a_scrape() -> None:
    from prom_middleware.exposition import ScrapeRequest

    [said] = re.findall(r"`ScrapeRequest`\s+of\s+[^,]+, which has\n\n(.*?)\n\n", TEXT, re.DOTALL)
    names = [name for name in re.findall(r"`(\w+)`", said) if name != "None"]
    assert list(dict.fromkeys(names)) == list(ScrapeRequest._fields)


def test_the_metrics() -> None:
    assert documented() == described()


def test_the_reasons_of_an_abort() -> None:
    from prom_middleware.instrumentation import DISCONNECT, ERROR, INCOMPLETE

    [labels] = [row[2] for row in table("Metrics") if "aborted" in row[0]]
    assert set(re.findall(r"`(\w+)`", labels)) == {DISCONNECT, ERROR, INCOMPLETE}


def test_the_options() -> None:
    names = [name.strip("`") for name, _, _ in table("Options")]
    assert names == list(Options.__annotations__)


@pytest.mark.parametrize(
    ("name", "default"), [(name.strip("`"), default) for name, default, _ in table("Options")]
)
def test_the_default_of(name: str, default: str) -> None:
    if default == "the 14 of `prometheus_client`":
        value: Any = Histogram.DEFAULT_BUCKETS[:-1]
        assert len(value) == 14
    elif default == "`REGISTRY`":
        value = REGISTRY
    else:
        value = ast.literal_eval(default.strip("`"))
    given = getattr(Configuration.from_options({name: value}), name)
    assert given == getattr(Configuration(), name)


LINKS = re.findall(r"\]\(([^)\s]+)\)", TEXT)


@pytest.mark.parametrize("link", sorted({link for link in LINKS if "://" not in link}))
def test_link(link: str) -> None:
    path, _, anchor = link.partition("#")
    assert not path or (ROOT / path).exists()
    if not path:
        headings = re.findall(r"^#+ (.*)$", TEXT, re.M)
        assert anchor in {re.sub(r"[^\w -]", "", h).lower().replace(" ", "-") for h in headings}


@pytest.mark.parametrize("directory", re.findall(r"`(examples/[\w/]*)`", TEXT))
def test_directory(directory: str) -> None:
    assert (ROOT / directory).is_dir()


@pytest.mark.parametrize(
    "name", ["make_asgi_app", "make_wsgi_app", "start_http_server", "write_to_textfile"]
)
def test_what_exposition_has(name: str) -> None:
    import prom_middleware.exposition

    assert f"`{name}`" in TEXT
    assert hasattr(prom_middleware.exposition, name)
