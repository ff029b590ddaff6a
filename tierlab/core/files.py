"""Files that people keep: written whole or not at all, and never over a file that is not ours.

A folder of output holds a manifest, `.tierlab.json`, with the SHA-256 of each file that was written there.
Only what stands in it, unchanged, is replaced or deleted without being asked.
"""

import contextlib
import hashlib
import json
import os
import secrets
from glob import glob, has_magic
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

    Notes
    -----
    On Linux the content has no name before it is whole. Elsewhere a process that is killed at this moment may leave the
    temporary file, whose name begins with a dot and ends in .part.
    """
    path = Path(path)
    if exclusive and os.path.lexists(path):
        raise FileExistsError(f"{path} exists")
    target = path if exclusive else Path(os.path.realpath(path))
    there = target.exists()
    if there and not target.is_file():  # a folder, or a device, which a rename would replace
        raise OSError(f"{path} is not a file that can be replaced")
    if there and not os.access(target, os.W_OK):  # a rename asks the folder alone
        raise PermissionError(f"{path} may not be written")
    data = content.encode() if isinstance(content, str) else content
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".{target.name[:100]}-{secrets.token_hex(4)}.part")
    handle, named = _opened(temporary)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
            if not named:
                os.link(
                    f"/proc/self/fd/{file.fileno()}",
                    temporary,
                    src_dir_fd=file.fileno(),
                    follow_symlinks=True,
                )
        if there:
            temporary.chmod(target.stat().st_mode & 0o7777)
        if exclusive:
            _take(temporary, target)
        else:
            temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)
    _sync_folder(target.parent)


def _opened(temporary):
    """A file to write, and whether it has its name already."""
    flags = os.O_WRONLY | getattr(os, "O_BINARY", 0)
    with contextlib.suppress(
        AttributeError, OSError
    ):  # not Linux, or a file system that has no files without a name
        if Path("/proc/self/fd").is_dir():
            return os.open(temporary.parent, flags | os.O_TMPFILE, 0o666), False
    return os.open(temporary, flags | os.O_CREAT | os.O_EXCL, 0o666), True


def _take(temporary, target):
    """Give a whole file a name that nothing has; a rename would replace what took it meanwhile."""
    try:
        os.link(temporary, target)
    except FileExistsError:
        raise
    except (
        OSError
    ):  # a file system without hard links: an empty file takes the name, and is replaced
        os.close(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL))
        temporary.replace(target)


class OutputFolder:
    """A folder into which a command writes, and the inputs that it must not touch.

    Parameters
    ----------
    folder : path
    inputs : iterable of path
        Files, folders and patterns that the command reads: never written, replaced or deleted.
    force : bool
        Replace files that this folder's manifest does not know; inputs and links are refused all the same.
    """

    def __init__(self, folder, *, inputs=(), force=False):
        self.path = Path(folder)
        inputs = [path for given in inputs for path in (given, *_matches(given))]
        self._inputs = {identity for path in inputs for identity in _identities(path)}
        self._read_folders = [os.path.realpath(path) for path in inputs if os.path.isdir(path)]  # noqa: PTH112
        self._force = force
        self._made = self._read()

    def claim(self, *names):
        """Refuse, before any work, names that may not be written here.

        Raises
        ------
        ValueError
            Where a name is an input, or a file that was not made here, or was changed since.
        """
        manifest = self.path / MANIFEST
        if os.path.lexists(manifest) and self._made is None:
            raise ValueError(
                f"{manifest} is not tierlab's list of the files that it made; choose another folder"
            )
        for name in names:
            target = self.path / name
            for folder in target.parents:
                if os.path.lexists(folder) and not folder.is_dir():
                    raise ValueError(f"{folder} is not a folder; choose another one")
            if self._is_input(target) or self._is_input(manifest):
                raise ValueError(
                    f"{target} is an input of this command and is not written over; choose another folder"
                )
            if not os.path.lexists(target) or self._ours(name):
                continue
            if any(
                Path(os.path.realpath(target)).is_relative_to(folder)
                for folder in self._read_folders
            ):
                raise ValueError(
                    f"{target} lies in a folder that this command reads; choose another folder"
                )
            if target.is_symlink() or not target.is_file():
                raise ValueError(
                    f"{target} is {'a link' if target.is_symlink() else 'not a file'}; choose another folder"
                )
            if not self._force:
                changed = (
                    "was changed since tierlab wrote it"
                    if name in self._made
                    else "was not made by this version of tierlab"
                )
                raise ValueError(
                    f"{target} {changed}; choose another folder, or have it replaced (--force, force=True)"
                )

    def write(self, name, content):
        """Write one file, after `claim`; returns its path."""
        self.claim(name)
        data = content.encode() if isinstance(content, str) else content
        before = self._made[name][:1] if self._ours(name) else []
        # Known before it is there: a process that is killed in between leaves the old file or the new one, both ours.
        self._made[name] = [hashlib.sha256(data).hexdigest(), *before]
        self._save()
        write_whole(self.path / name, data)
        return self.path / name

    def adopt(self, name):
        """Take a file that is already what `write` would make of it into the manifest."""
        if not self._ours(name):
            self._made[name] = [hashlib.sha256((self.path / name).read_bytes()).hexdigest()]
            self._save()

    def remove(self, *names):
        """Delete files that were made here and are unchanged; others stay. Returns the names that were deleted."""
        gone = [name for name in names if self._ours(name) and not self._is_input(self.path / name)]
        for name in gone:
            (self.path / name).unlink()
            del self._made[name]
        if gone:
            self._save()
        return gone

    def made(self):
        """Names of the files that were made here and stand unchanged, with `/` between folders."""
        return sorted(name for name in self._made or () if self._ours(name))

    def _is_input(self, path):
        return not self._inputs.isdisjoint(_identities(path))

    def _ours(self, name):
        target = self.path / name
        if name not in (self._made or ()) or target.is_symlink() or not target.is_file():
            return False
        return hashlib.sha256(target.read_bytes()).hexdigest() in self._made[name]

    def _read(self):
        """The manifest: digests by name, newest first; None where the file is somebody else's."""
        manifest = self.path / MANIFEST
        if not os.path.lexists(manifest):
            return {}
        try:
            made = json.loads(manifest.read_text(encoding="utf-8"))["made"]
            # A manifest may come with a folder from elsewhere: what it says of files outside the folder is not believed.
            return {
                name: list(digests)
                for name, digests in made.items()
                if ".." not in Path(name).parts and not Path(name).is_absolute()
            }
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return None

    def _save(self):
        others = {
            name: digests
            for name, digests in (self._read() or {}).items()
            if (self.path / name).exists()
        }
        self._made = others | self._made  # another run may have written here meanwhile
        write_whole(
            self.path / MANIFEST,
            json.dumps({"version": 1, "made": dict(sorted(self._made.items()))}, indent=1) + "\n",
        )


def same_file(one, other):
    """Whether two paths lead to the same file, links followed; a file that is not there yet is compared by its path."""
    return not _identities(one).isdisjoint(_identities(other))


def _identities(path):
    """What tells a file from others: where its path leads, and its place on the disk, which all its hard links share."""
    found = {os.path.realpath(path)}
    with contextlib.suppress(OSError):
        status = os.stat(path)  # noqa: PTH116
        found |= {(status.st_dev, status.st_ino)} if status.st_ino else set()
    return found


def _matches(given):
    return glob(str(given), recursive=True) if has_magic(str(given)) else []  # noqa: PTH207


def _sync_folder(folder):
    """Make the new name itself durable, where the system lets a folder be opened (Windows does not)."""
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
