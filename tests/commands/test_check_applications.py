"""`check module:app` of what has a life beyond one call: lifespans, and Twisted's reactor."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from commands import programs
from prom_middleware.commands.scraping import Page, Request, ScrapeError, scrape_app

LIFESPANS = """\
import asyncio

from prometheus_client import CollectorRegistry, Gauge

from prom_middleware import basic_auth, instrument
from prom_middleware.exposition import make_asgi_app

REGISTRY = CollectorRegistry()
OPEN = Gauge("shop_open", "Whether it is open.", registry=REGISTRY)


class Shop:
    '''An application whose metrics are there from its beginning to its end.'''

    def __init__(self, **answers):
        self.answers = answers
        self.metrics = make_asgi_app(REGISTRY)

    async def __call__(self, scope, receive, send):
        if scope["type"] == "lifespan":
            return await self.lifespan(scope, receive, send)
        assert scope["state"] == {"opened": True}, scope["state"]
        await self.metrics(scope, receive, send)

    async def lifespan(self, scope, receive, send):
        while True:
            what = (await receive())["type"].removeprefix("lifespan.")
            answer = self.answers.get(what, {"type": f"lifespan.{what}.complete"})
            if isinstance(answer, BaseException):
                raise answer
            if answer is None:
                await asyncio.Event().wait()
            if what == "startup":
                scope["state"]["opened"] = True
                OPEN.set(1)
            print(what, "in", asyncio.current_task().get_name())
            await send(answer)
            if what == "shutdown":
                return


def failing(what, message="the till is locked"):
    return {what: {"type": f"lifespan.{what}.failed", "message": message}}


shop = Shop()
around = instrument(Shop(), registry=CollectorRegistry(), metrics_path=None)
closed = Shop(**failing("startup", "Traceback (...)\\nRuntimeError: the till is locked\\n"))
silent = Shop(**failing("startup", ""))
stuck = Shop(startup=None)
broken = Shop(shutdown=RuntimeError("the door is jammed"))
jammed = Shop(**failing("shutdown", "the door is jammed"))
endless = Shop(shutdown=None)
unborn = Shop(startup=ValueError("no lifespan here"))


async def bare(scope, receive, send):
    assert scope["type"] == "http"
    await make_asgi_app(REGISTRY)(scope, receive, send)


async def nothing(scope, receive, send):
    pass


async def late(scope, receive, send):
    await asyncio.Event().wait()


guarded = instrument(bare, registry=CollectorRegistry(), access=basic_auth("joe", "secret"))
private = instrument(bare, registry=CollectorRegistry(), access=lambda request: False)


async def impatient(scope, receive, send):
    raise TimeoutError("the till does not answer")


def unstarted(environ, start_response):
    return []


def quits(environ, start_response):
    raise SystemExit(0)


async def ends(scope, receive, send):
    raise SystemExit(0)


class Ended:
    def collect(self):
        raise SystemExit(0)


