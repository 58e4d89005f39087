"""D on disk: what was written is read, what is missing is named, what is damaged is found, nothing is overwritten."""

from __future__ import annotations

import errno
import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from condistill import Cache, UserError
from condistill.cache import Manifest, store

N = 7
KEYS = [f"prompt {k}" for k in range(N)]
LATENTS = torch.randn(N, 2, 3, generator=torch.Generator().manual_seed(0)).half()
MASKS = torch.arange(N).float().reshape(N, 1)
PLAN = Manifest(
    teacher="t" * 64, pipeline="P", call={"steps": 3}, seed=0, num_items=N, shard_items=3, latent_shape=(2, 3)
)


def made(folder: Path, *, shards: tuple[int, ...] = (0, 1, 2)) -> Cache:
    cache = Cache.create(folder, PLAN, KEYS, list(range(N)))
    for number in shards:
        some = slice(cache.plans[number].start, cache.plans[number].stop)
        cache.write_shard(number, LATENTS[some], {"mask": MASKS[some]})
    return cache


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(0, N - 1), min_size=1, max_size=12))
def test_items_are_read_back_in_any_order(tmp_path_factory: pytest.TempPathFactory, wanted: list[int]) -> None:
    folder = tmp_path_factory.getbasetemp() / "shared"
    made(folder)
    batch = Cache.open(folder).read(np.array(wanted))
    assert batch.x0.dtype == torch.float32 and torch.equal(batch.x0, LATENTS[wanted].float())
    assert batch.keys == tuple(KEYS[k] for k in wanted)
    assert torch.equal(batch.bound["mask"], MASKS[wanted])


def test_missing_shards_are_named_and_made_alone(tmp_path: Path) -> None:
    made(tmp_path / "d", shards=(0, 2))
    with pytest.raises(UserError, match=r"not complete: 1 of 3 shards are missing \(first shard-00001"):
        Cache.open(tmp_path / "d")
    again = Cache.create(tmp_path / "d", PLAN, KEYS, list(range(N)))
    assert [plan.number for plan in again.missing()] == [1]


def test_a_shard_without_its_rows_is_missing(tmp_path: Path) -> None:
    """The rows are written last: a kill between the two leaves a shard that nobody vouches for."""
    cache = made(tmp_path / "d")
    (tmp_path / "d" / cache.plans[1].rows_file).unlink()
    assert [plan.number for plan in cache.missing()] == [1]


@pytest.mark.parametrize("small_bytes", [store.SMALL_BYTES, 0], ids=["whole", "item by item"])
@pytest.mark.parametrize("damage", ["flip", "truncate", "header", "gone", "foreign", "rows"])
def test_damage_is_found_named_and_repaired_alone(
    tmp_path: Path, damage: str, small_bytes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "SMALL_BYTES", small_bytes)
    folder = tmp_path / "d"
    cache = made(folder)
    file = folder / cache.plans[1].file
    data = file.read_bytes()
    changed = {
        "flip": data[:-3] + bytes([data[-3] ^ 1]) + data[-2:],
        "truncate": data[:-20],
        "header": (10**9).to_bytes(8, "little") + data[8:],
        "foreign": (folder / cache.plans[0].file).read_bytes(),
    }
    if damage == "gone":
        file.unlink()
    elif damage == "rows":
        (folder / cache.plans[1].rows_file).write_bytes(b"{" * 100_000)
    else:
        file.write_bytes(changed[damage])
    fresh = Cache._read(folder)
    with pytest.raises(UserError, match=r"shard-00001\.safetensors is damaged.*--repair"):
        fresh.read([0, 5])
    assert torch.equal(fresh.read([0]).x0, LATENTS[:1].float())
    assert fresh.verify() == [cache.plans[1].file] == fresh.repair()
    assert [plan.number for plan in fresh.missing()] == [1]


