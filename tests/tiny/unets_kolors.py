"""Kolors: SDXL's layout with ChatGLM for its encoder of texts. diffusers has it only beside sentencepiece."""

from __future__ import annotations

import functools
import importlib
import tempfile
from functools import partial
from typing import Any

import diffusers
import torch
from diffusers import EulerDiscreteScheduler, UNet2DConditionModel

from tests.tiny import texts
from tests.tiny.case import Case
from tests.tiny.parts import seeded, small
from tests.tiny.pipelines import unet_config, vae


@functools.cache
def _folder() -> Any:
    """One for the whole process: the tokenizer reads its file again when it is saved."""
    return tempfile.TemporaryDirectory()


def chatglm_tokenizer() -> Any:
    """ChatGLM's tokenizer of letters; it says positions too."""
    trainer = importlib.import_module("sentencepiece").SentencePieceTrainer
    from diffusers.pipelines.kolors.tokenizer import ChatGLMTokenizer

    words = f"{_folder().name}/words"
    trainer.train(
        sentence_iterator=iter([" ".join(texts.LETTERS)]),
        model_prefix=words,
        model_type="char",
        vocab_size=len(texts.LETTERS) + 4,
        minloglevel=2,
    )
    return ChatGLMTokenizer(vocab_file=f"{words}.model", model_max_length=64)


def kolors(kind: str) -> Any:
    """The Kolors pipeline of that name."""
    from diffusers.pipelines.kolors.text_encoder import ChatGLMConfig, ChatGLMModel

    with seeded():
        network = UNet2DConditionModel(
            **unet_config(
                block_out_channels=(16, 32),
                down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
                up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
                attention_head_dim=(2, 4),
                transformer_layers_per_block=(1, 2),
                use_linear_projection=True,
                addition_embed_type="text_time",
                addition_time_embed_dim=8,
                projection_class_embeddings_input_dim=6 * 8 + 16,
                encoder_hid_dim=16,
                encoder_hid_dim_type="text_proj",
            )
        )
        words = ChatGLMConfig(
            num_layers=2,
            padded_vocab_size=128,
            hidden_size=16,
            ffn_hidden_size=32,
            kv_channels=8,
            num_attention_heads=2,
            seq_length=64,
            multi_query_attention=True,
            multi_query_group_num=1,
            add_qkv_bias=True,
            original_rope=True,
        )
        reader = ChatGLMModel(words).eval()
        with torch.no_grad():
            for weight in reader.parameters():  # the class leaves them to a checkpoint
                weight.normal_(std=0.2) if weight.ndim > 1 else weight.fill_(1.0)
        return getattr(diffusers, kind)(
            vae=vae(),
            text_encoder=reader,
            tokenizer=chatglm_tokenizer(),
            unet=network.eval(),
            scheduler=EulerDiscreteScheduler(beta_schedule="scaled_linear", beta_start=0.00085, beta_end=0.014),
        )


_call = partial(small, max_sequence_length=32)

CASES = (
    Case("kolors", "U-Net", partial(kolors, "KolorsPipeline"), _call),
    Case(
        "kolors-img2img", "image to image", partial(kolors, "KolorsImg2ImgPipeline"),
        partial(_call, "image", strength=1.0),
    ),
    Case("kolors-pag", "guidance", partial(kolors, "KolorsPAGPipeline"), _call),
)  # fmt: skip
