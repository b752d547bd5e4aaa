"""The standard input and output, which whoever starts us may have closed."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import Any

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


def _open(name: str, stream: Any) -> Any:
    if stream is None:  # so it is in Python where there was none at the start
        raise CommandError(f"{name}: it is closed")
    return stream
