"""Tiny HunyuanVideo pipelines beyond text to video: pictures given in every way, long videos by sections, 1.5."""

from __future__ import annotations

from typing import Any

import diffusers
from diffusers import (
    AutoencoderKLHunyuanImageRefiner,
    AutoencoderKLHunyuanVideo,
    AutoencoderKLHunyuanVideo15,
    ClassifierFreeGuidance,
    FlowMatchEulerDiscreteScheduler,
    HunyuanImageTransformer2DModel,
    HunyuanVideo15Transformer3DModel,
    HunyuanVideoFramepackTransformer3DModel,
    HunyuanVideoTransformer3DModel,
)
from transformers import (
    ByT5Tokenizer,
    CLIPVisionConfig,
    LlamaConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
    Qwen2_5_VLTextConfig,
    Qwen2_5_VLTextModel,
    SiglipImageProcessor,
    SiglipVisionConfig,
    SiglipVisionModel,
    T5Config,
    T5EncoderModel,
)

from tests.tiny.case import Case
from tests.tiny.dits_parts import long_clip
from tests.tiny.parts import awake, picture, processor, seeded
from tests.tiny.pipelines import tokenizer
from tests.tiny.texts import decoder_sizes, llama, qwen_tokenizer, qwen_vl
from tests.tiny.videos import clip

PLAIN = {"template": "{}", "crop_start": 0}  # the pipelines' own templates are longer than a tiny text
SEEN = {**PLAIN, "image_emb_len": 4, "image_emb_start": 0, "image_emb_end": 4}


def _network(cls: Any = HunyuanVideoTransformer3DModel, **changes: Any) -> Any:
    config = dict(
        in_channels=4,
        out_channels=4,
        num_attention_heads=2,
        attention_head_dim=10,
        num_layers=2,
        num_single_layers=2,
        num_refiner_layers=1,
        patch_size=1,
        text_embed_dim=16,
        pooled_projection_dim=16,
        rope_axes_dim=(2, 4, 4),
    )
    return awake(cls(**{**config, **changes})).eval()


def _like(kind: str, transformer: Any, **more: Any) -> Any:
    vae = AutoencoderKLHunyuanVideo(
        latent_channels=4,
        block_out_channels=(8, 8, 8, 8),
        layers_per_block=1,
        norm_num_groups=4,
    )
    parts = dict(text_encoder=more.pop("text_encoder", None) or llama(layers=4).model, vae=vae.eval(), **more)
    return getattr(diffusers, kind)(
        tokenizer=qwen_tokenizer(),
        transformer=transformer,
        scheduler=FlowMatchEulerDiscreteScheduler(shift=7.0),
        text_encoder_2=long_clip(),
        tokenizer_2=tokenizer(),
        **parts,
    )


def _llava() -> Any:
    """A LLaVA of 4 layers that sees pictures of 16 x 16 as 4 tokens."""
    sizes = {**decoder_sizes(16, layers=4), "vocab_size": len(qwen_tokenizer()) + 1}
    sees = dict(hidden_size=16, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2)
    config = LlavaConfig(
        vision_config=CLIPVisionConfig(**sees, image_size=16, patch_size=8),
        text_config=LlamaConfig(**sizes),
        image_token_index=len(qwen_tokenizer()),
        pad_token_id=0,
    )
    return LlavaForConditionalGeneration(config).eval()


def image_to_video(how: str) -> Any:
    """HunyuanVideo I2V: the picture as channels ("latent_concat") or as the first frame ("token_replace")."""
    with seeded():
        channels = 9 if how == "latent_concat" else 4
        transformer = _network(in_channels=channels, image_condition_type=how, guidance_embeds=how == "token_replace")
        parts = dict(text_encoder=_llava(), image_processor=processor())
        return _like("HunyuanVideoImageToVideoPipeline", transformer, **parts)


def skyreels() -> Any:
    """SkyReels V1: HunyuanVideo with the picture's latents as channels."""
    with seeded():
        return _like("HunyuanSkyreelsImageToVideoPipeline", _network(in_channels=8, guidance_embeds=False))


def siglip() -> dict[str, Any]:
    """A Siglip vision encoder for pictures of 16 x 16, and its processor."""
    config = SiglipVisionConfig(
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        image_size=16,
        patch_size=8,
    )
    return dict(
        image_encoder=SiglipVisionModel(config).eval(),
        feature_extractor=SiglipImageProcessor(size={"height": 16, "width": 16}),
    )


