"""What people do to a pipeline and to its call before they give it: benchmarks/call_variants.py tries these.

A variation is a function (given, random) -> the same given, changed; None where it does not apply.
"""

from __future__ import annotations

import ast
import inspect
import tempfile
import textwrap
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from random import Random
from typing import Any

import diffusers
import numpy as np
import torch
from peft import LoraConfig
from PIL import Image

from condistill.teacher.keys import parameters_of
from tests.tiny.case import PROMPTS
from tests.tiny.dits_parts import mask, picture


@dataclass(frozen=True)
class Given:
    """What a user gives.

    Attributes:
        pipeline, component: the teacher.
        call: the pipeline's own arguments, without steps.
        keys: three of them, as a user would have them.
        steps: of sampling.
        is_late: the call comes with D only, not with the teacher.
    """

    pipeline: Any
    component: str | None
    call: Mapping[str, Any]
    keys: tuple[Any, ...]
    steps: int = 2
    is_late: bool = False

    @property
    def network(self) -> Any:
        """The denoiser, by the names that diffusers gives it."""
        names = (self.component, "unet", "transformer", "prior", "decoder", "image_unet")
        return next(part for part in (getattr(self.pipeline, name or "", None) for name in names) if part is not None)

    def with_call(self, **more: Any) -> Given:
        """The same with further arguments."""
        return replace(self, call={**self.call, **more})


Variation = Callable[[Given, Random], Given | None]


def _argument(*names: str, values: tuple[Any, ...]) -> Variation:
    """The first of the names that the pipeline takes, with one of the values."""

    def vary(given: Given, random: Random) -> Given | None:
        name = next((one for one in names if one in parameters_of(given.pipeline)), None)
        return None if name is None else given.with_call(**{name: random.choice(values)})

    return vary


def _size(*factors: tuple[float, float], plus: int = 0) -> Variation:
    def vary(given: Given, random: Random) -> Given | None:
        if not {"height", "width"} <= set(parameters_of(given.pipeline)):
            return None
        tall, wide = random.choice(factors)
        side = given.call.get("height") or 32
        return given.with_call(height=int(side * tall) + plus, width=int(side * wide) + plus)

    return vary


def _negative_keys(given: Given, _: Random) -> Given | None:
    if "negative_prompt" not in parameters_of(given.pipeline) or given.keys != PROMPTS:
        return None
    pairs = zip(PROMPTS, ("blurry", "", "a photo, dark"), strict=True)
    return replace(given, keys=tuple({"prompt": text, "negative_prompt": no} for text, no in pairs))


def _embeddings(given: Given, _: Random) -> Given | None:
    """Keys as the pipeline's own `encode_prompt` returns them, under the names that stand in its last line."""
    encode = getattr(given.pipeline, "encode_prompt", None)
    if encode is None or given.keys != PROMPTS:
        return None
    returns = [n for n in ast.walk(ast.parse(textwrap.dedent(inspect.getsource(encode)))) if isinstance(n, ast.Return)]
    last = returns[-1].value
    names = [getattr(one, "id", "") for one in (last.elts if isinstance(last, ast.Tuple) else [last])]
    usual = {"device": "cpu", "num_images_per_prompt": 1, "do_classifier_free_guidance": True}
    wanted = inspect.signature(encode).parameters
    more = {n: v for n, v in usual.items() if n in wanted and wanted[n].default is inspect.Parameter.empty}
    keys = []
    with torch.no_grad():
        for text in given.keys:
            found = encode(text, **more)
            rows = dict(zip(names, found if isinstance(found, tuple) else (found,), strict=True))
            takes = parameters_of(given.pipeline)
            keys.append({name: value for name, value in rows.items() if name in takes and value is not None})
    return replace(given, keys=tuple(keys)) if keys[0] else None


def _callback(given: Given, _: Random) -> Given | None:
    takes = "callback_on_step_end" in parameters_of(given.pipeline)
    return given.with_call(callback_on_step_end=lambda pipeline, step, t, tensors: tensors) if takes else None


