"""Remarks for people, for programs, and for pages of GitHub."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from prom_middleware.check.checking import Report
from prom_middleware.check.naming import PROMTOOL
from prom_middleware.check.problems import Problem
from prom_middleware.errors import ParseError


def as_text(report: Report, source: str) -> str:
    """Return promtool's lines; what promtool would not say has the number of a line."""
    hint = f"hint: {report.hint}\n" if report.hint else ""
    if report.error:
        return f"error while linting: {promtool_words(report.error)}\n{hint}"
    return "".join(f"{one.metric} {one.text}{_line(one)}\n" for one in report.problems) + hint


def _line(problem: Problem) -> str:
    return "" if problem.rule in PROMTOOL else f" (line {problem.line})"


def promtool_words(error: ParseError) -> str:
    """Return what Prometheus' own parser says of an error."""
    return f"text format parsing error in line {error.line}: {error.reason}"


def as_json(report: Report, source: str) -> str:
    """Return all there is as one JSON object."""
    found: dict[str, Any] = {"source": source, "exit_code": report.exit_code, "error": None}
    if (error := report.error) is not None:
        found["error"] = {
            "message": promtool_words(error),
            "line": error.line,
            "column": error.column,
            "expected": error.expected or None,
        }
    found["hint"] = report.hint or None
    found["problems"] = [one._asdict() for one in report.problems]
    found["cardinality"] = [one._asdict() for one in report.cardinality]
    # All in ASCII: whatever encoding the output has, what it lacks is an escape of JSON's.
    return json.dumps(found, indent=2) + "\n"


def as_github(report: Report, source: str) -> str:
    """Return workflow commands, which GitHub shows beside the lines.

    https://docs.github.com/actions/reference/workflows-and-actions/workflow-commands
    """
    file = _property(source)
    if (error := report.error) is not None:
        place = f"file={file},line={error.line},col={error.column}"
        return (
            f"::error {place},title=check::{_data(promtool_words(error))}\n{_notice(report, file)}"
        )
    remarks = (
        f"::warning file={file},line={one.line},title={one.rule}::"
        f"{_data(f'{one.metric} {one.text}')}\n"
        for one in report.problems
    )
    return "".join(remarks) + _notice(report, file)


def _notice(report: Report, file: str) -> str:
    return f"::notice file={file},title=check::{_data(report.hint)}\n" if report.hint else ""


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")


FORMATS: dict[str, Callable[[Report, str], str]] = {
    "text": as_text,
    "json": as_json,
    "github": as_github,
}
