"""The stages of an evaluation: samples, reference, predictions, and what a metric sees of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from condistill.evaluate import pairs, references, sampling, store, summary
from condistill.evaluate.backbones import Backbone
from condistill.evaluate.items import ALL, Items
from condistill.evaluate.judging import Judging
from condistill.evaluate.metrics import Material, Metric, View, features_of, union, wants_reference
from condistill.evaluate.pairs import Gaps
from condistill.evaluate.references import Reference
from condistill.evaluate.sampling import Keep, Sampled, Wish
from condistill.evaluate.store import Parts
from condistill.progress import Progress

if TYPE_CHECKING:
    from condistill.teacher import Teacher


@dataclass(frozen=True)
class Plan:
    """What is to be done, in full.

    Attributes:
        models: name -> model, recorded with the call, the teacher first.
        groups: the items, group by group.
        metrics, judging, seed, call, batch: as in `evaluate`.
        calls: student -> arguments of its own beside `call`.
        rows: group -> rows of the grid.
        references: group -> what is compared with; None takes the teacher's own images of other seeds.
        backbones: the networks that the metrics look through.
        size: what images are brought to before; None leaves them.
        store_folder: where the teacher's samples are kept; None keeps nothing.
        image_folder: where all images are written; None writes none.
        parts: where batches are remembered until the evaluation is done; None forgets them.
    """

    models: Mapping[str, Teacher]
    groups: tuple[Items, ...]
    metrics: tuple[Metric, ...]
    judging: Judging | None
    seed: int
    call: dict[str, Any]
    calls: Mapping[str, Mapping[str, Any]]
    batch: int
    rows: Mapping[str, Sequence[int]]
    references: Mapping[str, Reference] | None
    backbones: tuple[Backbone, ...]
    size: int | None
    store_folder: Path | None
    image_folder: Path | None
    parts: Parts | None

    def needs(self, what: str) -> bool:
        """Whether some metric needs this."""
        return any(m.needs == what for m in self.metrics)

    def own_call(self, name: str) -> dict[str, Any]:
        """What a model is called with beside its key."""
        return {**self.call, **self.calls.get(name, {})}

    @property
    def wants_reference(self) -> bool:
        """Whether some metric compares with reference images."""
        return any(map(wants_reference, self.metrics))

    @property
    def views(self) -> frozenset[str]:
        """The backbones' features that metrics look at."""
        return frozenset(feature for m in self.metrics for feature in features_of(m))

    @property
    def reference_wish(self) -> Wish:
        """What is needed of reference images."""
        wanting = [m for m in self.metrics if wants_reference(m)]
        return Wish(
            judge=self.judging if any(m.needs == "judge" for m in wanting) else None,
            backbones=self.backbones,
            views=frozenset(feature for m in wanting for feature in features_of(m)),
            size=self.size,
        )

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

    def folder_of(self, model: str, group: str) -> Path | None:
        """Where a model's images of a group are written; None if they are not."""
        folder = self.image_folder
        return None if folder is None else folder / sampling.slug(model) / sampling.slug(group)

    @cached_property
    def identities(self) -> dict[str, str]:
        """Model -> a hash of all that decides its pictures."""
        return {name: store.identity(model) for name, model in self.models.items()}

    @cached_property
    def identity(self) -> str:
        """The teacher's."""
        return store.identity(self.teacher) if self.parts is None else self.identities[self.teacher_name]

    @property
    def num_units(self) -> int:
        """Images to sample and items to predict, for the progress."""
        once = sum(map(len, self.groups))
        sampled = len(self.models) * once + (once if self.wants_reference and self.references is None else 0)
        return sampled + (once if self.needs("pairs") and self.students else 0)

    def record(self, protocol: str) -> dict[str, Any]:
        """How the numbers were measured."""
        given: Any = "the teacher's images, other seeds"
        if self.references is not None:
            given = {group: reference.identity for group, reference in self.references.items()}
        return summary.protocol_record(
            protocol, seed=self.seed, call=self.call, batch=self.batch, groups=self.groups, metrics=self.metrics,
            judging=self.judging, teacher=self.teacher, reference=given if self.wants_reference else None,
            backbones=self.backbones, size=self.size,
        )  # fmt: skip


@dataclass(frozen=True)
class Looked:
    """What the judge (m, d) and the backbones saw in the reference images of a group."""

    judged: np.ndarray | None
    views: Mapping[str, View]


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
                backbones=plan.backbones,
                views=plan.views,
                size=plan.size,
                folder=plan.image_folder / sampling.slug(name) / sampling.slug(items.group)
                if plan.image_folder
                else None,
            )
            samples.setdefault(name, {})[items.group] = _sampled(plan, name, items, items.seeds, wish, bar)
    return samples


