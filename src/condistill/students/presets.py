"""The named students, and how a spec is read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from condistill.errors import UserError, unknown_name

RULES = ("depth", "width", "keep", "blocks", "mid", "preset")
# which blocks stay where a depth takes some: see `condistill.students.depth.picked`
BLOCKS = ("even", "ends", "scored")
FORMS = ("depth=SHARE", "width=SHARE", "keep=STACK:0,2,...", f"blocks={'|'.join(BLOCKS)}")
INITS = ("inherit", "slice", "random")


@dataclass(frozen=True)
class Cut:
    """What is taken away from a teacher. The first three are for any network, the others for U-Nets.

    Attributes:
        depth: share of the layers that stays, in (0, 1].
        width: share of the channels that stays, in (0, 1].
        keep: stack -> the blocks that stay.
        fewer_layers: one layer less in every block (down and up).
        layers: layers per block, where given.
        mid: "keep", "drop", or "resnet" (without attention).
        fewer_stages: innermost stages removed.
        config: config fields that are set as they stand.
        chosen_by: how blocks are chosen where fewer stay: "even", "ends" or "scored"; "leading" in presets.
    """

    depth: float = 1.0
    width: float = 1.0
    keep: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    fewer_layers: bool = False
    layers: int | None = None
    mid: str = "keep"
    fewer_stages: int = 0
    config: Mapping[str, Any] = field(default_factory=dict)
    chosen_by: str = "even"

    @property
    def is_identity(self) -> bool:
        """Whether it says, in so many words, that nothing is cut."""
        return self == Cut()

    @property
    def needs_unet(self) -> bool:
        """Whether it speaks of blocks that only U-Nets have."""
        plain = Cut(depth=self.depth, width=self.width, keep=self.keep, chosen_by=self.chosen_by)
        return self != plain


@dataclass(frozen=True)
class Preset:
    """A named student.

    Attributes:
        name: as in a spec.
        summary: what stays, in a line.
        cut: what is taken away.
        teachers: the family it was published for; "U-Net" where it fits any.
    """

    name: str
    summary: str
    cut: Cut
    teachers: str = "U-Net"


# Source: BK-SDM (b-*), arXiv 2504.02011 (c-*), KOALA, Segmind's SSD-1B and Vega. Which transformer blocks the SDXL
# students inherit is not published for all of them; we take the leading ones, as KOALA does.
_SSD = {
    "transformer_layers_per_block": [1, [2, 2], [4, 4]],
    "reverse_transformer_layers_per_block": [[4, 4, 10], [2, 1, 1], 1],
}
_KOALA = {"chosen_by": "leading", "layers": 1}
PRESETS: dict[str, Preset] = {
    preset.name: preset
    for preset in (
        Preset("b-base", "one layer fewer in every block", Cut(fewer_layers=True)),
        Preset("b-small", "b-base without the mid block", Cut(fewer_layers=True, mid="drop")),
        Preset("b-tiny", "b-small without the innermost stage", Cut(fewer_layers=True, mid="drop", fewer_stages=1)),
        Preset("c-base", "all widths x 0.8", Cut(width=0.8)),
        Preset("c-small", "all widths x 0.7", Cut(width=0.7)),
        Preset("c-tiny", "all widths x 0.6", Cut(width=0.6)),
        Preset("c-micro", "all widths x 0.5", Cut(width=0.5)),
        Preset(
            "koala-1b", "one layer per block, transformer depths 1, 2, 6",
            Cut(config={"transformer_layers_per_block": [1, 2, 6]}, **_KOALA), "SDXL",
        ),
        Preset(
            "koala-700m", "one layer per block, transformer depths 1, 2, 5, no mid block",
            Cut(config={"transformer_layers_per_block": [1, 2, 5]}, mid="drop", **_KOALA), "SDXL",
        ),
        Preset(
            "ssd-1b", "shallower transformers, mid block without attention",
            Cut(config=_SSD, mid="resnet", chosen_by="leading"), "SDXL",
        ),
        Preset(
            "vega", "transformer depths 1, 1, 2, mid block without attention",
            Cut(config={"transformer_layers_per_block": [1, 1, 2]}, mid="resnet", chosen_by="leading"), "SDXL",
        ),
    )
}  # fmt: skip


def spec_text(spec: str | Mapping[str, Any]) -> str:
    """The spec as one string.

    >>> spec_text({"preset": "b-base", "width": 0.5})
    'b-base+width=0.5'
    """
    if isinstance(spec, str):
        return spec.strip()
    parts = []
    for name, value in spec.items():
        if name == "preset":
            parts.append(str(value))
        elif name == "mid":
            parts.extend(["mid"] if value else [])
        elif name == "keep":
            parts.extend(f"keep={stack}:{','.join(map(str, blocks))}" for stack, blocks in dict(value).items())
        else:
            parts.append(f"{name}={value}")
    return "+".join(parts)


def check_spec(spec: str | Mapping[str, Any]) -> Cut:
    """What the spec takes away; needs no network.

    >>> check_spec("b-small+mid").mid
    'keep'
    >>> check_spec("depth=0.5").depth
    0.5
    >>> check_spec({"depth": 0.5, "blocks": "ends"}).chosen_by
    'ends'

    Raises:
        UserError: unknown preset or rule, a value out of range, or blocks= where no depth= takes any.
    """
    if isinstance(spec, Mapping):
        for name in spec:
            if name not in RULES:
                raise unknown_name("student rule", str(name), RULES)
    elif not isinstance(spec, str):
        raise UserError(
            f"got a student spec of type {type(spec).__name__}; give a preset, a rule or a mapping of rules"
        )
    text = spec_text(spec)
    if not text:
        raise UserError(f"got an empty student spec; give a preset ({', '.join(PRESETS)}) or a rule like depth=0.5")
    cut, words = Cut(), [word.strip() for word in text.split("+")]
    for word in words:
        cut = _add(cut, word)
    chosen = next((word for word in words if word.startswith("blocks=")), None)
    if chosen and cut.depth == 1.0:
        raise UserError(
            f"got {chosen} without a depth below 1; it says which blocks stay where depth= takes some, e.g. "
            f"depth=0.5+{chosen}"
        )
    return cut


def refuse_blocks(cut: Cut, network: str) -> None:
    """Nothing, if the cut does not choose blocks of a stack; a U-Net has none that `blocks=` could choose from.

    Raises:
        UserError: it does.
    """
    if cut.chosen_by in ("ends", "scored"):
        raise UserError(
            f"blocks={cut.chosen_by} is for stacks of alike blocks, got {network}, which keeps the first layers going "
            "down and the last ones going up in any case; leave blocks= out"
        )


def _add(cut: Cut, word: str) -> Cut:
    name, equals, value = word.partition("=")
    if not equals:
        if word == "mid":
            if cut.mid == "keep":
                raise UserError(
                    "got '+mid' after a student that keeps its mid block; leave it out, or write b-small+mid"
                )
            return replace(cut, mid="keep")
        if word not in PRESETS:
            raise unknown_name("student", word, [*PRESETS, *FORMS])
        if not cut.is_identity:
            raise UserError(f"got preset {word!r} after another part of the spec; name one preset, and name it first")
        return PRESETS[word].cut
    if name in ("depth", "width"):
        return replace(cut, **{name: _share(name, value)})
    if name == "keep":
        stack, blocks = _kept(value)
        return replace(cut, keep={**cut.keep, stack: blocks})
    if name == "blocks":
        if value not in BLOCKS:
            raise unknown_name("way to choose blocks", value, BLOCKS)
        return replace(cut, chosen_by=value)
    raise unknown_name("student rule", name, ["depth", "width", "keep", "blocks"])


def _share(name: str, value: str) -> float:
    try:
        share = float(value)
    except ValueError:
        share = -1.0
    if not 0.0 < share <= 1.0:
        joined = "; rules are joined by +, e.g. depth=0.5+width=0.5" if "," in value else ""
        raise UserError(f"got {name}={value}; a share in (0, 1] is wanted, e.g. {name}=0.5{joined}")
    return share


def _kept(value: str) -> tuple[str, tuple[int, ...]]:
    stack, colon, listed = value.partition(":")
    words = [word.strip() for word in listed.split(",") if word.strip()]
    if not colon or not stack or not words or not all(word.isdigit() for word in words):
        raise UserError(f"got keep={value}; a stack and its blocks are wanted, e.g. keep=transformer_blocks:0,2,5")
    blocks = tuple(int(word) for word in words)
    if list(blocks) != sorted(set(blocks)):
        raise UserError(f"got keep={value}; each block once and in the teacher's order, e.g. keep={stack}:0,2,5")
    return stack, blocks
