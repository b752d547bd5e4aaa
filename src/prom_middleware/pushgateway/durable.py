"""Groups on disk, in SQLite: what was answered 200 is there after a SIGKILL.

The write-ahead log is written by every commit, and the file system has it then, whatever happens to
the process. It is synced at checkpoints only, so the loss of power may take the last pushes, and
leaves a sound database (https://www.sqlite.org/pragma.html#pragma_synchronous).
"""

from __future__ import annotations

import json
import os
import sqlite3
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import NamedTuple

from prom_middleware.errors import PromMiddlewareError
from prom_middleware.pushgateway.families import Family, Labels
from prom_middleware.pushgateway.stored import dump, load

# "ppgw": what tells our files from those of other programs (`file` shows it).
APPLICATION_ID = 0x70706777
VERSION = 1
# Commits that a kill cannot undo, and no sync for each of them.
_PRAGMAS = ("journal_mode = WAL", "synchronous = NORMAL")
_SCHEMA = f"""
BEGIN IMMEDIATE;
CREATE TABLE groups (
  id INTEGER PRIMARY KEY, labels TEXT NOT NULL UNIQUE, ttl_ns INTEGER, failure TEXT
);
CREATE TABLE families (
  group_id INTEGER NOT NULL, name TEXT NOT NULL, pushed_ns INTEGER NOT NULL, body TEXT NOT NULL,
  UNIQUE (group_id, name)
);
PRAGMA application_id = {APPLICATION_ID};
PRAGMA user_version = {VERSION};
COMMIT;
"""
_ADD_GROUP = "INSERT INTO groups (labels, ttl_ns, failure) VALUES (?, ?, ?)"
_CHANGE_GROUP = "UPDATE groups SET ttl_ns = ?, failure = ? WHERE id = ?"
_PUT_FAMILY = """
INSERT INTO families (group_id, name, pushed_ns, body) VALUES (?, ?, ?, ?)
ON CONFLICT (group_id, name) DO UPDATE SET pushed_ns = excluded.pushed_ns, body = excluded.body
"""
# A group's number, and its columns besides the key.
_Row = tuple[int, "int | None", "str | None"]


class StorageError(PromMiddlewareError):
    """The disk cannot be written, or the file cannot be used; the message says which and why."""


class GroupRecord(NamedTuple):
    """What is stored of a group, or is to be changed of it: `families` with their times in ns."""

    labels: Labels
    ttl_ns: int | None
    failure: str | None
    families: list[tuple[int, Family]]
    removed: Iterable[str] = ()
    is_gone: bool = False


class NoJournal:
    """Keeps nothing: groups are in memory only."""

    moved_aside: str | None = None

    def load(self) -> Iterable[GroupRecord]:
        """Return what is stored."""
        return []

    def write(self, records: Iterable[GroupRecord]) -> None:
        """Change all of it, or nothing; raise StorageError where that fails."""

    def wipe(self) -> None:
        """Take everything away; raise StorageError where that fails."""

    def close(self) -> None:
        """Let go of the file."""


