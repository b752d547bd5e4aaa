"""Prometheus metrics from the command line: `python -m prom_middleware`, or `prom-middleware`."""

from __future__ import annotations

import argparse
import io
import signal
import sys
from collections.abc import Sequence
from importlib import import_module
from types import FrameType
from typing import NamedTuple, NoReturn

from prom_middleware import __version__

PROGRAM = "prom-middleware"


class Command(NamedTuple):
    """A subcommand: the module that has it, which is imported when it is asked for."""

    module: str
    summary: str


COMMANDS = {
    "check": Command("prom_middleware.commands.check", "tell what is wrong with a /metrics"),
    "push": Command(
        "prom_middleware.commands.push", "push metrics, or how a command went, to a gateway"
    ),
    "bridge": Command("prom_middleware.commands.bridge", "metrics to and from other systems"),
    "doctor": Command("prom_middleware.commands.doctor", "tell what is wrong with an installation"),
    "serve": Command("prom_middleware.commands.serve", "serve a module's metrics on a port"),
    "pushgateway": Command(
        "prom_middleware.commands.pushgateway", "take metrics of batch jobs, for Prometheus"
    ),
    "textfile": Command(
        "prom_middleware.commands.textfile", "write metrics to a file for node_exporter"
    ),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; return the exit code. Raises SystemExit as argparse does."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    if given and given[0] in COMMANDS:
        return _run(given[0], given[1:])
    parser = _parser()
    parser.parse_args(given)
    parser.print_help()
    return 0


def _parser() -> argparse.ArgumentParser:
    rows = [f"  {name:<13}{command.summary}" for name, command in COMMANDS.items()]
    parser = _described(PROGRAM, __doc__, "\n".join(["commands (each has --help):", *rows]))
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    parser.add_argument("command", nargs="?", choices=tuple(COMMANDS), help="what to do, see below")
    return parser


def _described(program: str, description: str | None, epilog: str) -> argparse.ArgumentParser:
    return argparse.ArgumentParser(
        prog=program,
        description=description,
        epilog=epilog,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


def _run(name: str, arguments: Sequence[str]) -> int:
    from prom_middleware.commands import SIGNALLED, CommandError
    from prom_middleware.commands.streams import complain

    module = import_module(COMMANDS[name].module)
    parser = _described(f"{PROGRAM} {name}", module.__doc__, module.EPILOG)
    parser.set_defaults(endless=False, refuse=parser.error)
    module.add_arguments(parser)
    options = parser.parse_args(arguments)
    _escape_what_cannot_be_printed()
    before = signal.signal(signal.SIGTERM, _end)
    try:
        return _flushed(int(module.run(options)))
    except KeyboardInterrupt as interrupt:
        # Whoever serves until told to end has done all that there was to do; others have not.
        return 0 if options.endless else SIGNALLED + _number(interrupt)
    except BrokenPipeError:  # whoever reads our output has seen enough
        return _flushed(0)
    except (CommandError, OSError) as error:  # a full disk is one, where our output goes
        complain(f"{parser.prog}: {error}")
        return 1
    finally:
        signal.signal(signal.SIGTERM, before)


def _escape_what_cannot_be_printed() -> None:
    """Have the standard output treat what its encoding lacks as the standard error does.

    A name of the user's, or a byte of a page, may be anything, and must not end the command.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


def _flushed(code: int) -> int:
    """Return an exit code when all of our output is out, or nobody reads it any more."""
    from prom_middleware.commands.streams import close

    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except BrokenPipeError:
        close(sys.stdout)
    return code


def _end(number: int, frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt(number)


def _number(interrupt: KeyboardInterrupt) -> int:
    """Return the signal that interrupted us; Python's own handler, of SIGINT, does not say it."""
    return next((one for one in interrupt.args if isinstance(one, int)), signal.SIGINT)