def test_a_large_cache_is_mapped_and_few_shards_stay_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "SMALL_BYTES", 0)
    monkeypatch.setattr(store, "OPEN_AREAS", 4)  # two tensors a shard
    made(tmp_path / "d")
    cache = Cache.open(tmp_path / "d")
    for wanted in ([0, 6, 3], [5, 5, 1], []):
        batch = cache.read(wanted)
        assert torch.equal(batch.x0, LATENTS[wanted].float()) and len(batch) == len(wanted)
        assert not wanted or torch.equal(batch.bound["mask"], MASKS[wanted])
    assert len(cache._open) == 2


def test_shards_of_another_cache_are_missing(tmp_path: Path) -> None:
    made(tmp_path / "d")
    other = Cache.create(tmp_path / "e", replace(PLAN, seed=5), KEYS, list(range(N)))
    for path in (tmp_path / "d").glob("shard-*"):
        shutil.copy(path, tmp_path / "e")
    assert len(other.missing()) == 3


def test_a_shard_that_binds_otherwise_is_refused(tmp_path: Path) -> None:
    cache = made(tmp_path / "d", shards=(0, 1))
    cache.write_shard(2, LATENTS[6:], {"size": MASKS[6:]})
    with pytest.raises(UserError, match=r"shard-00002.*binds size otherwise"):
        Cache.open(tmp_path / "d").read(range(N))


@pytest.mark.parametrize("latents", [LATENTS[:2], LATENTS[:3].double(), LATENTS[:3].bfloat16(), LATENTS[:3, :1]])
def test_a_shard_of_another_shape_is_refused(tmp_path: Path, latents: torch.Tensor) -> None:
    cache = made(tmp_path / "d", shards=())
    with pytest.raises(UserError, match=r"shard 0 takes float16 or float32 latents \(3, 2, 3\), got"):
        cache.write_shard(0, latents)
    assert len(cache.missing()) == 3


def test_a_shard_may_be_in_float32_beside_others(tmp_path: Path) -> None:
    made(tmp_path / "d", shards=(0, 1)).write_shard(2, LATENTS[6:].float() + 1e5, {"mask": MASKS[6:]})
    x0 = Cache.open(tmp_path / "d").read([6, 0]).x0
    assert torch.equal(x0, torch.stack([LATENTS[6].float() + 1e5, LATENTS[0].float()]))


key = st.one_of(
    st.text(st.characters(exclude_categories=()), max_size=20),  # with line separators and half surrogate pairs
    st.integers(0, 10**6),
    st.dictionaries(st.text(max_size=5), st.text(max_size=5), max_size=2),
)


@settings(max_examples=25)
@given(st.lists(key, min_size=1, max_size=6), st.sampled_from(["float16", "bfloat16", "float32"]), st.integers(1, 4))
def test_any_keys_come_back(tmp_path_factory: pytest.TempPathFactory, keys: list, dtype: str, shard_items: int) -> None:
    folder = tmp_path_factory.mktemp("keys")
    plan = replace(PLAN, num_items=len(keys), shard_items=shard_items, latent_shape=(1,), dtype=dtype)
    cache = Cache.create(folder, plan, keys, [0] * len(keys))
    values = torch.arange(float(len(keys)))[:, None]
    for part in cache.missing():
        cache.write_shard(part.number, values[part.start : part.stop].to(getattr(torch, dtype)))
    again = Cache.open(folder)
    batch = again.read(range(len(keys)))
    assert again.keys == keys == list(batch.keys) and torch.equal(batch.x0, values)
    assert again.verify() == [] and again.manifest.created
    assert Cache.create(folder, plan, keys, [0] * len(keys)).missing() == []


@pytest.mark.parametrize(
    ("keys", "words"),
    [([float("nan")] * N, "a key of a cache"), ([object()] * N, "a key of"), (KEYS[:3], "needs as many")],
)
def test_keys_that_cannot_be_kept_are_refused(tmp_path: Path, keys: list, words: str) -> None:
    with pytest.raises(UserError, match=words):
        Cache.create(tmp_path / "d", PLAN, keys, list(range(len(keys))))
    assert not (tmp_path / "d").exists()