ended = Ended()
abandoned = Shop(startup=SystemExit(0))
"""


# For what never comes; the rest has the time that it needs.
HASTE = dict.fromkeys(("stuck", "late", "endless", "never"), ("--timeout=2",))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "shop.py").write_text(LIFESPANS)
    return tmp_path


def run(folder: Path, name: str, *options: str) -> Any:
    return programs.run("check", f"shop:{name}", *options, cwd=folder)


def ask(folder: Path, name: str, *options: str, imported: str = "") -> Any:
    return programs.ask("check", f"shop:{name}", *options, cwd=folder, imported=imported)


@pytest.mark.parametrize("name", ["shop", "around"])
def test_the_lifespan_begins_before_the_scrape_and_ends_after_it(folder: Path, name: str) -> None:
    done = run(folder, name, "--extended")
    assert (done.returncode, done.stderr) == (0, "")
    started, ended, *table = done.stdout.splitlines()
    assert started.startswith("startup in ")
    assert ended == started.replace("startup", "shutdown")  # and in the same task
    assert any(line.startswith("shop_open ") for line in table)


def test_an_application_without_a_lifespan(folder: Path) -> None:
    done = ask(folder, "bare")
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("closed", "its lifespan fails when it begins: RuntimeError: the till is locked"),
        ("silent", "its lifespan fails when it begins: it does not say why"),
        ("stuck", "its lifespan does not begin within 2 seconds"),
        ("unborn", "AssertionError: {} (its lifespan has ended with ValueError: no lifespan here)"),
        ("nothing", "/metrics: it has started no response"),
        ("late", "its lifespan does not begin within 2 seconds"),
        ("impatient", "TimeoutError: the till does not answer"),
        ("unstarted", "/metrics: it has started no response"),
        ("quits", "it ends the program: SystemExit(0)"),
        ("ends", "SystemExit: 0 (its lifespan has ended with SystemExit: 0)"),
        ("ended", "it ends the program: SystemExit(0)"),
        ("abandoned", "AssertionError: {} (its lifespan has ended with SystemExit: 0)"),
        ("guarded", "/metrics is answered with 401; who may scrape has to say who they are"),
        ("private", "/metrics is answered with 403; access= does not let 127.0.0.1 scrape"),
    ],
)
def test_where_it_fails(folder: Path, name: str, said: str) -> None:
    done = ask(folder, name, *HASTE.get(name, ()))
    assert done.returncode == 1
    assert done.stderr.startswith(f"prom-middleware check: shop:{name}: {said}")
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("broken", "its lifespan has ended with RuntimeError: the door is jammed"),
        ("jammed", "its lifespan fails when it ends: the door is jammed"),
        ("endless", "its lifespan does not end within 2 seconds"),
    ],
)
def test_what_fails_at_the_end_is_told_and_the_page_is_checked(
    folder: Path, name: str, said: str
) -> None:
    done = ask(folder, name, *HASTE.get(name, ()), "--format=json")
    assert done.returncode == 0
    assert done.stderr == f"shop:{name}: {said}\n"
    assert '"metric": "shop_open"' in done.stdout


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
@pytest.mark.parametrize("errors", ["2>&-", "2>/dev/full"])
def test_what_cannot_be_told_is_not_in_the_json(folder: Path, errors: str) -> None:
    command = [*programs.COMMAND, "check", "shop:broken", "--format=json"]
    script = f'exec "$@" {errors}'
    done = subprocess.run(
        ["bash", "-c", script, "bash", *command], cwd=folder, stdout=subprocess.PIPE, timeout=60
    )
    told = done.stdout.decode().partition("{")
    assert (done.returncode, "jammed" in told[0]) == (0, False)
    assert json.loads(told[1] + told[2])["exit_code"] == 0


@pytest.mark.parametrize(
    ("ending", "said"),
    [
        ("complete", "nothing here"),
        ("failed", r"LookupError: nothing here \(its lifespan fails when it ends: it does not say"),
    ],
)
def test_the_lifespan_ends_after_a_scrape_that_fails(ending: str, said: str) -> None:
    told: list[str] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            raise LookupError("nothing here")
        for answer in ("startup.complete", f"shutdown.{ending}"):
            told.append((await receive())["type"])
            await send({"type": f"lifespan.{answer}"})

    with pytest.raises((LookupError, ScrapeError), match=said):
        scrape_app(app, Request("/metrics", "text/plain", 30))
    assert told == ["lifespan.startup", "lifespan.shutdown"]


REQUEST = Request("/shop/metrics", "text/plain", 30)
PAGE = Page(200, "text/plain", b"a 1\n/shop/metrics from 127.0.0.1")


def test_what_a_wsgi_application_may_do() -> None:
    closed: list[bool] = []

    class Body(list[bytes]):
        def close(self) -> None:
            closed.append(True)

    def app(environ: Any, start_response: Any) -> Body:
        start_response("500 Error", [("content-type", "text/html")])
        start_response("200 OK", [("CONTENT-TYPE", "text/plain")])(b"a 1\n")
        return Body([f"{environ['PATH_INFO']} from {environ['REMOTE_ADDR']}".encode()])

    assert scrape_app(app, REQUEST) == PAGE
    assert closed == [True]


def test_what_an_asgi_application_may_do() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            return
        assert await receive() == {"type": "http.request", "body": b"", "more_body": False}
        leaving = asyncio.ensure_future(receive())
        headers = [(b"Content-Type", b"text/plain")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"a 1\n", "more_body": True})
        await asyncio.sleep(0)
        assert not leaving.done()
        leaving.cancel()
        body = f"{scope['path']} from {scope['client'][0]}".encode()
        await send({"type": "http.response.body", "body": body, "more_body": True})
        await send({"type": "http.response.body"})

    assert scrape_app(app, REQUEST) == PAGE


QUERY = "/m\u00e9triques?name[]=caf%C3%A9&b"


def test_a_path_and_a_query_as_a_server_has_them() -> None:
    """https://peps.python.org/pep-3333/#unicode-issues and ASGI's connection scope."""

    def wsgi(environ: Any, start_response: Any) -> list[bytes]:
        start_response("200 OK", [])
        path = environ["PATH_INFO"].encode("latin-1").decode()
        return [f"{path} {environ['QUERY_STRING']}".encode()]

    async def asgi(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            return
        body = f"{scope['path']} {scope['raw_path'].decode()} {scope['query_string'].decode()}"
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": body.encode()})

    assert scrape_app(asgi, Request("/a%2Fb", "", 30)).body == b"/a/b /a%2Fb "
    for target in (QUERY, QUERY.replace("\u00e9", "%C3%A9").replace("%C3%A9&", "\u00e9&")):
        request = Request(target, "text/plain", 30)
        said = "/m\u00e9triques {}name[]=caf%C3%A9&b"
        assert scrape_app(wsgi, request).body.decode() == said.format("")
        assert scrape_app(asgi, request).body.decode() == said.format("/m%C3%A9triques ")


def test_a_lifespan_of_starlette(tmp_path: Path) -> None:
    pytest.importorskip("starlette")
    (tmp_path / "shop.py").write_text(STARLETTE)
    done = run(tmp_path, "app", "--extended")
    assert (done.returncode, done.stderr) == (0, "")
    assert "shop_open " in done.stdout
    done = ask(tmp_path, "closed")
    assert done.returncode == 1
    assert "its lifespan fails when it begins: RuntimeError: the till is locked" in done.stderr


# Old ones are warned of what they import.
STARLETTE = """\
import warnings
from contextlib import asynccontextmanager

from prometheus_client import CollectorRegistry, Gauge

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from starlette.applications import Starlette

from prom_middleware import instrument

registry = CollectorRegistry()


@asynccontextmanager
async def opening(app):
    Gauge("shop_open", "Whether it is open.", registry=registry).set(1)
    yield


@asynccontextmanager
async def failing(app):
    raise RuntimeError("the till is locked")
    yield


app = instrument(Starlette(lifespan=opening), registry=registry)
closed = instrument(Starlette(lifespan=failing), registry=registry)
"""

# Not the reactor, which has files that processes cannot share.
SITES = "prom_middleware.twisted twisted.web.server"
# Twisted warns of itself when it is imported, so it is run without `-W error`.
TWISTED = """\
from prometheus_client import CollectorRegistry, Counter
from twisted.internet import reactor, task
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Site

from prom_middleware import instrument
from prom_middleware.twisted import MetricsResource

registry = CollectorRegistry()
Counter("jobs", "Jobs.", registry=registry)


class Late(Resource):
    isLeaf = True

    def __init__(self, seconds):
        super().__init__()
        self.seconds = seconds

    def render_GET(self, request):
        print("# asked", flush=True)
        task.deferLater(reactor, self.seconds, self.finish, request)
        return NOT_DONE_YET

    def finish(self, request):
        request.setHeader("Content-Type", "text/plain")
        request.write(b"# HELP late_total Late.\\n# TYPE late_total counter\\nlate_total 1\\n")
        request.finish()


def with_child(child):
    root = Resource()
    root.putChild(b"metrics", child)
    return root


site = instrument(Resource(), registry=registry)
resource = with_child(MetricsResource(registry))
plain = Site(with_child(MetricsResource(registry)))
late = with_child(Late(0.05))
never = with_child(Late(3600))
accented = instrument(Resource(), registry=registry, metrics_path="/m\u00e9triques")
empty = Resource()
"""
KLEIN = """\
from klein import Klein
from prometheus_client import CollectorRegistry, Counter

from prom_middleware.twisted import MetricsResource

registry = CollectorRegistry()
Counter("jobs", "Jobs.", registry=registry)
app = Klein()


@app.route("/metrics", branch=True)
def metrics(request):
    return MetricsResource(registry)
"""


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    pytest.importorskip("twisted.web")
    monkeypatch.setattr(programs, "COMMAND", [sys.executable, "-m", "prom_middleware"])
    (tmp_path / "shop.py").write_text(TWISTED)
    return tmp_path


@pytest.mark.parametrize(
    ("name", "metric"),
    [
        ("site", "jobs_total"),
        ("resource", "jobs_total"),
        ("plain", "jobs_total"),
        ("late", "late_total"),
    ],
)
def test_a_site_of_twisted(site: Path, name: str, metric: str) -> None:
    done = ask(site, name, "--extended", imported=SITES)
    assert (done.returncode, done.stderr) == (0, "")
    assert f"{metric} " in done.stdout


def test_a_path_and_a_query_of_a_site(site: Path) -> None:
    query = "/m\u00e9triques?name[]=jobs_total"
    done = ask(site, "accented", "--extended", "--path", query, imported=SITES)
    assert (done.returncode, done.stderr) == (0, "")
    assert [line.split()[0] for line in done.stdout.splitlines()[1:-1]] == ["jobs_total"]


def test_an_application_of_klein(site: Path) -> None:
    pytest.importorskip("klein")
    (site / "shop.py").write_text(KLEIN)
    done = run(site, "app", "--extended")
    assert (done.returncode, done.stderr) == (0, "")
    assert "jobs_total " in done.stdout


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("empty", "/metrics is answered with 404; is it instrumented?"),
        ("never", "/metrics: no answer within 2 seconds"),
    ],
)
def test_where_a_site_fails(site: Path, name: str, said: str) -> None:
    done = ask(site, name, *HASTE.get(name, ()), imported=SITES)
    assert done.returncode == 1
    assert f"prom-middleware check: shop:{name}: {said}\n" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_site_that_is_interrupted(site: Path, number: signal.Signals) -> None:
    process = programs.start(["check", "shop:never"], cwd=site)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "# asked\n"
    finally:
        process.send_signal(number)
        _, err = process.communicate(timeout=30)
    assert (process.returncode, err) == (128 + number, "")
