"""Tiny pipelines in Wan's layout that edit or go on: Lucy Edit, ChronoEdit, AnyFlow, Helios."""

from __future__ import annotations

from typing import Any

from diffusers import (
    AnyFlowFARTransformer3DModel,
    AnyFlowTransformer3DModel,
    ChronoEditTransformer3DModel,
    FlowMapEulerDiscreteScheduler,
    HeliosScheduler,
    HeliosTransformer3DModel,
)

from tests.tiny.case import Case
from tests.tiny.parts import picture, processor, seeded
from tests.tiny.videos import clip
from tests.tiny.videos_wan import frames, network, vision, wan_like


def lucy() -> Any:
    """Lucy Edit: the video's latents as channels beside x_t."""
    with seeded():
        return wan_like("LucyEditPipeline", network(in_channels=32))


def chrono() -> Any:
    """ChronoEdit: the picture as first frame of a short video, as channels and as tokens."""
    with seeded():
        transformer = network(ChronoEditTransformer3DModel, in_channels=36, image_dim=16)
        return wan_like("ChronoEditPipeline", transformer, image_encoder=vision(), image_processor=processor())


def anyflow(kind: str = "AnyFlowPipeline", cls: Any = AnyFlowTransformer3DModel, **changes: Any) -> Any:
    """AnyFlow: a flow map, told where it goes to as well as where it is."""
    with seeded():
        return wan_like(kind, network(cls, **changes), scheduler=FlowMapEulerDiscreteScheduler(shift=5.0))


def helios() -> Any:
    """Helios: a long video chunk by chunk, each with what is there so far."""
    with seeded():
        transformer = network(HeliosTransformer3DModel, rope_dim=(4, 4, 4), without=("rope_max_seq_len",))
        return wan_like("HeliosPipeline", transformer, scheduler=HeliosScheduler(stages=1, stage_range=[0, 1]))


def helios_pyramid() -> Any:
    """Helios in stages of growing size."""
    with seeded():
        transformer = network(HeliosTransformer3DModel, rope_dim=(4, 4, 4), without=("rope_max_seq_len",))
        return wan_like("HeliosPyramidPipeline", transformer, scheduler=HeliosScheduler(gamma=0.3))


CASES = (
    Case("lucy-edit", "video", lucy, lambda: clip(video=frames())),
    Case("chrono-edit", "video", chrono, lambda: dict(image=picture(), height=16, width=16, max_sequence_length=16)),
    Case("anyflow", "video", anyflow, clip),
    Case(
        "anyflow-far",
        "video",
        lambda: anyflow("AnyFlowFARPipeline", AnyFlowFARTransformer3DModel, chunk_partition=(1, 2)),
        lambda: clip(9),
    ),
    Case("helios", "video", helios, lambda: clip(9, 32, num_latent_frames_per_chunk=3, history_sizes=[4, 2, 1])),
    Case(
        "helios-pyramid",
        "video",
        helios_pyramid,
        lambda: clip(9, 64, num_latent_frames_per_chunk=3, history_sizes=[4, 2, 1]),
    ),
)