def _sampled(plan: Plan, name: str, items: Items, seeds: Sequence[int], wish: Wish, bar: Progress) -> Sampled:
    """One model's samples; the teacher's come from the store if they were made before."""
    model = plan.models[name]
    made_from = {"keys": items.keys, "seeds": seeds, "call": plan.own_call(name), "batch": plan.batch}
    keep: Keep = store.at_once
    if plan.parts is not None:
        asked = store.wished({"model": plan.identities[name], **made_from}, wish)
        keep = plan.parts.keeper(asked, pack=store.packed, unpack=store.unpacked)

    def make() -> Sampled:
        return sampling.sample(
            model, items.keys, name=name, seeds=seeds, call=plan.own_call(name), batch=plan.batch, wish=wish,
            advance=lambda n: bar.advance(n, model=name), keep=keep,
        )  # fmt: skip

    if plan.store_folder is None or model is not plan.teacher:
        return make()
    what = {"teacher": plan.identity, **made_from}
    done = bar.done
    found = store.kept(plan.store_folder, what, wish, make)
    bar.advance(len(items) if bar.done == done else 0, model=name)
    return found


def reference_all(plan: Plan, bar: Progress) -> dict[str, Looked]:
    """Group -> what judge and backbones see in its reference images: given ones, or the teacher's with other seeds."""
    if not plan.wants_reference:
        return {}
    wish, given = plan.reference_wish, plan.references
    if given is None:
        made = {g.group: _sampled(plan, plan.teacher_name, g, g.reference_seeds, wish, bar) for g in plan.groups}
        return {group: Looked(m.seen.features if m.seen else None, m.views) for group, m in made.items()}
    found: dict[int, Looked] = {}  # one that serves several groups is looked at once
    for reference in given.values():
        if id(reference) not in found:
            judged = wish.judge.look(reference.all_images()).features if wish.judge else None
            views = references.views(reference, wish.backbones, wish.views, size=wish.size, batch=plan.batch)
            found[id(reference)] = Looked(judged, views)
    return {group: found[id(reference)] for group, reference in given.items()}


def errors_all(plan: Plan, samples: Mapping[str, Mapping[str, Sampled]], bar: Progress) -> dict[str, dict[str, Gaps]]:
    """Group -> model -> its errors; zero for the teacher, by definition."""
    if not plan.needs("pairs"):
        return {}
    name, found = plan.teacher_name, {}
    teacher, students = plan.teacher, plan.students
    num_levels = len(pairs.levels(teacher)[0])
    for items in plan.groups:
        own = samples[name][items.group]
        assert own.latents is not None
        found[items.group] = {name: Gaps.empty(len(items), num_levels)}
        if students:
            found[items.group] |= pairs.errors(
                teacher, students, items, x0=own.latents, bound=own.bound, seed=plan.seed, batch=plan.batch,
                advance=lambda n: bar.advance(n, model="predictions"), keep=_keeper_of_gaps(plan, items),
            )  # fmt: skip
    return found


def _keeper_of_gaps(plan: Plan, items: Items) -> Keep:
    if plan.parts is None:
        return store.at_once
    what = {"models": plan.identities, "keys": items.keys, "seeds": items.seeds, "group": items.group}
    what |= {"call": plan.call, "batch": plan.batch, "seed": plan.seed, "pairs": True}
    taps = {name: [pair.teacher for pair in pairs.shared_taps(one)] for name, one in plan.students.items()}
    return plan.parts.keeper({**what, "taps": taps}, pack=store.packed_gaps, unpack=store.unpacked_gaps)


def materials_of(
    plan: Plan,
    samples: Mapping[str, Mapping[str, Sampled]],
    looked: Mapping[str, Looked],
    errors: Mapping[str, Mapping[str, Gaps]],
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
                reference=looked[group].judged if looked else None,
                images=made.images,
                errors=errors[group][name].output if errors else None,
                levels=levels,
                tap_errors=errors[group][name].taps if errors else {},
                views=made.views,
                view_references=looked[group].views if looked else {},
                seed=plan.seed,
            )
        found[name] = parts if len(parts) == 1 else {**parts, ALL: _all(list(parts.values()), looked.get(ALL))}
    return found


def _all(parts: Sequence[Material], looked: Looked | None) -> Material:
    """The union of the groups, with the reference that was given for it, if one was."""
    whole = union(parts)
    return whole if looked is None else replace(whole, reference=looked.judged, view_references=looked.views)
