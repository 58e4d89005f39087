"""FSDP2 or ZeRO, where accelerate's settings ask for it: each process holds a share, what is saved is whole.

What is saved is the same with and without it, so a run may be gone on with by any number of processes either way.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor, nn

from condistill import processes
from condistill.errors import UserError, brief
from condistill.train.options import TrainOptions
from condistill.train.zero import ZeroOptimizer, is_part, part_of, put_together, shared_out, summed_later


def engine(**wanted: Any) -> Any:
    """accelerate's Accelerator with these settings, and with the engine that `accelerate launch` was told to use."""
    from accelerate import Accelerator, FullyShardedDataParallelPlugin
    from accelerate.state import AcceleratorState, PartialState
    from accelerate.utils import DistributedType, GradientAccumulationPlugin

    # accelerate keeps its first settings for the whole process; a second run in one process may want others, and
    # accelerate 1.15 does not find those of FSDP a second time while the processes' own state still says FSDP
    was_sharded = PartialState._shared_state.get("distributed_type") == DistributedType.FSDP
    AcceleratorState._reset_state(reset_partial_state=was_sharded)
    processes.join()
    if processes.is_zero():  # which would take accelerate's to be about its own weights
        wanted |= {"mixed_precision": "no"}
    # a step's micro-batches are ours to count, whatever the launcher was told
    try:
        found = Accelerator(gradient_accumulation_plugin=GradientAccumulationPlugin(num_steps=1), **wanted)
    except ValueError as error:
        raise UserError(
            f"accelerate does not accept its own settings ({brief(error)}); make them again: accelerate config"
        ) from error
    if processes.is_zero():  # asked for ZeRO 3, transformers would load whatever comes next in shares as well
        from transformers.integrations.deepspeed import unset_hf_deepspeed_config

        unset_hf_deepspeed_config()
    if processes.is_sharded() and found.num_processes > 1:
        if found.device.type == "cpu":
            # accelerate 1.15 does not do so on a CPU, and does not say so, though its code for it runs there as well
            PartialState._shared_state["distributed_type"] = DistributedType.FSDP
            found.state.distributed_type = DistributedType.FSDP
            found.state.fsdp_plugin = FullyShardedDataParallelPlugin()
        plugin: Any = found.state.fsdp_plugin
        # autocast decides on the precision, as without FSDP; its own would round the times that the network is given
        plugin.mixed_precision_policy = None
    return found


def prepared(accelerator: Any, pupil: nn.Module, optimizer: Any, options: TrainOptions) -> tuple[Any, Any]:
    """Both, as accelerate or DeepSpeed wraps them.

    Raises:
        UserError: the student cannot be cut into the shares that accelerate's settings ask for.
    """
    if processes.is_zero():
        return shared_out(pupil, optimizer, clip=options.clip, precision=options.precision)
    if not accelerator.is_fsdp2:
        return accelerator.prepare(pupil, optimizer)
    # features are views, and nothing is done to them in place
    warnings.filterwarnings("ignore", message="FSDP2-wrapped module .* returned a view")
    try:
        return accelerator.prepare(pupil, optimizer)
    except (ValueError, KeyError, AssertionError, NotImplementedError) as error:
        raise UserError(
            f"this student cannot be trained with accelerate's FSDP settings ({brief(error)}); change them (accelerate "
            "config), leave out train.channels_last, or launch without FSDP"
        ) from error


def refuse_blocks(error: Exception) -> None:
    """Nothing, unless a step failed because the network uses a part of a block whose share only was there.

    Raises:
        UserError: it did; which setting to change.
    """
    if "mixed torch.Tensor and DTensor" in str(error):
        raise UserError(
            "this network reaches into its blocks from outside, so FSDP cannot gather it block by block; set "
            "fsdp_auto_wrap_policy: NO_WRAP in accelerate's config, which gathers all of it at once"
        ) from error


