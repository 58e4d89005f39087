"""DeepSpeed's ZeRO, where accelerate's settings ask for it: each process holds a share of the moments.

The weights are whole on every process, or in shares as well (stage 3): flat, and padded so that all are of one size.
What is saved is the same as without, so a run may be gone on with either way.
"""

from __future__ import annotations

import contextlib
import copy
import math
import sys
import warnings
from collections.abc import Iterable, Iterator
from typing import Any, cast

import torch
from torch import Tensor, nn

from condistill import processes
from condistill.errors import UserError


def refuse_settings(config: Any, *, clip: float, precision: str) -> None:
    """Nothing, if a run may follow DeepSpeed's settings and its own recipe at once.

    Args:
        config: DeepSpeed's, as accelerate made it of its own or read it from a file.

    Raises:
        UserError: they ask for what is the recipe's to say, or for what is not supported; which setting to change.
    """
    zero, why = config.get("zero_optimization", {}), ""
    if zero.get("stage") not in (1, 2, 3):
        why = f"ZeRO stage {zero.get('stage')}; set zero_stage: 1, 2 or 3, or launch without DeepSpeed"
    elif any(zero.get(name, {}).get("device", "none") != "none" for name in ("offload_optimizer", "offload_param")):
        why = "offloading, which is not supported; set both offload devices to none"
    elif found := [name for name in ("optimizer", "scheduler") if name in config]:
        why = f"its own {found[0]}, which the recipe decides (train.lr, train.lr_schedule); remove it from the file"
    elif found := [name for name in ("bf16", "fp16") if config.get(name, {}).get("enabled") is True]:
        why = f"{found[0]}, which the recipe decides: remove it from the file and set train.precision=bf16"
    elif config.get("gradient_clipping", "auto") not in ("auto", clip):
        why = f"gradient_clipping {config['gradient_clipping']}, the recipe for {clip}; make them equal (train.clip)"
    elif config.get("gradient_accumulation_steps", 1) not in ("auto", 1):
        why = "gradient accumulation, which the recipe decides; set it to 1 and use train.micro_batch"
    if why:
        raise UserError(f"accelerate's DeepSpeed settings ask for {why}")
    if precision == "fp16":
        raise UserError("fp16 is not supported with DeepSpeed; set train.precision=bf16 or no")


def shared_out(pupil: nn.Module, optimizer: Any, *, clip: float, precision: str) -> tuple[Any, ZeroOptimizer]:
    """The student inside DeepSpeed's engine, and the optimizer whose moments the processes share."""
    # DeepSpeed 0.19 calls collectives by the names they had before torch 2.13
    warnings.filterwarnings("ignore", message=r".*torch\.distributed\.\w+` is deprecated", category=FutureWarning)
    with contextlib.redirect_stdout(sys.stderr):  # what it says is not the result of a command
        import deepspeed  # pyright: ignore[reportMissingImports]  installed by who asks for it
        from accelerate.utils import DeepSpeedPlugin

        if not torch.cuda.is_available():  # its own sums over shared memory would be compiled first
            deepspeed.ops.__compatible_ops__ = {}
        config = copy.deepcopy(DeepSpeedPlugin().deepspeed_config)
        refuse_settings(config, clip=clip, precision=precision)
        # sizes are only counted by it; a step's micro-batches are ours to cut
        config |= {"train_micro_batch_size_per_gpu": 1, "gradient_accumulation_steps": 1, "gradient_clipping": clip}
        config |= {"train_batch_size": processes.count(), "zero_allow_untested_optimizer": True}
        # whatever is small would stay whole as well, and be twice there
        zero = {k: v for k, v in config["zero_optimization"].items() if v != "auto"}
        config["zero_optimization"] = zero | {"stage3_param_persistence_threshold": 0} if zero["stage"] == 3 else zero
        if precision == "bf16":  # as without: weights and sums of gradients stay in float32
            config["torch_autocast"] = {"enabled": True, "dtype": "bfloat16", "lower_precision_safe_modules": []}
        engine, *_ = deepspeed.initialize(model=pupil, optimizer=optimizer, config=config)
    return engine, ZeroOptimizer(engine)