def _other_pictures(given: Given, random: Random) -> Given | None:
    """Pictures as arrays, tensors or in lists."""
    names = [name for name, value in given.call.items() if isinstance(value, Image.Image)]
    if not names:
        return None
    kind = random.choice(("array", "tensor", "list"))
    return given.with_call(**{name: _as(kind, given.call[name]) for name in names})


def _as(kind: str, image: Image.Image) -> Any:
    if kind == "list":
        return [image]
    values = np.asarray(image, dtype=np.float32) / 255.0
    return values[None] if kind == "array" else torch.from_numpy(values.reshape(*values.shape[:2], -1)).movedim(-1, 0)


def _scheduler(given: Given, random: Random) -> Given | None:
    own = getattr(given.pipeline, "scheduler", None)
    if own is None:
        return None
    if type(own).__name__.startswith("FlowMatch"):
        others = (("FlowMatchHeunDiscrete", {}), ("FlowMatchLCM", {}), ("FlowMatchEulerDiscrete", {"shift": 2.0}),
                  ("UniPCMultistep", FLOW), ("DPMSolverMultistep", FLOW))  # fmt: skip
    else:
        karras = {"use_karras_sigmas": True}
        others = (("DDIM", {}), ("DDPM", {}), ("EulerDiscrete", {}), ("EulerAncestralDiscrete", {}), ("PNDM", {}),
                  ("HeunDiscrete", {}), ("DPMSolverMultistep", karras), ("DPMSolverSinglestep", {}), ("LCM", {}),
                  ("DEISMultistep", {}), ("UniPCMultistep", {}), ("LMSDiscrete", {}), ("KDPM2Discrete", {}),
                  ("TCD", {}), ("SASolver", {}), ("DDIM", {"timestep_spacing": "trailing"}))  # fmt: skip
    name, config = random.choice(others)
    given.pipeline.scheduler = getattr(diffusers, f"{name}Scheduler").from_config(own.config, **config)
    return given


FLOW = {"use_flow_sigmas": True, "prediction_type": "flow_prediction", "flow_shift": 3.0}


def _done(method: str, *, part: str = "", **arguments: Any) -> Variation:
    """A method of the pipeline, of one of its parts or of the denoiser."""

    def vary(given: Given, _: Random) -> Given | None:
        one = given.network if part == "network" else getattr(given.pipeline, part) if part else given.pipeline
        if not hasattr(one, method):
            return None
        getattr(one, method)(**arguments)
        return given

    return vary


def _cast(dtype: torch.dtype) -> Variation:
    def vary(given: Given, _: Random) -> Given | None:
        return replace(given, pipeline=given.pipeline.to(dtype))

    return vary


def _loaded(given: Given, random: Random) -> Given | None:
    """Saved and loaded in half precision, as most people load a teacher."""
    with tempfile.TemporaryDirectory() as folder:
        given.pipeline.save_pretrained(folder)
        dtype = random.choice((torch.bfloat16, torch.float16))
        return replace(given, pipeline=type(given.pipeline).from_pretrained(folder, torch_dtype=dtype))


def _lora(given: Given, random: Random) -> Given | None:
    if not hasattr(given.network, "add_adapter"):
        return None
    names = [n for n, part in given.network.named_modules() if isinstance(part, torch.nn.Linear) and "to_" in n]
    if not names:
        return None
    chosen = random.sample(sorted(names), min(4, len(names)))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        given.network.add_adapter(LoraConfig(r=2, lora_alpha=4, init_lora_weights=False, target_modules=chosen))
    return given


def _from_pipe(given: Given, random: Random) -> Given | None:
    kind = random.choice(("Image2Image", "Inpainting"))
    made = getattr(diffusers, f"AutoPipelineFor{kind}").from_pipe(given.pipeline)
    more = {"image": picture(32), "strength": 1.0} | ({"mask_image": mask(32)} if kind == "Inpainting" else {})
    call = {name: value for name, value in {**given.call, **more}.items() if name in parameters_of(made)}
    return replace(given, pipeline=made, call=call)


