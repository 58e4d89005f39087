"""`evaluate`: models in, results out. Prompts and seeds are chosen once; images and teacher passes are shared."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from condistill import processes
from condistill.errors import UserError, unknown_name
from condistill.evaluate import sampling, summary
from condistill.evaluate.backbones import load_all
from condistill.evaluate.items import all_keys, choose, grid_rows
from condistill.evaluate.judging import WORLDS, Judging, WorldJudging, protocol_of
from condistill.evaluate.metrics import Metric, features_of, metric
from condistill.evaluate.protocols import PROTOCOLS
from condistill.evaluate.references import given
from condistill.evaluate.results import Results
from condistill.evaluate.stages import Plan, errors_all, materials_of, reference_all, sample_all
from condistill.evaluate.store import Parts
from condistill.files import remove_folder, write_json
from condistill.memory import advising
from condistill.progress import Progress, file_in
from condistill.teacher.cutting import report_cut

if TYPE_CHECKING:
    from condistill.maths.randomise import Key
    from condistill.teacher import Teacher

PARTS = ".batches"  # of an evaluation that is not done yet


def evaluate(
    models: Mapping[str, Teacher | str | Path] | Sequence[Teacher | str | Path],
    prompts: Any,
    *,
    metrics: Sequence[str | Metric] | None = None,
    protocol: str | None = None,
    seed: int = 1,
    call: Mapping[str, Any] | None = None,
    calls: Mapping[str, Mapping[str, Any]] | None = None,
    num_items: int | Mapping[str, int] | None = None,
    teacher: str | None = None,
    baseline: str | None = None,
    out: str | Path | None = None,
    grid: int = 8,
    batch: int = 32,
    reference: Any = None,
    backbones: Mapping[str, str | Path] | None = None,
    keep_images: str | Path | None = None,
    latency: bool = True,
    progress: bool | str | Path = True,
    store: str | Path | None = None,
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
        metrics: names, dotted names of your own, or metrics themselves; the protocol's where not given.
        protocol: "world" (the judge of the embedded emoji), "tones" (that of the embedded sounds), "plain" (no judge)
            or "coco30k" (the paper's: 512 x 512, 25 PNDM steps, guidance 7.5, looked at in 256 x 256; FID, Inception
            score, CLIP score). Where not given that of the embedded world whose sentences
            all prompts are, else "plain".
        seed: of the choice of prompts, of images, noise and resampling.
        call: the pipeline's own arguments (steps, guidance_scale, size); the protocol's where not given.
        calls: student -> arguments of its own beside those, as {"guidance_scale": 1} for one that was distilled with
            guidance. The errors of predictions (kd_gap) are taken without guidance in any case.
        num_items: images per group, or group -> images; one per prompt where not given.
        teacher: the name of the teacher; the first model where not given.
        baseline: the student that the others are compared with; one called "without", or the first student.
        out: folder for results.json and samples/, in which an evaluation that was stopped goes on; nothing is written
            where not given.
        grid: how many pictures per group are kept for the report.
        batch: items at once; it changes no number.
        reference: what images are compared with instead of the teacher's own of other seeds: a folder of images, an
            .npz of pytorch-fid's statistics (mu, sigma) or of images per group, or group -> one of these or images
            (m, h, w, 3) in [0, 1].
        backbones: name -> file, folder or hub id of its weights, for the metrics that look through one: inception,
            clip, dino, lpips.
        keep_images: folder in which every image is written as PNG, as the metrics see it; none is kept otherwise.
        latency: whether to time one image; costs four images per model.
        progress: show rate and time left, also as JSON lines in progress.jsonl of `out`, or the file named.
        store: folder in which the teacher's samples are kept for the next evaluation with the same prompts and seeds.
        judging: another judge than the world's.

    Raises:
        UserError: unknown metric, protocol, model or group; no prompts; a prompt that the judge cannot read; a model
            whose output is not finite.
    """
    processes.join()
    protocol = protocol or (protocol_of(all_keys(prompts)) if judging is None else "world")
    chosen, judging = _measures(metrics, protocol, judging)
    groups = choose(prompts, num_items=num_items, seed=seed, split=judging.group if judging else None)
    kind = None if judging is None else lambda key, judge=judging: int(judge.asked([key])[0][0])
    rows = {items.group: grid_rows(items, grid, kind) for items in groups}
    call = {**(judging.default_call if judging else {}), **PROTOCOLS[protocol].call, **(call or {})}
    keys = [key for items in groups for key in items.keys]
    named = _ordered(_named(models, call, keys), teacher)
    named = {name: model.with_call(call, keys) for name, model in named.items()}  # of its size, with its pictures
    PROTOCOLS[protocol].check(protocol, named)
    report_cut(next(iter(named.values())), keys, "prompts")
    references = None if reference is None else given(reference, [items.group for items in groups])
    networks = load_all({f for m in chosen for f in features_of(m)}, backbones or {}, next(iter(named.values())).device)
    plan = Plan(
        named, groups, chosen, judging, seed, call, _checked(calls, named), batch, rows, references=references,
        backbones=networks, size=PROTOCOLS[protocol].size, store_folder=Path(store) if store else None,
        image_folder=Path(keep_images) if keep_images else None, parts=Parts(Path(out) / PARTS) if out else None,
    )  # fmt: skip
    summary.check_baseline(named, plan.teacher_name, baseline)
    file = file_in(out or "", progress) if out or not isinstance(progress, bool) else None
    bar = Progress(
        "evaluating", plan.num_units, unit="images", enabled=bool(progress) and processes.is_main(), file=file,
        folder=out or "",
    )  # fmt: skip
    with bar, advising(f"set the evaluation's batch lower ({batch} now; --batch, or evaluate.batch in a recipe)"):
        samples = sample_all(plan, bar)
        materials = materials_of(plan, samples, reference_all(plan, bar), errors_all(plan, samples, bar))
    measured = {name: summary.measure(chosen, by_group) for name, by_group in materials.items()}
    first = groups[0].keys[0]
    scored = [
        summary.model_result(n, named[n], m, plan.call, plan.own_call(n), first, latency) for n, m in measured.items()
    ]
    compared = summary.compare(measured, teacher=plan.teacher_name, baseline=baseline)
    results = Results(plan.record(protocol), tuple(scored), compared)
    if out is not None and processes.is_main():
        sampling.write_grid(Path(out) / "samples", groups, rows, samples)
        write_json(Path(out) / "results.json", results.to_json())
        remove_folder(Path(out) / PARTS)
    return results


