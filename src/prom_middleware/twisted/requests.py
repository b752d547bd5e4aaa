"""Requests that tell an observation of themselves."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.python import context
from twisted.python.failure import Failure

from prom_middleware import failures
from prom_middleware.instrumentation import (
    COMPLETE,
    DISCONNECT,
    ERROR,
    INCOMPLETE,
    Instrumentation,
    Observation,
    nesting,
    queueing,
    status_label,
)
from prom_middleware.instrumentation.tracing import TRACEPARENT
from prom_middleware.twisted.resources import OBSERVATIONS, MetricsResource

# WSGI applications run in a pool of threads, with the context (of Twisted's kind) of the request.
_CONTEXT = "prom_middleware"
# The cores that record a class's requests, the outermost first.
CORES = "_prom_middleware_cores"
nesting.sources.append(lambda: context.get(_CONTEXT) or ())


def observed_request(request_class: Any, core: Instrumentation) -> Any:
    """Return a class derived from `request_class` whose requests are recorded."""
    cores: tuple[Instrumentation, ...] = getattr(request_class, CORES, ())
    if core.key in [one.key for one in cores]:
        return request_class
    nesting.expect_outer_doors()
    metrics = MetricsResource(core.config.registry, access=core.config.access)
    metrics_paths = tuple(path.encode() for path in core.config.metrics_paths)

    class ObservedRequest(request_class):  # type: ignore[misc]
        def process(self) -> None:
            if self.path in metrics_paths:
                self.site = self.channel.site
                self.render(metrics)
                return
            observation = _guarded(_start, self, core)
            announced = None
            if observation is not None and nesting.inner_doors:
                announced = _guarded(_announce, self, core, observation)
            if announced is None:
                super().process()
            else:
                context.call({_CONTEXT: announced}, super().process)

        def write(self, data: bytes) -> None:
            started = self.startedWriting
            if core.promises and not started:
                _guarded(_promise, self, core)
            super().write(data)
            if self.startedWriting and not started:
                _guarded(_begun, self, core)

        def finish(self) -> None:
            super().finish()
            _guarded(_end, self, core, COMPLETE)

        def connectionLost(self, reason: Failure) -> None:  # noqa: N802
            super().connectionLost(reason)
            _guarded(_end, self, core, DISCONNECT)

        def loseConnection(self) -> None:  # noqa: N802
            _guarded(_end, self, core, INCOMPLETE)  # we hang up, not the client
            super().loseConnection()

        def processingFailed(self, reason: Failure) -> Any:  # noqa: N802
            _guarded(_raised, self, core, reason)
            if self.startedWriting:  # what was begun is cut off, and an error page comes after it
                _guarded(_end, self, core, ERROR)
            return super().processingFailed(reason)

    # Twisted shows a request's class in an error page, and that must look as it does without us.
    for name in ("__name__", "__qualname__", "__module__"):
        setattr(ObservedRequest, name, getattr(request_class, name))
    setattr(ObservedRequest, CORES, (core, *cores))
    return ObservedRequest


def _guarded(note: Callable[..., Any], *arguments: Any) -> Any:
    try:
        return note(*arguments)
    except Exception as error:
        failures.report(note.__name__.strip("_"), error)
        return None


def _announce(
    request: Any, core: Instrumentation, observation: Observation
) -> tuple[nesting.Announced, ...]:
    """Return the requests that a door further in may belong to."""
    method, path = request.method.decode("latin-1"), request.path.decode("utf-8", "replace")
    return nesting.Announced(observation, core.key, method, "", path), *(
        context.get(_CONTEXT) or ()
    )


def _start(request: Any, core: Instrumentation) -> Observation | None:
    if core.excluded is not None and core.excluded(request.path.decode("utf-8", "replace")):
        return None
    headers = request.requestHeaders
    core.queued(*(headers.getRawHeaders(name, [None])[0] for name in queueing.HEADERS))
    # The body is all there, in a file that stands at its beginning.
    received = request.content.seek(0, 2) or request.content.tell()
    request.content.seek(0)
    kept = vars(request).setdefault(OBSERVATIONS, {})
    kept[core.key] = observation = core.start(request, request.method.decode("latin-1"))
    observation.received = received
    if core.traced:
        observation.trace = ", ".join(headers.getRawHeaders(TRACEPARENT, [])) or None
    return observation


def _observation(request: Any, core: Instrumentation) -> Observation | None:
    found: Observation | None = vars(request).get(OBSERVATIONS, {}).get(core.key)
    return found


def _begun(request: Any, core: Instrumentation) -> None:
    observation = _observation(request, core)
    if observation is not None:
        observation.status = status_label(request.code)
        kind = request.responseHeaders.getRawHeaders("content-type", [""])[0]
        observation.note_type(kind)


def _promise(request: Any, core: Instrumentation) -> None:
    observation = _observation(request, core)
    if observation is not None and observation.status is None:
        observation.status = status_label(request.code)
        observation.promise()
        observation.status = None  # it is when the server has taken it


def _end(request: Any, core: Instrumentation, outcome: str) -> None:
    observation = _observation(request, core)
    if observation is not None:
        observation.sent = request.sentLength
        observation.finish(outcome)


def _raised(request: Any, core: Instrumentation, reason: Failure) -> None:
    observation = _observation(request, core)
    if observation is not None and reason.value is not None:
        observation.raised(reason.value)
