"""Pages to parse, other than our own: what exporters, federation and clients write."""

from __future__ import annotations

import random
from collections.abc import Callable

Block = Callable[[int], str]


def _page(size: int, block: Block, head: str = "", end: str = "") -> str:
    return head + "".join(block(number) for number in range(size // len(block(0)))) + end


def families(size: int) -> str:
    """Return families of two samples each, as node_exporter has them."""
    return _page(size, lambda number: _small(f"node_{number}_bytes_total", number))


def openmetrics_families(size: int) -> str:
    """Return the same in OpenMetrics, where a family's name has no ending."""
    return _page(
        size, lambda number: _small(f"node_{number}_bytes", number, "_total"), end="# EOF\n"
    )


def _small(name: str, number: int, ending: str = "") -> str:
    return (
        f"# HELP {name} Number of bytes of kind {number}.\n"
        f"# TYPE {name} counter\n"
        f'{name}{ending}{{device="sda"}} 1.5067e+10\n'
        f'{name}{ending}{{device="sdb"}} {number}\n'
    )


def alone(size: int) -> str:
    """Return families of one sample each."""
    return _page(size, _ALONE.format)


def openmetrics_alone(size: int) -> str:
    """Return the same in OpenMetrics."""
    return _page(size, _ALONE.format, end="# EOF\n")


_ALONE = "# HELP set_{0} What was set for {0}.\n# TYPE set_{0} gauge\nset_{0} {0}.5\n"


def untold(size: int) -> str:
    """Return samples of which nothing is told, each with a name of its own."""
    return _page(size, "measured_{0} {0}\n".format)


def quoted(size: int) -> str:
    """Return families whose names and labels are those of OpenTelemetry, between quotes."""
    return _page(size, _quoted)


def openmetrics_quoted(size: int) -> str:
    """Return the same in OpenMetrics."""
    return _page(size, _quoted, end="# EOF\n")


def _quoted(number: int) -> str:
    name = f"http.server.active_requests.{number}"
    lines = [f'# HELP "{name}" Requests.\n# TYPE "{name}" gauge\n']
    for method in ("GET", "POST", "PUT"):
        labels = f'"http.request.method"="{method}","url.scheme"="https"'
        lines.append(f'{{"{name}",{labels}}} {number}\n')
    return "".join(lines)


def commas(size: int) -> str:
    """Return one family whose labels have in them what labels are written with."""

    def block(number: int) -> str:
        labels = f'query="sum by (a, b) (x{{c=\\"{number}\\",d=\\"e\\"}})",route="/a/{{id}},{{b}}"'
        return f"queries{{{labels}}} {number}\n"

    return _page(size, block, "# HELP queries Queries.\n# TYPE queries gauge\n")


def openmetrics_created(size: int) -> str:
    """Return counters in OpenMetrics with the times of their creation."""
    text = 'jobs_total{{queue="q{0}"}} {0}.0\njobs_created{{queue="q{0}"}} 1520430000.123\n'
    return _page(size, text.format, "# HELP jobs Jobs.\n# TYPE jobs counter\n", "# EOF\n")


def states(size: int) -> str:
    """Return state sets in OpenMetrics."""
    states = ("starting", "running", "stopped")

    def block(number: int) -> str:
        name = f"unit_{number}_state"
        lines = (f'{name}{{{name}="{one}"}} {int(one == "running")}\n' for one in states)
        return f"# HELP {name} State.\n# TYPE {name} stateset\n{''.join(lines)}"

    return _page(size, block, end="# EOF\n")


def summaries(size: int) -> str:
    """Return summaries of eight label sets each."""
    values = random.Random(1)

    def block(number: int) -> str:
        name = f"rpc_{number}_seconds"
        lines = [f"# HELP {name} Latency of call {number}.\n# TYPE {name} summary\n"]
        for service in range(8):
            label = f'service="s{service}"'
            lines += (
                f'{name}{{{label},quantile="{quantile}"}} {values.random()!r}\n'
                for quantile in ("0.5", "0.9", "0.99")
            )
            lines.append(f"{name}_sum{{{label}}} {values.random() * 1e4!r}\n")
            lines.append(f"{name}_count{{{label}}} {values.randrange(100_000)}\n")
        return "".join(lines)

    return _page(size, block)


def labels(size: int) -> str:
    """Return one family with ten labels in each line, as kube-state-metrics has them."""

    def block(number: int) -> str:
        return (
            f'kube_pod_info{{namespace="ns{number % 40}",pod="app-{number * 7919:010x}",'
            f'uid="{number * 104729:016x}",node="node-{number % 100}",'
            f'host_ip="10.0.1.{number % 256}",pod_ip="10.1.{number // 256}.{number % 256}",'
            f'created_by_kind="ReplicaSet",created_by_name="app-{number % 500}",'
            f'priority_class="",host_network="false"}} 1\n'
        )

    return _page(size, block, "# HELP kube_pod_info Pods.\n# TYPE kube_pod_info gauge\n")


def times(size: int) -> str:
    """Return one family whose samples have times, as /federate answers."""
    values = random.Random(3)

    def block(number: int) -> str:
        series = f'load{{job="node{number % 10}",instance="10.0.0.{number}:9100"}}'
        return f"{series} {values.random()!r} {1520879607789 + number * 7}\n"

    return _page(size, block, "# TYPE load gauge\n")


def escapes(size: int) -> str:
    """Return one family whose labels have to be unescaped, and are not all ASCII."""

    def block(number: int) -> str:
        return (
            f'files_bytes{{path="C:\\\\DIR\\\\FILE{number}.TXT",'
            f'title="Zürich, Straße {number % 77}",'
            f'error="Cannot find file:\\n\\"FILE{number % 50}.TXT\\""}} {number}\n'
        )

    return _page(size, block, "# HELP files_bytes Größe.\n# TYPE files_bytes gauge\n")


def exemplars(size: int) -> str:
    """Return histograms in OpenMetrics with an exemplar for each bucket."""
    values = random.Random(5)
    bounds = ("0.005", "0.01", "0.025", "0.05", "0.1", "0.25", "0.5", "1.0", "2.5", "5.0", "+Inf")

    def block(number: int) -> str:
        name = f"http_{number}_seconds"
        lines = [f"# HELP {name} Latency.\n# TYPE {name} histogram\n"]
        for place, bound in enumerate(bounds):
            trace = f'trace_id="{values.getrandbits(128):032x}",span_id="{place:016x}"'
            seen = f"# {{{trace}}} {values.random()!r} 1520879607.789"
            lines.append(f'{name}_bucket{{route="/",le="{bound}"}} {place}.0 {seen}\n')
        lines.append(f'{name}_count{{route="/"}} 10.0\n{name}_sum{{route="/"}} 7.5\n')
        return "".join(lines)

    return _page(size, block, end="# EOF\n")