def _named(
    models: Mapping[str, Teacher | str | Path] | Sequence[Teacher | str | Path],
    call: Mapping[str, Any],
    keys: Sequence[Key],
) -> dict[str, Teacher]:
    from condistill.teacher.loading import load_for

    named = names_of(models)
    if not named:
        raise UserError("evaluate got no models; give the teacher and its students, or their folders")
    return {name: load_for(m, call, keys) if isinstance(m, str | Path) else m for name, m in named.items()}


def names_of(models: Mapping[str, Any] | Sequence[Any]) -> dict[str, Any]:
    """Name -> model: as given, or after the folders, with a number where a name comes twice.

    >>> names_of(["emoji", "runs/a/student", "runs/b/student", "other/a"])
    {'emoji': 'emoji', 'a': 'runs/a/student', 'b': 'runs/b/student', 'a-2': 'other/a'}
    """
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
    return named


def _checked(calls: Mapping[str, Mapping[str, Any]] | None, models: Mapping[str, Teacher]) -> dict[str, dict[str, Any]]:
    teacher, *students = models
    for name in calls or {}:
        if name == teacher:
            raise UserError(f"calls are of students, and {name!r} is the teacher; put its arguments into call")
        if name not in students:
            raise unknown_name("student in calls", name, students)
    return {name: dict(own) for name, own in (calls or {}).items()}


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
    metrics: Sequence[str | Metric] | None, protocol: str, judging: Judging | None
) -> tuple[tuple[Metric, ...], Judging | None]:
    if protocol not in PROTOCOLS:
        raise unknown_name("protocol", protocol, PROTOCOLS)
    chosen = tuple(metric(name) for name in (metrics or PROTOCOLS[protocol].metrics))
    if judging is None and protocol in WORLDS:
        judging = WorldJudging(protocol)
    if judging is None and any(m.needs == "judge" for m in chosen):
        judged = ", ".join(m.name for m in chosen if m.needs == "judge")
        raise UserError(f"{judged} need a judge, which the protocol {protocol!r} has not; use the protocol 'world'")
    return chosen, judging
