"""The shop: takes orders. It runs in every data centre, here in two of them.

    python examples/federation/shop.py --port 8001
    curl -X POST http://127.0.0.1:8001/orders
    curl http://127.0.0.1:8001/metrics
    curl -g 'http://127.0.0.1:8001/federate?match[]=http_requests_total'

A Prometheus of the same data centre scrapes /metrics. /federate, which an application has only
where it asks for it, gives chosen series to a Prometheus that need not have all of them.
"""

from __future__ import annotations

import argparse
import itertools

import uvicorn
from fastapi import FastAPI, HTTPException
from starlette.routing import Route

from prom_middleware import instrument
from prom_middleware.exposition import make_asgi_app

app = FastAPI()
app.routes.append(Route("/federate", make_asgi_app()))
app = instrument(app)

numbers = itertools.count(1)
orders: set[int] = set()


@app.post("/orders", status_code=201)
async def order() -> dict[str, int]:
    number = next(numbers)
    orders.add(number)
    return {"order": number}


@app.get("/orders/{number}")
async def show(number: int) -> dict[str, int]:
    if number not in orders:
        raise HTTPException(404)
    return {"order": number}


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, default=8001)
    uvicorn.run(app, host="127.0.0.1", port=parser.parse_args().port, log_level="warning")
