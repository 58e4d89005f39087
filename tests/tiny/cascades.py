"""A text becomes the embedding of a picture first: Stable Cascade, StableUnCLIP, Kandinsky 2.1; Shap-E."""

from __future__ import annotations

from functools import partial
from typing import Any

import diffusers
from diffusers.models import StableCascadeUNet
from diffusers.pipelines.kandinsky.text_encoder import MCLIPConfig, MultilingualCLIP
from diffusers.pipelines.shap_e import ShapERenderer
from diffusers.pipelines.stable_diffusion import StableUnCLIPImageNormalizer
from transformers import CLIPVisionModel

from tests.tiny.case import PROMPTS, Case
from tests.tiny.kandinsky import added_unet, embeddings, movq, prior, prior_network, prior_parts
from tests.tiny.parts import awake, picture, processor, seeded, small, unet, vision
from tests.tiny.pipelines import sd, text_encoder, tokenizer
from tests.tiny.texts import t5_tokenizer

_BLOCKS = ("SDCascadeResBlock", "SDCascadeTimestepBlock", "SDCascadeAttnBlock")


def cascade_network(**inputs: Any) -> Any:
    """The network of both of Stable Cascade's stages: two levels of two layers; `inputs` says what it is given."""
    return awake(
        StableCascadeUNet(
            in_channels=4,
            out_channels=4,
            block_out_channels=(16, 32),
            num_attention_heads=(2, 4),
            down_num_layers_per_block=(2, 2),
            up_num_layers_per_block=(2, 2),
            block_types_per_layer=(_BLOCKS, _BLOCKS),
            conditioning_dim=16,
            clip_text_pooled_in_channels=16,
            timestep_ratio_embedding_dim=16,
            switch_level=(False,),
            **inputs,
        )
    )


def cascade_prior() -> Any:
    """The first stage of Stable Cascade: text to a small map."""
    with seeded():
        network = cascade_network(clip_text_in_channels=16, clip_image_in_channels=16)
        return diffusers.StableCascadePriorPipeline(
            prior=network,
            tokenizer=tokenizer(),
            text_encoder=text_encoder(projection=True),
            scheduler=diffusers.DDPMWuerstchenScheduler(),
            image_encoder=vision(),
            feature_extractor=processor(),
            resolution_multiple=4.0,
        )


def noising_parts() -> dict[str, Any]:
    """SD's components with a U-Net that is told an embedding and how much noise was added to it."""
    base = sd().components
    parts = {name: base[name] for name in ("vae", "text_encoder", "tokenizer", "scheduler")}
    return dict(
        **parts,
        unet=unet(class_embed_type="projection", projection_class_embeddings_input_dim=32),
        image_normalizer=StableUnCLIPImageNormalizer(embedding_dim=16),
        image_noising_scheduler=diffusers.DDPMScheduler(beta_schedule="squaredcos_cap_v2"),
    )


def stable_unclip() -> Any:
    """StableUnCLIP from a text: its prior runs inside."""
    settings: dict[str, Any] = dict(beta_schedule="squaredcos_cap_v2", variance_type="fixed_small_log")
    with seeded():
        return diffusers.StableUnCLIPPipeline(
            **noising_parts(),
            prior=prior_network(),
            prior_tokenizer=tokenizer(),
            prior_text_encoder=text_encoder(projection=True),
            prior_scheduler=diffusers.DDPMScheduler(**settings, prediction_type="sample", clip_sample_range=5.0),
        )


def stable_unclip_image() -> Any:
    """StableUnCLIP from a text and a picture."""
    with seeded():
        return diffusers.StableUnCLIPImg2ImgPipeline(
            **noising_parts(), feature_extractor=processor(), image_encoder=vision()
        )


def multilingual() -> Any:
    """Kandinsky 2.1's text encoder: XLM-RoBERTa, 1 layer, and a projection."""
    config = MCLIPConfig(
        transformerDimSize=16,
        imageDimSize=16,
        hidden_size=16,
        intermediate_size=32,
        num_attention_heads=2,
        num_hidden_layers=1,
        vocab_size=len(t5_tokenizer()),
        max_position_embeddings=96,
        pad_token_id=0,
    )
    return MultilingualCLIP(config).eval()


