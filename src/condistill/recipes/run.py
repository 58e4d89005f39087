"""A recipe carried out: D, the students of all arms, their scores and the report, each once.

Every stage looks first whether it is done and then says so, so that calling it again continues where it was stopped.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from condistill import processes
from condistill.errors import UserError
from condistill.files import sweep, write_json
from condistill.lock import alone
from condistill.pictures import of_recipe
from condistill.progress import FILE as PROGRESS
from condistill.recipes.arms import Arm, arms, own_calls
from condistill.recipes.check import check
from condistill.recipes.dump import claim, refuse_others
from condistill.recipes.finished import LOG, RESULTS, STUDENT, inputs, inputs_of, is_trained
from condistill.recipes.schema import Recipe
from condistill.recipes.showing import prompts_of, share_teacher, tell_trackers
from condistill.remote import is_url

if TYPE_CHECKING:
    from condistill.cache import Cache
    from condistill.corpus import Corpus
    from condistill.evaluate import Results
    from condistill.maths.randomise import Key
    from condistill.students import StudentPlan
    from condistill.teacher import Teacher

REPORT = "report.html"


@dataclass(frozen=True)
class Finished:
    """What a run left.

    Attributes:
        folder: the run folder.
        students: arm -> its student's pipeline folder.
        results: the scores; None where the recipe does not evaluate.
        report: the page to open.
        done_before: the stages that were found finished and left alone.
    """

    folder: Path
    students: dict[str, Path]
    results: Results | None
    report: Path | None
    done_before: tuple[str, ...]


class Run:
    """A recipe and its run folder, which is claimed at once.

    Args:
        recipe: checked by `check` first.
        out: the run folder; made, or continued if it holds the same recipe.
        comments: the lines that the recipe opened with, kept in the run folder.
        say: is told of stages that are done already.
        progress: whether the stages show progress, and write it to progress.jsonl in the run folder.
        store: folder in which the teacher's samples of the evaluation are kept for other runs of the same evaluation.

    Raises:
        UserError: a name in the recipe does not exist, or the folder holds something else.
    """

    def __init__(
        self,
        recipe: Recipe,
        out: str | Path,
        *,
        comments: str = "",
        say: Callable[[str], None] = lambda text: None,
        progress: bool = True,
        store: Path | None = None,
    ):
        check(recipe)
        processes.join()
        processes.by_main(lambda: _begin(Path(out), recipe, comments))
        self.recipe, self.out, self.progress = recipe, Path(out), progress and Path(out) / PROGRESS
        self.arms: tuple[Arm, ...] = arms(recipe)
        self.done_before: list[str] = []
        self._say, self._store = say, store
        self._made: Cache | None = None
        self.students: dict[str, Teacher] = {}  # made already, not yet trained
        self._made_anew = False  # something that the report shows

    @cached_property
    def prompts(self) -> Corpus:
        """What D is made for, in order."""
        from condistill.corpus import corpus

        return corpus(self.recipe.data.prompts)

    @cached_property
    def teacher(self) -> Teacher:
        """The teacher, loaded when the first stage needs it, and recorded as D is made: of its size, by such keys."""
        return load_teacher(self.recipe, self._some_prompts())

    @property
    def cache_folder(self) -> Path:
        """Where D is."""
        return Path(self.recipe.data.cache) if self.recipe.data.cache else self.out / "cache"

    def cache(self, *, repair: bool = False) -> Cache:
        """D, made as far as it is missing."""
        from condistill.cache import Cache
        from condistill.corpus import Holdout
        from condistill.generate import generate

        data = self.recipe.data
        if is_url(data.cache):
            self._say(f"D: read from {data.cache}")
            return Cache.open(str(data.cache), teacher_hash=self.teacher.hash)
        self._say(f"D: latents of {self.recipe.teacher.load} in {self.cache_folder}")
        if isinstance(self.prompts, Holdout):
            self._say(f"prompts: {self.prompts.report}")
        keys = [self.prompts[k] for k in range(len(self.prompts))]
        with alone(self.out):
            return generate(
                self.teacher, keys, out=self.cache_folder, num_items=data.num_items, seed=data.seed,
                call=of_recipe(data.call), batch=data.batch, dtype=data.dtype, shard_items=data.shard_items,
                repair=repair, progress=self.progress,
            )  # fmt: skip

    def train(self) -> dict[str, Path]:
        """Arm -> the folder of its trained student."""
        with alone(self.out):
            for arm in self.arms:
                if is_trained(arm, self.out):
                    self._skip(_student(arm), f"trained to {arm.recipe.train.steps} steps")
                else:
                    self._say(f"{_student(arm)}: {_described(arm.recipe)}")
                    self._train(arm)
        return {arm.name: self.out / arm.folder / STUDENT for arm in self.arms}

    def data(self) -> Cache:
        """D, made in this process if it was not yet."""
        self._made = self._made or self.cache()
        return self._made

    def _train(self, arm: Arm) -> None:
        from condistill.train import distill

        recipe, self._made_anew = arm.recipe, True
        options: dict[str, Any] = {**recipe.train.model_dump(), "p_null": recipe.loss.p_null}
        options["validate_prompts"] = prompts_of(recipe)
        share_teacher(self.arms, arm, self.out)
        if recipe.loss.p_null and self.teacher.null_key is None:
            self._say("this teacher has no null condition: loss.p_null is 0")
            del options["p_null"]
        cache = self.data()
        student = self.students.pop(arm.name, None) or make_student(recipe, self.teacher, cache)
        distill(
            self.teacher, student, cache, corpus=recipe.data.corpus,
            p_random=recipe.p_random, swap=recipe.swap, loss=recipe.loss.model_dump(exclude={"p_null"}),
            out=self.out / arm.folder, progress=self.progress, **options,
        )  # fmt: skip

    def evaluate(self) -> Results | None:
        """The scores of teacher and students, also in results.json; None where the recipe does not evaluate."""
        from condistill.evaluate import Results, evaluate
        from condistill.teacher.keys import parameters_of
        from condistill.teacher.loading import load_for

        wanted = self.recipe.evaluate
        if wanted is None:
            return None
        made_from = inputs(self.recipe, self.arms, self.out)
        if inputs_of(self.out / RESULTS) == made_from:
            self._skip("evaluation", RESULTS)
            return Results.load(self.out)
        students = {arm.name: self.out / arm.folder / STUDENT for arm in self.arms}
        for name, folder in students.items():
            if not (folder / "model_index.json").is_file():
                raise UserError(f"no student {name} in {folder} yet; train first: condistill train")
        self._say(f"evaluation: {', '.join(['teacher', *students])} on {', '.join(wanted.prompts)} prompts")
        call, some, self._made_anew = of_recipe(wanted.call), self._some_prompts(), True
        models = {"teacher": self.teacher} | {n: load_for(folder, call, some) for n, folder in students.items()}
        for arm in self.arms:  # a folder does not say which of its features were compared with the teacher's
            models[arm.name].plan = self.plan_of(arm)
        results = evaluate(
            models, wanted.prompts, metrics=wanted.metrics, protocol=wanted.protocol, seed=wanted.seed,
            call=call, calls=own_calls(self.recipe, parameters_of(self.teacher.pipeline)), out=self.out,
            num_items=wanted.num_items or None, grid=wanted.grid, batch=wanted.batch, reference=wanted.reference,
            backbones=wanted.backbones, latency=wanted.latency, progress=self.progress, store=self._store,
        )  # fmt: skip
        results = dataclasses.replace(results, protocol={**results.protocol, "inputs": made_from})
        processes.by_main(lambda: write_json(self.out / RESULTS, results.to_json()))
        tell_trackers(results, self.arms, self.out)
        return results

    def _some_prompts(self) -> list[Key]:
        """D's first prompts: such keys are what the teacher is recorded by."""
        return [self.prompts[k] for k in range(min(3, len(self.prompts)))]

    def plan_of(self, arm: Arm) -> StudentPlan | None:
        """How the arm's student was cut; None where its features were not compared or that cannot be told without D."""
        recipe = arm.recipe
        if not recipe.loss.feature or "scored" in str(recipe.student.spec):
            return None
        return make_student(recipe, self.teacher).plan

    def report(self) -> Path:
        """The page, made anew if anything it shows is newer."""
        page = self.out / REPORT
        shown = [self.out / RESULTS, *(self.out / arm.folder / LOG for arm in self.arms)]
        times = [file.stat().st_mtime_ns for file in shown if file.exists()]
        # the clock may have been set back since the page was written
        if not self._made_anew and page.exists() and times and page.stat().st_mtime_ns >= max(times):
            self._skip("report", REPORT)
            return page
        processes.by_main(lambda: report_run(self.out))
        return page

    def all(self) -> Finished:
        """Cache, students, evaluation and report."""
        with alone(self.out):
            students = self.train()
            results = self.evaluate()
            return Finished(self.out, students, results, self.report(), tuple(self.done_before))

    def _skip(self, stage: str, how: str) -> None:
        self.done_before.append(stage)
        self._say(f"{stage}: done before ({how})")


