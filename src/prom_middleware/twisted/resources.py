"""/metrics as a resource."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from prometheus_client import REGISTRY
from prometheus_client.registry import Collector
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET

from prom_middleware import failures
from prom_middleware.exposition import AccessRule, ScrapeRequest
from prom_middleware.exposition.endpoint import endpoint
from prom_middleware.instrumentation import discard_observations
from prom_middleware.twisted.routing import Dialect, path_of

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from prom_middleware.exposition.options import ScrapeOptions
    from prom_middleware.exposition.responses import Answer


class MetricsResource(Resource):  # type: ignore[misc]
    """Answer scrapes of `registry`: `root.putChild(b"metrics", MetricsResource())`.

    The options are those of `prom_middleware.exposition.ScrapeOptions`. Raises OptionError for
    wrong ones.
    """

    isLeaf = True  # noqa: N815 - Twisted's name

    def __init__(
        self,
        registry: Collector = REGISTRY,
        disable_compression: bool = False,
        *,
        access: AccessRule | None = None,
        **options: Unpack[ScrapeOptions],
    ) -> None:
        super().__init__()
        # Not by who imports the door, nor by the first scrape: see `exposition.wsgi.MetricsApp`.
        from prom_middleware.exposition.beside import start
        from prom_middleware.exposition.scraping import Visit

        self._beside, self._visits = start, Visit
        self._registry = registry
        self.access, self._limits = endpoint(registry, access, options, disable_compression)

    def render(self, request: Any) -> Any:
        """Answer, whatever the method: other ones than GET and HEAD get 405."""
        try:
            return self._visit(request)
        except Exception as error:
            failures.report("scrape", error)
            request.setResponseCode(500)
            return b""

    def _visit(self, request: Any) -> Any:
        reactor = _running_reactor(request)
        visit = self._visits(self._registry, self._limits, gentle=reactor is not None)
        answer = partial(visit.answer, partial(_scrape_request, request), self.access)
        try:
            if reactor is None or not visit.admitted or not self._start(reactor, request, answer):
                return _head(request, answer()).body
            return NOT_DONE_YET
        except Exception:
            visit.leave()
            raise

    def _start(self, reactor: Any, request: Any, answer: Callable[[], Answer]) -> bool:
        """Make the answer in a thread, and have the reactor send it."""
        gone: list[Any] = []
        request.notifyFinish().addBoth(gone.append)
        answers: list[Answer] = []

        def send() -> None:
            try:
                if not gone:
                    _Sender(request, _head(request, answers[0])).begin()
            except Exception as error:
                failures.report("scrape", error)
                request.loseConnection()

        return self._beside(lambda: answers.append(answer()), partial(reactor.callFromThread, send))


def _running_reactor(request: Any) -> Any:
    """Return the reactor that serves the request; None where none runs, as in tests."""
    reactor = getattr(getattr(request, "site", None), "reactor", None)
    return reactor if getattr(reactor, "running", False) else None


class _Sender:
    """Send the parts of a body one by one, as the client takes them (IPullProducer)."""

    def __init__(self, request: Any, answer: Answer) -> None:
        self._request = request
        self._parts = [part for part in reversed(answer.parts) if part]

    def begin(self) -> None:
        if self._parts:
            self._request.registerProducer(self, False)
        else:
            self._request.finish()

    def resumeProducing(self) -> None:  # noqa: N802 - Twisted's name
        """Send one part, and after the last one the end."""
        self._request.write(self._parts.pop())
        if not self._parts:
            self._request.unregisterProducer()
            self._request.finish()

    def stopProducing(self) -> None:  # noqa: N802
        """Let go of what is not sent: the client has left."""
        self._parts.clear()


def _head(request: Any, answer: Answer) -> Answer:
    request.setResponseCode(answer.status)
    for name, value in answer.headers:
        request.setHeader(name.encode(), value.encode("latin-1"))
    return answer


def _scrape_request(request: Any) -> ScrapeRequest:
    discard_observations(vars(request))
    client = request.getClientAddress()
    return ScrapeRequest(
        method=request.method.decode("latin-1"),
        path=path_of(request) if hasattr(request, "path") else "",  # a DummyRequest has none
        query=request.uri.partition(b"?")[2].decode("latin-1"),
        headers=Dialect().headers(request),
        client=getattr(client, "host", None),
    )
