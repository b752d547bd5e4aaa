"""A program that starts its server itself: each worker imports it before it knows what to run."""

from __future__ import annotations

import multiprocessing
import os
import sys
from typing import Any

from prom_middleware import instrument


async def items(scope: Any, receive: Any, send: Any) -> None:
    assert scope["type"] == "http"
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"%d end" % os.getpid()})


app = instrument(items, labels={"page": lambda facts: facts.path})


def run_uvicorn(port: int) -> None:
    import uvicorn

    uvicorn.run("program:app", port=port, workers=2, lifespan="off", log_level="error")


def run_hypercorn(port: int) -> None:
    from hypercorn.config import Config
    from hypercorn.run import run

    config = Config()
    config.bind, config.workers = [f"127.0.0.1:{port}"], 2
    config.application_path, config.loglevel = "program:app", "ERROR"
    run(config)


def run_alone(port: int) -> None:
    import uvicorn

    uvicorn.run("program:app", port=port, lifespan="off", log_level="error")


def run_process(port: int) -> None:
    process = multiprocessing.get_context("spawn").Process(target=run_alone, args=(port,))
    process.daemon = True
    process.start()
    process.join()


RUNS = {"uvicorn": run_uvicorn, "hypercorn": run_hypercorn, "process": run_process}

if __name__ == "__main__":
    RUNS[sys.argv[1]](int(sys.argv[2]))
