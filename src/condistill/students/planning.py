"""From a teacher's config and a spec to a plan, and from a plan to a network."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map_only

from condistill.errors import UserError, brief, unknown_name
from condistill.students.depth import cut_depth
from condistill.students.importance import by_weight
from condistill.students.inherit import counterparts, origins, taken, unet_choice
from condistill.students.meta import INPUTS, clean, on_meta, shapes
from condistill.students.passes import Pass, one_pass, outputs_of, runs, why_no_pass
from condistill.students.plan import StudentPlan
from condistill.students.presets import INITS, Cut, check_spec, refuse_blocks, spec_text
from condistill.students.taps import blind_pairs, block_pairs, tap_pairs
from condistill.students.unet import cut_unet, is_unet, unet_taps
from condistill.students.unet_layers import kept_layers
from condistill.students.width import narrow_unet
from condistill.teacher.adapters import plain_state
from condistill.teacher.calling import precision_of

Inputs = Mapping[str, Any] | None
NO_MID = "no mid block: ControlNet, LoRA loaders and exporters may not accept mid_block=None; +mid keeps it"


def make_plan(
    config: Mapping[str, Any],
    cls: type,
    spec: str | Mapping[str, Any],
    *,
    init: str = "inherit",
    inputs: Mapping[str, Any] | None = None,
    own_inputs: Mapping[str, Any] | None = None,
    network: nn.Module | None = None,
) -> StudentPlan:
    """The student that `spec` makes of a teacher with this config; needs no weights.

    Args:
        config: of the teacher's network.
        cls: its class, a diffusers ModelMixin.
        spec: a preset ("b-base"), a rule ("depth=0.5", "width=0.75", "keep=transformer_blocks:0,2"), several joined
            by "+", or a mapping of rules.
        init: "inherit" the teacher's tensors, "slice" them where the student is narrower, or "random".
        inputs: the network's recorded keyword arguments for one item, on any device; those known for the class if None.
        own_inputs: the student's, where its pipeline gives it others than the teacher's.
        network: the teacher's own network. Where the student is narrower, its weights say which channels stay (evenly
            spread ones do if None). It is run once on `inputs` where shapes alone do not suffice for a pass.

    Raises:
        UserError: unknown name, a spec that cuts nothing or everything, an impossible width, a tensor without origin.
        DoesNotRun: the student does not take what is given to it.

    >>> from condistill.students import load_config
    >>> cls, config = load_config("sd-v1-4")
    >>> plan = make_plan(config, cls, "b-base")
    >>> plan.config["layers_per_block"], plan.origins["up_blocks.0.resnets.1.conv1.weight"].source
    (1, 'up_blocks.0.resnets.2.conv1.weight')
    """
    if init not in INITS:
        raise unknown_name("init", str(init), INITS)
    cut = check_spec(spec)
    teacher, own_inputs = on_meta(cls, config), inputs if own_inputs is None else own_inputs
    before = clean(teacher.config)  # type: ignore[arg-type]  # with the class's defaults filled in
    if is_unet(before):
        refuse_blocks(cut, cls.__name__)
        kept = kept_layers(cls, before, teacher, cut.keep)
        after, notes = _cut_unet(kept.config, cut)
        student = on_meta(cls, after)
        modules = counterparts(teacher, student, kept.choice(unet_choice(cut.chosen_by)))
        # the published block-removed students compare the stages only, the narrowed ones the mid block as well
        pairs = unet_taps(teacher, student, with_mid=not cut.fewer_layers)
    else:
        after, student, modules, pairs, notes = cut_depth(
            cls, before, teacher, cut, inputs=own_inputs, runs=partial(_runs, teacher, inputs, own_inputs, network)
        )
    present = dict(student.named_modules())
    modules = {path: source for path, source in modules.items() if path in present}
    narrowed = cut.width < 1.0
    if init == "inherit" and narrowed:
        init = "slice"
        notes = (*notes, "init=slice: the student is narrower, so the teacher's tensors cannot be inherited whole")
    found = origins(teacher, student, modules, init=init)
    passes = _passes(teacher, student, inputs, own_inputs, spec_text(spec))
    if network is not None:
        found = by_weight(found, plain_state(network), passes[0] if passes else None)
    seen = passes or _really_run(pairs, modules, student if narrowed else None, inputs, own_inputs, network)
    pairs = pairs or (block_pairs(student, modules, seen[1]) if seen else [])
    if seen:
        taps, left_out = tap_pairs(pairs, *seen, inputs)
    else:
        taps, left_out = blind_pairs(pairs, teacher, student, narrowed=narrowed)
    notes = (*notes, *left_out)
    return StudentPlan(
        spec_text(spec), cls, before, after, init, found, taps, modules, notes, passes, inputs is not None
    )


def _cut_unet(config: Mapping[str, Any], cut: Cut) -> tuple[dict[str, Any], tuple[str, ...]]:
    after, notes = cut_unet(config, cut), ()
    if cut.width < 1.0:
        after, notes = narrow_unet(after, cut.width, whole=config)
    if config.get("mid_block_type") is not None and after.get("mid_block_type") is None:
        notes = (*notes, NO_MID)
    return after, notes


class DoesNotRun(UserError):
    """The student does not take what is given to it."""


def _passes(
    teacher: nn.Module, student: nn.Module, inputs: Inputs, own_inputs: Inputs, spec: str
) -> tuple[Pass, Pass] | None:
    theirs = one_pass(teacher, inputs)
    if theirs is None:
        return None
    ours = one_pass(student, own_inputs)
    if ours is None and own_inputs is None and type(student).__name__ not in INPUTS:
        return None  # arguments that were found for a class by itself are no proof
    if ours is None:
        raise DoesNotRun(
            f"{spec} makes a {type(student).__name__} that does not run ({why_no_pass(student, own_inputs)}); "
            "give another share, or keep other blocks"
        )
    return theirs, ours


def _runs(
    teacher: nn.Module, inputs: Inputs, own_inputs: Inputs, network: nn.Module | None, student: nn.Module
) -> bool:
    """Whether the student runs on its arguments; True where that cannot be tried."""
    if own_inputs is None or one_pass(student, own_inputs) is not None:
        return True
    if one_pass(teacher, inputs) is not None:
        return False
    if network is None:
        return True
    return runs(_at_random(student, network), own_inputs)


def _at_random(student: nn.Module, network: nn.Module) -> nn.Module:
    """The student with random weights beside the teacher's network, for one of which shapes alone do not suffice."""
    found = type(student).from_config(clean(student.config))  # type: ignore[attr-defined, arg-type]
    return found.to(next(network.parameters()).device, precision_of(network)).eval()


