"""An attempt that a handler makes, as `prometheus_client` has them."""

from __future__ import annotations

from prom_middleware.push.exchange import Request
from prom_middleware.push.options import Handler
from prom_middleware.push.outcomes import Outcome, of_error


class HandledExchange:
    """One attempt through a handler; it cannot be ended, only left behind."""

    answered: Outcome | None = None

    def __init__(self, request: Request, handler: Handler, timeout: float | None) -> None:
        self._request = request
        self._handler = handler
        self._timeout = timeout

    def run(self) -> Outcome:
        """Return what came of it; never raises."""
        request = self._request
        try:
            self._handler(
                url=request.url,
                method=request.method,
                timeout=self._timeout,
                headers=[*request.headers, *request.secret],  # handlers add to it
                data=request.body,
            )()
        except Exception as error:
            return of_error(error)
        return Outcome(True)

    def abort(self) -> None:
        """Do nothing: a handler has its timeout."""
