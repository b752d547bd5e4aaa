"""`make test-compiled` tests what it says."""

from __future__ import annotations

import os
from importlib import import_module
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(
    "PROM_MIDDLEWARE_COMPILED" not in os.environ, reason="for `make test-compiled`"
)

SOURCE = Path(__file__).parent.parent / "src"


@pytest.mark.parametrize("path", sorted(SOURCE.rglob("*.pxd")), ids=lambda path: path.stem)
def test_what_has_a_layout_is_compiled(path: Path) -> None:
    name = ".".join(path.relative_to(SOURCE).with_suffix("").parts)
    assert not str(import_module(name).__file__).endswith(".py")
