"""The sizes of a recipe's networks: from configs alone, or from a loaded teacher."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from condistill.cache.manifest import ITEM_BYTES
from condistill.errors import UserError
from condistill.recipes.arms import arms
from condistill.recipes.schema import Recipe
from condistill.recipes.students import teacher_config

if TYPE_CHECKING:
    from condistill.recipes.work import ArmWork
    from condistill.students import StudentPlan
    from condistill.students.footprint import Footprint
    from condistill.teacher import Teacher

INDEX_BYTES = 200  # of one item in D's index: key, seed, checksum
BACKWARD = 2  # a backward pass costs two forward passes
CHECKPOINT_BYTES = 16  # a parameter: weights, EMA and both of Adam's moments in float32


@dataclass(frozen=True)
class ArmSizes:
    """One student.

    Attributes:
        plan: how it is cut.
        parameters: in all.
        macs: multiply-accumulates of one pass, attention included; None where not counted.
        inputs: the denoiser's arguments for one item, where they were recorded.
    """

    plan: StudentPlan
    parameters: int
    macs: int
    inputs: Mapping[str, Any] | None = field(default=None, repr=False)

    @property
    def checkpoint_bytes(self) -> int:
        """Of one checkpoint."""
        return self.parameters * CHECKPOINT_BYTES

    def footprint(self, checkpointing: bool) -> Footprint | None:
        """What a sample keeps."""
        return self._with if checkpointing else self._without

    @cached_property
    def _with(self) -> Footprint | None:
        return self._counted(True)

    @cached_property
    def _without(self) -> Footprint | None:
        return self._counted(False)

    def _counted(self, checkpointing: bool) -> Footprint | None:
        from condistill.students.footprint import footprint

        plan = self.plan
        return footprint(plan.cls, plan.config, inputs=self.inputs, taps=plan.taps, checkpointing=checkpointing)


@dataclass(frozen=True)
class Sizes:
    """The networks of a recipe.

    Attributes:
        network: the denoiser's class.
        teacher_parameters, teacher_macs: of the denoiser.
        arms: arm -> its student.
        latent_numbers: of one x0.
        others_bytes: of the rest of the pipeline in float32; None where not known.
        notes: what is not known.
        own_steps: the pipeline's own number of sampling steps, where its configs say it.
    """

    network: str
    teacher_parameters: int
    teacher_macs: int
    arms: Mapping[str, ArmSizes]
    latent_numbers: int
    others_bytes: int | None
    notes: tuple[str, ...] = ()
    own_steps: int | None = None

    def item_bytes(self, dtype: str) -> int:
        """Of one item of D on disk."""
        return self.latent_numbers * ITEM_BYTES[dtype] + INDEX_BYTES

    def macs_of_training(self, arm: ArmWork) -> float:
        """Of one sample: the teacher's passes, the student's forward and backward, and its second forward pass where
        activations are computed again."""
        again = 1 if arm.recipe.train.gradient_checkpointing else 0
        return arm.teacher_passes * self.teacher_macs + (1 + BACKWARD + again) * self.arms[arm.name].macs

    def as_dict(self) -> dict[str, Any]:
        """As plain JSON values."""
        students = {name: {"parameters": one.parameters, "macs": one.macs} for name, one in self.arms.items()}
        teacher = {"parameters": self.teacher_parameters, "macs": self.teacher_macs}
        return {"network": self.network, "teacher": teacher, "students": students}


def sizes_by_config(recipe: Recipe) -> Sizes:
    """The sizes from the teacher's configs alone; no weights are read.

    Raises:
        UserError: no config to be had, or one whose passes cannot be counted without its pipeline.
    """
    from condistill.students import count_parameters
    from condistill.students.by_configs import shapes_of
    from condistill.students.likely import found_for
    from condistill.students.meta import on_meta
    from condistill.students.shipped import config_of_hub_id

    name = recipe.teacher.load
    if (Path(name) / "model_index.json").is_file():
        return _sizes_by_folder(recipe)
    cls, config = teacher_config(config_of_hub_id(name) or name)
    found = found_for(on_meta(cls, config))
    if found.inputs is None:
        raise UserError(
            f"no arguments were found on which {cls.__name__} runs by itself ({found.why}); give teacher.load a folder "
            "with its pipeline's configs"
        )
    first, shape = next(iter(shapes_of(found.inputs).items()))
    notes = (
        "text encoders and VAE are not counted: the pipeline's folder is not here",
        f"counted for {first} {' x '.join(map(str, shape))}, whatever size data.call says",
    )
    return _sizes(recipe, cls, config, None, math.prod(shape), count_parameters(cls, config), None, notes, {})


def _sizes_by_folder(recipe: Recipe) -> Sizes:
    """The sizes of a pipeline whose folder has no weights, at the size of D's call."""
    from condistill.pictures import of_recipe
    from condistill.students import count_parameters
    from condistill.students.by_configs import recorded_by_configs

    found = recorded_by_configs(recipe.teacher.load, recipe.teacher.component, call=of_recipe(recipe.data.call))
    latent, own = math.prod(found.latent_shape), count_parameters(found.cls, found.config)
    note = "counted by the configs of the pipeline's folder, which has no weights"
    others = 4 * found.other_parameters
    sizes = _sizes(recipe, found.cls, found.config, found.inputs, latent, own, others, (note,), {})
    return replace(sizes, own_steps=found.own_steps)


def sizes_by_teacher(recipe: Recipe, teacher: Teacher, plans: Mapping[str, StudentPlan] | None = None) -> Sizes:
    """The sizes with the arguments that the pipeline itself gives its denoiser.

    Args:
        teacher: recorded with D's call.
        plans: arm -> its student's, where it was made already.
    """
    from condistill.students.meta import clean
    from condistill.teacher.running import networks

    network, inputs = teacher.network, teacher.example()
    own = sum(p.numel() for p in network.parameters())
    rest = [part for name, part in networks(teacher.pipeline).items() if name != teacher.component]
    others = sum(4 * p.numel() for part in rest for p in part.parameters())
    latent, config = math.prod(teacher.latent_shape), clean(network.config)  # type: ignore[arg-type]
    return _sizes(recipe, type(network), config, inputs, latent, own, others, (), plans or {})


def _sizes(
    recipe: Recipe,
    cls: type,
    config: Mapping[str, Any],
    inputs: Mapping[str, Any] | None,
    latent: int,
    parameters: int,
    others: int | None,
    notes: tuple[str, ...],
    plans: Mapping[str, StudentPlan],
) -> Sizes:
    from condistill.students import count_parameters, make_plan, spec_text

    found: dict[str, ArmSizes] = {}
    made: dict[str, ArmSizes] = {}
    teacher_macs = 0
    for arm in sorted(arms(recipe), key=lambda arm: arm.name not in plans):
        section = arm.recipe.student
        again = f"{section.spec} {section.init}"
        if again not in made:
            # which blocks are measured to stay does not change how large they are
            spec = spec_text(section.spec).replace("blocks=scored", "blocks=even")
            plan = plans.get(arm.name) or make_plan(config, cls, spec, init=section.init, inputs=inputs)
            teacher_macs = plan.passes[0].macs[""]["total"] if plan.passes else 0
            macs = plan.passes[1].macs[""]["total"] if plan.passes else 0
            made[again] = ArmSizes(plan, count_parameters(plan.cls, plan.config), macs, inputs)
        found[arm.name] = made[again]
    return Sizes(cls.__name__, parameters, teacher_macs, found, latent, others, notes)
