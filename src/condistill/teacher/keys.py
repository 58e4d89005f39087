"""Keys and call arguments: how a pipeline is told them, and examples where calibration needs some."""

from __future__ import annotations

import inspect
import itertools
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from condistill.cache.values import plain
from condistill.errors import UserError
from condistill.maths.draws import generator
from condistill.maths.randomise import Key
from condistill.pictures import first

# of different lengths, so that attention masks differ as well; quoted words have an encoder of their own in places;
# their sums of letters differ by primes: a pipeline that hashes them (the exact world's does) takes none for another
PROMPTS = ("a red fox", "two old ships far out on the sea", 'an "X"')
# arguments that are keys where a pipeline takes neither prompts nor class labels, in this order
_KEY_ARGUMENTS = ("example_image", "image_embeds", "image_embeddings", "image", "images", "video")
_NOT_PICTURES = (
    "negative_",
    "num_",
    "ip_adapter",
    "output",
    "callback",
    "original_",
    "target_",
    "crop",
    "max_",
    "min_",
)
_NOT_PICTURE_PARTS = (
    "embed",
    "attention",
    "scale",
    "latent",
    "processor",
    "strength",
    "guidance",
    "size",
    "noise",
    "width",
    "rate",
)
MANY = 16  # sets of pictures that are tried
PICTURE = 64  # side of an example picture where the pipeline does not say one
FRAMES = 9  # of an example video: one more than a multiple of 4 and of 8, as autoencoders of videos want it
SIZES = ("height", "width", "num_frames")
_OF_SAMPLING = ("num_inference_steps", "output_type", "generator", "latents")


def parameters_of(pipeline: Any) -> Mapping[str, inspect.Parameter]:
    """The parameters of the pipeline's call."""
    return {name: p for name, p in inspect.signature(type(pipeline).__call__).parameters.items() if name != "self"}


def recording_call(call: Mapping[str, Any] | None) -> dict[str, Any]:
    """The call without what matters to sampling alone; of pictures of which each sample has its own, the first ones."""
    return first({name: value for name, value in (call or {}).items() if name not in _OF_SAMPLING})


def key_arguments(pipeline: Any, keys: Sequence[Key], *, single: bool = False) -> dict[str, Any]:
    """The pipeline's own arguments that say `keys`.

    Args:
        keys: n of them.
        single: the pipeline takes one item at a time: values are given as they are, not as lists.

    Raises:
        UserError: the pipeline takes no such argument, or the keys are of different kinds.
    """
    parameters, name = parameters_of(pipeline), type(pipeline).__name__
    if keys and all(isinstance(key, Mapping) for key in keys):
        names = list(keys[0])  # type: ignore[arg-type]
        if any(list(key) != names for key in keys):  # type: ignore[arg-type]
            raise UserError("keys that are mappings must all name the same arguments in the same order")
        unknown = [one for one in names if one not in parameters]
        if unknown:
            raise UserError(f"{name} takes no argument {unknown[0]!r}; it takes: {', '.join(parameters)}")
        given = {one: [key[one] for key in keys] for one in names}  # type: ignore[index]
    else:
        given = {argument: list(keys) for argument in _arguments(keys, parameters, name)}
    if single:
        return {one: values[0] for one, values in given.items()}
    return {one: _batched(values) for one, values in given.items()}


def _arguments(keys: Sequence[Key], parameters: Mapping[str, inspect.Parameter], name: str) -> list[str]:
    """What keys that are no mappings are given as: a text as `prompt`, or as every prompt where there are several."""
    if all(isinstance(key, str) for key in keys):
        arguments = ["prompt"] if "prompt" in parameters else prompts_of(parameters) or ["prompt"]
    elif all(isinstance(key, int) for key in keys):
        arguments = ["class_labels"]
    else:
        kinds = sorted({type(key).__name__ for key in keys})
        raise UserError(f"keys must all be strings, all integers or all mappings, got {', '.join(kinds)}")
    if arguments[0] not in parameters:
        raise UserError(
            f"{name} takes no argument {arguments[0]!r}; give keys as mappings of the arguments that may be exchanged, "
            f"out of: {', '.join(parameters)}"
        )
    return arguments


def prompts_of(parameters: Mapping[str, inspect.Parameter]) -> list[str]:
    """The arguments that are prompts by their names and have no text of their own, but for negative ones."""
    texts = [name for name, p in parameters.items() if p.default in (None, inspect.Parameter.empty)]
    return [name for name in texts if name.endswith("_prompt") and not name.startswith("negative_")]


