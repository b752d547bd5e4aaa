"""Write metrics to a file for node_exporter's textfile collector: whole, or not at all."""

from __future__ import annotations

import argparse
import time
from threading import Event

from prom_middleware.commands import CommandError, arguments, sources, streams, wait
from prom_middleware.exposition.textfile import replace_file

EPILOG = """\
examples:
  job-metrics | prom-middleware textfile --output /var/lib/node_exporter/job.prom
  prom-middleware textfile shop.jobs:registry --output job.prom
  prom-middleware textfile http://localhost:8000/metrics --interval 15 --output shop.prom

What is read is checked before it takes the file's place: the format, series that are there twice,
timestamps and labels that begin with __, which node_exporter does not take, and counts of summaries
and histograms below 0 or NaN, of which it would make others. Exit code 1: there is nothing new, and
the file is as it was; 2: wrong arguments.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what the command takes."""
    parser.add_argument(
        "source",
        nargs="?",
        default="-",
        help=f"a URL, - for the standard input (the default), or {sources.SOURCES}",
    )
    parser.add_argument(
        "-o",
        "--output",
        type=arguments.name,
        required=True,
        metavar="FILE",
        help="the file, *.prom; - to print it",
    )
    parser.add_argument(
        "--interval",
        type=arguments.seconds,
        help="write again every so many seconds, until stopped; a function is called each time",
    )
    parser.add_argument(
        "--timeout",
        type=arguments.seconds,
        default=10.0,
        help="seconds to wait for a URL (default: 10)",
    )


def run(options: argparse.Namespace) -> int:
    """Write once, or again and again."""
    options.endless = options.interval is not None
    if options.interval and options.source == "-":
        options.refuse("--interval: the standard input can be read only once")
    if options.output != "-" and not options.output.endswith(".prom"):
        streams.tell(f"{options.output}: node_exporter reads *.prom only")
    if options.interval is None:
        write(options)
        return 0
    while True:
        began = time.monotonic()
        try:
            write(options)
        except CommandError as error:  # the next time may be better
            streams.tell(error)
        wait(Event(), began + options.interval - time.monotonic())


def write(options: argparse.Namespace) -> None:
    """Write once; raises CommandError, and has then changed nothing."""
    content = sources.content_of(options.source, options.timeout)
    if options.output == "-":
        streams.write(content)
        return
    try:
        replace_file(options.output, content)
    except (OSError, ValueError) as error:
        raise CommandError(f"{options.output}: {error}") from error
