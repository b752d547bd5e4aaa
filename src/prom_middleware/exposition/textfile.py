"""Metrics in a file, for the textfile collector of node_exporter."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator
from contextlib import suppress
from tempfile import mkstemp

from prometheus_client import Metric as MetricFamily
from prometheus_client.registry import Collector

from prom_middleware.errors import OptionError, ReservedLabelError
from prom_middleware.exposition.formats.escaping import SCHEMES
from prom_middleware.exposition.negotiation import negotiate
from prom_middleware.instrumentation.families import BlockFamily
from prom_middleware.options import collector

# node_exporter has a user of its own, and has to read what root's cron job wrote.
MODE = 0o644


def write_to_textfile(
    path: str | os.PathLike[str],
    registry: Collector,
    escaping: str = "allow-utf-8",
    tmpdir: str | os.PathLike[str] | None = None,
) -> None:
    """Write the metrics of `registry` to `path`, with mode 0644, whole or not at all.

    The arguments are those of `prometheus_client.write_to_textfile`. node_exporter reads files
    whose names end in `.prom`, and none with names in quotes (up to 1.11 at least): where there are
    names in UTF-8, give `escaping="underscores"`. The temporary file is in the folder of `path`, or
    in `tmpdir`, on the same file system. Whatever is raised, by a collector or a full disk, what
    was there before stays, and nothing is left behind. A link is replaced, not followed: in a
    folder that others may write to, it could lead anywhere. Raises OSError; OptionError where
    `path` exists and is no regular file, or for an unknown `escaping`; ReservedLabelError for a
    label that begins with `__`, at which node_exporter panics.
    """
    if escaping not in SCHEMES:
        raise OptionError(f"escaping={escaping!r}: give one of {', '.join(SCHEMES)}")
    form = negotiate(f"text/plain;version=1.0.0;escaping={escaping}")
    replace_file(path, form.render(_checked(collector(registry).collect())), tmpdir)


def reserved_label(labels: Iterable[str]) -> str | None:
    """Return the label that makes node_exporter panic, with all that it exports, or None."""
    return next((name for name in labels if name.startswith("__")), None)


def _checked(families: Iterable[MetricFamily]) -> Iterator[MetricFamily]:
    for family in families:
        # The labels of ours were checked when they were made.
        for sample in () if isinstance(family, BlockFamily) else family.samples:
            label = reserved_label(sample.labels or ())
            if label is not None:
                raise ReservedLabelError(f"{sample.name} has the reserved label {label}")
        yield family


def replace_file(
    path: str | os.PathLike[str],
    content: Iterable[bytes],
    tmpdir: str | os.PathLike[str] | None = None,
) -> None:
    """Write `content` to `path` as `write_to_textfile` does."""
    path = os.fspath(path)
    _check_kind(path)
    folder, name = os.path.split(path)
    # Not *.prom: nobody may read it yet.
    file, temporary = mkstemp(
        ".tmp", f".{name}.", folder or os.curdir if tmpdir is None else tmpdir
    )
    try:
        with open(file, "wb") as writing:
            writing.writelines(content)
        os.chmod(temporary, MODE)  # whatever the umask is
        # No fsync: after a crash of the system the next run's file counts, not this one.
        os.replace(temporary, path)
    except BaseException:
        with suppress(OSError):
            os.unlink(temporary)
        raise


def _check_kind(path: str) -> None:
    # `os.replace` would put a file in the place of /dev/null, if root asks for it.
    with suppress(FileNotFoundError):
        if not stat.S_ISREG(os.stat(path).st_mode):
            raise OptionError(f"path={path!r} is there, and is no regular file")
