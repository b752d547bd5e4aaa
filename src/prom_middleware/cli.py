"""Prometheus metrics from the command line: `python -m prom_middleware`, or `prom-middleware`."""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress
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
    parser = argparse.ArgumentParser(
        prog=PROGRAM,
        description=__doc__,
        epilog="\n".join(["commands (each has --help):", *rows]),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    parser.add_argument("command", nargs="?", choices=tuple(COMMANDS), help="what to do, see below")
    return parser


def _run(name: str, arguments: Sequence[str]) -> int:
    from prom_middleware.commands import CommandError

    module = import_module(COMMANDS[name].module)
    parser = argparse.ArgumentParser(prog=f"{PROGRAM} {name}", description=module.__doc__)
    module.add_arguments(parser)
    options = parser.parse_args(arguments)
    before = signal.signal(signal.SIGTERM, _end)
    try:
        return _flushed(int(module.run(options)))
    except KeyboardInterrupt:
        return 0
    except BrokenPipeError:  # whoever reads our output has seen enough
        return 0
    except (CommandError, OSError) as error:  # a full disk is one, where our output goes
        _complain(f"{parser.prog}: {error}")
        return 1
    finally:
        signal.signal(signal.SIGTERM, before)


def _flushed(code: int) -> int:
    """Return an exit code when all of our output is out; raise OSError where it cannot be."""
    if sys.stdout is not None:
        sys.stdout.flush()
    return code


def _complain(message: str) -> None:
    """Say what is wrong; what cannot be written is closed, or Python would try it again."""
    for stream, text in ((sys.stdout, ""), (sys.stderr, f"{message}\n")):
        try:
            if stream is not None:
                print(text, end="", file=stream, flush=True)
        except OSError:
            with suppress(OSError):
                stream.close()


def _end(number: int, frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt
