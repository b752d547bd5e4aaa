"""Requests that tell an observation of themselves."""

from __future__ import annotations

from typing import Any
from urllib.parse import unquote_to_bytes

from twisted.internet.error import ConnectionAborted
from twisted.python import context
from twisted.python.failure import Failure
from twisted.web.http import datetimeToString
from twisted.web.server import version

from prom_middleware import failures
from prom_middleware.instrumentation import (
    COMPLETE,
    DISCONNECT,
    ERROR,
    INCOMPLETE,
    STATUSES,
    Instrumentation,
    Observation,
    nesting,
    queueing,
    status_label,
)
from prom_middleware.instrumentation.rare import content_length
from prom_middleware.instrumentation.tracing import RAW_TRACEPARENT
from prom_middleware.twisted.resources import MetricsResource
from prom_middleware.twisted.routing import PERCENT, note_children, path_of

# WSGI applications run in a pool of threads, with the context (of Twisted's kind) of the request.
_CONTEXT = "prom_middleware"
# The cores that record a class's requests, the outermost first.
CORES = "_prom_middleware_cores"
_QUEUE_HEADERS = _REQUEST_START, _QUEUE_START = queueing.RAW_HEADERS
nesting.sources.append(lambda: context.get(_CONTEXT) or ())


def observed_request(request_class: Any, core: Instrumentation) -> Any:
    """Return a class derived from `request_class` that records requests, and answers scrapes.

    However many doors there are, a request is recorded once for each registry. Each door answers
    scrapes at its own `metrics_path`; of those with the same path, the outermost does.
    """
    if core.key not in [one.key for one in getattr(request_class, CORES, ())]:
        request_class = _recorded(request_class, core)
    return _answered(request_class, core)


def _answered(request_class: Any, core: Instrumentation) -> Any:
    metrics = MetricsResource(core.config.registry, access=core.config.access)
    metrics_paths = tuple(path.encode() for path in core.config.metrics_paths)

    class AnsweredRequest(request_class):  # type: ignore[misc]
        def process(self) -> None:
            path = self.path
            if PERCENT in path:
                path = unquote_to_bytes(path)
            if path not in metrics_paths:
                super().process()
                return
            self.site = self.channel.site
            self.setHeader(b"server", version)  # these two are on each answer of a site
            self.setHeader(b"date", datetimeToString())
            self.render(metrics)

    return _named_as(request_class, AnsweredRequest)


def _named_as(request_class: Any, derived: Any) -> Any:
    # Twisted shows a request's class in an error page, and that must look as it does without us.
    for name in ("__name__", "__qualname__", "__module__"):
        setattr(derived, name, getattr(request_class, name))
    return derived


def _recorded(request_class: Any, core: Instrumentation) -> Any:
    nesting.expect_outer_doors()
    cores: tuple[Instrumentation, ...] = getattr(request_class, CORES, ())
    counts = not cores  # one of these classes counts what is received or not sent, for all of them

    class ObservedRequest(request_class):  # type: ignore[misc]
        _prom_middleware_outcome = COMPLETE
        _prom_middleware_received = 0
        _prom_middleware_unsent = 0

        def handleContentChunk(self, data: bytes) -> None:  # noqa: N802
            # Counted as it comes: an application may put what cannot be measured in `content`.
            super().handleContentChunk(data)
            if counts:
                self._prom_middleware_received += len(data)

        def process(self) -> None:
            observation, announced = _start(self, core), None
            if observation is not None and nesting.inner_doors:
                announced = _announce(self, core, observation)
            if announced is None:
                super().process()
            else:
                context.call({_CONTEXT: announced}, super().process)
            if observation is not None and not observation.done:
                _forget_websocket(self, observation)

        def write(self, data: bytes) -> None:
            started = self.startedWriting
            if core.promises and not started:
                _promise(self, core)
            sent = self.sentLength
            try:
                super().write(data)
            except BaseException:  # of text that is no bytes, say, which Twisted has counted
                if counts:
                    self._prom_middleware_unsent += self.sentLength - sent
                raise
            finally:
                if self.startedWriting and not started:
                    _begun(self, core)

        def finish(self) -> None:
            super().finish()
            _end(self, core, self._prom_middleware_outcome)

        def connectionLost(self, reason: Failure) -> None:  # noqa: N802
            ours = _is_ours(self, reason)
            super().connectionLost(reason)
            _end(self, core, DISCONNECT, ours)

        def loseConnection(self) -> None:  # noqa: N802
            super().loseConnection()
            if not _hears_of_the_end(self):
                _end(self, core, INCOMPLETE)  # we hang up, not the client

        def processingFailed(self, reason: Failure) -> Any:  # noqa: N802
            _raised(self, core, reason)
            if self.startedWriting:  # what was begun is cut off, and an error page comes after it
                self._prom_middleware_outcome = ERROR
            return super().processingFailed(reason)

    setattr(ObservedRequest, CORES, (core, *cores))
    return _named_as(request_class, ObservedRequest)


