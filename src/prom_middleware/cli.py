"""The command line: `python -m prom_middleware`, also the script `prom-middleware`."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from prom_middleware import __version__


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; return the exit code. Raises SystemExit as argparse does."""
    parser = argparse.ArgumentParser(prog="prom-middleware", description=__doc__)
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    parser.parse_args(arguments)
    parser.print_help()
    return 0
