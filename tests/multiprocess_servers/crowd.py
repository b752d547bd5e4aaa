"""Clients that send one request after another, and know which answers they got whole."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from http.client import HTTPConnection, HTTPException, HTTPResponse
from threading import Event, Lock, Thread
from types import TracebackType

CLIENTS = 6
REST = 0.02  # seconds between two requests of a client, at most
TIMEOUT = 60.0  # a worker that is gone closes its connections; nothing else should take long

# Path, method, weight, body.
REQUESTS = (
    ("/items", "GET", 10, None),
    ("/stream", "GET", 4, None),
    ("/echo", "POST", 2, b"x" * 1000),
    ("/file", "GET", 2, None),
    ("/empty", "GET", 2, None),
    ("/nowhere", "GET", 1, None),
)


def ended(thread: Thread, meanwhile: Callable[[], object]) -> None:
    """Wait for a thread, and do something now and then."""
    while thread.is_alive():
        meanwhile()
        thread.join(0.1)


class Crowd:
    """Count answers by (path, status), and by path what was sent and not answered whole."""

    def __init__(self, port: int) -> None:
        self.whole: Counter[tuple[str, str]] = Counter()
        self.cut: Counter[str] = Counter()
        self.pids: set[int] = set()
        self._port = port
        self._lock = Lock()
        self._enough = Event()
        self._answered = Event()
        self._clients = [Thread(target=self._send, args=(seed,)) for seed in range(CLIENTS)]

    def __enter__(self) -> Crowd:
        for client in self._clients:
            client.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self.stop()

    @property
    def answers(self) -> int:
        """Return how many answers came whole."""
        return sum(self.whole.values())

    def stop(self, meanwhile: Callable[[], object] = lambda: None) -> None:
        """Let every client end what it does."""
        self._enough.set()
        for client in self._clients:
            ended(client, meanwhile)

    def wait_for_an_answer(self, patience: float) -> bool:
        """Wait until somebody gets an answer that was not there when this was called."""
        self._answered.clear()
        return self._answered.wait(patience)

    def _send(self, seed: int) -> None:
        dice = random.Random(seed)
        weights = [weight for _, _, weight, _ in REQUESTS]
        while not self._enough.is_set():
            path, method, _, body = dice.choices(REQUESTS, weights)[0]
            self.ask(path, method, body)
            self._enough.wait(dice.random() * REST)

    def ask(self, path: str, method: str = "GET", body: bytes | None = None) -> bool:
        """Send one request, and note how it went."""
        connection = HTTPConnection("127.0.0.1", self._port, timeout=TIMEOUT)
        try:
            connection.connect()
        except OSError:  # nobody listens: the server is being started again
            self._enough.wait(0.05)
            return False
        try:
            connection.request(method, path, body, {"Connection": "close"})
            answer = connection.getresponse()
            content = answer.read()
        except (OSError, HTTPException):
            self._note_cut(path)
            return False
        finally:
            connection.close()
        if not _is_whole(answer, content):
            self._note_cut(path)
            return False
        self._note(path, answer.status, content)
        return True

    def ask_all(self, workers: int, path: str = "/items") -> None:
        """Send requests until so many workers have answered; one at a time, one may get all."""
        self.pids.clear()
        while len(self.pids) < workers:
            self.ask_at_once(path)
            assert not self.cut, self.cut

    def ask_at_once(self, path: str) -> None:
        """Send a request from each client."""
        asking = [Thread(target=self.ask, args=(path,)) for _ in range(CLIENTS)]
        for thread in asking:
            thread.start()
        for thread in asking:
            thread.join()

    def _note_cut(self, path: str) -> None:
        with self._lock:
            self.cut[path] += 1

    def _note(self, path: str, status: int, content: bytes) -> None:
        with self._lock:
            self.whole[path, str(status)] += 1
            if path == "/items" and status == 200:
                self.pids.add(int(content.split()[0]))
        self._answered.set()


def _is_whole(answer: HTTPResponse, content: bytes) -> bool:
    """Tell whether an answer has its end; `read` raises where a length said that it has not."""
    framed = answer.status == 204 or answer.chunked or "content-length" in answer.headers
    return framed or content.endswith(b"end")
