"""A WSGI application whose workers have work done by a pool of processes, which records as well."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from typing import Any

from prom_middleware import instrument


def pages(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
    _, _, method = environ["PATH_INFO"].partition("/pool/")
    if method:
        context = multiprocessing.get_context(method)
        with ProcessPoolExecutor(1, mp_context=context) as pool:
            pool.submit(work, method).result(60)
    start_response("200 OK", [])
    return [b"%d %d end" % (os.getpid(), os.getppid())]


def work(method: str) -> None:
    """Have the application answer a request in this process."""
    environ = {"REQUEST_METHOD": "GET", "PATH_INFO": f"/in-a-{method}"}
    answer = app(environ, lambda *start: None)
    assert list(answer)


app = instrument(pages, labels={"page": lambda facts: facts.path})