def _batched(values: list[Any]) -> Any:
    if all(isinstance(one, list) and len(one) == 1 and isinstance(one[0], Tensor) for one in values):
        return [one[0] for one in values]  # embeddings of a pipeline that has a list of them, one a prompt
    if all(isinstance(value, Tensor) for value in values) and len({value.shape for value in values}) == 1:
        return torch.cat(values) if all(value.shape[:1] == (1,) for value in values) else torch.stack(values)
    return values


def example_keys(pipeline: Any, network: torch.nn.Module) -> Iterator[tuple[Key, Key, Key]]:
    """Triples of different keys of the kind that the pipeline takes, the likeliest first.

    Raises:
        UserError: it takes nothing that could be exchanged.
    """
    parameters = parameters_of(pipeline)
    if "prompt" in parameters:
        yield PROMPTS
        return
    if "class_labels" in parameters:
        yield (1, 2, 3)
        return
    if prompts_of(parameters):
        yield PROMPTS
        return
    names = [name for name in _KEY_ARGUMENTS if name in parameters]
    if not names:
        raise UserError(
            f"{type(pipeline).__name__} takes neither 'prompt' nor 'class_labels' nor an image, so there is nothing to "
            "swap; random conditioning needs a conditional pipeline"
        )
    if "embed" not in names[0]:
        yield tuple({names[0]: picture(names[0], k, PICTURE, PICTURE)} for k in range(3))  # type: ignore[misc]
        return
    together = [name for name in (names[0], f"negative_{names[0]}") if name in parameters]
    config = dict(network.config)  # type: ignore[arg-type]
    sizes = dict.fromkeys(v for v in config.values() if isinstance(v, int) and not isinstance(v, bool) and v > 2)
    for size in sizes:
        yield tuple(  # type: ignore[misc]
            {name: torch.randn(1, size, generator=generator(k, name, 0)) for name in together} for k in range(3)
        )


def key_names(key: Key) -> set[str]:
    """The call arguments that a key says, but for negative ones: they never reach the conditional rows."""
    if isinstance(key, Mapping):
        return {name for name in key if not name.startswith("negative_")}
    return {"prompt"} if isinstance(key, str) else {"class_labels"}


def examples_among(keys: Iterable[Key]) -> tuple[Key, Key, Key] | None:
    """Three of the keys to calibrate with, at least two of them different; None if there are no two.

    The first two are of different length if any are, so that what depends on the length is seen.

    >>> examples_among(["a fox", "a dog", "a cat", "two ships"])
    ('a fox', 'two ships', 'a dog')
    """
    found: dict[str, Key] = {}
    for key in itertools.islice(keys, 1000):
        found.setdefault(json.dumps(plain(key), sort_keys=True), key)
        if len(found) > 2 and (not isinstance(key, str) or len(set(map(len, found))) > 1):
            break
    if len(found) < 2:
        return None
    first, *others = found
    others.sort(key=lambda text: len(text) == len(first))
    return found[first], found[others[0]], found[(others + [first])[1]]


def fillings(
    pipeline: Any, network: torch.nn.Module, call: Mapping[str, Any], *, small_first: bool = False, ours: bool = False
) -> Iterator[dict[str, Any]]:
    """Arguments to add to `call` until the pipeline runs: nothing, then smaller sizes and example pictures.

    The size that a pipeline takes by itself comes last: with pictures of our own nothing depends on it yet.

    Args:
        small_first: a video that would be long by itself is tried short and small before anything else.
        ours: the keys are pictures of our own, so even where no more is needed small sizes are tried first.
    """
    parameters = parameters_of(pipeline)
    frames = _few_frames(parameters, call)
    comes_last = ours or (small_first and bool(frames))
    if not comes_last:
        yield {}
    sizes = small_sizes(pipeline, network, call)
    sizes = [{**size, **frames} for size in sizes] or ([frames] if frames else [])
    for size in (*sizes, {}):
        height, width = _size(pipeline, network, {**call, **size})
        names = [name for name in parameters if name not in call and _takes_picture(name, parameters[name].default)]
        pictures = {name: picture(name, 7 + k, height, width) for k, name in enumerate(names)}
        for some in _subsets(pictures):
            if size or some or comes_last:
                yield {**size, **some}


