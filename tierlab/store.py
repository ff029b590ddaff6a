"""What was asked, sent, answered and paid: one sqlite3 file that survives the process that writes it.

An attempt is on disk before it is sent, and its answer before the next step uses it. Writes of many attempts share one
commit, so that waiting for the disk does not limit how many run at once.
"""

import asyncio
import json
import queue
import sqlite3
import threading
from concurrent.futures import Future
from contextlib import suppress
from pathlib import Path

_SCHEMA = """
CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value TEXT);
CREATE TABLE IF NOT EXISTS calls (key TEXT PRIMARY KEY, kind TEXT, request TEXT);
CREATE TABLE IF NOT EXISTS attempts (
  id INTEGER PRIMARY KEY, key TEXT, sent_at TEXT, most_usd REAL, cost_usd REAL, reason TEXT, error TEXT, in_doubt INTEGER);
CREATE TABLE IF NOT EXISTS results (key TEXT PRIMARY KEY, status TEXT, cost_usd REAL, attempts INTEGER, reply TEXT);
CREATE TABLE IF NOT EXISTS scores (key TEXT, scorer TEXT, score REAL, reason TEXT, PRIMARY KEY (key, scorer));
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
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._lock = _lock(self.path)
        try:
            self._connection = _opened(self.path)
            self._connection.executescript(_SCHEMA)
            version = self._connection.execute("SELECT value FROM meta WHERE name = 'version'").fetchone()
            if version and version[0] != _VERSION:
                raise ValueError(f"{self.path} was written by another version of tierlab (store {version[0]}, here {_VERSION})")
            self._connection.execute("INSERT OR IGNORE INTO meta VALUES ('version', ?)", (_VERSION,))
            # Attempts that an earlier process sent and never finished: the provider may bill them.
            self.interrupted = self._connection.execute(
                "UPDATE attempts SET reason = 'interrupted', in_doubt = 1 WHERE reason IS NULL"
            ).rowcount
            self._connection.commit()
        except sqlite3.DatabaseError as error:
            self._lock.close()
            raise ValueError(f"{self.path} is no store of samples ({error})") from None
        except ValueError:
            self._lock.close()
            raise
        self._queue = queue.SimpleQueue()
        self._writer = threading.Thread(target=self._write, daemon=True)
        self._writer.start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        """Finish what is waiting and close the file."""
        self._queue.put(None)
        self._writer.join()
        self._connection.close()
        self._lock.close()

    async def write(self, *statements):
        """Run (sql, values) statements together; returns, when they are on disk, the row id of the last."""
        loop = asyncio.get_running_loop()
        done = loop.create_future()
        self._queue.put((statements, loop, done))
        return await done

    def write_now(self, *statements):
        """`write` for code that is not asynchronous."""
        done = Future()
        self._queue.put((statements, None, done))
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
        outcomes = []
        for statements, _, _ in batch:
            try:
                outcomes.append([self._connection.execute(sql, values).lastrowid for sql, values in statements][-1])
            except sqlite3.Error as error:
                outcomes.append(error)
        try:
            self._connection.commit()
        except sqlite3.Error as error:  # a full disk: nothing of the batch is safe
            self._connection.rollback()
            outcomes = [error] * len(batch)
        loops = {}
        for (_, loop, done), outcome in zip(batch, outcomes, strict=True):
            loops.setdefault(loop, []).append((done, outcome))
        _settle(loops.pop(None, []))
        for loop, settled in loops.items():
            with suppress(RuntimeError):  # the loop has been closed: nobody waits any more
                loop.call_soon_threadsafe(_settle, settled)


def read(path, sql, values=()):
    """Rows of a query on a store that may be in use."""
    connection = sqlite3.connect(f"{Path(path).resolve().as_uri()}?mode=ro", uri=True)
    try:
        return connection.execute(sql, values).fetchall()
    except sqlite3.DatabaseError as error:
        raise ValueError(f"{path} is no store of samples ({error})") from None
    finally:
        connection.close()


def packed(value):
    """A value as the JSON text that the store keeps."""
    return json.dumps(value, ensure_ascii=False, sort_keys=True, default=dict)


def _settle(settled):
    for done, outcome in settled:
        if done.cancelled():
            continue
        if isinstance(outcome, Exception):
            done.set_exception(outcome)
        else:
            done.set_result(outcome)


def _opened(path):
    connection = sqlite3.connect(path, check_same_thread=False, isolation_level="DEFERRED", timeout=10)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    return connection


def _lock(path):
    """A lock that ends with the process that holds it: an exclusive transaction on a file beside the store."""
    lock = sqlite3.connect(path.with_name(path.name + ".lock"), isolation_level=None, timeout=0)
    try:
        lock.execute("BEGIN EXCLUSIVE")
    except sqlite3.OperationalError:
        lock.close()
        raise ValueError(f"{path} is in use by another run; wait for it, or give another file") from None
    return lock
