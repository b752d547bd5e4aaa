"""`batch_job`: around a block or a function, it records the run and pushes it at the end."""

from __future__ import annotations

import asyncio
import inspect
import os
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from functools import partial, wraps
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar, cast

from prometheus_client.exposition import default_handler
from prometheus_client.registry import Collector

from prom_middleware import failures
from prom_middleware.errors import OptionError
from prom_middleware.options import collector
from prom_middleware.push import termination
from prom_middleware.push.deliveries import Delivery
from prom_middleware.push.options import Handler
from prom_middleware.push.payload import rendered
from prom_middleware.push.runs import Run
from prom_middleware.push.sending import in_thread

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from prom_middleware.push.options import PushOptions

Function = TypeVar("Function", bound=Callable[..., Any])

_current: ContextVar[Run | None] = ContextVar("prom_middleware.push.run", default=None)


def batch_job(
    name: str,
    *,
    gateway: str,
    grouping_key: Mapping[str, Any] | None = None,
    registry: Collector | None = None,
    timeout: float | None = 30,
    handler: Handler = default_handler,
    compression: str | None = None,
    **options: Unpack[PushOptions],
) -> BatchJob:
    """Return what records a job, around a block (`with`, `async with`) or as a decorator.

    Pushed are `batch_job_*`, and what is in `registry`, whether the job returns or raises; what it
    raises goes on. Other metrics of the group stay (POST): so does the time of the last success
    when a run fails. A push that fails never fails the job; `Run.result` tells of it. The arguments
    are those of `pushadd_to_gateway`. Raises OptionError, before the job begins, for wrong ones.
    """
    arguments = {"timeout": timeout, "handler": handler, "compression": compression, **options}
    if registry is not None:
        collector(registry)
    return BatchJob(Delivery("POST", gateway, name, grouping_key, arguments), registry)


def current_job() -> Run:
    """Return the run of the innermost job around the caller; without one, a run of no job.

    Threads that the job starts do not know of it: give it to them.
    """
    return _current.get() or Run()


class BatchJob:
    """A job that is recorded; `batch_job` makes it."""

    def __init__(self, delivery: Delivery, registry: Collector | None) -> None:
        self._delivery = delivery
        self._registry = registry
        self._run: Run | None = None
        self._outer: Run | None = None
        self._watched = False
        self._process = 0

    def __call__(self, function: Function) -> Function:
        """Have each call of a function, or a coroutine function, be a run of the job."""
        if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
            raise OptionError(f"{function!r} returns before its job begins: it is a generator")

        @wraps(function)
        def call(*args: Any, **kwargs: Any) -> Any:
            with BatchJob(self._delivery, self._registry):
                return function(*args, **kwargs)

        @wraps(function)
        async def call_async(*args: Any, **kwargs: Any) -> Any:
            async with BatchJob(self._delivery, self._registry):
                return await function(*args, **kwargs)

        return cast(Function, call_async if inspect.iscoroutinefunction(function) else call)

    def __enter__(self) -> Run:
        if self._run is not None:
            raise RuntimeError("this job runs already: make another batch_job for another run")
        self._watched, self._process = termination.watch(), os.getpid()
        self._outer, self._run = _current.get(), Run()
        _current.set(self._run)
        return self._run

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._is_elsewhere():
            return
        try:
            with termination.held():
                self._push(self._end(error))
        finally:
            self._release()

    async def __aenter__(self) -> Run:
        return self.__enter__()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._is_elsewhere():
            return
        try:
            with termination.held():
                # Who is cancelled once more leaves it behind, and the interpreter waits for it.
                pushing = in_thread(partial(self._push, self._end(error)), daemon=False)
                await asyncio.wrap_future(pushing)
        finally:
            self._release()

    def _is_elsewhere(self) -> bool:
        """Tell whether a child that the job forked leaves its block: it is not the job."""
        return os.getpid() != self._process

    def _end(self, error: BaseException | None) -> Run:
        run, self._run = self._run or Run(), None
        _current.set(self._outer)
        run.finish(success=_is_success(error))
        return run

    def _push(self, run: Run) -> None:
        run.result = self._delivery.send(partial(self._content, run))

    def _content(self, run: Run) -> bytes:
        own = rendered(run)
        if self._registry is None:
            return own
        try:
            return rendered(self._registry) + own
        except Exception as error:  # what we know of the run is worth a push by itself
            failures.report("push.registry", error)
            return own

    def _release(self) -> None:
        if self._watched:
            self._watched = False
            termination.unwatch()


def _is_success(error: BaseException | None) -> bool:
    """Tell whether a job has succeeded that ends with `error`: `sys.exit()` is an end as well."""
    return error is None or (isinstance(error, SystemExit) and error.code in (None, 0))
