"""Tokenizers that spell in letters or bytes, and text encoders of one layer, beyond CLIP's."""

from __future__ import annotations

import string
from typing import Any

from tokenizers.pre_tokenizers import ByteLevel
from tokenizers.processors import TemplateProcessing
from transformers import (
    BertConfig,
    BertModel,
    BertTokenizer,
    Gemma2Config,
    Gemma2Model,
    GemmaConfig,
    GemmaModel,
    GemmaTokenizer,
    GlmConfig,
    GlmModel,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
    Qwen2Tokenizer,
    Qwen3Config,
    Qwen3ForCausalLM,
    Qwen3Model,
    T5Config,
    T5EncoderModel,
    T5Tokenizer,
    UMT5Config,
    UMT5EncoderModel,
)

LETTERS = string.ascii_letters + string.digits + ".,:;!?-_'\"()<>|/"
CHAT = (
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    "<|vision_start|>",
    "<|vision_end|>",
    "<|image_pad|>",
    "<|video_pad|>",
)
# What a key repeats that is to be longer than all others, as one token: in bytes it is thousands.
OFTEN = "a quiet village by the sea at dawn with boats and gulls"
TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{% if m['content'] is string %}{{ m['content'] }}"
    "{% else %}{% for part in m['content'] %}{% if part['type'] == 'image' %}"
    "<|vision_start|><|image_pad|><|vision_end|>"
    "{% else %}{{ part['text'] }}{% endif %}{% endfor %}{% endif %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def t5_tokenizer(length: int = 32) -> Any:
    """A T5 tokenizer of single letters; it ends a text with </s> and pads to `length`."""
    words = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", -9.0), ("\u2581", -2.0), *[(c, -3.0) for c in LETTERS]]
    return T5Tokenizer(vocab=words, extra_ids=0, model_max_length=length)


def t5(hidden: int = 16) -> Any:
    """A T5 text encoder with 1 layer."""
    return T5EncoderModel(T5Config(**_t5_sizes(hidden))).eval()


def umt5(hidden: int = 16) -> Any:
    """A UMT5 text encoder with 1 layer; its tokenizer is T5's."""
    return UMT5EncoderModel(UMT5Config(**_t5_sizes(hidden))).eval()


def _t5_sizes(hidden: int) -> dict[str, Any]:
    sizes = dict(vocab_size=len(t5_tokenizer()), d_model=hidden, d_kv=8, d_ff=2 * hidden, num_layers=1, num_heads=2)
    return {**sizes, "feed_forward_proj": "gated-gelu"}


def bert_tokenizer(length: int = 32) -> Any:
    """A BERT tokenizer of single letters."""
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *LETTERS, *[f"##{c}" for c in LETTERS]]
    return BertTokenizer(vocab={w: k for k, w in enumerate(words)}, model_max_length=length)


def bert(hidden: int = 16) -> Any:
    """A BERT text encoder with 1 layer."""
    sizes = dict(hidden_size=hidden, intermediate_size=2 * hidden, num_hidden_layers=1, num_attention_heads=2)
    return BertModel(BertConfig(vocab_size=len(bert_tokenizer()), **sizes)).eval()


def gemma_tokenizer(length: int = 64) -> Any:
    """A Gemma tokenizer of single letters."""
    words = ["<pad>", "<eos>", "<bos>", "<unk>", "<mask>", "\u2581", "\n", *LETTERS]
    return GemmaTokenizer(vocab={w: k for k, w in enumerate(words)}, model_max_length=length, add_bos_token=True)


def gemma(hidden: int = 16, *, layers: int = 2) -> Any:
    """A Gemma text encoder."""
    return GemmaModel(GemmaConfig(vocab_size=len(gemma_tokenizer()), **decoder_sizes(hidden, layers=layers))).eval()


def gemma2(hidden: int = 16, *, layers: int = 2) -> Any:
    """A Gemma 2 text encoder."""
    return Gemma2Model(Gemma2Config(vocab_size=len(gemma_tokenizer()), **decoder_sizes(hidden, layers=layers))).eval()


def decoder_sizes(hidden: int, *, layers: int = 2) -> dict[str, Any]:
    """The sizes that every decoder-only language model's config knows."""
    sizes = dict(hidden_size=hidden, intermediate_size=2 * hidden, num_hidden_layers=layers, head_dim=8)
    return {
        **sizes,
        "num_attention_heads": 2,
        "num_key_value_heads": 2,
        "pad_token_id": 0,
        "bos_token_id": 0,
        "eos_token_id": 0,
    }


def qwen_tokenizer(*more: str, length: int = 512) -> Any:
    """A Qwen tokenizer of single bytes with the chat tokens (and `more` special ones) and a chat template."""
    words = [*CHAT, *more, *sorted(ByteLevel.alphabet())]
    return Qwen2Tokenizer(
        vocab={w: k for k, w in enumerate(words)},
        model_max_length=length,
        extra_special_tokens=[*CHAT[1:], *more],
        model_specific_special_tokens={"image_token": CHAT[5], "video_token": CHAT[6]},
        chat_template=TEMPLATE,
    )


def glm_tokenizer() -> Any:
    """A GLM tokenizer: Qwen's, but it opens every text with a special token, even an empty one."""
    made = qwen_tokenizer().backend_tokenizer
    made.post_processor = TemplateProcessing(single="<|im_start|> $A", special_tokens=[("<|im_start|>", 1)])
    return PreTrainedTokenizerFast(tokenizer_object=made, pad_token=CHAT[0], eos_token=CHAT[0], padding_side="left")


def qwen3(hidden: int = 16, *, layers: int = 2, head: bool = False) -> Any:
    """A Qwen 3 language model, with its head for text if asked for."""
    config = Qwen3Config(vocab_size=len(qwen_tokenizer()), **decoder_sizes(hidden, layers=layers))
    return (Qwen3ForCausalLM if head else Qwen3Model)(config).eval()


def llama(hidden: int = 16, *, layers: int = 2) -> Any:
    """A Llama language model; its tokenizer is Qwen's."""
    return LlamaForCausalLM(
        LlamaConfig(vocab_size=len(qwen_tokenizer()), **decoder_sizes(hidden, layers=layers))
    ).eval()


def glm(hidden: int = 16, *, layers: int = 2) -> Any:
    """A GLM language model; its tokenizer is Qwen's."""
    return GlmModel(GlmConfig(vocab_size=len(qwen_tokenizer()), **decoder_sizes(hidden, layers=layers))).eval()


def qwen_vl(hidden: int = 16, *, layers: int = 2) -> Any:
    """A Qwen 2.5 VL model: text and images (patches of 2 pixels, merged 2 x 2)."""
    text = {**decoder_sizes(hidden, layers=layers), "vocab_size": len(qwen_tokenizer())}
    text["rope_parameters"] = {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [1, 1, 2]}
    text.pop("head_dim")
    vision = dict(depth=1, hidden_size=16, intermediate_size=32, num_heads=2, out_hidden_size=hidden)
    vision.update(patch_size=2, spatial_merge_size=2, window_size=8, fullatt_block_indexes=[0])
    ids = dict(vision_start_token_id=3, vision_end_token_id=4, image_token_id=5, video_token_id=6)
    config = Qwen2_5_VLConfig(text_config=text, vision_config=vision, **ids)
    return Qwen2_5_VLForConditionalGeneration(config).eval()
