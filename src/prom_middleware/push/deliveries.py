"""From a push's arguments to its result."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from prometheus_client.exposition import default_handler

from prom_middleware.push.exchange import Exchange, Request
from prom_middleware.push.groups import locate
from prom_middleware.push.handlers import HandledExchange
from prom_middleware.push.options import Policy
from prom_middleware.push.payload import CONTENT_TYPE, compressed
from prom_middleware.push.results import PushResult, refused, told
from prom_middleware.push.sending import Attempt, Sending, in_thread


class Delivery:
    """Where to push, and how. Raises OptionError for what can be no push."""

    def __init__(
        self,
        method: str,
        gateway: str,
        job: str,
        grouping_key: Mapping[str, Any] | None,
        options: Mapping[str, Any],
    ) -> None:
        self._method = method
        self._policy = Policy.from_options(options)
        group = locate(gateway, job, grouping_key)
        self.url = group.url
        self._secret = self._policy.authorization(group.user)

    def send(self, content: Callable[[], bytes]) -> PushResult:
        """Push what `content` returns; never raises, and says whether it went."""
        try:
            return told(self._sending(content()).run(), self.url)
        except Exception as error:
            return told(refused(error), self.url)

    async def send_async(self, content: Callable[[], bytes]) -> PushResult:
        """Push as `send` does, in threads; who cancels this ends the push."""
        try:
            body = await asyncio.wrap_future(in_thread(content))
            sending = self._sending(body)
        except Exception as error:
            return told(refused(error), self.url)
        try:
            return told(await asyncio.wrap_future(in_thread(sending.run)), self.url)
        except asyncio.CancelledError:
            sending.stop()
            raise

    def _sending(self, body: bytes) -> Sending:
        headers = [("User-Agent", "prom-middleware")]
        if self._method != "DELETE":
            headers.append(("Content-Type", CONTENT_TYPE))
        coding = self._policy.compression
        if coding is not None:
            body = compressed(body, coding.lower())
            headers.append(("Content-Encoding", coding.lower()))
        request = Request(
            self._method, self.url, headers, self._secret, body, self._policy.ssl_context
        )
        return Sending(self._attempts(request), self._policy)

    def _attempts(self, request: Request) -> Callable[[float | None], Attempt]:
        if self._policy.handler is default_handler:
            return partial(Exchange, request)
        return partial(HandledExchange, request, self._policy.handler)