def framepack() -> Any:
    """FramePack: a long video section by section, each with what is there so far."""
    with seeded():
        transformer = _network(
            HunyuanVideoFramepackTransformer3DModel,
            patch_size=2,
            has_image_proj=True,
            image_proj_dim=16,
            has_clean_x_embedder=True,
        )
        return _like("HunyuanVideoFramepackPipeline", transformer, **siglip())


def video15(kind: str = "HunyuanVideo15Pipeline", **more: Any) -> Any:
    """HunyuanVideo 1.5: Qwen's tokens, glyphs and the picture's tokens, sorted by their masks."""
    with seeded():
        transformer = HunyuanVideo15Transformer3DModel(
            in_channels=9,
            out_channels=4,
            num_attention_heads=2,
            attention_head_dim=8,
            num_layers=4,
            num_refiner_layers=1,
            text_embed_dim=16,
            text_embed_2_dim=16,
            image_embed_dim=16,
            rope_axes_dim=(2, 2, 4),
            target_size=16,
        )
        vae = AutoencoderKLHunyuanVideo15(
            latent_channels=4,
            block_out_channels=(16, 16, 16, 16),
            layers_per_block=1,
            spatial_compression_ratio=4,
            temporal_compression_ratio=4,
        )
        sizes = {**decoder_sizes(16, layers=4), "vocab_size": len(qwen_tokenizer())}
        sizes["rope_parameters"] = {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [1, 1, 2]}
        sizes.pop("head_dim")
        glyphs = T5Config(vocab_size=384, d_model=16, d_kv=8, d_ff=32, num_layers=1, num_heads=2)
        pipeline = getattr(diffusers, kind)(
            text_encoder=Qwen2_5_VLTextModel(Qwen2_5_VLTextConfig(**sizes)).eval(),
            tokenizer=qwen_tokenizer(length=2048),
            transformer=awake(transformer).eval(),
            vae=vae.eval(),
            scheduler=FlowMatchEulerDiscreteScheduler(shift=7.0),
            text_encoder_2=T5EncoderModel(glyphs).eval(),
            tokenizer_2=ByT5Tokenizer(),
            guider=ClassifierFreeGuidance(guidance_scale=1.5),
            **more,
        )
    # these are no arguments; by themselves texts have 1000 tokens and pictures 729
    pipeline.tokenizer_max_length, pipeline.tokenizer_2_max_length, pipeline.vision_num_semantic_tokens = 640, 16, 4
    return pipeline


def refiner() -> Any:
    """HunyuanImage's refiner: the picture's latents beside x_t, a guidance-distilled flow model."""
    with seeded():
        transformer = HunyuanImageTransformer2DModel(
            in_channels=8,
            out_channels=4,
            num_attention_heads=2,
            attention_head_dim=10,
            num_layers=2,
            num_single_layers=2,
            num_refiner_layers=1,
            patch_size=(1, 1, 1),
            guidance_embeds=True,
            text_embed_dim=16,
            rope_axes_dim=(2, 4, 4),
        )
        vae = AutoencoderKLHunyuanImageRefiner(
            latent_channels=2,
            block_out_channels=(16, 16),
            layers_per_block=1,
            spatial_compression_ratio=2,
            temporal_compression_ratio=2,
        )
        return diffusers.HunyuanImageRefinerPipeline(
            scheduler=FlowMatchEulerDiscreteScheduler(shift=4.0),
            vae=vae.eval(),
            text_encoder=qwen_vl(layers=4),
            tokenizer=qwen_tokenizer(),
            transformer=awake(transformer).eval(),
        )


CASES = (
    Case(
        "hunyuan-video-i2v-channels",
        "video",
        lambda: image_to_video("latent_concat"),
        lambda: clip(image=picture(), prompt_template=SEEN),
    ),
    Case(
        "hunyuan-video-i2v-frame",
        "video",
        lambda: image_to_video("token_replace"),
        lambda: clip(image=picture(), prompt_template=SEEN),
    ),
    Case("hunyuan-skyreels-i2v", "video", skyreels, lambda: clip(image=picture(), prompt_template=PLAIN)),
    Case(
        "hunyuan-framepack",
        "video",
        framepack,
        lambda: clip(9, 32, image=picture(), prompt_template=PLAIN, latent_window_size=3),
    ),
    Case("hunyuan-video-1.5", "video", video15, lambda: dict(height=16, width=16, num_frames=5)),
    Case(
        "hunyuan-video-1.5-i2v",
        "video",
        lambda: video15("HunyuanVideo15ImageToVideoPipeline", **siglip()),
        lambda: dict(image=picture(), num_frames=5),
    ),
    Case("hunyuan-image-refiner", "mmdit", refiner, lambda: dict(image=picture(), height=16, width=16)),
)
