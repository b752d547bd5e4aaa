"""An application under a web-config file's headers and rate limit."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from prom_middleware.exposition.responses import message, without_body
from prom_middleware.exposition.webconfig.watching import WebConfigFile

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment


def governed(app: WSGIApplication, file: WebConfigFile) -> WSGIApplication:
    """Return `app` with the headers and the rate limit of a web-config file."""

    def governed_app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        def start(status: str, headers: list[tuple[str, str]], *exc_info: Any) -> Any:
            return start_response(status, [*headers, *file.headers()], *exc_info)

        if file.allows_one_more():
            return app(environ, start)
        answer = without_body(message(429, "Too many requests."), environ["REQUEST_METHOD"])
        start("429 Too Many Requests", answer.headers)
        return answer.parts

    return governed_app
