"""A real class-conditional pipeline, as small as diffusers makes it, and a judge that needs no training."""

from __future__ import annotations

import sys
from pathlib import Path
from types import MappingProxyType

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL, DDIMScheduler, DiTPipeline, DiTTransformer2DModel

from condistill.evaluate.judging import Seen
from condistill.teacher import Teacher
from condistill.torchvision_ops import define_missing_ops

# what needs torchvision, installed apart from everything else: see the Makefile
APART = Path(sys.prefix) / "metrics"


@pytest.fixture(autouse=True, scope="session")
def libraries_that_need_torchvision() -> None:
    """Can be imported from now on; transformers, imported before, goes on without torchvision."""
    if APART.is_dir() and str(APART) not in sys.path:
        sys.path.append(str(APART))
        define_missing_ops.cache_clear()  # it may have looked before there was a torchvision
        define_missing_ops()


def tiny_pipeline(seed: int = 0) -> DiTPipeline:
    torch.manual_seed(seed)
    transformer = DiTTransformer2DModel(
        sample_size=4,
        num_layers=2,
        patch_size=2,
        attention_head_dim=4,
        num_attention_heads=2,
        in_channels=4,
        out_channels=4,
        attention_bias=True,
        activation_fn="gelu-approximate",
        num_embeds_ada_norm=1000,
        norm_type="ada_norm_zero",
        norm_elementwise_affine=False,
    )
    for parameter in transformer.parameters():  # adaLN-Zero starts as the identity, which would ignore the class
        torch.nn.init.normal_(parameter, std=0.2)
    vae = AutoencoderKL(block_out_channels=(4,), norm_num_groups=2, sample_size=4)
    pipeline = DiTPipeline(transformer=transformer, vae=vae, scheduler=DDIMScheduler())  # type: ignore[arg-type]
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


@pytest.fixture(scope="session")
def teacher() -> Teacher:
    return Teacher.from_pipeline(tiny_pipeline())


@pytest.fixture(scope="session")
def student(teacher: Teacher) -> Teacher:
    """Of the teacher's shape with other weights."""
    return teacher.with_network(tiny_pipeline(seed=1).transformer)


class BrightnessJudge:
    """Concept: is the image brighter than grey on the left; colour: on the right. Features: mean colours."""

    identity = "brightness"
    default_call = MappingProxyType({"num_inference_steps": 2})

    def asked(self, keys):
        labels = np.array([int(key) for key in keys])
        return labels % 2, labels // 2 % 2

    def group(self, key):
        return "unseen" if int(key) >= 10 else "seen"

    def look(self, images):
        half = images.shape[2] // 2
        left, right = images[:, :, :half].mean((1, 2)), images[:, :, half:].mean((1, 2))
        seen = (left.mean(1) > 0.5).astype(int), (right.mean(1) > 0.5).astype(int)
        return Seen(*seen, np.concatenate([left, right], axis=1))


@pytest.fixture
def judging() -> BrightnessJudge:
    return BrightnessJudge()