def in_precision(accelerator: Any, options: TrainOptions) -> AbstractContextManager[Any]:
    """A block in which networks compute in `options.precision`, with whatever engine."""
    if processes.is_zero() and options.precision == "bf16":
        return torch.autocast(accelerator.device.type, torch.bfloat16)
    return accelerator.autocast()


def unsummed(accelerator: Any, pupil: Any) -> AbstractContextManager[Any]:
    """A micro-batch after whose backward pass the processes need not know each other's gradients."""
    return summed_later(pupil) if processes.is_zero() else accelerator.no_sync(pupil)


def backward(accelerator: Any, pupil: Any, loss: Tensor) -> None:
    """Adds the gradients of the loss."""
    if processes.is_zero():
        pupil.backward(loss)
    else:
        accelerator.backward(loss)


def clipped(accelerator: Any, optimizer: Any, parameters: list[nn.Parameter], limit: float) -> float:
    """The norm of all gradients together, which are scaled down to `limit` where it is larger (by ZeRO as it steps)."""
    if isinstance(optimizer, ZeroOptimizer):
        return optimizer.norm()
    if not accelerator.is_fsdp2:
        return float(accelerator.clip_grad_norm_(parameters, limit))
    accelerator.unscale_gradients()
    norm: Any = torch.nn.utils.clip_grad_norm_(parameters, limit)  # accelerate's cannot tell two students apart
    return float(norm.full_tensor() if is_share(norm) else norm)


def is_share(value: Any) -> bool:
    """Whether a tensor is held in shares (a DTensor, or by ZeRO 3)."""
    return hasattr(value, "full_tensor") or is_part(value)


def whole(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The same tensors; those held in shares are put together one by one in the memory of the first process.

    Every process must ask, and what the others get is not whole.
    """
    return {name: _whole(value) if is_share(value) else value.detach() for name, value in tensors.items()}


def _full(value: Any) -> Tensor:
    return put_together(value) if is_part(value) else value.detach().full_tensor()


def _whole(value: Any) -> Tensor:
    found = _full(value)
    return found.cpu() if processes.is_main() else found.new_empty(0)


def share_of(value: Tensor, like: Any) -> Tensor:
    """The whole `value`, held in shares where `like` is; nothing is sent."""
    if not is_share(like):
        return value
    if is_part(like):
        return part_of(value, like)
    from torch.distributed.tensor import distribute_tensor

    given = value.to(like.device_mesh.device_type)
    return distribute_tensor(given, like.device_mesh, like.placements, src_data_rank=None).to(like.device)


def outline(network: nn.Module) -> nn.Module:
    """A network like this one, without values in its parameters and without what FSDP2 will make of the original."""
    empty = {id(p): nn.Parameter(torch.empty_like(p, device="meta")) for p in network.parameters()}
    return copy.deepcopy(network, {**empty, **{id(one): one for one in network.buffers()}})


def gathered(empty: nn.Module, network: nn.Module, instead: Mapping[int, Tensor]) -> nn.Module | None:
    """A network of its own like the outline, whole in the memory of the machine; None on every process but the first.

    Every process must ask.

    Args:
        empty: of `network`; it stays so.
        network: held in shares, and left as it is.
        instead: id of a parameter -> what is taken in its place (an average), held in shares alike.
    """
    state: Mapping[str, Any] = network.state_dict(keep_vars=True)
    values = whole({name: instead.get(id(value), value) for name, value in state.items()})
    if not processes.is_main():
        return None
    found = outline(empty)
    found.load_state_dict(values, assign=True)
    return found.requires_grad_(False)


def filled(outline: nn.Module, network: nn.Module) -> nn.Module:
    """The outline with the values of the network, whole on every process."""
    state: Mapping[str, Any] = network.state_dict(keep_vars=True)
    values = {name: _full(value) if is_share(value) else value.detach() for name, value in state.items()}
    outline.load_state_dict(values, assign=True)
    return outline.requires_grad_(True)
