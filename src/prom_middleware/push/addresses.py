"""The address of this host, as a grouping key."""

from __future__ import annotations

import socket
from contextlib import closing

# Addresses for documentation (RFC 5737, RFC 3849): nothing is sent to them, but the system says
# which of its own it would send from.
ELSEWHERE = ((socket.AF_INET, "192.0.2.1"), (socket.AF_INET6, "2001:db8::1"))
LOOPBACK = "127.0.0.1"


def instance_ip_grouping_key() -> dict[str, str]:
    """Return `{"instance": ADDRESS}`, with the address that this host has on its network."""
    for family, far in ELSEWHERE:
        try:
            with closing(socket.socket(family, socket.SOCK_DGRAM)) as sock:
                sock.connect((far, 9))
                return {"instance": str(sock.getsockname()[0])}
        except OSError:  # no such network
            continue
    return {"instance": LOOPBACK}
