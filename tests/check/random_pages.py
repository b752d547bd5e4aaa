"""Pages in the text format, most of them slightly wrong, for tests beside promtool."""

from __future__ import annotations

from hypothesis import strategies as st

NAMES = st.sampled_from(
    [
        "a",
        "up",
        "requests_total",
        "latency_seconds",
        "latency_milliseconds",
        "cpu_hours",
        "size_kilobytes",
        "cache_mb",
        "jobCount",
        "a:b",
        "in_flight_gauge",
        "a_counter_x",
        "rows_count",
        "rows_sum",
        "rows_bucket",
        "temp_fahrenheit",
        "x_ms",
        "job_info",
        "a_histogram",
        "latency_seconds_total",
        "b_s",
        "a_summary_x",
        "rows",
        "thermometers",
        "length_inches",
    ]
)
TYPES = st.sampled_from(["counter", "gauge", "histogram", "summary", "untyped", "GAUGE", "info"])
LABELS = st.sampled_from(["x", "y", "le", "quantile", "fooBar", "a_b", "__x", "__name__"])
VALUES = st.sampled_from(["", "1", "0.5", "+Inf", "abc", r"\\", r"\n", r"\"", "é", r"\d", "a b"])
NUMBERS = st.sampled_from(
    [
        "0",
        "1",
        "-1",
        "1.5e3",
        "NaN",
        "+Inf",
        "-Inf",
        ".5",
        "5.",
        "1_0",
        "0x1",
        "+nan",
        "inf",
        "1e400",
    ]
)
TIMES = st.sampled_from(["", "", "", " 1", " -5", " 1.5", " x", " 1 2", " "])
BLANKS = st.sampled_from(["", "", "", " ", "\t"])


@st.composite
def samples(draw: st.DrawFn, names: st.SearchStrategy[str] = NAMES) -> str:
    """Return one line of a sample."""
    name = draw(names) + draw(st.sampled_from(["", "", "", "_count", "_sum", "_bucket"]))
    pairs = draw(st.lists(st.tuples(LABELS, VALUES), max_size=3))
    blank = draw(BLANKS)
    inner = f",{blank}".join(f'{label}{blank}={blank}"{value}"' for label, value in pairs)
    comma = draw(st.sampled_from(["", "", "", ","])) if inner else ""
    labels = f"{{{inner}{comma}}}" if pairs or draw(st.booleans()) else ""
    gap = draw(st.sampled_from([" ", " ", "  ", "\t"]))
    return f"{draw(BLANKS)}{name}{blank}{labels}{gap}{draw(NUMBERS)}{draw(TIMES)}"


@st.composite
def comments(draw: st.DrawFn, names: st.SearchStrategy[str] = NAMES) -> str:
    """Return a HELP or TYPE line, or another comment."""
    name = draw(names)
    text = draw(st.sampled_from(["text", "", " ", r"a \\ b\n", "é"]))
    lines = (f"HELP {name} {text}", f"TYPE {name} {draw(TYPES)}", "EOF", f"HELP {name}", "TYPE")
    hash_ = draw(st.sampled_from(["# ", "# ", "# ", "#", "#\t"]))
    return hash_ + draw(st.sampled_from((*lines[:2], *lines)))


@st.composite
def tidy(draw: st.DrawFn) -> list[str]:
    """Return the lines of one family that is mostly as it should be."""
    name, kind = draw(NAMES), draw(st.sampled_from(["counter", "gauge", "histogram", "summary"]))
    lines = [f"# HELP {name} Text.", f"# TYPE {name} {kind}"][draw(st.sampled_from([0, 0, 1])) :]
    label = draw(st.sampled_from(["", 'x="1"', 'fooBar="1",x="2"']))
    comma = "," if label else ""
    if kind == "histogram":
        for bound in draw(st.lists(st.sampled_from(["1", "2", "1.0", "+Inf"]), min_size=1)):
            value = draw(st.sampled_from([1, 2, 3, -1]))
            lines.append(f'{name}_bucket{{{label}{comma}le="{bound}"}} {value}')
        lines.append(f"{name}_count{{{label}}} {draw(st.sampled_from([3, 3, -3]))}")
        return [*lines, f"{name}_sum{{{label}}} 3"]
    if kind == "summary":
        lines.append(f'{name}{{{label}{comma}quantile="0.5"}} 1')
        return [*lines, f"{name}_count{{{label}}} 3", f"{name}_sum{{{label}}} 3"]
    rows = st.sampled_from([f"{name}{{{label}}} 1", f'{name}{{y="1"}} 2', f'{name}{{y="2"}} 2'])
    return lines + draw(st.lists(rows, min_size=1, max_size=3))


@st.composite
def pages(draw: st.DrawFn) -> str:
    """Return a page: tidy families, among them lines of any kind, and maybe no last line feed."""
    families = draw(st.lists(tidy(), max_size=3))
    lines = [line for family in families for line in family]
    for line in draw(st.lists(samples() | comments() | st.just(""), max_size=1)):
        lines.insert(draw(st.integers(0, len(lines))), line)
    return "\n".join(lines) + draw(st.sampled_from(["\n", "\n", "\n", ""]))
