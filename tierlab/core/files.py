"""Files that people keep: written whole or not at all, and never over a file that is not ours.

A folder of output holds a manifest, `.tierlab.json`, with the SHA-256 of each file that was written there.
Only what stands in it, unchanged, is replaced or deleted without being asked.
"""

import contextlib
import hashlib
import json
import os
import tempfile
from pathlib import Path

MANIFEST = ".tierlab.json"


def write_whole(path, content, *, exclusive=False):
    """Write a file so that a reader, a crash or a full disk never meets half of it.

    The content goes to a temporary file beside it, reaches the disk, and then takes the name in one step. A
    link is followed: what it points to is replaced, the link stays.

    Parameters
    ----------
    path : path
        Its folder is made where it is missing.
    content : str or bytes
        Text is written as UTF-8 with its line ends as they are.
    exclusive : bool
        Raise FileExistsError where anything has the name already, a dangling link too.

    Raises
    ------
    OSError
        Where it cannot be written; the file that was there is untouched.
    """
    path = Path(path)
    if exclusive and os.path.lexists(path):
        raise FileExistsError(f"{path} exists")
    target = path if exclusive else Path(os.path.realpath(path))
    target.parent.mkdir(parents=True, exist_ok=True)
    data = content.encode() if isinstance(content, str) else content
    handle, temporary = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name[:100]}-", suffix=".part")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).chmod(target.stat().st_mode & 0o7777 if target.exists() else 0o666 & ~_umask())
        if exclusive:
            os.link(temporary, target)  # fails where the name was taken meanwhile; a rename would replace it
        else:
            os.replace(temporary, target)
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
    _sync_folder(target.parent)


class OutputFolder:
    """A folder into which a command writes, and the inputs that it must not touch.

    Parameters
    ----------
    folder : path
    inputs : iterable of path
        Files that the command reads: never written, replaced or deleted.
    force : bool
        Replace files that this folder's manifest does not know; inputs are refused all the same.
    """

    def __init__(self, folder, *, inputs=(), force=False):
        self.path = Path(folder)
        self._inputs = [Path(path) for path in inputs]
        self._force = force
        self._made = self._read()

    def claim(self, *names):
        """Refuse, before any work, names that may not be written here.

        Raises
        ------
        ValueError
            Where a name is an input, or a file that was not made here, or was changed since.
        """
        for name in names:
            target = self.path / name
            if any(same_file(target, path) for path in self._inputs):
                raise ValueError(f"{target} is an input of this command and is not written over; choose another folder (--out)")
            if os.path.lexists(target) and not self._force and not self._ours(name):
                changed = "was changed since tierlab wrote it" if name in self._made else "was not made by tierlab"
                raise ValueError(f"{target} {changed}; choose another folder (--out), or replace it with --force")

    def write(self, name, content):
        """Write one file, after `claim`; returns its path."""
        self.claim(name)
        data = content.encode() if isinstance(content, str) else content
        write_whole(self.path / name, data)
        self._made[name] = hashlib.sha256(data).hexdigest()
        self._save()
        return self.path / name

    def adopt(self, name):
        """Take a file that another program has just written here into the manifest; `claim` its name first."""
        self._made[name] = hashlib.sha256((self.path / name).read_bytes()).hexdigest()
        self._save()
        return self.path / name

    def remove(self, *names):
        """Delete files that were made here and are unchanged; others stay. Returns the names that were deleted."""
        gone = []
        for name in names:
            target = self.path / name
            if not self._ours(name) or any(same_file(target, path) for path in self._inputs):
                continue
            target.unlink()
            del self._made[name]
            gone.append(name)
        if gone:
            self._save()
        return gone

    def made(self):
        """Names of the files that were made here and stand unchanged, with `/` between folders."""
        return sorted(name for name in self._made if self._ours(name))

    def _ours(self, name):
        target = self.path / name
        if name not in self._made or target.is_symlink() or not target.is_file():
            return False
        return hashlib.sha256(target.read_bytes()).hexdigest() == self._made[name]

    def _read(self):
        try:
            made = json.loads((self.path / MANIFEST).read_text(encoding="utf-8"))["made"]
        except (OSError, ValueError, KeyError, TypeError):
            return {}
        return {str(name): digest for name, digest in made.items()} if isinstance(made, dict) else {}

    def _save(self):
        write_whole(self.path / MANIFEST, json.dumps({"version": 1, "made": dict(sorted(self._made.items()))}, indent=1) + "\n")


def same_file(one, other):
    """Whether two paths lead to the same file, links followed; a file that is not there yet is compared by its path."""
    one, other = Path(one), Path(other)
    with contextlib.suppress(OSError):
        if os.path.samefile(one, other):
            return True
    real, of = Path(os.path.realpath(one)), Path(os.path.realpath(other))
    return real == of


def _umask():
    current = os.umask(0)
    os.umask(current)
    return current


def _sync_folder(folder):
    """Make the new name itself durable, where the system lets a folder be opened (Windows does not)."""
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
