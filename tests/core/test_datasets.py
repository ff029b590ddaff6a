"""Public data sets are checked by sha256, and a missing one is reported with what to do about it."""

import hashlib

import pytest

from tierlab.core import datasets


@pytest.fixture
def offline(tmp_path, monkeypatch):
    monkeypatch.setattr(datasets.paths, "CACHE", tmp_path / "cache")
    monkeypatch.setenv("TIERLAB_DATA_DIR", str(tmp_path / "given"))
    return tmp_path / "given"


def test_unknown_names_name_the_nearest():
    with pytest.raises(ValueError, match="unknown data set 'azure_con'; did you mean 'azure_conv'"):
        datasets.path("azure_con")


def test_a_changed_file_is_refused_and_the_published_one_is_taken(offline, monkeypatch):
    row = datasets.REGISTRY["azure_conv"].iloc[[0]]
    file = offline / row["file"].iloc[0]
    file.parent.mkdir(parents=True)
    file.write_bytes(b"something else")
    with pytest.raises(OSError, match="is not the published file"):
        datasets.path("azure_conv")
    monkeypatch.setitem(
        datasets.REGISTRY,
        "azure_conv",
        row.assign(sha256=hashlib.sha256(b"something else").hexdigest()),
    )
    assert datasets.path("azure_conv") == file


def test_without_the_file_and_without_network_the_error_names_the_way_out(offline, monkeypatch):
    import pooch

    def refuse(*_, **__):
        raise ConnectionError("no network")

    monkeypatch.setattr(pooch, "retrieve", refuse)
    with pytest.raises(OSError, match="set TIERLAB_DATA_DIR to a folder that has it"):
        datasets.path("mooncake_conv")


def test_a_fetch_asks_for_the_pinned_commit_and_the_checksum(offline, monkeypatch):
    import pooch

    asked = []
    monkeypatch.setattr(
        pooch, "retrieve", lambda url, known_hash, **_: asked.append((url, known_hash))
    )
    datasets.path("azure_code")
    row = datasets.REGISTRY["azure_code"].iloc[0]
    assert row["commit"] in asked[0][0]
    assert asked[0][1] == f"sha256:{row['sha256']}"


def test_the_overview_says_what_is_here(offline):
    table = datasets.overview().set_index("name")
    assert not table["here"].any()
    assert table.loc["azure_conv", "licence"].startswith("CC-BY-4.0")
