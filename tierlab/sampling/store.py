"""A store of what was asked, sent, answered and paid: one sqlite3 file that survives the process that writes it.

An attempt is on disk before it is sent, and its answer before the next step uses it.
"""

import asyncio
import atexit
import hashlib
import json
import os
import sqlite3
import threading
from contextlib import AbstractContextManager, closing, suppress
from pathlib import Path

_SCHEMA = """
CREATE TABLE IF NOT EXISTS calls (key TEXT PRIMARY KEY, kind TEXT, request TEXT);
CREATE TABLE IF NOT EXISTS attempts (
  id INTEGER PRIMARY KEY, key TEXT, sent_at TEXT, most_usd REAL, cost_usd REAL, reason TEXT, error TEXT, in_doubt INTEGER);
CREATE TABLE IF NOT EXISTS results (key TEXT PRIMARY KEY, status TEXT, cost_usd REAL, attempts INTEGER, reply TEXT);
CREATE TABLE IF NOT EXISTS scores (key TEXT, scorer TEXT, score REAL, reason TEXT, PRIMARY KEY (key, scorer));
"""
_TABLES = "SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name"
# The provider may bill what an earlier process sent and never finished.
_INTERRUPTED = "UPDATE attempts SET reason = 'interrupted', in_doubt = 1 WHERE reason IS NULL"
_SPEND = """
SELECT COALESCE(SUM(CASE WHEN in_doubt THEN 0 ELSE cost_usd END), 0),
       COALESCE(SUM(CASE WHEN in_doubt THEN most_usd ELSE 0 END), 0) FROM attempts
"""


class Store(AbstractContextManager):
    """An open store; one process at a time writes to it.

    Parameters
    ----------
    path : path
        The file, which is made if it does not exist.

    Raises
    ------
    ValueError
        If the file is not a store, or another process is writing to it.

    Notes
    -----
    sqlite3 runs in WAL mode with synchronous=FULL: what was acknowledged survives kill -9 and a power cut. One
    connection writes, under a lock, from any thread; every read has its own connection. The lock against other
    processes is a file beside the store.
    """

    def __init__(self, path):
        self.path = Path(path)
        check(self.path)
        real = Path(os.path.realpath(path))
        real.parent.mkdir(parents=True, exist_ok=True)
        self._lock = _locked(self.path, real.with_name(f"{real.name}.lock"))
        self._writing, self._closed = threading.Lock(), False
        try:
            self._connection = sqlite3.connect(path, check_same_thread=False, timeout=10)
            self._connection.execute("PRAGMA journal_mode = WAL")
            self._connection.execute("PRAGMA synchronous = FULL")
            self._connection.executescript(_SCHEMA)
            with self._connection:
                self.interrupted = self._connection.execute(_INTERRUPTED).rowcount
        except sqlite3.Error as error:
            self._lock.close()
            raise OSError(f"{self.path} cannot be opened for writing ({error})") from None
        atexit.register(self.close)  # leaves one file at rest even if close was not called

    def __exit__(self, *_):
        self.close()

    def close(self):
        """Finish what is being written and close the file."""
        with self._writing:
            if self._closed:
                return
            self._closed = True
            with suppress(sqlite3.OperationalError):  # fails while somebody reads
                self._connection.execute("PRAGMA journal_mode = DELETE")  # leaves one file at rest
            self._connection.close()
            self._lock.close()
        atexit.unregister(self.close)

    def write(self, *statements):
        """Run (sql, values) statements together, and return the row id of the last once all are on disk.

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
        """Do `write` in a thread, so that other asynchronous code goes on while the disk works."""
        return await asyncio.to_thread(self.write, *statements)

    def read(self, sql, values=()):
        """Return the rows of a query."""
        return read(self.path, sql, values)

    def spend(self):
        """Return the known spend of the whole file and the most that attempts in doubt can cost, USD."""
        return self.read(_SPEND)[0]


def read(path, sql, values=(), *, mode="mode=ro"):
    """Return the rows of a query on a store, which may be in use."""
    try:
        with closing(sqlite3.connect(f"{Path(path).resolve().as_uri()}?{mode}", uri=True)) as file:
            return file.execute(sql, values).fetchall()
    except sqlite3.DatabaseError as error:
        raise ValueError(f"{path} is not a store of samples ({error})") from None


def check(path):
    """Refuse a path at which there is something else than a store."""
    if not os.path.lexists(path):
        return
    if not path.is_file():
        raise ValueError(f"{path} is not a store of samples, but a folder or a link to nothing")
    if path.stat().st_nlink > 1:  # sqlite finds its lock and its log by the name
        raise ValueError(f"{path} has a second name (a hard link); give a copy of it")
    # Opened as immutable, so that a log beside another program's file is not played back.
    tables = [name for (name,) in read(path, _TABLES, mode="mode=ro&immutable=1")]
    if tables and not {"calls", "attempts", "results"} <= set(tables):
        raise ValueError(
            f"{path} is not a store of samples (it holds the tables {', '.join(tables)})"
        )


def digest(*parts):
    """Return a short text that is the same for the same parts."""
    return hashlib.sha256(packed(parts).encode()).hexdigest()


def packed(value):
    """Return a value as the JSON text that the store keeps; a lone surrogate becomes its JSON escape."""
    text = json.dumps(value, ensure_ascii=False, sort_keys=True, default=dict)
    return text.encode("utf-8", "backslashreplace").decode()


def _locked(path, lock):
    """Begin an exclusive transaction on a file beside the store; the system ends its lock with the process."""
    connection = None
    try:
        connection = sqlite3.connect(lock, isolation_level=None, timeout=0, check_same_thread=False)
        # Nothing is written to it, so that a kill leaves no journal.
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
