"""What was asked, sent, answered and paid: one sqlite3 file that survives the process that writes it.

An attempt is on disk before it is sent, and its answer before the next step uses it.
"""

import asyncio
import atexit
import hashlib
import json
import os
import sqlite3
import threading
from contextlib import ExitStack, closing, suppress
from pathlib import Path

from tierlab.core import paths

_SCHEMA = """
BEGIN;
CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value TEXT);
CREATE TABLE IF NOT EXISTS calls (key TEXT PRIMARY KEY, kind TEXT, request TEXT);
CREATE TABLE IF NOT EXISTS attempts (
  id INTEGER PRIMARY KEY, key TEXT, sent_at TEXT, most_usd REAL, cost_usd REAL, reason TEXT, error TEXT, in_doubt INTEGER);
CREATE TABLE IF NOT EXISTS results (key TEXT PRIMARY KEY, status TEXT, cost_usd REAL, attempts INTEGER, reply TEXT);
CREATE TABLE IF NOT EXISTS scores (key TEXT, scorer TEXT, score REAL, reason TEXT, PRIMARY KEY (key, scorer));
INSERT OR IGNORE INTO meta VALUES ('version', '1');
COMMIT;
"""
_VERSION = "1"
# What an earlier process sent and never finished: the provider may bill it.
_INTERRUPTED = "UPDATE attempts SET reason = 'interrupted', in_doubt = 1 WHERE reason IS NULL"
_SPEND = """
SELECT COALESCE(SUM(CASE WHEN in_doubt THEN 0 ELSE cost_usd END), 0),
       COALESCE(SUM(CASE WHEN in_doubt THEN most_usd ELSE 0 END), 0) FROM attempts
"""


class Store:
    """One run, or several of the same file one after the other.

    Parameters
    ----------
    path : path
        Made if it does not exist.

    Raises
    ------
    ValueError
        If the file is not a store, or another process is writing to it.

    Notes
    -----
    sqlite3 in WAL mode with synchronous=FULL: what was acknowledged survives kill -9 and a power cut. One connection
    writes, under a lock, from whatever thread; every read has a connection of its own.
    """

    def __init__(self, path):
        self.path = Path(path)
        check(self.path)
        self._writing, self._closed = threading.Lock(), False
        with ExitStack() as held:
            _lock(self.path, held)
            try:
                self._connection = held.enter_context(closing(_opened(self.path)))
                self.interrupted = self._connection.execute(_INTERRUPTED).rowcount
                self._connection.commit()
            except sqlite3.DatabaseError as error:
                raise ValueError(f"{self.path} is not a store of samples ({error})") from None
            self._held = held.pop_all()
        atexit.register(self.close)  # one file at rest, also where nobody closed it

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        """Finish what is being written and close the file."""
        with self._writing:
            if self._closed:
                return
            self._closed = True
            with suppress(sqlite3.OperationalError):  # somebody reads
                self._connection.execute("PRAGMA journal_mode = DELETE")  # at rest, one file
            self._held.close()
        atexit.unregister(self.close)

    def write(self, *statements):
        """Run (sql, values) statements together; returns, when they are on disk, the row id of the last.

        Raises
        ------
        OSError
            If they could not be written; then none of them was.
        """
        with self._writing:
            if self._closed:
                raise ValueError(f"{self.path} has been closed")
            row = None
            try:
                with self._connection:  # commits, or takes everything back
                    for sql, values in statements:
                        row = self._connection.execute(sql, values).lastrowid
            except sqlite3.Error as error:
                raise OSError(f"{self.path} could not be written ({error})") from None
            return row

    async def awrite(self, *statements):
        """`write` for asynchronous code, which goes on while the disk works."""
        return await asyncio.to_thread(self.write, *statements)

    def read(self, sql, values=()):
        """Rows of a query."""
        return read(self.path, sql, values)

    def spend(self):
        """Known spend and the most that attempts in doubt can cost, of the whole file (US dollars)."""
        return self.read(_SPEND)[0]


