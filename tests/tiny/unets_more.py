"""Less common U-Nets: depth, boxes, upscaling, a refiner, class labels, and a discrete model."""

from __future__ import annotations

from functools import partial
from typing import Any

import diffusers
from diffusers import UNet2DConditionModel
from diffusers.pipelines.stable_diffusion import CLIPImageProjection
from transformers import DPTConfig, DPTForDepthEstimation

from tests.tiny.case import Case
from tests.tiny.parts import awake, picture, processor, sd_like, sdxl_like, seeded, small, unet, vision
from tests.tiny.pipelines import sd, sdxl, text_encoder, tokenizer, vae


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
    """The latent upscaler: K-diffusion blocks; its time is the log of the noise, and the pooled text joins it."""
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
        layers_per_block=2,
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


def boxes_of_pictures() -> Any:
    """GLIGEN with a picture for each box besides the phrase."""
    network = awake(unet(attention_type="gated-text-image", block_out_channels=(8, 8, 16, 16)))
    with seeded():
        parts = dict(processor=processor(), image_encoder=vision(), image_project=CLIPImageProjection(16))
    return sd_like("StableDiffusionGLIGENTextImagePipeline", unet=network, **parts)


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


def parallel(kind: str) -> Any:
    """SD with a scheduler that takes several steps at once."""
    settings: dict[str, Any] = dict(beta_schedule="scaled_linear", clip_sample=False)
    return sd_like(kind, scheduler=diffusers.DDIMParallelScheduler(**settings), without=("image_encoder",))


def perception(kind: str, targets: int = 1, **settings: Any) -> Any:
    """Marigold: the key is a picture, and what is sampled are maps of it."""
    base = sd().components
    parts = {name: base[name] for name in ("vae", "text_encoder", "tokenizer", "scheduler")}
    network = unet(in_channels=4 + 4 * targets, out_channels=4 * targets)
    return getattr(diffusers, f"Marigold{kind}Pipeline")(**parts, unet=network, **settings)


def tokens(kind: str) -> Any:
    """Amused: it predicts which of 32 codes each token of a picture is, from masked ones."""
    with seeded():
        network = diffusers.UVit2DModel(
            hidden_size=16,
            cond_embed_dim=16,
            micro_cond_encode_dim=2,
            micro_cond_embed_dim=10,
            encoder_hidden_size=16,
            vocab_size=32,
            codebook_size=32,
            in_channels=16,
            block_out_channels=16,
            num_res_blocks=1,
            block_num_heads=2,
            num_hidden_layers=4,
            num_attention_heads=2,
            intermediate_size=32,
            sample_size=8,
        )
        codes = diffusers.VQModel(
            block_out_channels=(8, 8),
            down_block_types=("DownEncoderBlock2D",) * 2,
            up_block_types=("UpDecoderBlock2D",) * 2,
            norm_num_groups=4,
            latent_channels=4,
            num_vq_embeddings=32,
            lookup_from_codebook=True,
        )
        return getattr(diffusers, kind)(
            vqvae=codes.eval(),
            tokenizer=tokenizer(),
            text_encoder=text_encoder(projection=True),
            transformer=awake(network),
            scheduler=diffusers.AmusedScheduler(mask_token_id=31),
        )


def cycle() -> Any:
    """Cycle diffusion: SD beside the picture's own path; its DDIM scheduler's last step has variance, as SD's has."""
    scheduler = diffusers.DDIMScheduler(set_alpha_to_one=False, steps_offset=1, clip_sample=False)
    return sd_like("CycleDiffusionPipeline", scheduler=scheduler, without=("image_encoder",))


_boxed = partial(small, gligen_phrases=["a fox"], gligen_boxes=[[0.1, 0.2, 0.7, 0.9]])
# by itself it looks at the boxes in the first 0.3 of the steps only
_gligen = partial(_boxed, gligen_scheduled_sampling_beta=1.0)
_change = partial(small, "image", size=None, strength=1.0)
_paint = partial(small, "image", "mask_image", size=None, strength=1.0)
_whole = partial(dict, processing_resolution=0)
_VIEWS = tuple({"image": picture(size).resize((16, 16))} for size in (16, 24, 32))
_TARGETS = {"target_names": ["albedo", "roughness"], "albedo": {}, "roughness": {}}


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
    Case("gligen-by-itself", "control", partial(boxes, "StableDiffusionGLIGENPipeline"), _boxed),
    Case(
        "gligen-pictures",
        "control",
        boxes_of_pictures,
        partial(_gligen, gligen_images=[picture()]),
    ),
    # Arrays, because the installed Pillow makes no pictures of depths.
    Case("ldm3d", "U-Net", depth_and_colour, partial(small, output_type="np")),
    # One key at a time: the pipeline asks for the batch size besides the labels.
    Case("consistency-classes", "consistency", consistency, keys=(1, 2, 3)),
    Case(
        "marigold-depth", "image condition", partial(perception, "Depth", prediction_type="depth"), _whole, keys=_VIEWS
    ),
    Case(
        "marigold-normals",
        "image condition",
        partial(perception, "Normals", prediction_type="normals"),
        _whole,
        keys=_VIEWS,
    ),
    Case(
        "marigold-intrinsics",
        "image condition",
        partial(perception, "Intrinsics", 2, prediction_type="intrinsics", target_properties=_TARGETS),
        _whole,
        keys=_VIEWS,
    ),
    # Discrete: there is no noise to predict, and a recording is to be refused.
    Case("amused", "discrete", partial(tokens, "AmusedPipeline"), small),
    # These two one key at a time: the picture is not repeated for a second prompt.
    Case("amused-img2img", "discrete", partial(tokens, "AmusedImg2ImgPipeline"), _change),
    Case("amused-inpaint", "discrete", partial(tokens, "AmusedInpaintPipeline"), _paint),
    # One key at a time: each prompt has its own indices.
    Case(
        "sd-attend-and-excite",
        "guidance",
        partial(sd_like, "StableDiffusionAttendAndExcitePipeline", without=("image_encoder",)),
        partial(small, token_indices=[[2]], attn_res=(4, 4)),
    ),
    Case(
        "sd-paradigms",
        "guidance",
        partial(parallel, "StableDiffusionParadigmsPipeline"),
        partial(small, parallel=2),
    ),
    Case(
        "sd-model-editing",
        "U-Net",
        partial(sd_like, "StableDiffusionModelEditingPipeline", without=("image_encoder",)),
        small,
    ),
    Case(
        "sd-cycle",
        "image to image",
        cycle,
        partial(_change, source_prompt="a fox"),
    ),
)