def test_a_full_disk_is_said_and_costs_only_the_shard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = made(tmp_path / "d", shards=(0,))

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr("os.fsync", full)
        with pytest.raises(UserError, match="no space left on the disk"):
            cache.write_shard(1, LATENTS[3:6])
    assert [plan.number for plan in cache.missing()] == [1, 2]
    assert not [path for path in (tmp_path / "d").iterdir() if path.name.startswith(".")]


@pytest.mark.parametrize(
    ("change", "words"),
    [({"teacher": "u" * 64}, "teacher: "), ({"seed": 1}, "seed: 0 then, 1 now"), ({"call": {"steps": 4}}, "call: ")],
)
def test_another_plan_in_the_folder_is_refused(tmp_path: Path, change: dict, words: str) -> None:
    made(tmp_path / "d")
    kept = {path.name: path.read_bytes() for path in (tmp_path / "d").iterdir()}
    with pytest.raises(UserError) as error:
        Cache.create(tmp_path / "d", replace(PLAN, **change), KEYS, list(range(N)))
    assert words in str(error.value) and "nothing was overwritten" in str(error.value)
    assert {path.name: path.read_bytes() for path in (tmp_path / "d").iterdir()} == kept


def test_other_keys_and_foreign_folders_are_refused(tmp_path: Path) -> None:
    made(tmp_path / "d")
    with pytest.raises(UserError, match="keys: others"):
        Cache.create(tmp_path / "d", PLAN, KEYS[::-1], list(range(N)))
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "cat.png").write_bytes(b"x")
    with pytest.raises(UserError, match="not empty and holds no cache"):
        Cache.create(tmp_path / "photos", PLAN, KEYS, list(range(N)))


def test_cache_of_another_teacher_is_refused(tmp_path: Path) -> None:
    made(tmp_path / "d")
    with pytest.raises(UserError, match="made by another teacher"):
        Cache.open(tmp_path / "d", teacher_hash="u" * 64)


@pytest.mark.parametrize(
    ("file", "text", "words"),
    [
        ("manifest.json", "{", "not readable as JSON"),
        ("manifest.json", "[]", "no manifest"),
        ("manifest.json", json.dumps({"schema": 99}), "update condistill"),
        ("manifest.json", json.dumps({"schema": 1, "latent_shape": []}), "not complete"),
        ("manifest.json", json.dumps({**PLAN.to_json(), "shard_items": 0}), "shard_items must be a whole number"),
        ("manifest.json", json.dumps({**PLAN.to_json(), "num_items": "7"}), "num_items must be a whole number"),
        ("manifest.json", json.dumps({**PLAN.to_json(), "latent_shape": [2, -3]}), "latent_shape[1] must be"),
        ("manifest.json", json.dumps({**PLAN.to_json(), "dtype": "float61"}), "did you mean 'float16'"),
        ("manifest.json", json.dumps({**PLAN.to_json(), "call": 3}), "call must be a mapping, got 3"),
        ("manifest.json", json.dumps({**PLAN.to_json(), "dtype": []}), "dtype must be text"),
        ("manifest.json", json.dumps({**PLAN.to_json(), "call": {"$tensor": "AAAA"}}), "$tensor cannot be read"),
        ("manifest.json", json.dumps({**PLAN.to_json(), "call": {"$record": ["os", "system", {}]}}), "no record of"),
        ("plan.jsonl", "{}\n", "damaged"),
        ("plan.jsonl", '{"key": "a", "seed": 1}\n', "1 rows"),
    ],
)
def test_hostile_records_give_one_line(tmp_path: Path, file: str, text: str, words: str) -> None:
    made(tmp_path / "d")
    (tmp_path / "d" / file).write_text(text)
    with pytest.raises(UserError) as error:
        Cache.open(tmp_path / "d")
    assert words in str(error.value)


@settings(max_examples=40, deadline=None)
@given(st.binary(max_size=300))
def test_any_bytes_in_a_shard_give_one_clear_line(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    folder = tmp_path_factory.getbasetemp() / "fuzzed"
    cache = made(folder)
    (folder / cache.plans[0].file).write_bytes(data)
    with pytest.raises(UserError, match="damaged"):
        Cache._read(folder).read([0])


def test_open_of_no_cache(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="holds no cache"):
        Cache.open(tmp_path)
