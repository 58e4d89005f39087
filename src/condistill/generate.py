"""`condistill.generate`: the teacher makes D, item by item from its own seed, shard by shard, resumable."""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from condistill import processes
from condistill.cache import Cache, Manifest
from condistill.cache.store import MANIFEST
from condistill.cache.values import is_plain
from condistill.callable_package import make_callable
from condistill.errors import Remark, UserError
from condistill.files import require_free, sweep
from condistill.lock import alone, waited_for
from condistill.maths.draws import integers, numbers
from condistill.maths.randomise import Key
from condistill.memory import advising
from condistill.progress import Progress
from condistill.teacher.cutting import report_cut
from condistill.versions import versions

SEED_RANGE = 2**48
DTYPES = {"float16": torch.float16, "bfloat16": torch.bfloat16, "float32": torch.float32}


def generate(
    teacher: Any,
    keys: Sequence[Key],
    *,
    out: str | Path,
    seed: int = 0,
    call: Mapping[str, Any] | None = None,
    num_items: int | None = None,
    batch: int = 16,
    dtype: str = "float16",
    shard_items: int = 256,
    repair: bool = False,
    progress: bool | str | Path = True,
) -> Cache:
    """D in the folder `out`: latents of the teacher for `keys`, and what is bound to each.

    Every item has its own seed, a function of (seed, item number), and every shard is sampled in the same batches
    whenever it is made; so stopping and starting again changes nothing. Only what is missing is made.

    Args:
        teacher: a Teacher.
        keys: prompts, class labels or mappings of call arguments, one per item.
        out: the cache's folder.
        seed: of all items.
        call: the pipeline's own arguments (num_inference_steps, guidance_scale, height ...).
        num_items: number of items; the keys are gone through again, with new seeds, until it is reached.
        batch: items sampled at once. More is faster; on most hardware it changes the last bits of an item.
        dtype: of the stored latents; a shard with numbers beyond it is stored in float32, with a warning.
        shard_items: items per file.
        repair: check every shard's checksum first and make the damaged ones again.
        progress: show rate and time left; a file is appended the same as JSON lines.

    Raises:
        UserError: no keys, a folder with another cache, no disk space.

    Source: arXiv 2504.02011, sec. 4: latents are cached as they leave the sampler, no VAE pass.
    """
    whole = [key for key in keys] if isinstance(keys, Sequence) else [keys[k] for k in range(len(keys))]
    if isinstance(keys, str) or not whole:
        raise UserError(f"generate needs a sequence of at least one key, got {keys!r}")
    if dtype not in DTYPES:
        raise UserError(f"dtype must be one of {', '.join(DTYPES)}, got {dtype!r}")
    total = num_items or len(whole)
    call = dict(call or {})
    teacher = teacher.with_call(call, whole)
    report_cut(teacher, whole, "prompts of D")
    _say_stand_ins(teacher, call, whole[0])
    manifest = Manifest(
        teacher=teacher.hash,
        pipeline=type(teacher.pipeline).__name__,
        call=call,
        seed=seed,
        num_items=total,
        shard_items=shard_items,
        latent_shape=tuple(teacher.latent_shape),
        dtype=dtype,
        noise={**teacher.noise_path.describe(), "scheduler": type(teacher.scheduler).__name__},
        versions=versions(),
    )
    if not (Path(out) / MANIFEST).exists():
        require_free(out, manifest.latent_bytes, "D")  # before the rows: they fill the memory where items are too many
    items = list(itertools.islice(itertools.cycle(whole), total))
    seeds = [int(s) for s in integers(seed, "item", numbers(0, total), SEED_RANGE)]
    if processes.any_of(repair or not _is_whole(Path(out), manifest, items, seeds)):
        # a folder that is whole is only read: it may be read-only, or in use by others
        with alone(out, waited_for), advising(f"set data.batch lower ({batch} now); it changes the last bits at most"):
            processes.by_main(lambda: _begin(Path(out), manifest, items, seeds, repair=repair))
            cache = Cache.create(out, manifest, items, seeds)
            _fill(cache, teacher, items, seeds, call=call, batch=batch, progress=progress)
            processes.wait()
    return Cache.open(out, teacher_hash=teacher.hash)


