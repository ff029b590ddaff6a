"""What was asked, sent, answered and paid: one sqlite3 file that survives the process that writes it.

An attempt is on disk before it is sent, and its answer before the next step uses it. Writes of many attempts share one
commit, so that waiting for the disk does not limit how many run at once.
"""

import asyncio
import json
import os
import queue
import sqlite3
import threading
from concurrent.futures import Future
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
COMMIT;
"""
_VERSION = "1"


class Store:
    """One run, or several of the same file one after the other.

    Parameters
    ----------
    path : path
        Made if it does not exist.

    Raises
    ------
    ValueError
        If the file is no store, or another process is writing to it.

    Notes
    -----
    sqlite3 in WAL mode with synchronous=FULL: what was acknowledged survives kill -9 and a power cut.
    """

    def __init__(self, path):
        self.path = Path(path)
        check(self.path)
        self._locks = _locks(self.path)
        try:
            self._connection = _opened(self.path)
            version = self._connection.execute(
                "SELECT value FROM meta WHERE name = 'version'"
            ).fetchone()
            if version and version[0] != _VERSION:
                raise ValueError(
                    f"{self.path} was written by another version of tierlab (store {version[0]}, here {_VERSION})"
                )
            self._connection.execute(
                "INSERT OR IGNORE INTO meta VALUES ('version', ?)", (_VERSION,)
            )
            # Attempts that an earlier process sent and never finished: the provider may bill them.
            self.interrupted = self._connection.execute(
                "UPDATE attempts SET reason = 'interrupted', in_doubt = 1 WHERE reason IS NULL"
            ).rowcount
            self._connection.commit()
        except BaseException as error:
            self._locks.close()
            if isinstance(error, sqlite3.DatabaseError):
                raise ValueError(f"{self.path} is no store of samples ({error})") from None
            raise
        self._closed = False
        self._queue = queue.SimpleQueue()
        self._writer = threading.Thread(target=self._write, daemon=True)
        self._writer.start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        """Finish what is waiting and close the file."""
        if self._closed:
            return
        self._closed = True
        self._queue.put(None)
        self._writer.join()
        with suppress(sqlite3.OperationalError):  # somebody reads
            self._connection.execute("PRAGMA journal_mode = DELETE")  # at rest, one file
        self._connection.close()
        self._locks.close()

    async def write(self, *statements):
        """Run (sql, values) statements together; returns, when they are on disk, the row id of the last.

        Raises
        ------
        OSError
            If they could not be written.
        """
        loop = asyncio.get_running_loop()
        done = loop.create_future()
        self._put(statements, loop, done)
        return await done

    def write_now(self, *statements):
        """`write` for code that is not asynchronous."""
        done = Future()
        self._put(statements, None, done)
        return done.result()

    def read(self, sql, values=()):
        """Rows of a query, on a connection of its own."""
        return read(self.path, sql, values)

    def spend(self):
        """Known spend and the most that attempts in doubt can cost, of the whole file (US dollars)."""
        return self.read(
            "SELECT COALESCE(SUM(CASE WHEN in_doubt THEN 0 ELSE cost_usd END), 0), "
            "COALESCE(SUM(CASE WHEN in_doubt THEN most_usd ELSE 0 END), 0) FROM attempts"
        )[0]

    def _put(self, *item):
        if self._closed:
            raise ValueError(f"{self.path} has been closed")
        self._queue.put(item)

    def _write(self):
        going = True
        while going:
            batch = [self._queue.get()]
            while len(batch) < 512:
                try:
                    batch.append(self._queue.get_nowait())
                except queue.Empty:
                    break
            going = None not in batch
            self._commit([item for item in batch if item is not None])

    def _commit(self, batch):
        """Run what is waiting, one commit for all, and tell those who wait."""
        try:
            outcomes = [self._executed(statements) for statements, _, _ in batch]
            self._connection.commit()
        except Exception as error:  # whatever it is, somebody waits for an answer
            with suppress(sqlite3.Error):
                self._connection.rollback()
            if (
                len(batch) > 1
            ):  # sqlite may have undone the others' statements as well: each by itself
                for item in batch:
                    self._commit([item])
                return
            outcomes = [
                OSError(f"{self.path} could not be written ({error})")
                if isinstance(error, sqlite3.Error)
                else error
            ]
        loops = {}
        for (_, loop, done), outcome in zip(batch, outcomes, strict=True):
            loops.setdefault(loop, []).append((done, outcome))
        _settle(loops.pop(None, []))
        for loop, settled in loops.items():
            with suppress(RuntimeError):  # the loop has been closed: nobody waits any more
                loop.call_soon_threadsafe(_settle, settled)

    def _executed(self, statements):
        return [self._connection.execute(sql, values).lastrowid for sql, values in statements][-1]


def read(path, sql, values=()):
    """Rows of a query on a store that may be in use."""
    try:
        with closing(
            sqlite3.connect(f"{Path(path).resolve().as_uri()}?mode=ro", uri=True)
        ) as connection:
            return connection.execute(sql, values).fetchall()
    except sqlite3.DatabaseError as error:
        raise ValueError(f"{path} is no store of samples ({error})") from None


def packed(value):
    """A value as the JSON text that the store keeps."""
    text = json.dumps(value, ensure_ascii=False, sort_keys=True, default=dict)
    return text.encode(
        "utf-8", "backslashreplace"
    ).decode()  # half a character becomes its JSON escape


def _settle(settled):
    for done, outcome in settled:
        if done.cancelled():
            continue
        if isinstance(outcome, Exception):
            done.set_exception(outcome)
        else:
            done.set_result(outcome)


def check(path):
    """Refuse what is there and is no store, without a change to a byte of it."""
    if not os.path.lexists(path):
        return
    if not path.is_file():
        raise ValueError(f"{path} is no store of samples, but a folder or a link to nothing")
    try:
        # Immutable: the log that another program may keep beside its file is not played back.
        with closing(
            sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro&immutable=1", uri=True)
        ) as connection:
            _check_tables(connection, path)
    except sqlite3.DatabaseError as error:
        raise ValueError(f"{path} is no store of samples ({error})") from None


def _check_tables(connection, path):
    tables = {
        name
        for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
    }
    if tables and not tables >= {"meta", "calls", "attempts", "results"}:
        raise ValueError(
            f"{path} is no store of samples (it holds the tables {', '.join(sorted(tables))})"
        )


def _opened(path):
    logged = Path(f"{os.path.realpath(path)}-wal").exists()
    connection = sqlite3.connect(
        path, check_same_thread=False, isolation_level="DEFERRED", timeout=10
    )
    try:
        _check_tables(connection, path)
        (mode,) = connection.execute("PRAGMA journal_mode").fetchone()
        if (
            mode == "wal" and not logged and path.stat().st_nlink > 1
        ):  # the log has the name by which it was opened
            raise ValueError(
                f"{path} was in use under another name (a hard link) and cut off; go on under that name"
            )
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.executescript(_SCHEMA)
    except BaseException:
        connection.close()
        raise
    return connection


def _locks(path):
    """Keep others from the store, under whatever name they know it; ends with the process that holds it.

    A lock beside the file is seen by all who see the folder; one by device and inode is the same for all names.
    """
    path = Path(os.path.realpath(path))
    path.parent.mkdir(parents=True, exist_ok=True)
    held = ExitStack()
    with held:
        held.callback(_locked(path, path.with_name(f"{path.name}.lock")).close)
        if not path.exists():
            path.touch()  # from here on it has an inode
        place, folder = path.stat(), paths.CACHE / "locks"
        folder.mkdir(parents=True, exist_ok=True)
        held.callback(_locked(path, folder / f"{place.st_dev:x}-{place.st_ino:x}").close)
        return held.pop_all()


def _locked(path, lock):
    """An exclusive transaction on a file of its own: its lock is the system's, and no lock of the store's is touched."""
    connection = None
    try:
        connection = sqlite3.connect(lock, isolation_level=None, timeout=0, check_same_thread=False)
        connection.execute(
            "PRAGMA journal_mode = OFF"
        )  # nothing is written, so that a kill leaves no journal
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
