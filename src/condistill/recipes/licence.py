"""The terms that a teacher comes with, as its model card says them: licence and gating."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from condistill.errors import UserError
from condistill.recipes import strict_yaml
from condistill.teacher.loading import embedded

CARD = "README.md"
# what a student's card takes over from its teacher's; anything that begins with the last one
_CARRIED = ("license", "license_name", "license_link", "pipeline_tag", "language", "extra_gated_")
# texts of a teacher's folder that bind whoever passes its weights on
FILES = ("LICENSE*", "LICENCE*", "NOTICE*", "USE_POLICY*", "*ACCEPTABLE_USE*")
MAX_BYTES = 1024 * 1024


@dataclass(frozen=True)
class Terms:
    """What a teacher's card says.

    Attributes:
        front_matter: licence, gating and the like, as they stand in its front matter.
        files: licence texts beside it.
        is_gated: whether access to it is asked for on the hub.
        source: where this was read.
    """

    front_matter: Mapping[str, Any] = field(default_factory=dict)
    files: tuple[Path, ...] = ()
    is_gated: bool = False
    source: str = ""

    @property
    def licence(self) -> str | None:
        """The licence's id; None where no card says one."""
        found = self.front_matter.get("license")
        found = found[0] if isinstance(found, list) and found else found
        return found if isinstance(found, str) else None


def terms_of(teacher: str, *, online: bool) -> Terms:
    """The terms of the teacher that a recipe names: from its folder, its card in the local cache, or the hub.

    Args:
        online: whether the hub may be asked.

    Raises:
        UserError: the hub was to be asked and could not be.
    """
    folder = embedded(teacher) or Path(teacher).expanduser()
    if folder.is_dir():
        files = tuple(file for pattern in FILES for file in sorted(folder.glob(pattern)) if _is_text(file))
        return _terms(front_matter(folder / CARD), files, str(teacher))
    return _of_hub(teacher, online=online)


def front_matter(card: Path) -> dict[str, Any]:
    """What stands between the two lines of dashes that a model card begins with; empty where there are none.

    Raises:
        UserError: it is not YAML, so that the terms in it cannot be carried over.
    """
    if not card.is_file() or card.stat().st_size > MAX_BYTES:
        return {}
    text = card.read_text(encoding="utf-8", errors="replace").replace("\r\n", "\n")
    if not text.startswith("---\n"):
        return {}
    inside, separator, _ = text[4:].partition("\n---")
    if not separator:
        return {}
    found = strict_yaml.parse(inside, name=str(card))
    return dict(found) if isinstance(found, Mapping) else {}


def _terms(found: Mapping[str, Any], files: tuple[Path, ...], source: str, *, is_gated: bool = False) -> Terms:
    carried = {key: value for key, value in found.items() if str(key).startswith(_CARRIED)}
    gated = is_gated or any(str(key).startswith("extra_gated_") for key in carried)
    return Terms(carried, files, gated, source if carried or files else "")


def _is_text(file: Path) -> bool:
    return file.is_file() and not file.is_symlink() and file.stat().st_size <= MAX_BYTES


def _of_hub(teacher: str, *, online: bool) -> Terms:
    from huggingface_hub import HfApi, hf_hub_download, try_to_load_from_cache

    from condistill.recipes.hub import asking

    if not online:
        cached = try_to_load_from_cache(teacher, CARD)
        return _terms(front_matter(Path(cached)), (), teacher) if isinstance(cached, str) else Terms()
    with asking(f"the licence of {teacher}"):
        about = HfApi().model_info(teacher)
        names = [one.rfilename for one in about.siblings or ()]
        files = {name: Path(hf_hub_download(teacher, name)) for name in names if _is_licence(name)}
    card = files.pop(CARD, None)
    found = front_matter(card) if card is not None else {}
    if not found and not files:
        raise UserError(f"{teacher} has no model card that says its licence; give it with --license")
    return _terms(found, tuple(files.values()), teacher, is_gated=bool(about.gated))


def _is_licence(name: str) -> bool:
    return name == CARD or any(Path(name).match(pattern) and "/" not in name for pattern in FILES)