class Journal(NoJournal):
    """The database at `path`.

    One that is corrupt is moved aside, and `moved_aside` says where to. Raises StorageError for a
    file that cannot be used: another process has it, it is another program's, there is no such
    folder.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self._rows: dict[Labels, _Row] = {}
        self._connection = self._opened()

    def load(self) -> list[GroupRecord]:
        """Return what is stored."""
        try:
            return self._records()
        except sqlite3.OperationalError as error:
            raise StorageError(_explained(self.path, error)) from error
        except (sqlite3.DatabaseError, ValueError, TypeError, KeyError) as error:
            self._connection.close()
            self._move_aside(error)
            self._rows = {}
            self._connection = self._opened()
            return []

    def _opened(self) -> sqlite3.Connection:
        try:
            return self._open()
        except sqlite3.OperationalError as error:
            raise StorageError(_explained(self.path, error)) from error
        except sqlite3.DatabaseError as error:
            self._move_aside(error)
            return self._opened()

    def _open(self) -> sqlite3.Connection:
        connection = sqlite3.connect(
            self.path, timeout=0, isolation_level=None, check_same_thread=False
        )
        try:
            # First of all: without it, a file of shared memory would be made, on a full disk, too.
            connection.execute("PRAGMA locking_mode = EXCLUSIVE")
            is_new = self._is_new(connection)
            for pragma in _PRAGMAS:
                connection.execute(f"PRAGMA {pragma}")
            # The lock is taken by the first write.
            connection.executescript(_SCHEMA if is_new else "BEGIN IMMEDIATE; COMMIT")
        except BaseException:
            connection.close()
            raise
        return connection

    def _is_new(self, connection: sqlite3.Connection) -> bool:
        """Tell whether there is nothing in the file; raise StorageError where it is not ours."""
        (application_id,) = connection.execute("PRAGMA application_id").fetchone()
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
        if tables and (application_id, version) != (APPLICATION_ID, VERSION):
            raise StorageError(f"{self.path} is a database of another program, or a newer version")
        return not tables

    def _move_aside(self, error: Exception) -> None:
        target = f"{self.path}.corrupt-{time.strftime('%Y%m%dT%H%M%S')}"
        number = 0
        while os.path.exists(target):
            number += 1
            target = f"{target.partition('+')[0]}+{number}"
        try:
            for ending in ("", "-wal", "-shm"):
                if os.path.exists(self.path + ending):
                    os.rename(self.path + ending, target + ending)
        except OSError as failure:
            raise StorageError(f"{self.path} is corrupt, and cannot be moved: {failure}") from error
        self.moved_aside = f"{self.path} is corrupt ({error}); it was moved to {target}"

    def _records(self) -> list[GroupRecord]:
        found: dict[int, GroupRecord] = {}
        rows = self._connection.execute("SELECT id, labels, ttl_ns, failure FROM groups")
        for number, labels, ttl_ns, failure in rows:
            key = tuple((str(name), str(value)) for name, value in json.loads(labels))
            found[number] = GroupRecord(key, ttl_ns, failure, [])
            self._rows[key] = (number, ttl_ns, failure)
        rows = self._connection.execute("SELECT group_id, name, pushed_ns, body FROM families")
        for number, name, pushed_ns, body in rows:
            found[number].families.append((int(pushed_ns), load(name, body)))
        return list(found.values())

    def write(self, records: Iterable[GroupRecord]) -> None:
        """Change all of it, or nothing; raise StorageError where that fails."""
        changed: dict[Labels, _Row | None] = {}
        with self._transaction() as connection:
            for record in records:
                # One that is there twice finds what became of it the first time.
                row = changed.get(record.labels, self._rows.get(record.labels))
                changed[record.labels] = self._write(connection, record, row)
        for key, row in changed.items():
            if row is None:
                self._rows.pop(key, None)
            else:
                self._rows[key] = row

    def _write(
        self, connection: sqlite3.Connection, record: GroupRecord, row: _Row | None
    ) -> _Row | None:
        if record.is_gone:
            if row is not None:
                connection.execute("DELETE FROM families WHERE group_id = ?", row[:1])
                connection.execute("DELETE FROM groups WHERE id = ?", row[:1])
            return None
        row = self._put_group(connection, record, row)
        number = row[0]
        gone = [(number, name) for name in record.removed]
        if gone:
            connection.executemany("DELETE FROM families WHERE group_id = ? AND name = ?", gone)
        connection.executemany(
            _PUT_FAMILY,
            [(number, one.name, pushed_ns, dump(one)) for pushed_ns, one in record.families],
        )
        return row

    def _put_group(
        self, connection: sqlite3.Connection, record: GroupRecord, row: _Row | None
    ) -> _Row:
        state = (record.ttl_ns, record.failure)
        if row is None:
            values = (json.dumps(record.labels), *state)
            number = connection.execute(_ADD_GROUP, values).lastrowid or 0
            return (number, *state)
        if row[1:] != state:
            connection.execute(_CHANGE_GROUP, (*state, row[0]))
        return (row[0], *state)

    def wipe(self) -> None:
        """Take everything away; raise StorageError where that fails."""
        with self._transaction() as connection:
            connection.execute("DELETE FROM families")
            connection.execute("DELETE FROM groups")
        self._rows = {}

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            yield self._connection
            self._connection.execute("COMMIT")
        except BaseException as error:
            with suppress(sqlite3.Error):
                self._connection.execute("ROLLBACK")
            if isinstance(error, sqlite3.Error):
                raise StorageError(_explained(self.path, error)) from error
            raise

    def close(self) -> None:
        """Let go of the file."""
        self._connection.close()


def _explained(path: str, error: sqlite3.Error) -> str:
    if "locked" in str(error):
        return f"{path}: another process has the database open"
    return f"{path}: {error}"