# What follows never raises. A request keeps its observations as attributes, one for each registry.


def _start(request: Any, core: Instrumentation) -> Observation | None:
    try:
        if core.excluded is not None and core.excluded(path_of(request)):
            return None
        headers = request.requestHeaders
        if headers.hasHeader(_REQUEST_START) or headers.hasHeader(_QUEUE_START):
            # As bytes: Twisted would read text as UTF-8, and a client may send what is none.
            told = (headers.getRawHeaders(name, (b"",))[0] for name in _QUEUE_HEADERS)
            core.queued(*(value.decode("latin-1") for value in told))
        note_children(request.channel.site)
        observation = core.start(request, request.method.decode("latin-1"))
        observation.received = request._prom_middleware_received
        vars(request)[core.key] = observation
        if core.traced and headers.hasHeader(RAW_TRACEPARENT):
            observation.trace = b", ".join(headers.getRawHeaders(RAW_TRACEPARENT))
        return observation
    except Exception as error:
        failures.report("start", error)
        return None


def _announce(
    request: Any, core: Instrumentation, observation: Observation
) -> tuple[nesting.Announced, ...] | None:
    """Return the requests that a door further in may belong to."""
    try:
        method = request.method.decode("latin-1")
        announced = nesting.Announced(observation, core.key, method, "", path_of(request))
        return announced, *(context.get(_CONTEXT) or ())
    except Exception as error:
        failures.report("announce", error)
        return None


def _forget_websocket(request: Any, observation: Observation) -> None:
    """Forget a request that is a websocket by now, and hears no more of its end."""
    try:
        channel = getattr(request.channel, "__dict__", {})
        # Twisted's own puts itself in the channel's place, Autobahn takes its transport away.
        if "connectionLost" in channel or channel.get("transport", channel) is None:
            observation.discard()
    except Exception as error:
        failures.report("websocket", error)


def _begun(request: Any, core: Instrumentation) -> None:
    try:
        observation = vars(request).get(core.key)
        if observation is None:
            return
        observation.status = STATUSES.get(request.code) or status_label(request.code)
        kind = request.responseHeaders.getRawHeaders(b"content-type", (b"",))[0]
        # Long enough, with an "e" in its place: that spares nearly all the calls.
        if len(kind) > 16 and kind[5] in b"eE":
            observation.note_type(kind.decode("latin-1"))
    except Exception as error:
        failures.report("start_response", error)


def _promise(request: Any, core: Instrumentation) -> None:
    try:
        observation = vars(request).get(core.key)
        if observation is not None and observation.status is None:
            observation.status = status_label(request.code)
            observation.promise()
            observation.status = None  # it is when the server has taken it
    except Exception as error:
        failures.report("promise", error)


def _end(request: Any, core: Instrumentation, outcome: str, ours: bool = False) -> None:
    try:
        observation = vars(request).get(core.key)
        if observation is not None:
            if observation.status is None and request.startedWriting:
                _begun(request, core)  # an encoder that had nothing to do: its end passes `write`
            observation.sent = request.sentLength - request._prom_middleware_unsent
            if outcome is DISCONNECT and _is_whole(request, observation):
                outcome = COMPLETE  # what is left to do is no answer: a WSGI `close`
            elif outcome is DISCONNECT and ours:
                outcome = INCOMPLETE
            elif outcome is DISCONNECT:
                observation.left()
            observation.finish(outcome)
    except Exception as error:
        failures.report("finish", error)


def _hears_of_the_end(request: Any) -> bool:
    """Tell whether a connection that is being closed takes an answer, and tells of its end."""
    try:
        return bool(getattr(request.transport, "disconnecting", False))
    except Exception as error:
        failures.report("finish", error)
        return False


def _is_ours(request: Any, reason: Failure) -> bool:
    """Tell whether a connection is lost since the application has closed its transport."""
    try:
        closing = getattr(request.transport, "disconnecting", False)
        return bool(closing or reason.check(ConnectionAborted))
    except Exception as error:
        failures.report("finish", error)
        return False


def _is_whole(request: Any, observation: Observation) -> bool:
    """Tell whether as much of the body was written as its Content-Length says."""
    try:
        if observation.status is None:
            return False
        length = request.responseHeaders.getRawHeaders(b"content-length", (b"",))[0]
        return bool(content_length(length) == request.sentLength)
    except Exception as error:
        failures.report("finish", error)
        return False


def _raised(request: Any, core: Instrumentation, reason: Failure) -> None:
    try:
        observation = vars(request).get(core.key)
        if observation is not None and reason.value is not None:
            observation.raised(reason.value)
    except Exception as error:
        failures.report("exception", error)
