"""What docs/push.md shows, run against a gateway; arguments are those of prometheus_client."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import prometheus_client.exposition as theirs
import pytest

from prom_middleware import push
from prom_middleware.push.runs import HELP
from push.gateways import scripted

TEXT = Path(__file__).parents[2].joinpath("docs", "push.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```python\n(.*?)^```$", TEXT, re.DOTALL | re.MULTILINE)


@pytest.mark.parametrize("number", range(len(BLOCKS)))
def test_block(number: int, capsys: pytest.CaptureFixture[str]) -> None:
    with scripted(200) as server:
        program = BLOCKS[number].replace("localhost:9091", server.address)
        exec(compile(program, f"block {number}", "exec"), {})
        assert len(server.asked) == 1
    assert capsys.readouterr().out == ""


def test_every_metric_is_described() -> None:
    assert [name for name in HELP if f"| `{name}" not in TEXT] == []


@pytest.mark.parametrize("name", ["push_to_gateway", "pushadd_to_gateway", "delete_from_gateway"])
@pytest.mark.parametrize("suffix", ["", "_async"])
def test_arguments_are_those_of_prometheus_client(name: str, suffix: str) -> None:
    def given(function: object) -> list[tuple[str, object]]:
        parameters = inspect.signature(function).parameters.values()  # type: ignore[arg-type]
        return [(one.name, one.default) for one in parameters if one.kind is not one.VAR_KEYWORD]

    ours, old = given(getattr(push, name + suffix)), given(getattr(theirs, name))
    assert ours[: len(old)] == old, "an older version has fewer"
