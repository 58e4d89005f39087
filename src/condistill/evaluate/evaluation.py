"""`evaluate`: models in, results out. Prompts and seeds are chosen once; images and teacher passes are shared."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from condistill.errors import UserError, unknown_name
from condistill.evaluate import pairs, sampling, summary
from condistill.evaluate.items import ALL, Items, choose, grid_rows
from condistill.evaluate.judging import EmojiJudging, Judging
from condistill.evaluate.metrics import Material, Metric, metric, union
from condistill.evaluate.results import Results
from condistill.evaluate.sampling import Sampled, Wish
from condistill.files import write_json
from condistill.progress import Progress

if TYPE_CHECKING:
    from condistill.teacher import Teacher

PROTOCOLS = {
    "world": ("concept_accuracy", "colour_accuracy", "frechet_distance", "kd_gap"),
    "plain": ("kd_gap",),
}


def evaluate(
    models: Mapping[str, Teacher | str | Path] | Sequence[Teacher | str | Path],
    prompts: Any,
    *,
    metrics: Sequence[str] | None = None,
    protocol: str = "world",
    seed: int = 1,
    call: Mapping[str, Any] | None = None,
    num_items: int | Mapping[str, int] | None = None,
    teacher: str | None = None,
    baseline: str | None = None,
    out: str | Path | None = None,
    grid: int = 8,
    batch: int = 32,
    reference: Mapping[str, np.ndarray] | None = None,
    latency: bool = True,
    progress: bool = True,
    judging: Judging | None = None,
) -> Results:
    """The scores of all models on the same prompts and seeds, with 95 % intervals.

    The intervals say how sure a number is for these weights, given the choice of prompts and seeds; they say nothing
    about training again with another seed.

    Args:
        models: name -> model or pipeline folder; or a sequence of these, and then folders give the names (the run's
            name for the folder `student` of a run).
        prompts: group -> corpus spec or keys; or one spec or list, which the protocol "world" splits into seen and
            unseen, and "plain" takes as the group "all". Where there are several groups, "all" is their union.
        metrics: names, or dotted names of your own; the protocol's where not given.
        protocol: "world" (the embedded world's judge) or "plain" (no judge: the KD gap and your own metrics).
        seed: of the choice of prompts, of images, noise and resampling.
        call: the pipeline's own arguments (steps, guidance_scale, size); those of the embedded world where not given.
        num_items: images per group, or group -> images; one per prompt where not given.
        teacher: the name of the teacher; the first model where not given.
        baseline: the student that the others are compared with; one called "without", or the first student.
        out: folder for results.json and samples/; nothing is written where not given.
        grid: how many pictures per group are kept for the report.
        batch: items at once; it changes no number.
        reference: group -> images (m, h, w, 3) in [0, 1] for the Frechet distance, instead of the teacher's own with
            other seeds.
        latency: whether to time one image; costs four images per model.
        progress: whether to show progress.
        judging: another judge than the world's.

    Raises:
        UserError: unknown metric, protocol, model or group; no prompts; a prompt that the judge cannot read; a model
            whose output is not finite.
    """
    named = _ordered(_named(models), teacher)
    chosen, judging = _measures(metrics, protocol, judging)
    groups = choose(prompts, num_items=num_items, seed=seed, split=judging.group if judging else None)
    kind = None if judging is None else lambda key, judge=judging: int(judge.asked([key])[0][0])
    rows = {items.group: grid_rows(items, grid, kind) for items in groups}
    call = {**(judging.default_call if judging else {}), **(call or {})}
    plan = _Plan(named, groups, chosen, judging, seed, call, batch, rows, reference)
    summary.check_baseline(named, plan.teacher_name, baseline)
    with Progress("evaluating", plan.num_units, unit="images", enabled=progress) as bar:
        samples = _sample_all(plan, bar)
        materials = _materials(plan, samples, _reference_features(plan, bar), _errors_all(plan, samples, bar))
    measured = {name: summary.measure(chosen, by_group) for name, by_group in materials.items()}
    first = groups[0].keys[0]
    scored = [summary.model_result(n, named[n], m, plan.call, first, latency) for n, m in measured.items()]
    compared = summary.compare(measured, teacher=plan.teacher_name, baseline=baseline)
    results = Results(plan.record(protocol), tuple(scored), compared)
    if out is not None:
        sampling.write_grid(Path(out) / "samples", groups, rows, samples)
        write_json(Path(out) / "results.json", results.to_json())
    return results


@dataclass(frozen=True)
class _Plan:
    models: Mapping[str, Teacher]  # the teacher first
    groups: tuple[Items, ...]
    metrics: tuple[Metric, ...]
    judging: Judging | None
    seed: int
    call: dict[str, Any]
    batch: int
    rows: Mapping[str, Sequence[int]]
    reference: Mapping[str, np.ndarray] | None

    def needs(self, what: str) -> bool:
        return any(m.needs == what for m in self.metrics)

    @property
    def wants_reference(self) -> bool:
        return any(m.name == "frechet_distance" or getattr(m, "wants_reference", False) for m in self.metrics)

    @property
    def teacher_name(self) -> str:
        return next(iter(self.models))

    @property
    def teacher(self) -> Teacher:
        return self.models[self.teacher_name]

    @property
    def students(self) -> dict[str, Teacher]:
        return dict(list(self.models.items())[1:])

    @property
    def num_units(self) -> int:
        once = sum(map(len, self.groups))
        sampled = len(self.models) * once + (once if self.wants_reference and self.reference is None else 0)
        return sampled + (once if self.needs("pairs") and self.students else 0)

    def record(self, protocol: str) -> dict[str, Any]:
        given = "images given by the caller" if self.reference is not None else "the teacher's images, other seeds"
        return summary.protocol_record(
            protocol, seed=self.seed, call=self.call, batch=self.batch, groups=self.groups, metrics=self.metrics,
            judging=self.judging, teacher=self.teacher, reference=given if self.wants_reference else None,
        )  # fmt: skip


def _named(models: Mapping[str, Teacher | str | Path] | Sequence[Teacher | str | Path]) -> dict[str, Teacher]:
    from condistill.teacher import Teacher

    named: dict[str, Any] = {}
    if isinstance(models, Mapping):
        named = {str(name): model for name, model in models.items()}
    else:
        for model in models:
            stem = _folder_name(model) if isinstance(model, str | Path) else "student" if named else "teacher"
            name, number = stem, 1
            while name in named:
                number += 1
                name = f"{stem}-{number}"
            named[name] = model
    if not named:
        raise UserError("evaluate got no models; give the teacher and its students, or their folders")
    return {name: Teacher.load(m) if isinstance(m, str | Path) else m for name, m in named.items()}


def _folder_name(folder: str | Path) -> str:
    """The folder's name, or, for the `student` of a run folder, the run's."""
    path = Path(folder)
    return path.parent.name if path.name == "student" and path.parent.name else path.name or str(folder)


def _ordered(named: dict[str, Teacher], teacher: str | None) -> dict[str, Teacher]:
    if teacher is None:
        return named
    if teacher not in named:
        raise unknown_name("model", teacher, named)
    return {teacher: named[teacher], **named}


def _measures(
    metrics: Sequence[str] | None, protocol: str, judging: Judging | None
) -> tuple[tuple[Metric, ...], Judging | None]:
    if protocol not in PROTOCOLS:
        raise unknown_name("protocol", protocol, PROTOCOLS)
    chosen = tuple(metric(name) for name in (metrics or PROTOCOLS[protocol]))
    if judging is None and protocol == "world":
        judging = EmojiJudging()
    if judging is None and any(m.needs == "judge" for m in chosen):
        judged = ", ".join(m.name for m in chosen if m.needs == "judge")
        raise UserError(f"{judged} need a judge, which the protocol {protocol!r} has not; use the protocol 'world'")
    return chosen, judging


def _sample_all(plan: _Plan, bar: Progress) -> dict[str, dict[str, Sampled]]:
    samples: dict[str, dict[str, Sampled]] = {}
    for name, model in plan.models.items():
        for items in plan.groups:
            wish = Wish(
                judge=plan.judging if plan.needs("judge") else None,
                rows=plan.rows[items.group],
                images=plan.needs("images"),
                latents=model is plan.teacher and plan.needs("pairs"),
            )
            samples.setdefault(name, {})[items.group] = sampling.sample(
                model, items.keys, name=name, seeds=items.seeds, call=plan.call, batch=plan.batch, wish=wish,
                advance=lambda n, name=name: bar.advance(n, model=name),
            )  # fmt: skip
    return samples


def _reference_features(plan: _Plan, bar: Progress) -> dict[str, np.ndarray]:
    if not plan.wants_reference:
        return {}
    assert plan.judging is not None
    if plan.reference is not None:
        for items in plan.groups:
            if items.group not in plan.reference:
                raise UserError(
                    f"reference has no images for group {items.group!r}; it has {', '.join(plan.reference)}"
                )
        return {items.group: plan.judging.look(plan.reference[items.group]).features for items in plan.groups}
    found = {}
    for items in plan.groups:
        made = sampling.sample(
            plan.teacher, items.keys, name=plan.teacher_name, seeds=items.reference_seeds, call=plan.call,
            batch=plan.batch, wish=Wish(judge=plan.judging), advance=lambda n: bar.advance(n, model="reference"),
        )  # fmt: skip
        assert made.seen is not None
        found[items.group] = made.seen.features
    return found


def _errors_all(
    plan: _Plan, samples: Mapping[str, Mapping[str, Sampled]], bar: Progress
) -> dict[str, dict[str, np.ndarray]]:
    """Group -> model -> errors (n, k); zero for the teacher, by definition."""
    if not plan.needs("pairs"):
        return {}
    name, found = plan.teacher_name, {}
    called = {n: model.with_call(plan.call) for n, model in plan.models.items()}
    teacher, students = called.pop(name), called
    num_levels = len(pairs.levels(teacher)[0])
    for items in plan.groups:
        own = samples[name][items.group]
        assert own.latents is not None
        found[items.group] = {name: np.zeros((len(items), num_levels))}
        if students:
            found[items.group] |= pairs.errors(
                teacher, students, items, x0=own.latents, bound=own.bound, seed=plan.seed, batch=plan.batch,
                advance=lambda n: bar.advance(n, model="predictions"),
            )  # fmt: skip
    return found


def _materials(
    plan: _Plan,
    samples: Mapping[str, Mapping[str, Sampled]],
    references: Mapping[str, np.ndarray],
    errors: Mapping[str, Mapping[str, np.ndarray]],
) -> dict[str, dict[str, Material]]:
    """Model -> group -> material, with the union of the groups as "all"."""
    levels = pairs.levels(plan.teacher)[1] if errors else None
    asked = {g.group: plan.judging.asked(g.keys) if plan.judging else (None, None) for g in plan.groups}
    found: dict[str, dict[str, Material]] = {}
    for name in plan.models:
        parts = {}
        for items in plan.groups:
            made, group = samples[name][items.group], items.group
            parts[group] = Material(
                keys=items.keys,
                concept=asked[group][0],
                colour=asked[group][1],
                judged_concept=made.seen.concept if made.seen else None,
                judged_colour=made.seen.colour if made.seen else None,
                features=made.seen.features if made.seen else None,
                reference=references.get(group),
                images=made.images,
                errors=errors[group][name] if errors else None,
                levels=levels,
                seed=plan.seed,
            )
        found[name] = parts if len(parts) == 1 else {**parts, ALL: union(list(parts.values()))}
    return found
