"""A call in a thread of its own, beside whatever event loop runs.

Not in the loop's pool: an application may have filled that, and a thread of a pool that does not
come back keeps the interpreter from ending.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any, TypeVar

from prom_middleware import failures

THREAD = "prom_middleware scrape"

_Result = TypeVar("_Result")


async def beside(call: Callable[[], _Result]) -> _Result:
    """Return what `call` returns, which must not raise; the loop goes on meanwhile."""
    waiting = _in_trio() or _in_asyncio()
    results: list[_Result] = []
    if waiting is None or not start(lambda: results.append(call()), waiting[1]):
        return call()  # a loop that nobody knows, or no threads here
    await waiting[0]()
    return results[0]


async def give_way() -> None:
    """Let the event loop turn once; one that nobody knows goes on at once."""
    if _in_trio():
        await sys.modules["trio"].lowlevel.checkpoint()
    elif _in_asyncio():
        await sys.modules["asyncio"].sleep(0)


def start(call: Callable[[], object], wake: Callable[[], object]) -> bool:
    """Call in a thread, and `wake` after that; return False where no thread can be had."""

    def work() -> None:
        try:
            call()
        except Exception as error:
            failures.report("scrape", error)
        finally:
            with suppress(Exception):  # the loop is gone, and who waited with it
                wake()

    try:
        threading.Thread(target=work, name=THREAD, daemon=True).start()
    except RuntimeError:
        return False
    return True


def _in_trio() -> tuple[Callable[[], Any], Callable[[], object]] | None:
    try:
        trio: Any = sys.modules["trio"]
        trio.lowlevel.current_task()
        token, event = trio.lowlevel.current_trio_token(), trio.Event()
    except Exception:
        return None
    return event.wait, lambda: token.run_sync_soon(event.set)


def _in_asyncio() -> tuple[Callable[[], Any], Callable[[], object]] | None:
    try:
        asyncio: Any = sys.modules["asyncio"]
        loop, event = asyncio.get_running_loop(), asyncio.Event()
    except Exception:
        return None
    return event.wait, lambda: loop.call_soon_threadsafe(event.set)
