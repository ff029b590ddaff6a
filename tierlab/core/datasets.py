"""Fetch public data sets by name, each from a pinned commit and checked by sha256. None is kept in this repository."""

import hashlib
import os
from functools import lru_cache
from pathlib import Path

import pandas as pd

from tierlab.core import paths
from tierlab.core.vocabulary import known

REGISTRY = dict(list(pd.read_csv(paths.DATA / "datasets.csv").groupby("name")))


def path(name):
    """Return the local path of a data set, which is fetched once and checked by sha256.

    Each file is looked for in the folder that TIERLAB_DATA_DIR names, then in the cache. If it is in neither, it is
    fetched from the pinned commit of the repository that published it.

    Parameters
    ----------
    name : str
        One of `REGISTRY`.

    Returns
    -------
    Path
        The file, or the folder of a data set that has several.

    Raises
    ------
    ValueError
        If the name is unknown.
    OSError
        If a file cannot be fetched, or differs from the one that was published.
    """
    known("data set", name, REGISTRY)
    files = [
        _file(**row)
        for row in REGISTRY[name].drop(columns=["name", "licence", "bytes"]).to_dict("records")
    ]
    return files[0] if len(files) == 1 else Path(os.path.commonpath(files))


def overview():
    """List the data sets.

    Returns
    -------
    DataFrame
        name, files (count), mb, here (whether all its files are on this machine), licence, source.
    """
    return pd.DataFrame(
        {
            "name": name,
            "files": len(rows),
            "mb": round(rows["bytes"].sum() / 1e6, 1),
            "here": all(
                any((folder / file).exists() for folder in _folders()) for file in rows["file"]
            ),
            "licence": rows["licence"].iloc[0],
            "source": rows["repository"].iloc[0],
        }
        for name, rows in REGISTRY.items()
    )


def _folders():
    given = os.environ.get("TIERLAB_DATA_DIR")
    return [*([Path(given)] if given else []), paths.CACHE / "datasets"]


def _file(file, repository, commit, upstream_path, sha256):
    for found in (folder / file for folder in _folders()):
        if found.exists() and _sha256(found, found.stat().st_mtime_ns) != sha256:
            raise OSError(
                f"{found} is not the published file (its sha256 is not {sha256}); delete it to fetch it again"
            )
        if found.exists():
            return found
    import pooch

    target = paths.CACHE / "datasets" / file
    url = f"https://raw.githubusercontent.com/{repository}/{commit}/{upstream_path}"
    try:
        pooch.retrieve(
            url, f"sha256:{sha256}", fname=target.name, path=target.parent, progressbar=True
        )
    except Exception as error:
        raise OSError(
            f"{file} is not on this machine and could not be fetched from {repository} ({type(error).__name__}); "
            "without a network, set TIERLAB_DATA_DIR to a folder that has it"
        ) from error
    return target


@lru_cache
def _sha256(file, _changed):
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
