"""docs/bridges.md: its blocks run, and what it says there is, is there."""

from __future__ import annotations

import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from prom_middleware.bridge.incoming.mapping_file import parse_mapping
from prom_middleware.bridge.outgoing.health import HealthCollector

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "bridges.md").read_text(encoding="utf-8")
PROGRAMS = re.findall(r"```python\n(.*?)```", TEXT, re.S)


@pytest.mark.parametrize("place", range(len(PROGRAMS)))
def test_a_program_runs(place: int) -> None:
    subprocess.run([sys.executable, "-c", PROGRAMS[place]], check=True, timeout=60)


def test_the_mapping_is_one() -> None:
    (text,) = re.findall(r"```yaml\n(.*?)```", TEXT, re.S)
    found = parse_mapping(text).find("shop.books.sold", "counter")
    assert found
    assert (found.name, found.labels, found.rule.ttl) == (
        "shop_sold_total",
        {"what": "books"},
        3600,
    )


def test_the_bridges_metrics_are_in_the_table() -> None:
    for family in HealthCollector().describe():
        suffix = "_total" if family.type == "counter" else ""
        assert f"`{family.name}{suffix}`" in TEXT


def test_the_reasons_are_in_the_table() -> None:
    sources = (ROOT / "src/prom_middleware/bridge/incoming").glob("*.py")
    text = "".join(source.read_text(encoding="utf-8") for source in sources)
    reasons = Counter(re.findall(r'(?:RefusedError|[._]lose|_lost)[(\[]\s*"(\w+)"', text))
    assert len(reasons) > 15
    assert not [reason for reason in reasons if f"`{reason}`" not in TEXT]
