"""Pages of all kinds, beside a real promtool: the same texts and the same exit codes."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings

from check.promtool import promtool_says
from check.random_pages import pages
from prom_middleware.check import Report, check
from prom_middleware.check.cardinality import table
from prom_middleware.check.reporting import as_text
from servers.newer import newer_program

pytestmark = [pytest.mark.real, pytest.mark.timeout(300)]

Find = Callable[[str, str], str]
# What versions before 2.53 or 3 do not know, or say of more metrics.
NEWER = ("metric not unique", "metric name should not include type")
TABLE = """\
# HELP h h
# TYPE h histogram
h_bucket{x="1",le="1"} 1
h_bucket{x="1",le="+Inf"} 1
h_count{x="1"} 1
h_sum{x="1"} 1
# HELP jobs_total g
# TYPE jobs_total counter
jobs_total{queue="a",x="1"} 1
jobs_total{queue="b",x="1"} 1
jobs_total{queue="c",x="1"} 1
# HELP s s
# TYPE s summary
s{quantile="0.5"} 1
s_sum 1
s_count 1
"""


def said_by_us(page: bytes) -> tuple[int, list[str]]:
    # The hint at a page in another format is ours alone.
    report = check(page, more=False)._replace(hint="")
    return report.exit_code, as_text(report, "-").splitlines()


def of_any_version(said: tuple[int, list[str]]) -> tuple[int, list[str]]:
    code, lines = said
    lines = sorted(line for line in lines if not any(text in line for text in NEWER))
    return (0 if code == 3 and not lines else code), lines


def newer(error: Report) -> bool:
    """Tell whether only promtool 3 refuses a page."""
    return error.error is not None and error.error.reason.startswith("negative ")


@settings(max_examples=80, suppress_health_check=list(HealthCheck), deadline=None)
@given(page=pages())
@example(page='# TYPE s summary\ns{quantile="1",quantile="0.5"} 0\ns_sum 3\ns_count 3\n')
@example(page='# TYPE s summary\ns{quantile="1",quantile=""} 0\ns_sum 3\ns_count 3\n')
@example(page='# TYPE h histogram\nh_bucket{le="1",le="+Inf",a=""} 3\nh_sum 3\nh_count 3\n')
@example(page='# TYPE g gauge\ng{quantile="1",le="1",quantile="1"} 0\n')
def test_any_page(real_program: Find, page: str) -> None:
    body = page.encode()
    said = promtool_says(real_program("promtool", "prometheus"), body)
    if not newer(check(body, more=False)):
        assert of_any_version(said_by_us(body)) == of_any_version(said)


@settings(max_examples=80, suppress_health_check=list(HealthCheck), deadline=None)
@given(page=pages())
def test_any_page_beside_the_newest(newest_promtool: str, page: str) -> None:
    body = page.encode()
    assert said_by_us(body) == promtool_says(newest_promtool, body)


@pytest.fixture(scope="session")
def newest_promtool() -> str:
    """Return `promtool3`, which `.ci/newer-programs` fetches where the suite has it."""
    program = Path(newer_program("promtool3"))
    if not program.is_file():
        pytest.skip("no promtool 3 was fetched")
    return str(program)


@pytest.mark.parametrize(
    "page",
    [
        b'a{b="\xff"} 1\n',
        b"# HELP a \xff\na 1\n",
        b"a\xff 1\n",
        b'a{b=\xff"1"} 1\n',
        b"# TYPE a gauge \na 1\n",
        b"a 1 \n",
        b"a 1 1 \n",
        b"# comment",
        b" \t",
        b"",
        b"# HELP\n# TYPE\n#HELP\n# HELP a\n# HELP a\na 1\n",
        b'a{b="1\\\n"} 1\n',
        b"# HELP a 1\\\na 1\n",
    ],
    ids=range(13),
)
def test_what_random_pages_do_not_have(real_program: Find, page: bytes) -> None:
    said = promtool_says(real_program("promtool", "prometheus"), page)
    assert of_any_version(said_by_us(page)) == of_any_version(said)


def test_the_table(real_program: Find) -> None:
    command = [real_program("promtool", "prometheus"), "check", "metrics", "--extended"]
    done = subprocess.run(command, input=TABLE, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    ours = table(check(TABLE).cardinality).splitlines()
    theirs = done.stdout.splitlines()
    # promtool leaves the order of what is equal to chance; ours has a column more.
    assert sorted(line[: len(theirs[0])] for line in ours) == sorted(theirs)
    assert ours[0] == theirs[0] + "Label (values)"
    assert [line[len(theirs[0]) :] for line in ours[1:]] == ["x (1)", "queue (3)", "", ""]
