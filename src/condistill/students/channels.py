"""How the channels of a tensor are put together: heads, norm groups, halves, skip connections, and whose they are."""

from __future__ import annotations

import math
from typing import Any

from torch import nn

from condistill.students.plan import Part

_QUERIES = ("to_q", "to_k", "add_q_proj", "add_k_proj", "norm_q", "norm_k", "norm_added_q", "norm_added_k")
_VALUES = ("to_v", "add_v_proj", "to_out", "to_add_out")
_OUTER = ("to_out", "to_add_out")
_RESIDUAL = ("conv_in", "conv_norm_out", "conv_out")
# no choice by weight: sines in order, and what is as good evenly spread (measured on the emojis' U-Net)
_EVEN = ("time_embedding", "add_embedding", "class_embedding", "time_emb_proj", "add_time_proj")
UNKNOWN = "unknown"


class Channels:
    """How the channels of one module are put together, in the teacher and in the student."""

    def __init__(self, teacher: nn.Module, student: nn.Module, path: str, source: str):
        self.teacher, self.student, self.path, self.source = teacher, student, path, source
        self.words = path.split(".")

    def parts(self, name: str, dim: int, n: int, m: int) -> tuple[Part, ...]:
        """The parts of dimension `dim` of the tensor `name`, which goes from n to m channels."""
        words = self.words
        for k in range(1, len(words)):
            if self._attention(k) is None:
                continue
            if words[k] in (*_QUERIES, *_VALUES):
                if dim == (1 if words[k] in _OUTER else 0):
                    return self._heads(k, words[k], n, m)
            elif "norm" not in words[k]:
                return (Part(n, m, stream=f"{UNKNOWN} {'.'.join(words[:k])}"),)
        beside = self._beside_attention(n, m) if words[-1] == "proj_out" and dim == 1 else ()
        if beside:
            return beside
        if self._is_concatenated(dim):
            return self._concatenated(int(words[1]), int(words[3]), n, m)
        if (words[-3:] == ["net", "0", "proj"] and dim == 0) or (words[-2:] == ["net", "2"] and dim == 1):
            return self._runs("hidden", words.index("net"), ("net.2", "in_features"), n, m)
        if words[-1] == "time_emb_proj" and dim == 0:
            return self._runs("within", len(words) - 1, ("conv1", "out_channels"), n, m)
        stream = self._stream(dim)
        groups = self._groups(stream, n, m)
        return (Part(n, m, groups, groups, f"{stream} {n}" if stream == "residual" else stream),)

    def _attention(self, k: int) -> tuple[Any, Any] | None:
        ours = self.student.get_submodule(".".join(self.words[:k]))
        theirs = self.teacher.get_submodule(".".join(self.source.split(".")[:k]))
        has = all(isinstance(getattr(one, "to_q", None), nn.Linear) and hasattr(one, "heads") for one in (ours, theirs))
        return (theirs, ours) if has else None

    def _heads(self, k: int, word: str, n: int, m: int) -> tuple[Part, ...]:
        """Whole heads where there are fewer of them, channels within each where they are smaller."""
        theirs, ours = self._attention(k) or (None, None)
        before, inner = _head_units(theirs), (theirs.to_q.out_features, ours.to_q.out_features)  # type: ignore[union-attr]
        after = _head_units(ours)
        if n % before or m % after:
            return (Part(n, m, stream=f"{UNKNOWN} {'.'.join(self.words[:k])}"),)
        path = ".".join(self.words[:k])
        if before != after or inner[0] // before == inner[1] // after:
            stream = f"heads {path}"
        else:
            stream = f"{'queries' if word in _QUERIES else 'values'} {path}"
        rest = (n - inner[0], m - inner[1]) if word in _OUTER else (0, 0)
        if rest[0] > 0 and rest[1] > 0:  # a feed-forward layer beside the attention shares its output matrix
            return Part(*inner, before, after, stream), Part(*rest)
        return (Part(n, m, before, after, stream),)

    def _beside_attention(self, n: int, m: int) -> tuple[Part, ...]:
        """What a block reads that joins its attention's heads with the hidden channels of a feed-forward layer."""
        parent, source = ".".join(self.words[:-1]), self.source.rpartition(".")[0]
        theirs, ours = (
            getattr(net.get_submodule(path), "attn", None)
            for net, path in ((self.teacher, source), (self.student, parent))
        )
        if not isinstance(getattr(theirs, "to_q", None), nn.Linear) or getattr(theirs, "to_out", None) is not None:
            return ()
        inner = (theirs.to_q.out_features, ours.to_q.out_features)  # type: ignore[union-attr]
        if not hasattr(theirs, "heads") or n <= inner[0] or m <= inner[1]:
            return ()
        heads = (_head_units(theirs), _head_units(ours))
        return Part(*inner, *heads, f"heads {parent}.attn"), Part(n - inner[0], m - inner[1])

    def _stream(self, dim: int) -> str:
        """The name of the stream that a dimension belongs to, as U-Nets are made; UNKNOWN if it cannot be told."""
        words, last = self.words, self.words[-1]
        if "attentions" in words and "transformer_blocks" in words:
            return f"inner {'.'.join(words[: words.index('transformer_blocks')])}"
        if last in ("proj_in", "proj_out") and "attentions" in words and dim == (0 if last == "proj_in" else 1):
            return f"inner {'.'.join(words[:-1])}"
        if words[0] in _EVEN or (last == "time_emb_proj" and dim == 1):
            return ""
        if last == "norm2" or (last, dim) in (("conv1", 0), ("conv2", 1)):
            return f"within {'.'.join(words[:-1])}" if "resnets" in words or "samplers" in words[-3] else UNKNOWN
        known = ("norm", "norm1", "conv", "conv1", "conv2", "conv_shortcut", "group_norm", "proj_in", "proj_out")
        known_place = any(word in ("resnets", "attentions", "downsamplers", "upsamplers") for word in words)
        is_attention = any(word in (*_QUERIES, *_VALUES) for word in words)
        if words[0] in _RESIDUAL or (known_place and (last in known or is_attention)):
            return "residual"
        return UNKNOWN

    def _groups(self, stream: str, n: int, m: int) -> int:
        if not stream.startswith(("residual", "within")):
            return 1
        groups = getattr(self.teacher, "config", {}).get("norm_num_groups") or 1
        return groups if n % groups == 0 and m % groups == 0 else 1

    def _runs(self, stream: str, k: int, width: tuple[str, str], n: int, m: int) -> tuple[Part, ...]:
        """One part for each of the runs that meet in a layer: both halves of GEGLU, scale and shift."""
        paths = (".".join(self.source.split(".")[:k]), ".".join(self.words[:k]))
        before, after = (
            getattr(_module_at(net, f"{path}.{width[0]}"), width[1], 0)
            for net, path in ((self.teacher, paths[0]), (self.student, paths[1]))
        )
        if not before or not after or n % before or n // before * after != m:
            return (Part(n, m, stream=UNKNOWN),)
        groups = self._groups(stream, before, after)
        return (Part(before, after, groups, groups, f"{stream} {paths[1]}"),) * (n // before)

    def _is_concatenated(self, dim: int) -> bool:
        words = self.words
        if words[0] != "up_blocks" or words[2:3] != ["resnets"] or words[4:-1] not in ([], ["spatial_res_block"]):
            return False
        layer = self.teacher.get_submodule(".".join(self.source.split(".")[:4]))
        if not hasattr(getattr(layer, "spatial_res_block", layer), "out_channels"):
            return False
        is_input = dim == 1 if words[-1].startswith("conv") else dim == 0
        return words[-1] in ("norm1", "conv1", "conv_shortcut") and is_input

    def _concatenated(self, block: int, layer: int, n: int, m: int) -> tuple[Part, ...]:
        theirs = self.source.split(".")
        before = _hidden_width(self.teacher, int(theirs[1]), int(theirs[3]))
        after = _hidden_width(self.student, block, layer)
        if before is None or after is None or before > n or after > m:
            return (Part(n, m, stream=f"{UNKNOWN} {self.path}"),)
        found = []
        for a, b in ((before, after), (n - before, m - after)):
            groups = self._groups("residual", a, b)
            found.append(Part(a, b, groups, groups, f"residual {a}"))
        return tuple(found)


def _module_at(network: nn.Module, path: str) -> nn.Module | None:
    """The module at the path, None if there is none."""
    try:
        return network.get_submodule(path)
    except AttributeError:
        return None


def _head_units(attention: Any) -> int:
    """How many heads, or groups of them that share keys, an attention has."""
    heads = int(attention.heads)
    keys = getattr(attention, "to_k", None)
    size = attention.to_q.out_features // heads
    shared = keys.out_features // size if isinstance(keys, nn.Linear) and size else heads
    return math.gcd(heads, shared) or heads


def _hidden_width(network: nn.Module, block: int, layer: int) -> int | None:
    """Channels that arrive from the layer before, without the skip connection; None if they cannot be told."""
    if layer > 0:
        return out_channels(network.get_submodule(f"up_blocks.{block}.resnets.{layer - 1}"))
    before = f"up_blocks.{block - 1}" if block > 0 else "down_blocks"
    blocks = network.get_submodule(before)
    last = blocks[-1] if isinstance(blocks, nn.ModuleList) else blocks
    layers = getattr(last, "resnets", None)  # a block may wrap another's (ControlNet-XS)
    return out_channels(layers[-1]) if layers else None


def out_channels(layer: nn.Module) -> int:
    """Channels that a layer of a U-Net block gives out; video U-Nets wrap theirs."""
    return int(getattr(layer, "spatial_res_block", layer).out_channels)  # type: ignore[arg-type]
