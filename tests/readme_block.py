"""Run one block of the README as its kind says, and tell what came of it: KIND < block."""

from __future__ import annotations

import asyncio
import json
import os
import re
import sys
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

PATH = re.compile(r"""["'](/[^"' ]*)["']""")
PLACEHOLDER = re.compile(r"\{\w+(?::\w+)?\}|<(?:\w+:)?\w+>")
URL = "http://testserver"


def main() -> None:
    kind, block = sys.argv[1], sys.stdin.read()
    print(json.dumps(KINDS[kind](block)))


def execute(block: str) -> dict[str, Any]:
    """Execute `block` as a module of its own would be."""
    namespace: dict[str, Any] = {"__name__": "block"}
    exec(compile(block, "README.md", "exec", dont_inherit=True), namespace)
    return namespace


def run(block: str) -> dict[str, Any]:
    execute(block)
    return {}


def paths(block: str) -> tuple[str, str]:
    """Return a template that `block` serves ("/" where it names none), and its metrics' path."""
    found = PATH.findall(block)
    metrics = next((path for path in found if path.endswith("metrics")), "/metrics")
    served = re.search(r"""(?:Route\(|\.get\(|\.route\()["'](/[^"']*)["']""", block)
    template = served[1] if served and served[1] != metrics else "/"
    return template, metrics


def answers(client: Any, block: str) -> dict[str, Any]:
    """Ask for a page, then for the metrics with and without the password that `block` sets."""
    template, metrics = paths(block)
    access = re.search(r"""basic_auth\("([^"]*)", "([^"]*)"\)""", block)
    page = client.get(PLACEHOLDER.sub("3", template))
    scrape = client.get(metrics, auth=access.groups() if access else None)
    return {
        "template": template,
        "status": page.status_code,
        "scrape": scrape.status_code,
        "without password": client.get(metrics).status_code,
        "protected": access is not None,
        "headers": list(scrape.headers),
        "text": scrape.text,
    }


def wsgi(block: str) -> dict[str, Any]:
    import httpx

    app = execute(block)["app"]
    with httpx.Client(transport=httpx.WSGITransport(app), base_url=URL) as client:
        return answers(client, block)


class ASGIClient:
    """A synchronous look at an ASGI application; httpx has an asynchronous one only."""

    def __init__(self, app: Any) -> None:
        self.app = app

    def get(self, path: str, **options: Any) -> Any:
        return asyncio.run(self._get(path, options))

    async def _get(self, path: str, options: dict[str, Any]) -> Any:
        import httpx

        transport = httpx.ASGITransport(self.app)
        async with httpx.AsyncClient(transport=transport, base_url=URL) as client:
            return await client.get(path, **options)


def asgi(block: str) -> dict[str, Any]:
    return answers(ASGIClient(execute(block)["app"]), block)


SETTINGS = """
ALLOWED_HOSTS = ["*"]
MIDDLEWARE = ["django.middleware.common.CommonMiddleware"]
ROOT_URLCONF = "readme_urls"
SECRET_KEY = "only for tests"
USE_TZ = True
"""
URLS = """
from django.http import HttpResponse
from django.urls import path
urlpatterns = [path("users/<int:id>/", lambda request, id: HttpResponse(str(id)))]
"""


def django(block: str) -> dict[str, Any]:
    with TemporaryDirectory() as directory:
        Path(directory, "readme_settings.py").write_text(SETTINGS + block, encoding="utf-8")
        Path(directory, "readme_urls.py").write_text(URLS, encoding="utf-8")
        sys.path.insert(0, directory)
        os.environ["DJANGO_SETTINGS_MODULE"] = "readme_settings"
        return _django_answers()


def _django_answers() -> dict[str, Any]:
    import httpx
    from django.core.asgi import get_asgi_application
    from django.core.wsgi import get_wsgi_application

    page = """Route("/users/<int:id>/")"""
    with httpx.Client(
        transport=httpx.WSGITransport(get_wsgi_application()), base_url=URL
    ) as client:
        first = answers(client, page)
    second = answers(ASGIClient(get_asgi_application()), page)
    return {**second, "before": first}


def twisted(block: str) -> dict[str, Any]:
    import httpx
    from twisted.internet import reactor, threads

    site = execute(block)["site"]
    loop: Any = reactor
    port = loop.listenTCP(0, site, interface="127.0.0.1")
    url = f"http://127.0.0.1:{port.getHost().port}"
    found: dict[str, Any] = {}

    def ask() -> None:
        with httpx.Client(base_url=url, trust_env=False, timeout=20) as client:
            found.update(answers(client, block))

    threads.deferToThread(ask).addBoth(lambda _: loop.stop())
    loop.run()
    return found


KINDS: dict[str, Callable[[str], dict[str, Any]]] = {
    "asgi": asgi,
    "django": django,
    "run": run,
    "twisted": twisted,
    "wsgi": wsgi,
}

if __name__ == "__main__":
    main()
