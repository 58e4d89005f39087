"""Which blocks the teacher misses least, measured on its own cached latents: no data, one short pass per block.

>>> teacher, cache = Teacher.load("path/to/a/dit"), Cache.open("runs/dit/cache")  # doctest: +SKIP
>>> resolved("depth=0.5+blocks=scored", teacher, cache)                         # doctest: +SKIP
'keep=transformer_blocks:0,1,5,7'
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from condistill.errors import UserError
from condistill.maths.draws import normal, numbers, permuted, uniforms
from condistill.students.depth import NEEDS_CACHE, keep_best
from condistill.students.meta import clean, on_meta
from condistill.students.presets import check_spec, refuse_blocks, spec_text
from condistill.students.stacks import Stack
from condistill.students.unet import is_unet

NUM_SAMPLES = 64
BATCH = 8


@dataclass(frozen=True)
class _Noised:
    """Arguments of `Teacher.predict` for a few samples."""

    x_t: Tensor
    t: Tensor
    condition: Any


def resolved(
    spec: str | Mapping[str, Any], teacher: Any, cache: Any, *, num_samples: int = NUM_SAMPLES, seed: int = 0
) -> str | Mapping[str, Any]:
    """The spec with `blocks=scored` replaced by the blocks that were measured to matter most; any other as it is.

    Args:
        spec: of the student.
        teacher: a Teacher.
        cache: its D; None where there is none.
        num_samples, seed: as of `score_blocks`.

    Raises:
        UserError: scores are wanted and there is no D or another teacher's, or the network is a U-Net.
    """
    cut, network = check_spec(spec), teacher.network
    config = clean(network.config)
    if is_unet(config):
        refuse_blocks(cut, type(network).__name__)
    if cut.chosen_by != "scored":
        return spec
    if cache is None:
        raise UserError(f"blocks=scored {NEEDS_CACHE}")
    if cache.manifest.teacher != teacher.hash:
        raise UserError(f"{cache.folder} was made by another teacher, so it cannot score this one; give its own D")

    def score(stack: Stack) -> list[float]:
        return score_blocks(teacher, cache, stack, num_samples=num_samples, seed=seed)

    kept = keep_best(type(network), config, on_meta(type(network), config), cut, score)
    words = [word.strip() for word in spec_text(spec).split("+")]
    words = [word for word in words if not word.startswith(("depth=", "blocks="))]
    return "+".join([*(f"keep={path}:{','.join(map(str, blocks))}" for path, blocks in kept.items()), *words])


@torch.no_grad()
def score_blocks(
    teacher: Any, cache: Any, stack: Stack, *, num_samples: int = NUM_SAMPLES, seed: int = 0
) -> list[float]:
    """For each block of the stack the MSE between the teacher's predictions with it and with it skipped.

        score_k = mean |T(x_t, t, c) - T_without_k(x_t, t, c)|^2,  x_t = alpha_t x0 + sigma_t eps,  (x0, c) ~ D

    Skipping is the identity on the streams that the block hands on. Blocks are scored one at a time, the others in
    place: what two blocks do only together is not seen. It costs num_samples * (blocks + 1) passes.

    Args:
        teacher: a Teacher.
        cache: its D; items are taken without replacement until they are used up, each with its own t and noise.
        stack: from `find_stacks`; a field that governs several lists has their k-th blocks skipped together.
        num_samples: noised latents.
        seed: of items, times and noise.

    Raises:
        UserError: a block whose inputs cannot be passed through, by name.
    """
    if num_samples < 1:
        raise UserError(f"got num_samples={num_samples}; at least 1 is wanted")
    teacher = teacher.with_call(cache.manifest.call)
    totals, values = [0.0] * stack.length, 0
    streams: dict[str, dict[int, str]] = {}
    for noised in _batches(teacher, cache, num_samples, seed):
        with nullcontext(streams) if streams else _streams(teacher.network, stack) as streams:
            whole = _predicted(teacher, noised)
        values += whole.numel()
        for k in range(stack.length):
            with _skipped(teacher.network, stack, k, streams):
                totals[k] += float((whole - _predicted(teacher, noised)).square().sum())
    return [total / values for total in totals]


def _predicted(teacher: Any, noised: _Noised) -> Tensor:
    return teacher.predict(noised.x_t, noised.t, noised.condition).cpu().double()


def _batches(teacher: Any, cache: Any, num_samples: int, seed: int) -> Iterator[_Noised]:
    path, device = teacher.noise_path, teacher.device
    for start in range(0, num_samples, BATCH):
        samples = numbers(start, min(BATCH, num_samples - start))
        batch = cache.read(permuted(seed, "score item", samples, len(cache)))
        t = path.times(torch.from_numpy(uniforms(seed, "score t", samples))).to(device)
        eps = normal(seed, "score noise", samples, batch.x0.shape[1:]).to(device)
        condition = teacher.encode(batch.keys, batch.bound)
        yield _Noised(path.add_noise(batch.x0.to(device), eps, t), t, condition)


@contextmanager
def _streams(network: nn.Module, stack: Stack) -> Iterator[dict[str, dict[int, str]]]:
    """List -> position in a block's output -> the argument by which the next block is given it; known after one pass.

    An output that no block is given goes with the first argument of its shape that is not taken.
    """
    found: dict[str, dict[int, str]] = {path: {} for path in stack.lists}
    before: dict[str, Sequence[Any]] = {}
    first: dict[str, tuple[dict[str, Any], list[Any]]] = {}

    def note(path: str, given: dict[str, Any], parts: Sequence[Any]) -> None:
        for k, part in enumerate(before.get(path, ())):
            name = next((name for name, value in given.items() if value is part), None)
            if isinstance(part, Tensor) and name is not None:
                found[path].setdefault(k, name)
        before[path] = parts
        shapes = {name: _shape(value) for name, value in given.items()}
        first.setdefault(path, (shapes, [_shape(part) for part in parts]))

    with ExitStack() as hooks:
        for path in stack.lists:
            for block in network.get_submodule(path).children():

                def hook(module: nn.Module, args: Any, kwargs: Any, output: Any, path: str = path) -> None:
                    note(path, _named(module, args, kwargs), _parts(output))

                hooks.callback(block.register_forward_hook(hook, with_kwargs=True).remove)
        yield found
    for path, (given, shapes) in first.items():
        for k, shape in enumerate(shapes):
            if shape is None or k in found[path]:
                continue
            free = [name for name, other in given.items() if other == shape and name not in found[path].values()]
            if not free:
                raise _not_skippable(f"{path}.0")
            found[path][k] = free[0]


def _named(module: nn.Module, args: Sequence[Any], kwargs: Mapping[str, Any]) -> dict[str, Any]:
    found = dict(inspect.signature(module.forward).bind(*args, **kwargs).arguments)
    return {**found, **found.pop("kwargs", {})}


@contextmanager
def _skipped(network: nn.Module, stack: Stack, k: int, streams: Mapping[str, Mapping[int, str]]) -> Iterator[None]:
    """Inside the block the stack's k-th blocks hand on what they were given."""
    with ExitStack() as hooks:
        for path in stack.lists:

            def skip(module: nn.Module, args: Any, kwargs: Any, output: Any, path: str = path) -> Any:
                given, passed = _named(module, args, kwargs), []
                for place, part in enumerate(_parts(output)):
                    value = given.get(streams[path].get(place, ""))
                    if part is not None and _shape(value) != _shape(part):
                        raise _not_skippable(f"{path}.{k}")
                    passed.append(None if part is None else value)
                return passed[0] if isinstance(output, Tensor) else type(output)(passed)

            block = network.get_submodule(f"{path}.{k}")
            hooks.callback(block.register_forward_hook(skip, with_kwargs=True).remove)
        yield


def _parts(output: Any) -> Sequence[Any]:
    return output if isinstance(output, tuple | list) else (output,)


def _shape(value: Any) -> Any:
    return value.shape if isinstance(value, Tensor) else None


def _not_skippable(path: str) -> UserError:
    return UserError(
        f"block {path} gives out what it was not given in the same shape, so it cannot be skipped and scored; choose "
        "blocks=even or blocks=ends"
    )
