"""Less common U-Nets: depth, boxes, upscaling, a refiner, class labels, and a discrete model."""

from __future__ import annotations

from functools import partial
from typing import Any

import diffusers
from diffusers import UNet2DConditionModel
from transformers import DPTConfig, DPTForDepthEstimation

from tests.tiny.case import Case
from tests.tiny.parts import awake, picture, processor, sd_like, sdxl_like, seeded, small, unet
from tests.tiny.pipelines import sd, sdxl, vae


def depth() -> Any:
    """Depth to image: the depth that a small DPT sees is one more channel."""
    config = DPTConfig(
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=4,
        num_attention_heads=2,
        image_size=16,
        patch_size=4,
        backbone_out_indices=[0, 1, 2, 3],
        neck_hidden_sizes=[8, 8, 8, 8],
        fusion_hidden_size=8,
    )
    base = sd().components
    parts = {name: base[name] for name in ("vae", "text_encoder", "tokenizer", "scheduler")}
    with seeded():
        eye = DPTForDepthEstimation(config).eval()
    return diffusers.StableDiffusionDepth2ImgPipeline(
        **parts, unet=unet(in_channels=5), depth_estimator=eye, feature_extractor=processor()
    )


def latent_upscale() -> Any:
    """The latent upscaler: K-diffusion blocks, the pooled text is embedded with the time."""
    base = sd().components
    parts = {name: base[name] for name in ("vae", "text_encoder", "tokenizer")}
    network = unet(
        in_channels=8,
        out_channels=5,
        block_out_channels=(32, 64, 64),
        down_block_types=("KDownBlock2D",) + ("KCrossAttnDownBlock2D",) * 2,
        mid_block_type=None,
        up_block_types=("KCrossAttnUpBlock2D",) * 2 + ("KUpBlock2D",),
        attention_head_dim=8,
        layers_per_block=1,
        norm_num_groups=None,
        act_fn="gelu",
        conv_in_kernel=1,
        conv_out_kernel=1,
        resnet_time_scale_shift="scale_shift",
        time_embedding_type="fourier",
        timestep_post_act="gelu",
        time_cond_proj_dim=2 * 64 + 16,
    )
    scheduler = diffusers.EulerDiscreteScheduler(prediction_type="sample")
    return diffusers.StableDiffusionLatentUpscalePipeline(**parts, unet=awake(network), scheduler=scheduler)


def unet_xl(**changes: Any) -> Any:
    """A U-Net of sdxl()'s layout with these changes."""
    with seeded():
        return UNet2DConditionModel.from_config(sdxl().unet.config, **changes).eval()


def instruct() -> Any:
    """SDXL that edits a picture: its U-Net sees the picture's latents too."""
    kind, without = "StableDiffusionXLInstructPix2PixPipeline", ("image_encoder", "feature_extractor")
    return sdxl_like(kind, unet=unet_xl(in_channels=8), without=without)


def refiner() -> Any:
    """SDXL's refiner: the second text encoder alone, and a score of beauty instead of a target size."""
    network = unet_xl(cross_attention_dim=16, projection_class_embeddings_input_dim=5 * 8 + 16)
    without: dict[str, Any] = dict(text_encoder=None, tokenizer=None)
    return sdxl_like("StableDiffusionXLImg2ImgPipeline", unet=network, requires_aesthetics_score=True, **without)


def boxes(kind: str) -> Any:
    """GLIGEN: gated attention to phrases in boxes."""
    network = awake(unet(attention_type="gated", block_out_channels=(16, 16, 16, 32)))
    return sd_like(kind, unet=network, without=("image_encoder",))


def depth_and_colour() -> Any:
    """LDM3D: the autoencoder's pictures have a depth."""
    with seeded():
        wide = diffusers.AutoencoderKL.from_config(vae().config, in_channels=6, out_channels=6).eval()
    return sd_like("StableDiffusionLDM3DPipeline", vae=wide)


def consistency() -> Any:
    """A class-conditional consistency model on pixels."""
    with seeded():
        network = diffusers.UNet2DModel(
            sample_size=8,
            layers_per_block=2,
            block_out_channels=(16, 16, 32),
            down_block_types=("ResnetDownsampleBlock2D", "AttnDownBlock2D", "AttnDownBlock2D"),
            up_block_types=("AttnUpBlock2D", "AttnUpBlock2D", "ResnetUpsampleBlock2D"),
            norm_num_groups=4,
            attention_head_dim=8,
            num_class_embeds=10,
            resnet_time_scale_shift="scale_shift",
        )
        scheduler = diffusers.CMStochasticIterativeScheduler()
        return diffusers.ConsistencyModelPipeline(unet=awake(network), scheduler=scheduler)


_gligen = partial(small, gligen_phrases=["a fox"], gligen_boxes=[[0.1, 0.2, 0.7, 0.9]])
_change = partial(small, "image", size=None, strength=1.0)


def _tiny() -> dict[str, Any]:
    return {"image": picture(64)}


CASES = (
    Case("sd-depth2img", "image to image", depth, _change),
    # One key at a time: the small picture is not repeated for a second prompt.
    Case("sd-latent-upscale", "upscaling", latent_upscale, _tiny),
    Case(
        "sdxl-instruct-pix2pix",
        "editing",
        instruct,
        partial(small, "image"),
    ),
    Case("sdxl-refiner", "image to image", refiner, _change),
    Case("gligen", "control", partial(boxes, "StableDiffusionGLIGENPipeline"), _gligen),
    # Arrays, because the installed Pillow makes no pictures of depths.
    Case("ldm3d", "U-Net", depth_and_colour, partial(small, output_type="np")),
    # One key at a time: the pipeline asks for the batch size besides the labels.
    Case("consistency-classes", "consistency", consistency, keys=(1, 2, 3)),
)
