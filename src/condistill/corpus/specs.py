"""From a spec to a corpus. To add a source: write its file and put its field into `SOURCES`."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from condistill.corpus.base import Corpus, Listed
from condistill.corpus.labels import Labels
from condistill.corpus.mixture import Mixture
from condistill.corpus.selection import Holdout, Unique, regex_pattern, word_pattern
from condistill.corpus.text import TextCorpus
from condistill.errors import UserError, unknown_name
from condistill.remote import fetched, is_url

# embedded worlds know their own captions: world -> function from the spec to a list of keys
WORLDS = {"emoji": "condistill.world.emoji.concepts:source", "tones": "condistill.world.tones.concepts:source"}


@dataclass(frozen=True)
class Place:
    """Where relative paths start, and where converted files go."""

    base: Path | None = None
    cache_dir: Path | None = None

    def path(self, given: str | Path) -> Path:
        """The path that a spec names; of what a URL names, the local copy."""
        if is_url(given):
            return fetched(str(given), cache_dir=self.cache_dir)
        found = Path(given).expanduser()
        return self.base / found if self.base is not None and not found.is_absolute() else found


def corpus(spec: Any, *, base: Path | None = None, cache_dir: Path | None = None) -> Corpus:
    """The corpus that `spec` names.

    Args:
        spec: a corpus; a list of keys; a file (.txt, .csv, .tsv, .jsonl, .parquet) or its URL; or a mapping:
            {"path": file, "column": name}, {"labels": 1000}, {"world": "emoji", "group": "seen"},
            {"mixture": [{"source": spec, "weight": 2}, ...]},
            {"source": spec, "holdout": {"words": [...]} or {"words_file": file} or {"regex": text},
            "keep": "seen" or "unseen"}, {"source": spec, "unique": true}.
        base: where relative paths start.
        cache_dir: where converted files are kept.

    Raises:
        UserError: no such file, no such column, not UTF-8, nothing in it, or an unknown field.
    """
    place = Place(base, cache_dir)
    if isinstance(spec, str | Path):
        return TextCorpus(place.path(spec), cache_dir=cache_dir)
    if isinstance(spec, Mapping):
        for name, (build, fields) in SOURCES.items():
            if name in spec:
                _only(spec, fields, name)
                return build(spec, place)
        raise unknown_name("kind of corpus", next(iter(spec), ""), SOURCES)
    if isinstance(spec, Corpus):
        return spec
    if isinstance(spec, Sequence):
        return Listed(spec)
    raise UserError(f"a corpus is a list of keys, a file or a mapping, got {type(spec).__name__}")


def _only(spec: Mapping[str, Any], fields: Sequence[str], name: str) -> None:
    for field in spec:
        if field not in fields:
            raise unknown_name(f"field of the {name} corpus", str(field), fields)


def _file(spec: Mapping[str, Any], place: Place) -> Corpus:
    for name in ("path", "column"):
        if not isinstance(spec.get(name, ""), str | Path | None):
            raise UserError(f"{name} of a corpus must be text, got {spec[name]!r:.80}")
    return TextCorpus(place.path(spec["path"]), column=spec.get("column"), cache_dir=place.cache_dir)


def _labels(spec: Mapping[str, Any], place: Place) -> Corpus:
    return Labels(spec["labels"])


def _mixture(spec: Mapping[str, Any], place: Place) -> Corpus:
    parts = spec["mixture"]
    if not isinstance(parts, Sequence) or isinstance(parts, str) or not parts:
        raise UserError(f"mixture must be a list of sources, got {parts!r}")
    sources, weights = [], []
    for part in parts:
        rest, weight = part, None
        if isinstance(part, Mapping):
            rest = {name: value for name, value in part.items() if name != "weight"}
            weight = part.get("weight")
        weights.append(weight)
        source = rest["source"] if isinstance(rest, Mapping) and list(rest) == ["source"] else rest
        sources.append(corpus(source, base=place.base, cache_dir=place.cache_dir))
    return Mixture(sources, weights)


def _world(spec: Mapping[str, Any], place: Place) -> Corpus:
    name = str(spec["world"])
    if name not in WORLDS:
        raise unknown_name("world", name, WORLDS)
    module, _, function = WORLDS[name].partition(":")
    keys = getattr(importlib.import_module(module), function)(spec)
    return Listed(keys, name=f"{name} world, {spec.get('group', 'all')}")


def _selected(spec: Mapping[str, Any], place: Place) -> Corpus:
    found = corpus(spec["source"], base=place.base, cache_dir=place.cache_dir)
    if "keep" in spec and "holdout" not in spec:
        raise UserError("keep has no effect without holdout; give the words or the regex to hold out")
    if not isinstance(spec.get("unique", False), bool):
        raise UserError(f"unique must be true or false, got {spec['unique']!r}")
    if "holdout" in spec:
        found = Holdout(found, _pattern(spec["holdout"], place), keep=str(spec.get("keep", "seen")))
    return Unique(found) if spec.get("unique") else found


def _pattern(rule: Any, place: Place) -> Any:
    known = ("words", "words_file", "regex")
    if not isinstance(rule, Mapping) or len(rule) != 1:
        raise UserError(f"holdout must have exactly one of {', '.join(known)}, got {rule!r}")
    (name, value), *_ = rule.items()
    if name == "words":
        words = [value] if isinstance(value, str) else value
        if not isinstance(words, Sequence) or not all(isinstance(word, str) for word in words):
            raise UserError(f"the words to hold out must be a list of texts, got {value!r:.80}")
        return word_pattern(words)
    if name == "words_file":
        return word_pattern([str(word) for word in TextCorpus(place.path(value), cache_dir=place.cache_dir)])
    if name == "regex":
        return regex_pattern(str(value))
    raise unknown_name("holdout", str(name), known)


Builder = Callable[[Mapping[str, Any], Place], Corpus]
SOURCES: dict[str, tuple[Builder, tuple[str, ...]]] = {
    "path": (_file, ("path", "column")),
    "labels": (_labels, ("labels",)),
    "mixture": (_mixture, ("mixture",)),
    "world": (_world, ("world", "group")),
    "source": (_selected, ("source", "holdout", "keep", "unique")),
}
