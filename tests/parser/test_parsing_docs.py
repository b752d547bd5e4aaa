"""The pages of documentation on parsing and checking say what is so."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from prom_middleware.check.checking import MAX_SERIES
from prom_middleware.check.histograms import HISTOGRAMS
from prom_middleware.check.naming import MORE
from prom_middleware.check.series import SERIES

DOCS = Path(__file__).parents[2] / "docs"


@pytest.mark.parametrize("name", ["parsing", "checking"])
def test_blocks_run(name: str) -> None:
    text = (DOCS / f"{name}.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```python\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    assert blocks
    namespace: dict[str, object] = {}
    for block in blocks:
        exec(compile(block, f"{name}.md", "exec"), namespace)


def test_every_rule_that_promtool_has_not_is_in_the_table() -> None:
    text = (DOCS / "checking.md").read_text(encoding="utf-8")
    rows = [line.split("|")[1] for line in text.splitlines() if line.startswith("| `")]
    assert set(re.findall(r"`([\w-]+)`", "".join(rows))) == {
        *MORE,
        *HISTOGRAMS,
        *SERIES,
        "cardinality",
    }
    assert f"({MAX_SERIES})" in text
