"""One module for each subcommand: its `add_arguments(parser)` and `run(options)`.

textfile.py    metrics into a file for node_exporter
bridge.py      metrics to and from other systems
serve.py       the metrics of a module on a port
sources.py     where a command's metrics come from: a module, a URL, the standard input
"""

from __future__ import annotations


class CommandError(Exception):
    """What a command cannot do, in words for its user; the exit code is 1."""
