"""Files behind a URL: the same keys and items as from a folder, copied once, within a bound, and never written to."""

from __future__ import annotations

import shutil
from pathlib import Path

import fsspec
import numpy as np
import pytest
import torch

from condistill import Cache, UserError, corpus
from condistill.cache import Manifest
from condistill.remote import RemoteFolder

N = 7


@pytest.fixture
def url(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A D of three shards and a prompt file in fsspec's memory."""
    monkeypatch.setenv("CONDISTILL_CACHE", str(tmp_path / "cache"))
    plan = Manifest(teacher="t" * 64, pipeline="P", call={}, seed=0, num_items=N, shard_items=3, latent_shape=(2, 3))
    made = Cache.create(tmp_path / "D", plan, [f"key {k}" for k in range(N)], list(range(N)))
    latents = torch.arange(N * 6.0).reshape(N, 2, 3).half()
    for one in made.plans:
        made.write_shard(one.number, latents[one.start : one.stop])
    (tmp_path / "D" / "p.txt").write_text("a fox\nan owl\n")
    place = f"memory://{tmp_path.name}/D"
    fsspec.filesystem("memory").put(str(tmp_path / "D"), f"/{tmp_path.name}/", recursive=True)
    return place


def test_a_cache_behind_a_url_gives_the_same_items(url: str, tmp_path: Path) -> None:
    near, far = Cache.open(tmp_path / "D"), Cache.open(url, teacher_hash="t" * 64)
    rows = np.array([6, 0, 3])
    assert torch.equal(near.read(rows).x0, far.read(rows).x0) and near.keys == far.keys and not far.missing()
    far._is_small = False  # mapped, as a large one is
    far._open.clear()
    assert torch.equal(near.read(rows).x0, far.read(rows).x0) and far.verify() == []
    for write in (lambda: far.write_shard(0, torch.zeros(3, 2, 3).half()), far.repair):
        with pytest.raises(UserError, match="only read"):
            write()
    fsspec.filesystem("memory").rm(f"/{tmp_path.name}/D/shard-00001.safetensors")
    with pytest.raises(UserError, match="1 of 3 shards are missing"):
        Cache.open(url)


def test_copies_stay_within_the_bound_and_are_made_once(url: str, tmp_path: Path) -> None:
    names = [f"shard-{k:05d}.safetensors" for k in range(3)]
    size = RemoteFolder(url).sizes[names[0]]
    folder = RemoteFolder(url, max_bytes=2 * size)
    first = folder.fetch(names[0])
    before = first.stat().st_ino
    assert folder.fetch(names[0]).stat().st_ino == before  # no second copy
    for name in names[1:]:
        folder.fetch(name)
    left = [path for path in (tmp_path / "cache" / "copies").glob("*/*")]
    assert sum(path.stat().st_size for path in left) <= 2 * size and first not in left
    with pytest.raises(UserError, match="set CONDISTILL_COPIES_GIB higher"):
        RemoteFolder(url, max_bytes=1).fetch(names[0])


def test_a_corpus_behind_a_url(url: str, tmp_path: Path) -> None:
    assert list(corpus(f"{url}/p.txt")) == ["a fox", "an owl"]
    shutil.rmtree(tmp_path / "cache")
    with fsspec.open(f"{url}/p.txt", "w") as file:
        file.write("another\n")  # type: ignore[union-attr]
    assert list(corpus({"path": f"{url}/p.txt"})) == ["another"]
    assert list(corpus(f"file://{tmp_path}/D/p.txt")) == ["a fox", "an owl"]


@pytest.mark.parametrize(
    ("place", "words"),
    [
        ("memory://nowhere/p.txt", "no such folder: memory://nowhere"),
        ("sftpx://a/p.txt", "cannot read sftpx://a"),
        ("memory:///p.txt", "no such"),
    ],
)
def test_what_is_not_there_is_named(place: str, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONDISTILL_CACHE", str(tmp_path / "cache"))
    with pytest.raises(UserError) as error:
        corpus(place)
    assert words in str(error.value)
    monkeypatch.setenv("CONDISTILL_COPIES_GIB", "many")
    with pytest.raises(UserError, match="must be a number"):
        RemoteFolder("memory://x")
