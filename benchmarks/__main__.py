"""`python -m benchmarks`: measure everything, print it, and write RESULTS.md."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from benchmarks import exposition, floods, imports, multiprocess, parsing, pushgateway
from benchmarks.door import BUILD, COMPILED, DOORS
from benchmarks.report import Results, markdown
from benchmarks.rounds import PROCESSES, Plan, together

RESULTS = Path(__file__).with_name("RESULTS.md")
LABEL_SETS, IMPORT_ROUNDS = (2_000, 10_000), 25
QUICK_LABEL_SETS, QUICK_IMPORT_ROUNDS = (200,), 2


def main() -> None:
    """Run all benchmarks, one after the other; `--quick` only shows that they run."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument(
        "--quick", action="store_true", help="a few rounds of everything; writes nothing"
    )
    parser.add_argument("--seconds", type=float, default=Plan.seconds, help="time for each door")
    parser.add_argument("--door", action="append", choices=DOORS, help="only this; writes nothing")
    options = parser.parse_args()
    extra = ["--quick"] if options.quick else ["--seconds", str(options.seconds)]
    # Only where no figure matters may the doors run beside each other.
    with ThreadPoolExecutor(4 if options.quick else 1) as pool:
        names = options.door or _doors()
        runs = pool.map(lambda name: _door(name, options.quick, options.seconds), names)
        doors = dict(zip(names, runs, strict=True))
    several, scrapes, pushes, parsed, flooded = (
        {part: _run(module.__name__, part, *extra) for part in module.PARTS if not options.door}
        for module in (multiprocess, exposition, pushgateway, parsing, floods)
    )
    results = Results(
        doors,
        several,
        scrapes,
        pushes,
        parsed,
        flooded,
        _memory(options.quick),
        _imports(options.quick),
        _today(),
    )
    text = markdown(results)
    print(text)
    if not (options.quick or options.door):
        RESULTS.write_text(text, encoding="utf-8")
        print(f"Written to {RESULTS}", file=sys.stderr)


def _door(name: str, quick: bool, seconds: float) -> Any:
    where = {"PYTHONPATH": str(BUILD)} if COMPILED in name else {}
    if quick:
        return _run("benchmarks.door", name, "--quick", **where)
    share = str(seconds / PROCESSES)
    return together(
        _run("benchmarks.door", name, "--seconds", share, PYTHONHASHSEED=str(seed), **where)
        for seed in range(1, PROCESSES + 1)
    )


def _doors() -> list[str]:
    if BUILD.exists():
        return list(DOORS)
    print(f"Without {BUILD}, the compiled build is not measured.", file=sys.stderr)
    return [name for name in DOORS if COMPILED not in name]


def _memory(quick: bool) -> dict[int, dict[str, float]]:
    numbers = QUICK_LABEL_SETS if quick else LABEL_SETS
    return {number: _run("benchmarks.memory", str(number)) for number in numbers}


def _imports(quick: bool) -> Any:
    print("imports ...", file=sys.stderr)
    return imports.measure(QUICK_IMPORT_ROUNDS if quick else IMPORT_ROUNDS)


def _today() -> str:
    return datetime.now(timezone.utc).strftime("%Y-%m-%d")


def _run(module: str, *arguments: str, **environment: str) -> Any:
    """Return what a module prints as JSON, run in a process of its own."""
    print(f"{module.removeprefix('benchmarks.')} {arguments[0]} ...", file=sys.stderr)
    command = [sys.executable, "-m", module, *arguments]
    done = subprocess.run(
        command,
        stdout=subprocess.PIPE,
        text=True,
        timeout=600,
        cwd=RESULTS.parent.parent,
        env={**os.environ, **environment},
    )
    if done.returncode:
        sys.exit(f"{' '.join(command)} failed")
    return json.loads(done.stdout)


if __name__ == "__main__":
    main()