def _really_run(
    pairs: Iterable[tuple[str, str]],
    modules: Mapping[str, str],
    student: nn.Module | None,
    inputs: Inputs,
    own_inputs: Inputs,
    network: nn.Module | None,
) -> tuple[Pass, Pass] | None:
    """The teacher's pass with its weights, which is the student's as well where both are as wide; else its `student`'s
    own with random ones.

    Raises:
        DoesNotRun: the student raises an error where its teacher does not.
    """
    if inputs is None or network is None:
        return None
    outputs = _outputs_with_weights(network, inputs)
    if student is not None:
        try:
            return Pass(outputs), Pass(_outputs_with_weights(_at_random(student, network), own_inputs or inputs))
        except Exception as error:  # whatever a network raises
            raise DoesNotRun(
                f"a {type(student).__name__} as narrow as this does not run ({type(error).__name__}: {brief(error)}); "
                "give another width, or depth=0.5"
            ) from error
    same = [*((source, path) for path, source in modules.items()), *pairs]
    return Pass(outputs), Pass({path: outputs[source] for source, path in same if source in outputs})


@torch.no_grad()
def _outputs_with_weights(network: nn.Module, inputs: Mapping[str, Any]) -> dict[str, Any]:
    device = next(network.parameters()).device
    return outputs_of(network, tree_map_only(Tensor, lambda one: one.to(device), dict(inputs)))


def build(plan: StudentPlan, teacher_network: nn.Module, *, seed: int = 0) -> nn.Module:
    """The student's network in float32 on the teacher's device, in evaluation mode.

    Fresh tensors are drawn by torch's own initialisation, seeded, without touching the global generator.

    Raises:
        UserError: the plan was made for another teacher.
    """
    state = plain_state(teacher_network)
    device = next(teacher_network.parameters()).device
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        network = plan.cls.from_config(dict(plan.config))  # type: ignore[attr-defined]
    wanted = shapes(network)
    if set(wanted) != set(plan.origins):
        name = sorted(set(wanted) ^ set(plan.origins))[0]
        raise UserError(f"tensor {name!r} of {plan.cls.__name__} is not in the plan; make the plan again")
    own = network.state_dict()
    with torch.no_grad():
        for name, origin in plan.origins.items():
            if origin.source is None:
                continue
            if origin.source not in state:
                raise UserError(
                    f"the teacher has no tensor {origin.source!r}: this plan was made for another network, or layers "
                    "of this one were exchanged after it was made (quantised); give it as it was loaded"
                )
            value = taken(state[origin.source], origin)
            if value.shape != own[name].shape:
                raise UserError(
                    f"the teacher's {origin.source!r} gives {tuple(value.shape)} where the student's {name!r} wants "
                    f"{tuple(own[name].shape)}: this plan was made for another network"
                )
            own[name].copy_(value)
    return network.to(device).eval()
