"""How long a request waited between the proxy and us, as the proxy's header tells."""

from __future__ import annotations

import re
from time import time

# nginx writes "t=1700000000.123" (seconds), Heroku's router whole milliseconds, Apache's
# mod_headers "t=" and whole microseconds. Servers may join two lines by a comma (RFC 9110 section
# 5.3): the first one counts, which the proxy further out wrote, whatever follows; but for a few
# digits, before which the comma is a decimal one.
_STAMP = r"(?:t=)?(\d{1,17}(?:\.\d{1,9})?)\s*(?:,(?!\d{1,9}\s*$).*)?"
_UNITS = (1.0, 1e3, 1e6)
_LONGEST = 3600.0

# The two headers that proxies use, as the servers' interfaces spell them: the first one wins that
# tells a time.
RAW_HEADERS = (b"x-request-start", b"x-queue-start")
REQUEST_START, QUEUE_START = "HTTP_X_REQUEST_START", "HTTP_X_QUEUE_START"


def queue_seconds(header: str) -> float | None:
    """Return the seconds since the time in `header`, or None if it tells no time of the last hour.

    A proxy's clock that is ahead of ours gives 0.
    """
    stamp = re.fullmatch(_STAMP, header, re.ASCII)
    if stamp is None:
        return None
    now = time()
    for unit in _UNITS:
        waited = now - float(stamp[1]) / unit
        if abs(waited) < _LONGEST:
            return max(waited, 0.0)
    return None
