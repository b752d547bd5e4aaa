"""Metrics in a file, for the textfile collector of node_exporter."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable
from contextlib import suppress
from tempfile import mkstemp

from prometheus_client.registry import Collector

from prom_middleware.errors import OptionError
from prom_middleware.exposition.negotiation import negotiate

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
    whose names end in `.prom`. The temporary file is in the folder of `path`, or in `tmpdir`, on
    the same file system. Whatever is raised, by a collector or a full disk, what was there before
    stays, and nothing is left behind. A link is replaced, not followed: in a folder that others
    may write to, it could lead anywhere. Raises OSError, and OptionError where `path` is there and
    no regular file.
    """
    form = negotiate(f"text/plain;version=1.0.0;escaping={escaping}")
    replace_file(path, form.render(registry.collect()), tmpdir)


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
