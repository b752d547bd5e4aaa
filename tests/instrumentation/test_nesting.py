"""What doors in doors have in common."""

from __future__ import annotations

from prom_middleware.instrumentation.nesting import MOST_PREFIXES, Prefixes


def test_so_many_prefixes_and_no_more() -> None:
    prefixes = Prefixes()
    first = [f"/tenant-{number}" for number in range(MOST_PREFIXES)]
    assert [prefixes.label(one) for one in first] == first
    assert prefixes.label("/another") == "/{path}"
    assert prefixes.label("/tenant-3") == "/tenant-3"
    assert prefixes.label("") == ""