def read(path, sql, values=()):
    """Rows of a query on a store that may be in use."""
    return _read_only(path, "mode=ro", lambda file: file.execute(sql, values).fetchall())


def check(path):
    """Refuse what is there and is not a store, without a change to a byte of it."""
    if not os.path.lexists(path):
        return
    if not path.is_file():
        raise ValueError(f"{path} is not a store of samples, but a folder or a link to nothing")
    # Immutable: the log that another program may keep beside its file is not played back.
    _read_only(path, "mode=ro&immutable=1", lambda file: _check_tables(file, path))


def _read_only(path, mode, work):
    try:
        with closing(sqlite3.connect(f"{Path(path).resolve().as_uri()}?{mode}", uri=True)) as file:
            return work(file)
    except sqlite3.DatabaseError as error:
        raise ValueError(f"{path} is not a store of samples ({error})") from None


def digest(*parts):
    """One short text for all that decides something: the same parts have the same digest."""
    return hashlib.sha256(packed(parts).encode()).hexdigest()


def packed(value):
    """A value as the JSON text that the store keeps; half a character becomes its JSON escape."""
    text = json.dumps(value, ensure_ascii=False, sort_keys=True, default=dict)
    return text.encode("utf-8", "backslashreplace").decode()


def _check_tables(connection, path):
    found = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
    tables = {name for (name,) in found}
    if tables and not tables >= {"meta", "calls", "attempts", "results"}:
        raise ValueError(
            f"{path} is not a store of samples (it holds the tables {', '.join(sorted(tables))})"
        )


def _opened(path):
    logged = Path(f"{os.path.realpath(path)}-wal").exists()
    connection = sqlite3.connect(path, check_same_thread=False, timeout=10)
    try:
        _check_tables(connection, path)
        (mode,) = connection.execute("PRAGMA journal_mode").fetchone()
        # The log has the name by which the file was opened.
        if mode == "wal" and not logged and path.stat().st_nlink > 1:
            raise ValueError(
                f"{path} was in use under another name (a hard link) and cut off; go on under that name"
            )
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.executescript(_SCHEMA)
        (version,) = connection.execute("SELECT value FROM meta WHERE name = 'version'").fetchone()
        if version != _VERSION:
            raise ValueError(
                f"{path} was written by another version of tierlab (store {version}, here {_VERSION})"
            )
    except BaseException:
        connection.close()
        raise
    return connection


def _lock(path, held):
    """Keep others from the store, under whatever name they know it; ends with the process that holds it.

    A lock beside the file is seen by all who see the folder; one by device and inode is the same for all names.
    """
    path, folder = Path(os.path.realpath(path)), paths.CACHE / "locks"
    for each in (path.parent, folder):
        each.mkdir(parents=True, exist_ok=True)
    held.callback(_locked(path, path.with_name(f"{path.name}.lock")).close)
    path.touch()  # from here on it has an inode
    place = path.stat()
    held.callback(_locked(path, folder / f"{place.st_dev:x}-{place.st_ino:x}").close)


def _locked(path, lock):
    """An exclusive transaction on a file of its own: its lock is the system's, and no lock of the store's is touched."""
    connection = None
    try:
        connection = sqlite3.connect(lock, isolation_level=None, timeout=0, check_same_thread=False)
        # Nothing is written, so that a kill leaves no journal.
        connection.execute("PRAGMA journal_mode = OFF")
        connection.execute("BEGIN EXCLUSIVE")
    except sqlite3.DatabaseError as error:
        if connection is not None:
            connection.close()
        if error.sqlite_errorcode != sqlite3.SQLITE_BUSY:
            raise OSError(f"{path} cannot be written ({lock}: {error})") from None
        raise ValueError(
            f"{path} is in use by another run; wait for it, or give another file"
        ) from None
    return connection
