"""Gateways to talk to: our command as users start it, and the application in this process."""

from __future__ import annotations

import asyncio
import base64
import http.client
import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from threading import Thread
from typing import Any, NamedTuple
from urllib.parse import unquote

from commands.programs import Wrapper, start
from prom_middleware.pushgateway.asgi import GatewayApp
from prom_middleware.pushgateway.server import GatewayServer

PROTOBUF = {
    "Content-Type": "application/vnd.google.protobuf; "
    "proto=io.prometheus.client.MetricFamily; encoding=delimited"
}
RECORDED: dict[str, Any] = json.loads(
    (Path(__file__).parent / "pushgateway-1.11.2.json").read_text()
)
# What a gateway says of itself, ours and the original.
OWN = re.compile(r"(?:# (?:HELP|TYPE) )?(?:go|process|promhttp|pushgateway)_")
STAMP = re.compile(r"^(push_(?:failure_)?time_seconds\{.*\}) (?!0$)\S+$")


class Reply(NamedTuple):
    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode()


class Client:
    """Sends requests exactly as they are written."""

    def __init__(self, port: int, host: str = "127.0.0.1") -> None:
        self.port = port
        self._connection = http.client.HTTPConnection(host, port, timeout=30)

    def __call__(
        self,
        method: str,
        path: str,
        body: bytes | str = b"",
        headers: Mapping[str, str] | None = None,
    ) -> Reply:
        content = body.encode() if isinstance(body, str) else body
        self._connection.request(method, path, content, dict(headers or {}))
        response = self._connection.getresponse()
        names = {name.lower(): value for name, value in response.getheaders()}
        return Reply(response.status, names, response.read())

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *raised: object) -> None:
        self.close()

    def close(self) -> None:
        self._connection.close()


class Mounted:
    """The application, called without a server."""

    def __init__(self, app: Any) -> None:
        self.app = app

    def __call__(
        self,
        method: str,
        path: str,
        body: bytes | str = b"",
        headers: Mapping[str, str] | None = None,
    ) -> Reply:
        content = body.encode() if isinstance(body, str) else body
        return asyncio.run(self._called(method, path, content, headers or {}))

    async def _called(
        self, method: str, target: str, body: bytes, headers: Mapping[str, str]
    ) -> Reply:
        path, _, query = target.partition("?")
        scope = {
            "type": "http",
            "method": method,
            "path": unquote(path),
            "raw_path": path.encode(),
            "query_string": query.encode(),
            "headers": [(name.lower().encode(), one.encode()) for name, one in headers.items()],
            "client": ("127.0.0.1", 1),
            "root_path": "",
        }
        sent: list[Any] = []

        async def receive() -> Any:
            return {"type": "http.request", "body": body, "more_body": False}

        async def send(message: Any) -> None:
            sent.append(message)

        await self.app(scope, receive, send)
        names = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
        return Reply(sent[0]["status"], names, b"".join(one["body"] for one in sent[1:]))


@contextmanager
def serving(*arguments: str, cwd: Path | None = None, wrap: Wrapper = list) -> Iterator[Client]:
    """Start `prom-middleware pushgateway` on a free port."""
    listen = "--web.listen-address=127.0.0.1:0"
    process = start(["pushgateway", listen, *arguments], cwd=cwd, wrap=wrap)
    try:
        assert process.stdout is not None
        told = process.stdout.readline()
        assert told, process.stderr.read() if process.stderr else ""
        client = Client(int(told.rpartition(" ")[2]))
        yield client
        client.close()
    finally:
        process.kill()
        process.communicate(timeout=30)


@contextmanager
def served(app: GatewayApp) -> Iterator[GatewayServer]:
    """Serve an application's gateway in this process, with the server of the command."""
    server = GatewayServer(("127.0.0.1", 0), app.gateway)
    thread = Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def body_of(step: Mapping[str, Any]) -> bytes:
    """Return the body of a recorded request."""
    body = step["body"]
    return base64.b64decode(body["base64"]) if "base64" in body else body["text"].encode()


def shown(exposition: str) -> str:
    """Return an exposition as the recorded ones are: without own metrics, times masked."""
    lines = [line for line in exposition.split("\n") if not own_line(line)]
    return "\n".join(STAMP.sub(r"\1 <T>", line) for line in lines)


def own_line(line: str) -> bool:
    """Tell whether a line is of the gateway's own metrics: none of theirs has a job."""
    return bool(OWN.match(line)) and (line.startswith("#") or "job=" not in line)
