"""Whether everything a recipe names exists, without loading a weight."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from condistill.errors import UserError, unknown_name
from condistill.pictures import Pictures, says_pictures
from condistill.recipes.arms import arms, own_calls
from condistill.recipes.paths import files_of
from condistill.recipes.schema import Recipe


def check(recipe: Recipe, *, allow_missing_files: bool = False, allow_component: bool = False) -> list[str]:
    """The local files that the recipe needs and that are not there; empty unless they may be missing.

    Args:
        allow_missing_files: for shipped recipes, whose prompt lists are the user's to provide.
        allow_component: whether the teacher may be the config of a denoiser without its pipeline, which can be counted.

    Raises:
        UserError: an unknown p(t), preset, metric or protocol (with the nearest name), a file that is not there, a
            teacher folder that is no pipeline.
    """
    missing = [_shown(path) for path in _files(recipe) if not path.is_file()]
    if missing and not allow_missing_files:
        raise UserError(f"no such file: {missing[0]} (named in the recipe)")
    for call in (recipe.data.call, recipe.evaluate.call if recipe.evaluate else {}):
        missing += _check_pictures(call, allow_missing=allow_missing_files)
    missing += _check_teacher(recipe, allow_missing=allow_missing_files, allow_component=allow_component)
    for arm in arms(recipe):
        where = "" if arm.name == recipe.name else f"compare.{arm.name}: "
        _check_arm(arm.recipe, where)
    if recipe.evaluate:
        _check_evaluate(recipe)
    for spec in _specs(recipe):
        _check_corpus(spec)
    return missing


def _check_pictures(call: Mapping[str, Any], *, allow_missing: bool) -> list[str]:
    """The folders of pictures that are not there, if they may be missing."""
    folders = [Path(value["pictures"]) for value in call.values() if says_pictures(value)]
    missing = [folder for folder in folders if allow_missing and not folder.is_dir()]
    for folder in folders:
        if folder not in missing:
            Pictures(folder)
    return [_shown(folder) for folder in missing]


def _shown(path: Path) -> str:
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)


def _specs(recipe: Recipe) -> Iterator[Any]:
    yield recipe.data.prompts
    yield from (arm.recipe.data.corpus for arm in arms(recipe) if arm.recipe.data.corpus is not None)
    yield from (recipe.evaluate.prompts.values() if recipe.evaluate else ())


def _files(recipe: Recipe) -> list[Path]:
    return list(dict.fromkeys(path for spec in _specs(recipe) for path in files_of(spec)))


def _check_teacher(recipe: Recipe, *, allow_missing: bool, allow_component: bool) -> list[str]:
    """The folder of the teacher, if it is not there and may be missing."""
    from condistill.teacher.loading import is_component, resolve

    folder = Path(recipe.teacher.load)
    if allow_missing and folder.is_absolute() and not folder.exists():
        return [_shown(folder)]
    if not (allow_component and is_component(folder)):
        resolve(recipe.teacher.load)
    return []


def _check_arm(recipe: Recipe, where: str) -> None:
    from condistill.distill.swap import swap_of
    from condistill.maths.p_random import p_random
    from condistill.students import check_spec
    from condistill.train.trackers import named

    try:
        named(recipe.train.trackers)
        p_random(recipe.p_random)
        swap_of(recipe.swap)
        check_spec(recipe.student.spec)
    except UserError as error:
        raise UserError(f"{where}{error}") from error


def _check_evaluate(recipe: Recipe) -> None:
    from condistill.evaluate.backbones import WANTED, backbone_of, missing
    from condistill.evaluate.metrics import features_of, metric
    from condistill.evaluate.protocols import PROTOCOLS

    assert recipe.evaluate is not None
    own_calls(recipe)
    protocol = recipe.evaluate.protocol or "plain"  # which of those without a backbone it is, the prompts say
    if protocol not in PROTOCOLS:
        raise unknown_name("protocol", protocol, PROTOCOLS)
    for name in recipe.evaluate.backbones:
        if name not in WANTED:
            raise unknown_name("backbone", name, WANTED)
    chosen = [metric(name) for name in recipe.evaluate.metrics or PROTOCOLS[protocol].metrics]
    for needed in (backbone_of(feature) for each in chosen for feature in features_of(each)):
        if needed not in recipe.evaluate.backbones:
            raise missing(needed)


def _check_corpus(spec: Any) -> None:
    """What can be said of a corpus spec without opening a file: kinds, fields, worlds, regexes, lists of keys."""
    from condistill.corpus import SOURCES, corpus
    from condistill.corpus.selection import regex_pattern

    if isinstance(spec, str):
        return
    if not isinstance(spec, Mapping) or "world" in spec or "labels" in spec:
        corpus(spec)
        return
    kind = next((name for name in SOURCES if name in spec), None)
    if kind is None:
        raise unknown_name("kind of corpus", str(next(iter(spec), "")), SOURCES)
    for field in spec:
        if field not in SOURCES[kind][1]:
            raise unknown_name(f"field of the {kind} corpus", str(field), SOURCES[kind][1])
    holdout, mixture = spec.get("holdout"), spec.get("mixture")
    if isinstance(holdout, Mapping) and "regex" in holdout:
        regex_pattern(str(holdout["regex"]))
    for below in (spec.get("source"), *(map(_unweighted, mixture) if isinstance(mixture, list) else ())):
        if below is not None:
            _check_corpus(below)


def _unweighted(part: Any) -> Any:
    """A part of a mixture without its weight."""
    return {name: value for name, value in part.items() if name != "weight"} if isinstance(part, Mapping) else part
