"""Whose cancellation it is that an application raises."""

from __future__ import annotations

import sys


def is_cancelled(error: BaseException) -> bool:
    """Tell whether `error` says that the task which runs was cancelled, and not another one.

    A view that awaited another task which was cancelled raises the same error. Before Python 3.11 a
    task does not tell, nor does anybody in a thread without a loop: then it is taken to be ours.
    """
    asyncio = sys.modules.get("asyncio")  # whoever cancels has loaded it
    if asyncio is None or not isinstance(error, asyncio.CancelledError):
        return False
    try:
        cancelling = getattr(asyncio.current_task(), "cancelling", None)
    except RuntimeError:  # a thread of middleware that is not asynchronous
        return True
    return cancelling is None or cancelling() > 0
