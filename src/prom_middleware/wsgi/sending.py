"""Whether the server could send what it was given."""

from __future__ import annotations

import sys


def send_failed(method: str, by: type[BaseException] = OSError) -> bool:
    """Tell whether a body is closed because its sending was broken off `by` something.

    A server that closes what it could not send, as PEP 3333 asks of it, handles what its socket
    has raised meanwhile. Some send a body in answer to HEAD as well, when the client has it all.
    """
    return method != "HEAD" and isinstance(sys.exc_info()[1], by)
