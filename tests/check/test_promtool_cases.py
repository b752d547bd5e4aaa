"""Recorded pages with the verdicts of three versions of promtool; ours are those of the newest."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from prom_middleware.check import check
from prom_middleware.check.reporting import as_text

CASES = json.loads(Path(__file__).with_name("promtool-lint.json").read_text(encoding="utf-8"))
NEWEST = "3.5"
# What promtool passes, or has a milder word for, and what it is that it misses.
MISSED = {
    "unit_mibi": "more-units",
    "dup_reordered": "label-order",
    "interleaved": "interleaved",
    "hist_no_inf": "infinite-bucket",
    "hist_count_mismatch": "count",
    "hist_decreasing": "decreasing-bucket",
    "hist_unsorted": "bucket-order",
    "hist_no_le": "bucket-label",
    "hist_dup_bucket": "bucket-unique",
    "summary_bad_q": "quantile",
    "summary_negative": "negative-counter",
    "counter_nan": "negative-counter",
}


@pytest.mark.parametrize("name", CASES)
def test_promtools_rules(name: str) -> None:
    code, said = CASES[name]["promtool"][NEWEST]
    report = check(CASES[name]["input"], more=False)
    assert (report.exit_code, " | ".join(as_text(report, "-").splitlines())) == (code, said)


@pytest.mark.parametrize("name", CASES)
def test_more_rules_say_no_less(name: str) -> None:
    page = CASES[name]["input"]
    report = check(page)
    assert set(check(page, more=False).problems) <= set(report.problems)
    if name in MISSED:
        assert CASES[name]["promtool"][NEWEST] == [0, ""]
        assert MISSED[name] in {one.rule for one in report.problems}
        assert report.exit_code == 3
    else:
        assert report.exit_code == CASES[name]["promtool"][NEWEST][0]
