"""What the servers of the package have in common: a thread for each peer, which greets it."""

from __future__ import annotations

import errno
import logging
import socket
from socketserver import TCPServer, ThreadingMixIn
from time import sleep
from typing import Any

from prom_middleware.errors import OptionError
from prom_middleware.exposition.connections import Plain

logger = logging.getLogger("prom_middleware")

AFTER_FAILURE = 0.1  # seconds until the next connection is accepted
NO_ROOM = frozenset((errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM))


def resolved(addr: str, port: int) -> tuple[int, tuple[str, int]]:
    """Return the family of an address to listen at, and what to bind to.

    Raises OptionError for what can be no address, OSError for one that nobody knows.
    """
    try:
        found = socket.getaddrinfo(addr, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except UnicodeError as error:
        raise OptionError(f"addr={addr!r}: give the address to listen at") from error
    family, *_, place = found[0]
    return family, (str(place[0]), int(place[1]))


class Listener(ThreadingMixIn, TCPServer):
    """A server that gives each connection a thread of its own, and greets the peer there.

    `patience` is the time in seconds for which a peer may send nothing: one that is gone without a
    word must not keep a thread.
    """

    daemon_threads = True
    request_queue_size = 128  # the default of 5 makes peers that come together wait seconds
    connections = Plain()
    patience = 30.0

    def get_request(self) -> Any:
        """Accept a peer; where there is no descriptor for it, it would be tried again at once."""
        try:
            return super().get_request()
        except OSError as error:
            if error.errno in NO_ROOM:
                sleep(AFTER_FAILURE)
            raise

    def finish_request(self, request: Any, client_address: Any) -> None:
        """Serve one peer, in its own thread: one that does not shake hands holds up nobody."""
        request.settimeout(self.patience)
        connection = self.connections.wrap(request)
        try:
            self.connections.greet(connection)
            super().finish_request(connection, client_address)
        finally:
            self.shutdown_request(connection)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Leave a traceback to the log: a peer that breaks off is no news for stderr."""
        logger.debug("a request from %s failed", client_address, exc_info=True)
