"""A folder with certificates, and what is in a web-config file there."""

from __future__ import annotations

from pathlib import Path

import pytest

from certificates import LOCAL, Authority


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    made = Authority(tmp_path_factory.mktemp("authority"))
    made.issue("server", *LOCAL)
    return made


@pytest.fixture
def folder(authority: Authority, tmp_path: Path) -> Path:
    """Return a folder with ca.pem, server.pem and server.key."""
    for path in authority.cert.parent.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    return tmp_path
