"""`ask`: a teacher and prompts in, probe.json and pictures out."""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from condistill.corpus import corpus
from condistill.errors import UserError
from condistill.files import write_json
from condistill.maths import draws
from condistill.maths.randomise import Key
from condistill.probes import drawing
from condistill.probes.kinds import Finding, Material, probe
from condistill.progress import Progress
from condistill.versions import versions

SCHEMA = 1
FILE = "probe.json"


def ask(
    teacher: Any,
    prompts: Any,
    *,
    probes: Sequence[str],
    num_keys: int = 12,
    num_samples: int = 4,
    seed: int = 0,
    call: Mapping[str, Any] | None = None,
    out: str | Path | None = None,
    progress: bool = True,
) -> dict[str, Finding]:
    """Probe -> what it found, on samples that the teacher makes once for all of them.

    Args:
        teacher: a Teacher.
        prompts: a corpus spec or keys; some of them are taken, by the seed.
        probes: names, or dotted names of your own.
        num_keys: different keys, at most.
        num_samples: samples of each.
        seed: of the choice of keys and of all that is drawn.
        call: the pipeline's own arguments.
        out: folder; a folder for each probe with probe.json and PNG files.
        progress: whether to show progress.

    Raises:
        UserError: unknown probe, fewer than two different keys.
    """
    asked = [probe(name) for name in probes]
    keys = different_keys(prompts, num_keys, seed=seed)
    total = len(keys) * num_samples
    with Progress("sampling for the probes", total, unit="images", enabled=progress) as bar:
        material = sampled(teacher, keys, num_samples, seed=seed, call=call or {}, advance=bar.advance)
    found = {}
    for one in asked:
        with Progress(one.label, one.parts(material), unit="parts", enabled=progress) as bar:
            found[one.name] = one.ask(material, bar.advance)
        if out is not None:
            _write(Path(out) / one.name, one, material, found[one.name])
    return found


def different_keys(prompts: Any, num_keys: int, *, seed: int) -> list[Key]:
    """Up to `num_keys` different keys, in a seeded order.

    Raises:
        UserError: fewer than two.
    """
    source, chosen = corpus(prompts), {}
    for index in draws.permuted(seed, "probe/keys", draws.numbers(0, len(source)), len(source)):
        if len(chosen) == num_keys:
            break
        chosen.setdefault(repr(source[int(index)]), source[int(index)])
    if len(chosen) < 2:
        raise UserError(f"a probe compares conditions and needs two different prompts or more, got {len(chosen)}")
    return list(chosen.values())


def sampled(
    teacher: Any, keys: Sequence[Key], num_samples: int, *, seed: int, call: Mapping[str, Any], advance: Any
) -> Material:
    """The material: `num_samples` samples of each key, every one from a seed of its own."""
    teacher = teacher.with_call(call, keys)
    teacher.network.eval()
    parts = []
    for place, key in enumerate(keys):
        numbers = draws.numbers(place * num_samples, num_samples)
        seeds = draws.integers(seed, "probe/sample", numbers, 2**31).tolist()
        parts.append(teacher.sample([key] * num_samples, seed=seeds, call=call, output="latent"))
        advance(num_samples)
    latents = torch.stack([part.latents for part in parts])
    bound = {path: torch.stack([part.bound[path] for part in parts]) for path in parts[0].bound}
    return Material(teacher, tuple(keys), latents, bound, dict(call), seed)


def _write(folder: Path, one: Any, material: Material, found: Finding) -> None:
    teacher = material.teacher
    protocol = {
        "teacher": teacher.hash,
        "pipeline": type(teacher.pipeline).__name__,
        "scheduler": type(teacher.scheduler).__name__,
        "call": {k: v if isinstance(v, str | int | float | bool | None) else type(v).__name__
                 for k, v in material.call.items()},
        "n": {"keys": len(material.keys), "samples": material.latents.shape[1]},
        "keys": [key if isinstance(key, str | int) else repr(key) for key in material.keys],
        "seed": material.seed,
        "device": teacher.device.type,
        "versions": versions(),
        "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    }  # fmt: skip
    record = {"schema": SCHEMA, "probe": one.name, "label": one.label, "protocol": protocol}
    write_json(folder / FILE, {**record, "found": dict(found.values)})
    for number, chart in enumerate(found.charts):
        drawing.write_chart(folder / f"chart-{number}.png", chart)
    if found.pictures is not None:
        drawing.write_pictures(folder / "pictures.png", found.pictures)
