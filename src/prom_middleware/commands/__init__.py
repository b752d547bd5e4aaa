"""One module for each subcommand: its `EPILOG`, `add_arguments(parser)` and `run(options)`.

check.py       what is wrong with a /metrics
checking.py    what node_exporter would refuse
textfile.py    metrics into a file for node_exporter
pushgateway.py what batch jobs push, for Prometheus to scrape
bridge.py      metrics to and from other systems
doctor.py      what is wrong with an installation
serve.py       the metrics of a module on a port
scraping/      scrapes of an application in this process
push.py        metrics, or how a command went, to a Pushgateway
children.py    a command that runs in our place
arguments.py   what arguments may be
streams.py     the standard streams, which may be closed
modules.py     what `module:name` names
sources.py     where a command's metrics come from: a module, a URL, the standard input
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event
from time import monotonic

# POSIX, Shell Command Language, 2.8.2: of a command that a signal ended; its number is added.
SIGNALLED = 128
# Seconds after which a signal is heard that another thread has taken.
LATEST = 1.0


class CommandError(Exception):
    """What a command cannot do, in words for its user; the exit code is 1."""


@contextmanager
def told(source: str) -> Iterator[None]:
    """Have any error of the code that `source` names be a CommandError.

    A SystemExit as well: its code would be taken for ours, and 0 says that nothing is wrong.
    """
    try:
        yield
    except CommandError:
        raise
    except SystemExit as error:
        raise CommandError(f"{source}: it ends the program: {error!r}") from error
    except Exception as error:
        raise CommandError(f"{source}: {type(error).__name__}: {error}") from error


def wait(over: Event, seconds: float = math.inf) -> None:
    """Wait until `over` is set, `seconds` are over, or a signal raises.

    In steps: a signal may come to any thread, and wakes none that waits.
    """
    end = monotonic() + seconds
    while (left := end - monotonic()) > 0 and not over.wait(min(left, LATEST)):
        pass