def _network(change: Callable[[Any], Any]) -> Variation:
    def vary(given: Given, _: Random) -> Given | None:
        change(given.network)
        return given

    return vary


VARIATIONS: dict[str, Variation] = {
    "usual": lambda given, _: given,
    "call comes late": lambda given, _: replace(given, is_late=True) if given.call else None,
    "another size": _size((2, 1), (1, 2), (2, 2)),
    "a size that does not fit": _size((1, 1), plus=3),
    "a size as text": lambda given, _: given.with_call(height="32") if "height" in given.call else None,
    "frames": _argument("num_frames", "video_length", values=(1, 5, 13)),
    "guidance": _argument("guidance_scale", "true_cfg_scale", values=(0.0, 1.0, 2.0, 7.5)),
    "true guidance": _argument("true_cfg_scale", values=(1.0, 3.0)),
    "guidance_rescale": _argument("guidance_rescale", values=(0.7,)),
    "negative prompt": _argument("negative_prompt", values=("blurry", "", None)),
    "negative prompts in keys": _negative_keys,
    "embeddings as keys": _embeddings,
    "second prompt": _argument("prompt_2", values=("a photo",)),
    "several images": _argument("num_images_per_prompt", "num_videos_per_prompt", values=(1, 2)),
    "strength": _argument("strength", values=(0.3, 0.6, 1.0)),
    "output type": _argument("output_type", values=("pil", "np", "pt", "latent")),
    "no return_dict": _argument("return_dict", values=(False,)),
    "eta": _argument("eta", values=(0.5, 1.0)),
    "attention kwargs": _argument(
        "cross_attention_kwargs", "joint_attention_kwargs", "attention_kwargs", values=({}, {"scale": 0.5})
    ),
    "clip_skip": _argument("clip_skip", values=(1,)),
    "sequence length": _argument("max_sequence_length", values=(16, 64)),
    "picture without an adapter": _argument("ip_adapter_image", values=(picture(32),)),
    "callback": _callback,
    "pictures of another kind": _other_pictures,
    "one step": lambda given, _: replace(given, steps=1),
    "sigmas": _argument("sigmas", values=([1.0, 0.5], [0.9, 0.6, 0.3])),
    "timesteps": _argument("timesteps", values=([800, 300], [999, 500, 20])),
    "a wrong name": lambda given, _: given.with_call(guidence_scale=2.0),
    "a generator": _argument("generator", values=(torch.Generator(),)),
    "a scheduler": _scheduler,
    "bfloat16": _cast(torch.bfloat16),
    "float16": _cast(torch.float16),
    "loaded in half": _loaded,
    "attention slicing": _done("enable_attention_slicing"),
    "vae tiling": _done("enable_tiling", part="vae"),
    "vae slicing": _done("enable_slicing", part="vae"),
    "offload": _done("enable_model_cpu_offload", device="cpu"),
    "offload by layers": _done("enable_sequential_cpu_offload", device="cpu"),
    "group offload": _done("enable_group_offload", onload_device=torch.device("cpu"), offload_type="leaf_level"),
    "lora": _lora,
    "freeu": _done("enable_freeu", s1=0.9, s2=0.2, b1=1.4, b2=1.6),
    "fused projections": _done("fuse_qkv_projections", part="network"),
    "plain attention": _done("set_default_attn_processor", part="network"),
    "layerwise casting": _done(
        "enable_layerwise_casting", part="network", storage_dtype=torch.float16, compute_dtype=torch.float32
    ),
    "channels_last": _network(lambda network: network.to(memory_format=torch.channels_last)),
    "training": _network(lambda network: network.train()),
    "frozen": _network(lambda network: network.requires_grad_(False)),
    "checkpointing": _done("enable_gradient_checkpointing", part="network"),
    "from_pipe": _from_pipe,
}