def _say_stand_ins(teacher: Any, call: Mapping[str, Any], key: Key) -> None:
    """A warning about pictures that the pipeline takes and nobody gave: one of ours stands in for all items."""
    found, said = teacher.calibration, {*call, *(key if isinstance(key, Mapping) else ())}
    ours = [name for name in found.placeholders if name not in said and not is_plain(found.call[name])]
    if ours and processes.is_main():
        warnings.warn(
            f"{type(teacher.pipeline).__name__} takes {', '.join(ours)} and was given none: an example of ours stands "
            f"in, the same for every item; give your own with call={{'{ours[0]}': Pictures(FOLDER)}}, in a recipe "
            f"data.call: {{{ours[0]}: {{pictures: FOLDER}}}}",
            Remark,
            stacklevel=3,
        )


def _begin(out: Path, manifest: Manifest, items: Sequence[Key], seeds: Sequence[int], *, repair: bool) -> None:
    """Plans the cache, or finds it planned, and looks for damage if it is to be repaired."""
    cache = Cache.create(out, manifest, items, seeds)
    sweep(out)
    if repair:
        cache.repair()


def _is_whole(out: Path, manifest: Manifest, items: Sequence[Key], seeds: Sequence[int]) -> bool:
    """Whether the folder holds this very cache with nothing missing."""
    return (out / MANIFEST).exists() and not Cache.create(out, manifest, items, seeds).missing()


def _fill(
    cache: Cache,
    teacher: Any,
    items: Sequence[Key],
    seeds: Sequence[int],
    *,
    call: Mapping[str, Any],
    batch: int,
    progress: bool | str | Path,
) -> None:
    """Makes the shards that are missing, this process its share of them."""
    missing, total, dtype = cache.missing(), len(cache), DTYPES[cache.manifest.dtype]
    lacking = sum(plan.stop - plan.start for plan in missing)
    require_free(str(cache.folder), lacking * int(np.prod(teacher.latent_shape)) * dtype.itemsize, "D")
    processes.wait()  # nobody writes before all have seen the same shards missing
    enabled = bool(progress and missing) and processes.is_main()
    file = None if isinstance(progress, bool) else Path(progress)  # D's own folder holds D alone
    with Progress(
        "making D", total, unit="images", done=total - lacking, enabled=enabled, file=file, folder=str(cache.folder)
    ) as bar:
        for plan in (missing[k] for k in processes.share(len(missing))):
            some = slice(plan.start, plan.stop)
            latents, bound = _shard(teacher, items[some], seeds[some], call, batch, bar)
            cache.write_shard(plan.number, _held(latents, dtype, plan.file), bound)


def _held(latents: Tensor, dtype: torch.dtype, file: str) -> Tensor:
    """The latents in `dtype`; in float32, with a warning, where it does not reach as far as they do."""
    kept = latents.to(dtype)
    if bool(torch.isfinite(kept).all()):
        return kept
    warnings.warn(
        f"the teacher sampled latents of up to {float(latents.abs().max()):.3g}, more than {str(dtype)[6:]} holds; "
        f"{file} is kept in float32, which takes twice the disk",
        Remark,
        stacklevel=3,
    )
    return latents.float()


def _shard(
    teacher: Any, keys: Sequence[Key], seeds: Sequence[int], call: Mapping[str, Any], batch: int, bar: Progress
) -> tuple[Tensor, dict[str, Tensor]]:
    parts = []
    for start in range(0, len(keys), batch):
        some = slice(start, start + batch)
        parts.append(teacher.sample(keys[some], seed=seeds[some], call=call, output="latent", batch=batch))
        bar.advance(len(keys[some]) * processes.count())
    latents = torch.cat([part.latents for part in parts])
    if not bool(torch.isfinite(latents).all()):
        raise UserError("the teacher sampled latents that are not finite; load it in float32 or choose another sampler")
    return latents, {path: torch.cat([part.bound[path] for part in parts]) for path in _paths(parts)}


def _paths(parts: Iterable[Any]) -> list[str]:
    found = [set(part.bound) for part in parts]
    if any(paths != found[0] for paths in found):
        raise UserError("some items have bound arguments that others lack; give every item the same call arguments")
    return sorted(found[0])


make_callable(__name__, "condistill.generate:generate")