def _begin(out: Path, recipe: Recipe, comments: str) -> None:
    """Makes the run folder, or finds it to be that of this recipe."""
    refuse_others(out, recipe)  # before a lock is put into a folder that is none of ours
    with alone(out):
        claim(out, recipe, comments=comments)
        sweep(out, out / "samples")


def load_teacher(recipe: Recipe, keys: Sequence[Key] = ()) -> Teacher:
    """The recipe's teacher in the recipe's precision, recorded as D is made: of its size, by such keys."""
    from condistill.teacher.loading import load_for

    return load_for(recipe.teacher.load, of_recipe(recipe.data.call), keys, **loading_options(recipe))


def loading_options(recipe: Recipe) -> dict[str, Any]:
    """What `Teacher.load` takes beside the recipe's teacher."""
    import torch

    section = recipe.teacher
    return {"component": section.component, "torch_dtype": getattr(torch, section.dtype), **section.kwargs}


def make_student(recipe: Recipe, teacher: Teacher, cache: Cache | None = None) -> Teacher:
    """The recipe's student of `teacher`, not yet trained; `cache` is D, for a spec that measures its blocks on it."""
    section = recipe.student
    return teacher.student(section.spec, init=section.init, seed=section.seed, cache=cache)


def make_cache(recipe: Recipe, out: str | Path, *, repair: bool = False, progress: bool = True) -> Cache:
    """D of the recipe in the run folder `out`; what is there already is not made again."""
    return Run(recipe, out, progress=progress).cache(repair=repair)


def train_arms(recipe: Recipe, out: str | Path, *, progress: bool = True) -> dict[str, Path]:
    """Arm -> the folder of its trained student."""
    return Run(recipe, out, progress=progress).train()


def evaluate_run(recipe: Recipe, out: str | Path, *, progress: bool = True) -> Results | None:
    """The scores of the run's students, also in results.json."""
    return Run(recipe, out, progress=progress).evaluate()


def report_run(out: str | Path) -> Path:
    """The report of the run folder `out`."""
    from condistill.report import report

    return report(out)


def run(
    recipe: Recipe, out: str | Path, *, say: Callable[[str], None] = lambda text: None, progress: bool = True
) -> Finished:
    """The whole recipe carried out in the run folder `out`; finished stages are left alone."""
    return Run(recipe, out, say=say, progress=progress).all()


def _student(arm: Arm) -> str:
    return arm.name if arm.name == "student" else f"student {arm.name}"


def _described(recipe: Recipe) -> str:
    name = recipe.p_random.get("name") if isinstance(recipe.p_random, dict) else recipe.p_random
    spec = recipe.student.spec if isinstance(recipe.student.spec, str) else "own spec"
    return f"{spec}, {recipe.student.init} weights, p_random {name}, {recipe.train.steps} steps"
