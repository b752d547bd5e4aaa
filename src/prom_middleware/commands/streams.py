"""The standard streams, which whoever starts us may have closed."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from contextlib import suppress
from typing import Any, TextIO

from prom_middleware.commands import CommandError


def read() -> bytes:
    """Return all of the standard input. Raises CommandError and OSError."""
    content: bytes = _open("standard input", sys.stdin).buffer.read()
    return content


def ended(content: bytes) -> bytes:
    """Return a text with the last line's end, which is written where it is missing."""
    return content if content.endswith(b"\n") else content + b"\n"


def write(content: Iterable[bytes]) -> None:
    """Write to the standard output at once. Raises CommandError and OSError."""
    output = _open("standard output", sys.stdout).buffer
    output.writelines(content)
    output.flush()


def tell(message: object) -> None:
    """Write a line to the standard error, if that can be written now."""
    with suppress(OSError, ValueError):
        if sys.stderr is not None:  # else `print` would take the standard output
            print(message, file=sys.stderr, flush=True)


def complain(message: str) -> None:
    """Say at the end what is wrong, where that can be written."""
    for stream, text in ((sys.stdout, ""), (sys.stderr, f"{message}\n")):
        try:
            if stream is not None:
                print(text, end="", file=stream, flush=True)
        except OSError:
            close(stream)


def close(stream: TextIO) -> None:
    """Close what cannot be written: Python would try it again at its end, and complain."""
    with suppress(OSError):
        stream.close()


def _open(name: str, stream: Any) -> Any:
    if stream is None:  # so it is in Python where there was none at the start
        raise CommandError(f"{name}: it is closed")
    return stream