def first(kind: str, **changes: Any) -> Any:
    """The pipeline of Kandinsky 2.1 of that name: text and embedding are both a condition."""
    with seeded():
        network = added_unet(
            encoder_hid_dim_type="text_image_proj",
            addition_embed_type="text_image",
            cross_attention_dim=16,
            **changes,
        )
        return getattr(diffusers, kind)(
            text_encoder=multilingual(),
            tokenizer=t5_tokenizer(77),
            unet=network,
            scheduler=diffusers.DDIMScheduler(beta_schedule="linear", clip_sample=False),
            movq=movq(),
        )


def first_combined(kind: str, **changes: Any) -> Any:
    """Kandinsky 2.1 with its prior inside; the decoder's U-Net is the denoiser."""
    parts = {f"prior_{name}": part for name, part in prior_parts().items()}
    base = first("KandinskyPipeline", **changes).components
    return getattr(diffusers, f"Kandinsky{kind}CombinedPipeline")(**parts, **base)


def shape_parts() -> dict[str, Any]:
    """Shap-E: a transformer of 4 blocks over 32 tokens, which are the weights of a scene; and what draws it."""
    network = prior_network(
        num_embeddings=32,
        additional_embeddings=0,
        embedding_proj_dim=16,
        clip_embed_dim=32,
        time_embed_act_fn="gelu",
        norm_in_type="layer",
        encoder_hid_proj_type=None,
        added_emb_type=None,
    )
    shapes = ((8, 93), (8, 8), (8, 8), (8, 8))
    settings: dict[str, Any] = dict(beta_schedule="exp", num_train_timesteps=1024, prediction_type="sample")
    return dict(
        prior=network,
        scheduler=diffusers.HeunDiscreteScheduler(**settings, use_karras_sigmas=True, clip_sample=True),
        shap_e_renderer=ShapERenderer(param_shapes=shapes, d_latent=16, d_hidden=8).eval(),
    )


def shape() -> Any:
    """A shape from a text."""
    with seeded():
        words = dict(text_encoder=text_encoder(projection=True), tokenizer=tokenizer())
        return diffusers.ShapEPipeline(**shape_parts(), **words)


def shape_of_picture() -> Any:
    """A shape from a picture, which is the key."""
    with seeded():
        eye = CLIPVisionModel(vision().config).eval()
        return diffusers.ShapEImg2ImgPipeline(**shape_parts(), image_encoder=eye, image_processor=processor())


_KEYS = tuple({"prompt": text, **key} for text, key in zip(PROMPTS, embeddings(), strict=True))
_quick = partial(small, prior_num_inference_steps=2)
_change = partial(small, "image", strength=1.0)

CASES = (
    Case("cascade-prior", "prior", cascade_prior, small, component="prior"),
    Case("unclip-stable", "combined", stable_unclip, _quick, component="unet"),
    # One key at a time: the picture is not repeated for a second prompt.
    Case("unclip-stable-image", "image embedding", stable_unclip_image, partial(small, "image")),
    Case("kandinsky21-prior", "prior", partial(prior, "KandinskyPriorPipeline"), component="prior"),
    Case("kandinsky21", "image embedding", partial(first, "KandinskyPipeline"), small, keys=_KEYS),
    # One key at a time: neither the picture nor the mask is repeated for a second prompt.
    Case("kandinsky21-img2img", "image to image", partial(first, "KandinskyImg2ImgPipeline"), _change, keys=_KEYS),
    Case(
        "kandinsky21-inpaint",
        "inpainting",
        partial(first, "KandinskyInpaintPipeline", in_channels=9),
        partial(small, "image", "mask_image"),
        keys=_KEYS,
    ),
    Case("kandinsky21-combined", "combined", partial(first_combined, ""), _quick, component="unet"),
    # One key at a time: the picture is not repeated for a second prompt.
    Case(
        "kandinsky21-combined-img2img",
        "combined",
        partial(first_combined, "Img2Img"),
        partial(_quick, "image", strength=1.0),
        component="unet",
    ),
    Case(
        "kandinsky21-combined-inpaint",
        "combined",
        partial(first_combined, "Inpaint", in_channels=9),
        partial(_quick, "image", "mask_image"),
        component="unet",
    ),
    # The pipeline pads with token 0, here the letter a, which is special in a saved tokenizer from then on.
    Case(
        "shap-e",
        "shapes",
        shape,
        partial(dict, output_type="latent"),
        keys=("two ships", "green fox", "four birds"),
        component="prior",
    ),
    # One key at a time: of a list of pictures the pipeline looks at the first.
    Case(
        "shap-e-image",
        "shapes",
        shape_of_picture,
        partial(dict, output_type="latent"),
        keys=tuple({"image": picture(size)} for size in (16, 24, 32)),
        component="prior",
    ),
)
