"""The stages of an evaluation: samples, reference, predictions, and what a metric sees of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from condistill.errors import UserError
from condistill.evaluate import pairs, sampling, store, summary
from condistill.evaluate.items import ALL, Items
from condistill.evaluate.judging import Judging
from condistill.evaluate.metrics import Material, Metric, union
from condistill.evaluate.sampling import Sampled, Wish
from condistill.progress import Progress

if TYPE_CHECKING:
    from condistill.teacher import Teacher


@dataclass(frozen=True)
class Plan:
    """What is to be done, in full.

    Attributes:
        models: name -> model, the teacher first.
        groups: the items, group by group.
        metrics, judging, seed, call, batch, reference: as in `evaluate`.
        rows: group -> rows of the grid.
        store_folder: where the teacher's samples are kept; None keeps nothing.
    """

    models: Mapping[str, Teacher]
    groups: tuple[Items, ...]
    metrics: tuple[Metric, ...]
    judging: Judging | None
    seed: int
    call: dict[str, Any]
    batch: int
    rows: Mapping[str, Sequence[int]]
    reference: Mapping[str, np.ndarray] | None
    store_folder: Path | None

    def needs(self, what: str) -> bool:
        """Whether some metric needs this."""
        return any(m.needs == what for m in self.metrics)

    @property
    def wants_reference(self) -> bool:
        """Whether some metric compares with reference images."""
        return any(m.name == "frechet_distance" or getattr(m, "wants_reference", False) for m in self.metrics)

    @property
    def teacher_name(self) -> str:
        """The teacher's name."""
        return next(iter(self.models))

    @property
    def teacher(self) -> Teacher:
        """The teacher."""
        return self.models[self.teacher_name]

    @property
    def students(self) -> dict[str, Teacher]:
        """The other models."""
        return dict(list(self.models.items())[1:])

    @cached_property
    def identity(self) -> str:
        """A hash of all that decides the teacher's pictures."""
        return store.identity(self.teacher)

    @property
    def num_units(self) -> int:
        """Images to sample and items to predict, for the progress."""
        once = sum(map(len, self.groups))
        sampled = len(self.models) * once + (once if self.wants_reference and self.reference is None else 0)
        return sampled + (once if self.needs("pairs") and self.students else 0)

    def record(self, protocol: str) -> dict[str, Any]:
        """How the numbers were measured."""
        given = "images given by the caller" if self.reference is not None else "the teacher's images, other seeds"
        return summary.protocol_record(
            protocol, seed=self.seed, call=self.call, batch=self.batch, groups=self.groups, metrics=self.metrics,
            judging=self.judging, teacher=self.teacher, reference=given if self.wants_reference else None,
        )  # fmt: skip


def sample_all(plan: Plan, bar: Progress) -> dict[str, dict[str, Sampled]]:
    """Model -> group -> its samples, on the same keys and seeds for all."""
    samples: dict[str, dict[str, Sampled]] = {}
    for name, model in plan.models.items():
        for items in plan.groups:
            wish = Wish(
                judge=plan.judging if plan.needs("judge") else None,
                rows=plan.rows[items.group],
                images=plan.needs("images"),
                latents=model is plan.teacher and plan.needs("pairs"),
            )
            samples.setdefault(name, {})[items.group] = _sampled(plan, name, items, items.seeds, wish, bar)
    return samples


def _sampled(plan: Plan, name: str, items: Items, seeds: Sequence[int], wish: Wish, bar: Progress) -> Sampled:
    """One model's samples; the teacher's come from the store if they were made before."""
    model = plan.models[name]

    def make() -> Sampled:
        return sampling.sample(
            model, items.keys, name=name, seeds=seeds, call=plan.call, batch=plan.batch, wish=wish,
            advance=lambda n: bar.advance(n, model=name),
        )  # fmt: skip

    if plan.store_folder is None or model is not plan.teacher:
        return make()
    what = {"teacher": plan.identity, "keys": items.keys, "seeds": seeds, "call": plan.call, "batch": plan.batch}
    done = bar.done
    found = store.kept(plan.store_folder, what, wish, make)
    bar.advance(len(items) if bar.done == done else 0, model=name)
    return found


def reference_features(plan: Plan, bar: Progress) -> dict[str, np.ndarray]:
    """Group -> features of its reference images: given ones, or the teacher's with other seeds."""
    if not plan.wants_reference:
        return {}
    judging, given = plan.judging, plan.reference
    assert judging is not None
    if given is None:
        wish = Wish(judge=judging)
        made = {g.group: _sampled(plan, plan.teacher_name, g, g.reference_seeds, wish, bar).seen for g in plan.groups}
        return {group: seen.features for group, seen in made.items() if seen is not None}
    for items in plan.groups:
        if items.group not in given:
            raise UserError(f"reference has no images for group {items.group!r}; it has {', '.join(given)}")
    return {items.group: judging.look(given[items.group]).features for items in plan.groups}


def errors_all(
    plan: Plan, samples: Mapping[str, Mapping[str, Sampled]], bar: Progress
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


def materials_of(
    plan: Plan,
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
