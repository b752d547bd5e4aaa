"""A small shop in FastAPI, with sessions: they need itsdangerous, and a server is wanted too.

    pip install '.[fastapi]' itsdangerous 'uvicorn[standard]'
    python examples/fastapi/app.py --port 8000
    curl http://127.0.0.1:8000/items/7
    curl http://127.0.0.1:8000/metrics

`instrument(app)` is the one line. It stands outside SessionMiddleware, so scrapes touch no session
and requests that a middleware answers are recorded as well. Any ASGI server takes it, also with
several workers: `uvicorn --app-dir examples/fastapi app:app`.
"""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import AsyncIterator

import uvicorn
from fastapi import FastAPI, HTTPException, Request, WebSocket, WebSocketDisconnect
from fastapi.responses import StreamingResponse
from starlette.middleware.sessions import SessionMiddleware

from prom_middleware import instrument, runtime

ITEMS = 100

app = FastAPI(title="Shop")
app.add_middleware(SessionMiddleware, secret_key="for the example only")
instrument(app)
runtime.install()  # process, garbage collection, event loop, threads, versions


@app.get("/")
async def home(request: Request) -> dict[str, object]:
    return {"hello": request.session.get("user", "stranger"), "items": ITEMS}


@app.get("/items/{item_id}")
async def item(item_id: int) -> dict[str, object]:
    if item_id >= ITEMS:
        raise HTTPException(404, "No such item.")
    return {"id": item_id, "price": item_id * 100}


@app.post("/login/{name}")
async def login(name: str, request: Request) -> dict[str, str]:
    request.session["user"] = name
    return {"user": name}


@app.get("/account")
async def account(request: Request) -> dict[str, str]:
    if "user" not in request.session:
        raise HTTPException(401, "Log in first.")
    return {"user": request.session["user"]}


@app.get("/slow")
async def slow() -> dict[str, float]:
    await asyncio.sleep(0.3)
    return {"waited": 0.3}


@app.get("/boom")
async def boom() -> None:
    raise RuntimeError("An error that nobody catches.")


@app.get("/report")
async def report() -> StreamingResponse:
    """Answer in chunks: the time that counts is that of the last one."""

    async def rows() -> AsyncIterator[str]:
        for number in range(5):
            await asyncio.sleep(0.02)
            yield f"{number},{number * 100}\n"

    return StreamingResponse(rows(), media_type="text/csv")


@app.get("/events")
async def events() -> StreamingResponse:
    """Answer an event stream: it is no latency, and has a histogram of its own."""

    async def ticks() -> AsyncIterator[str]:
        for number in range(3):
            await asyncio.sleep(0.05)
            yield f"data: {number}\n\n"

    return StreamingResponse(ticks(), media_type="text/event-stream")


@app.websocket("/echo")
async def echo(websocket: WebSocket) -> None:
    await websocket.accept()
    try:
        while True:
            await websocket.send_text(await websocket.receive_text())
    except WebSocketDisconnect:
        pass


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, default=8000)
    uvicorn.run(app, host="127.0.0.1", port=parser.parse_args().port)
