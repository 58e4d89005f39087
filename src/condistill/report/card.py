"""The model card of a student: where it comes from, what it scored and how, how it is loaded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from condistill.evaluate.results import ModelResult, Results, format_score
from condistill.report.markdown import fenced, plain_text, table


@dataclass(frozen=True)
class CardFacts:
    """What a card says.

    Attributes:
        name: of the model on the hub.
        arm: of the student in its run.
        teacher: what the recipe loads as the teacher.
        licence: of the teacher; None where no card of it says one.
        licence_source: where that was read.
        is_gated: whether access to the teacher is asked for.
        pipeline: class of the pipeline.
        student: how it was cut: facts by name.
        changed: config field -> (teacher's value, student's).
        cache: D: facts by name.
        corpus: C, in words.
        recipe: the resolved recipe, as YAML.
        results: the scores; None where the run does not evaluate.
        pictures: model -> (file, prompt) of sample images in the folder.
        terms_files: licence texts in the folder.
    """

    name: str
    arm: str
    teacher: str
    licence: str | None
    licence_source: str
    is_gated: bool
    pipeline: str
    student: Mapping[str, Any]
    changed: Mapping[str, tuple[Any, Any]]
    cache: Mapping[str, Any]
    corpus: str
    recipe: str
    results: Results | None
    pictures: Mapping[str, Sequence[tuple[str, str]]]
    terms_files: Sequence[str]


def card(facts: CardFacts) -> str:
    """The card's text, without front matter. Whatever a user wrote stands in it as plain text."""
    parts = [
        f"# {plain_text(facts.name)}",
        f"A smaller {plain_text(facts.pipeline)}, distilled from {_teacher(facts)} without training images: the "
        "teacher made a cache of latents (D), and the student was distilled on it with random conditioning "
        "([Kim et al., CVPR 2025](https://arxiv.org/abs/2504.02011)) by condistill.",
        "## How to load it",
        fenced(
            "from diffusers import DiffusionPipeline\n\n"
            f"pipeline = DiffusionPipeline.from_pretrained({facts.name!r})", "python",
        ),
        "## Licence",
        _licence(facts),
        "## Student",
        table([["", "student"], *facts.student.items()]),
    ]  # fmt: skip
    if facts.changed:
        rows = [[key, *map(_short, pair)] for key, pair in facts.changed.items()]
        parts += ["What differs in the denoiser's config:", table([["field", "teacher", "student"], *rows])]
    parts += ["## Data", _data(facts)]
    if facts.results is not None:
        parts += ["## Scores", *_scores(facts.results, facts.arm)]
    if facts.pictures:
        parts += ["## Samples", _pictures(facts.pictures)]
    return "\n\n".join([*parts, "## Recipe", fenced(facts.recipe, "yaml")]) + "\n"


def _teacher(facts: CardFacts) -> str:
    return f"the teacher {plain_text(facts.teacher)}"


def _licence(facts: CardFacts) -> str:
    if facts.licence is None:
        return (
            "The teacher's licence is not known here. The student is derived from the teacher's weights or outputs: "
            "find out its terms before you pass it on."
        )
    said = f"The teacher's: {plain_text(facts.licence)} (from {plain_text(facts.licence_source)})."
    if facts.terms_files:
        said += " Its terms are beside this card: " + ", ".join(plain_text(name) for name in facts.terms_files) + "."
    return said + (" Access to the teacher is gated, and so it is to this student." if facts.is_gated else "")


def _data(facts: CardFacts) -> str:
    rows = table([["D: latents made by the teacher", ""], *facts.cache.items()])
    return (
        f"No real image was used.\n\n{rows}\n\nC, the texts that conditions are drawn from: {plain_text(facts.corpus)}."
    )


def _scores(results: Results, arm: str) -> list[str]:
    protocol = results.protocol
    models = [model for model in results.models if model.name in (results.models[0].name, arm)]
    names = list(dict.fromkeys(name for model in models for scores in model.groups.values() for name in scores))
    rows = [["model", "prompts", *names], *(row for model in models for row in _rows(model, names))]
    said = {
        "protocol": protocol.get("name"),
        "images": ", ".join(f"{group} {n}" for group, n in (protocol.get("n") or {}).items()),
        "pipeline's arguments": protocol.get("call"),
        "seeds": protocol.get("seeds"),
        "hash of all that decides the numbers": results.hash[:16],
        "versions": ", ".join(f"{name} {version}" for name, version in (protocol.get("versions") or {}).items()),
    }
    how = [["how it was measured", ""], *((key, value) for key, value in said.items() if value)]
    sizes = [["model", "parameters of the denoiser", "MACs of a pass (convolutions, linear)", "seconds an image"]]
    sizes += [[m.name, _count(m.parameters), _count((m.macs or {}).get("conv_linear")), _seconds(m)] for m in models]
    return ["Value and 95 % interval; the teacher comes first.", table(rows), table(sizes), table(how)]


def _rows(model: ModelResult, names: Sequence[str]) -> list[list[str]]:
    return [
        [model.name, group, *(format_score(scores[name]) if name in scores else "" for name in names)]
        for group, scores in model.groups.items()
    ]


def _count(value: int | None) -> str:
    return "" if value is None else f"{value:,}"


def _seconds(model: ModelResult) -> str:
    return "" if model.latency_seconds is None else f"{model.latency_seconds:.3g}"


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."


def _pictures(pictures: Mapping[str, Sequence[tuple[str, str]]]) -> str:
    """Row by row the models, column by column the prompts; files are named by us, prompts are text."""
    first = next(iter(pictures.values()))
    head = "| | " + " | ".join(plain_text(prompt) for _, prompt in first) + " |"
    rows = [
        f"| {plain_text(model)} | " + " | ".join(f"![]({file})" if file else "" for file, _ in row) + " |"
        for model, row in pictures.items()
    ]
    return "\n".join([head, "|" + "---|" * (len(first) + 1), *rows])
