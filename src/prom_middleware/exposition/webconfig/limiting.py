"""So many requests in a time: a bucket of tokens, as golang.org/x/time/rate has it."""

from __future__ import annotations

import threading
from time import monotonic

from prom_middleware.exposition.webconfig.settings import RateLimit


class Limiter:
    """Let `burst` requests pass, and one more every `interval` seconds."""

    def __init__(self, limit: RateLimit) -> None:
        self._limit = limit
        self._lock = threading.Lock()
        self._tokens, self._seen = float(limit.burst), monotonic()

    def allows(self) -> bool:
        """Tell whether one more request may pass now."""
        interval, burst = self._limit.interval, self._limit.burst
        if not interval:
            return True
        with self._lock:
            now = monotonic()
            self._tokens = min(burst, self._tokens + (now - self._seen) / interval)
            self._seen = now
            if self._tokens < 1:
                return False
            self._tokens -= 1
            return True
