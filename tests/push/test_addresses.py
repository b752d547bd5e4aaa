"""This host's address."""

from __future__ import annotations

import socket
from ipaddress import ip_address
from typing import Any

import pytest

from prom_middleware.push import instance_ip_grouping_key


def test_it_is_an_address_of_ours() -> None:
    ((key, address),) = instance_ip_grouping_key().items()
    assert key == "instance"
    family = socket.AF_INET6 if ip_address(address).version == 6 else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        probe.bind((address, 0))


def test_without_any_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> Any:
        raise OSError("Network is unreachable")

    monkeypatch.setattr(socket, "socket", fail)
    assert instance_ip_grouping_key() == {"instance": "127.0.0.1"}