class ZeroOptimizer:
    """AdamW under ZeRO for the loop: its step clips by the norm of all gradients together."""

    def __init__(self, engine: Any) -> None:
        self.engine = engine
        self.is_due = False
        self.has_parts = engine.zero_optimization_stage() == 3

    @property
    def param_groups(self) -> list[dict[str, Any]]:
        """Those of the AdamW inside, for its rate."""
        return self.engine.optimizer.param_groups

    def norm(self) -> float:
        """The norm of the gradients of a whole step, before clipping."""
        self.is_due, zero = True, self.engine.optimizer
        if not self.has_parts:
            return float(zero.scaled_global_norm())
        norms = [float(norm) for norm in zero._get_norm_groups()]
        return math.nan if min(norms) < 0 else math.hypot(*norms)  # -1 is what it says of one that is not finite

    def step(self) -> None:
        """Clips, updates each process's share, and makes the weights whole again."""
        self.engine.step()
        self.is_due = False

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Lets go of gradients that are not finite, of which its own step makes nothing; others a step has used up."""
        if self.is_due:
            self.step()

    def tensors(self) -> dict[str, Tensor]:
        """AdamW's state by "index.name", as without ZeRO; whole in the memory of the first process alone."""
        from deepspeed.utils import safe_get_full_optimizer_state  # pyright: ignore[reportMissingImports]

        rows = list(self.engine.optimizer.state.values())
        if not rows:
            return {}
        found = {}
        for index, parameter in enumerate(self._parameters()):
            found[f"{index}.step"] = torch.as_tensor(rows[0]["step"]).clone()
            for name in ("exp_avg", "exp_avg_sq"):
                value = safe_get_full_optimizer_state(parameter, name)
                found[f"{index}.{name}"] = value.cpu() if processes.is_main() else value.new_empty(0)
        return found

    @torch.no_grad()
    def restore(self, found: Iterable[tuple[str, Tensor]]) -> None:
        """Puts back what `tensors` gave, or a run without ZeRO, and takes up the weights that are there by now."""
        from deepspeed.utils import safe_set_full_optimizer_state  # pyright: ignore[reportMissingImports]

        zero, parameters, is_begun = self.engine.optimizer, self._parameters(), False
        zero.refresh_fp32_params()
        for path, value in found:
            index, _, name = path.partition(".")
            if not is_begun:
                groups = (
                    [zero.fp32_partitioned_groups_flat] if self.has_parts else [g["params"] for g in zero.param_groups]
                )
                for flat in (one for some in groups for one in some):
                    zero.state[flat] = {"step": torch.tensor(0.0, device=flat.device)}
                    zero.state[flat] |= {moment: torch.zeros_like(flat) for moment in ("exp_avg", "exp_avg_sq")}
                if not self.has_parts:
                    zero._lazy_init_hp_params_optimizer_state()  # shares of parameters within each of these
                is_begun = True
            if name == "step":
                for row in zero.state.values():
                    row["step"].fill_(float(value))
            else:
                one: Any = parameters[int(index)]
                given = value.to(zero.device)
                if is_part(one):
                    one._z3_optimizer.set_local_hp_param(part_of(given, one), one, name)
                else:
                    safe_set_full_optimizer_state(one, given, name)

    def _parameters(self) -> list[nn.Parameter]:
        return [p for p in self.engine.module.parameters() if p.requires_grad]


def holds_shares() -> bool:
    """Whether DeepSpeed is asked to hold the weights in shares as well (stage 3)."""
    if not processes.is_zero():
        return False
    with contextlib.redirect_stdout(sys.stderr):  # what it says as it is imported
        from accelerate.utils import DeepSpeedPlugin

        return DeepSpeedPlugin().deepspeed_config["zero_optimization"].get("stage") == 3


def is_part(value: Any) -> bool:
    """Whether a parameter, or an average of one, is held in shares by ZeRO 3."""
    return hasattr(value, "ds_numel")


def parts(parameters: Iterable[Tensor]) -> list[Any]:
    """What of each parameter is held by this process, flat and padded; a parameter that is whole as it is."""
    return [
        p.ds_tensor.detach().requires_grad_(p.requires_grad) if is_part(p) else p
        for p in cast(Iterable[Any], parameters)
    ]


def as_parts_of(values: Iterable[Tensor], parameters: Iterable[Tensor]) -> None:
    """Makes known that each value is held as the parameter beside it is."""
    for value, parameter in cast(Iterable[tuple[Any, Any]], zip(values, parameters, strict=True)):
        if is_part(parameter):
            value.ds_numel, value.ds_shape = parameter.ds_numel, parameter.ds_shape


def put_together(value: Any) -> Tensor:
    """The whole of what is held in shares, on every process; all must ask."""
    own = getattr(value, "ds_tensor", value).detach().contiguous()
    found = own.new_empty(processes.count() * own.numel())
    torch.distributed.all_gather_into_tensor(found, own)
    return found[: value.ds_numel].view(value.ds_shape)


def part_of(value: Tensor, like: Any) -> Tensor:
    """This process's share of the whole `value`, as `like` is held."""
    own = getattr(like, "ds_tensor", like)
    given = value.reshape(-1)[processes.index() * own.numel() :][: own.numel()].to(own.device)
    return torch.nn.functional.pad(given, (0, own.numel() - given.numel()))


@contextlib.contextmanager
def summed_later(engine: Any) -> Iterator[None]:
    """A micro-batch that is not the last of its step."""
    engine.set_gradient_accumulation_boundary(is_boundary=False)
    try:
        yield
    finally:
        engine.set_gradient_accumulation_boundary(is_boundary=True)