def small_sizes(pipeline: Any, network: torch.nn.Module, call: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Arguments for small pictures, the denoiser's own size first; none where the call says a size or none is taken."""
    parameters = parameters_of(pipeline)
    if not {"height", "width"} <= set(parameters) or {"height", "width"} & set(call):
        return []
    sides = dict.fromkeys(side for side in (_side(pipeline, network), PICTURE, 32, 128, 256) if side)
    own = {name: value for name, value in _OWN_SIZE.items() if name in parameters and name not in call}
    area = {"max_area"} & set(parameters) - set(call)
    return [{"height": side, "width": side, **own, **dict.fromkeys(area, side * side)} for side in sides]


# a pipeline that goes to a size of its own is told not to
_OWN_SIZE = {"use_resolution_binning": False, "_auto_resize": False}


def with_pictures(more: Mapping[str, Any], size: Mapping[str, int]) -> dict[str, Any]:
    """The example arguments with pictures of this size."""
    numbers = {name: k for k, name in enumerate(more) if _takes_picture(name, more[name])}
    pictures = {name: picture(name, 7 + k, size["height"], size["width"]) for name, k in numbers.items()}
    return {**more, **pictures}


def switches(pipeline: Any, call: Mapping[str, Any]) -> dict[str, bool]:
    """Everything that the pipeline does unless its call says no, said no to."""
    parameters = parameters_of(pipeline)
    return {name: False for name, p in parameters.items() if p.default is True and name not in (*call, "return_dict")}


_NUM_FRAMES = ("num_frames", "frames", "video_length")


def _few_frames(parameters: Mapping[str, inspect.Parameter], call: Mapping[str, Any]) -> dict[str, int]:
    """FRAMES for a pipeline that makes more by itself, where the call does not say how many."""
    usual = {name: parameters[name].default for name in _NUM_FRAMES if name in parameters and name not in call}
    return {name: FRAMES for name, number in usual.items() if isinstance(number, int) and number > FRAMES}


def _subsets(pictures: Mapping[str, Any]) -> list[dict[str, Any]]:
    """None of the pictures, then single ones, then more: first those whose names say the least."""
    names = sorted(pictures, key=len)
    counts = range(min(len(names), 3) + 1)
    found = [{n: pictures[n] for n in some} for count in counts for some in itertools.combinations(names, count)]
    return found[:MANY]


def _takes_picture(name: str, usual: Any) -> bool:
    words = ("image", "images", "mask", "video", "frames", "image_2")
    if isinstance(usual, int | float | str):
        return False  # "frames" is a number in places
    if name.startswith(_NOT_PICTURES) or any(part in name for part in _NOT_PICTURE_PARTS):
        return False
    return name.endswith(words)


def picture(name: str, number: int, height: int, width: int) -> Any:
    """A seeded example for an argument of this name: a picture, a mask or a few frames."""
    from PIL import Image

    if "mask" in name:
        half = Image.new("L", (width, height), 0)
        half.paste(255, (0, 0, width // 2, height))
        return half
    if "video" in name or "frames" in name:
        return [picture("image", number + 31 * k, height, width) for k in range(FRAMES)]
    small = torch.randint(0, 255, (8, 8, 3), generator=generator(number, "picture", 0), dtype=torch.uint8)
    return Image.fromarray(small.numpy()).resize((width, height), Image.Resampling.BICUBIC)


def _size(pipeline: Any, network: torch.nn.Module, call: Mapping[str, Any]) -> tuple[int, int]:
    """(height, width) of an example picture: the call's, else the denoiser's own times the VAE's scale."""
    usual = _side(pipeline, network) or PICTURE
    return int(call.get("height") or usual), int(call.get("width") or usual)


def _side(pipeline: Any, network: torch.nn.Module) -> int:
    """Pixels that the denoiser's config speaks of; 0 where it does not."""
    own: Any = dict(network.config).get("sample_size")  # type: ignore[arg-type]
    side = own[-1] if isinstance(own, list | tuple) and own else own if isinstance(own, int) else 0
    scale = next((s for s in (getattr(pipeline, n, 0) for n in _SCALES) if isinstance(s, int) and s), 8)
    return side * scale if side * scale <= 1024 else 0


_SCALES = ("vae_scale_factor", "vae_scale_factor_spatial", "vae_spatial_compression_ratio", "movq_scale_factor")
