"""Write files that people keep: whole or not at all, and never over a file that is not ours.

A folder of output holds a manifest, `.tierlab.json`, with the SHA-256 of each file that was written there. Only files
that it lists and that are unchanged are replaced or deleted without being asked.
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
    """Write a file so that nobody ever meets half of it, even after a crash or on a full disk.

    The content goes to a temporary file in the same folder, reaches the disk, and then takes the name in one step. A link
    is followed: the file it points to is replaced, and the link stays.

    Parameters
    ----------
    path : path
        Its folder is made if it is missing.
    content : str or bytes
        Text is written as UTF-8, with its line ends unchanged.
    exclusive : bool
        Raise FileExistsError if anything has the name already, even a dangling link.

    Raises
    ------
    OSError
        If the file cannot be written; the one that was there is untouched.

    Notes
    -----
    On Linux the content has no name before it is whole. Elsewhere a process that is killed while it writes may leave the
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
    """Open a file to write; return its handle, and whether it has its name already."""
    flags = os.O_WRONLY | getattr(os, "O_BINARY", 0)
    # Suppressed: not Linux, or a file system that has no files without a name.
    with contextlib.suppress(AttributeError, OSError):
        if Path("/proc/self/fd").is_dir():
            return os.open(temporary.parent, flags | os.O_TMPFILE, 0o666), False
    return os.open(temporary, flags | os.O_CREAT | os.O_EXCL, 0o666), True


def _take(temporary, target):
    """Give a whole file a name that nothing has; a rename would replace whatever took the name meanwhile."""
    try:
        os.link(temporary, target)
    except FileExistsError:
        raise
    except OSError:
        # A file system without hard links: an empty file takes the name and is then replaced.
        os.close(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL))
        temporary.replace(target)


class OutputFolder:
    """A folder into which a command writes, with the inputs that it must not touch.

    Parameters
    ----------
    folder : path
    inputs : iterable of path
        Files, folders and patterns that the command reads. They are never written, replaced or deleted.
    force : bool
        Replace files that the manifest of this folder does not list. Inputs and links are still refused.
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
            If a name is an input, or a file that was not made here or was changed since.
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
                    f"{target} is an input of this command and is never overwritten; choose another folder"
                )
            if not os.path.lexists(target) or self._ours(name):
                continue
            real = Path(os.path.realpath(target))
            if any(real.is_relative_to(folder) for folder in self._read_folders):
                raise ValueError(
                    f"{target} lies in a folder that this command reads; choose another folder"
                )
            if target.is_symlink() or not target.is_file():
                raise ValueError(
                    f"{target} is {'a link' if target.is_symlink() else 'not a file'}; choose another folder"
                )
            if not self._force:
                why = "was not made by this version of tierlab"
                if name in self._made:
                    why = "was changed since tierlab wrote it"
                raise ValueError(
                    f"{target} {why}; choose another folder, or have it replaced (--force, force=True)"
                )

    def write(self, name, content):
        """Claim a name, write the file, and return its path."""
        self.claim(name)
        data = content.encode() if isinstance(content, str) else content
        before = self._made[name][:1] if self._ours(name) else []
        # Listed before it is written: a process killed in between leaves the old file or the new one, and both are ours.
        self._made[name] = [hashlib.sha256(data).hexdigest(), *before]
        self._save()
        write_whole(self.path / name, data)
        return self.path / name

    def adopt(self, name):
        """List a file in the manifest that is already what `write` would make of it."""
        if not self._ours(name):
            self._made[name] = [hashlib.sha256((self.path / name).read_bytes()).hexdigest()]
            self._save()

    def remove(self, *names):
        """Delete those of the files that were made here and are unchanged, and return their names."""
        gone = [name for name in names if self._ours(name) and not self._is_input(self.path / name)]
        for name in gone:
            (self.path / name).unlink()
            del self._made[name]
        if gone:
            self._save()
        return gone

    def made(self):
        """Return the names of the files that were made here and are unchanged, with `/` between folders."""
        return sorted(name for name in self._made or () if self._ours(name))

    def _is_input(self, path):
        return not self._inputs.isdisjoint(_identities(path))

    def _ours(self, name):
        target = self.path / name
        if name not in (self._made or ()) or target.is_symlink() or not target.is_file():
            return False
        return hashlib.sha256(target.read_bytes()).hexdigest() in self._made[name]

    def _read(self):
        """Read the manifest: digests by name, newest first; None if the file is somebody else's."""
        manifest = self.path / MANIFEST
        if not os.path.lexists(manifest):
            return {}
        try:
            made = json.loads(manifest.read_text(encoding="utf-8"))["made"]
            # A manifest may have come with a folder from elsewhere; what it says of files outside the folder is ignored.
            return {
                name: list(digests)
                for name, digests in made.items()
                if ".." not in Path(name).parts and not Path(name).is_absolute()
            }
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return None

    def _save(self):
        now = self._read() or {}  # another run may have written here meanwhile
        others = {name: digests for name, digests in now.items() if (self.path / name).exists()}
        self._made = others | self._made
        text = json.dumps({"version": 1, "made": dict(sorted(self._made.items()))}, indent=1)
        write_whole(self.path / MANIFEST, f"{text}\n")


def same_file(one, other):
    """Return whether two paths lead to the same file; links are followed, and a file that is missing is known by its path."""
    return not _identities(one).isdisjoint(_identities(other))


def _identities(path):
    """Return what identifies a file: where its path leads, and its place on the disk, which all its hard links share."""
    found = {os.path.realpath(path)}
    with contextlib.suppress(OSError):
        status = os.stat(path)  # noqa: PTH116
        found |= {(status.st_dev, status.st_ino)} if status.st_ino else set()
    return found


def _matches(given):
    return glob(str(given), recursive=True) if has_magic(str(given)) else []  # noqa: PTH207


def _sync_folder(folder):
    """Make a new name durable, if the system can open a folder (Windows cannot)."""
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
