"""Work over several processes, as `accelerate launch` or `torchrun` start them: shares, and what all of them know.

Shares are whole batches or shards, the same ones that a single process would make, so the number of processes changes
no bit.
"""

from __future__ import annotations

import importlib.util
import os
import warnings
from collections.abc import Callable
from typing import Any, TypeVar

from condistill.errors import Remark, UserError

T = TypeVar("T")


_OTHER_ENGINES = {
    "ACCELERATE_USE_MEGATRON_LM": "Megatron-LM",
    "ACCELERATE_USE_PARALLELISM_CONFIG": "tensor, context or sequence parallelism",
}


def _state() -> Any:
    """accelerate's state of the processes; None where there is one. Joins the others at the first call."""
    check_engine()
    if int(os.environ.get("WORLD_SIZE", "1")) < 2:
        return None
    import torch
    from accelerate import PartialState

    return PartialState(cpu=not torch.cuda.is_available())


def _is_on(name: str) -> bool:
    return os.environ.get(name, "").lower() in ("1", "true", "yes", "y", "on")


def check_engine() -> None:
    """Nothing, if accelerate's settings ask for an engine that is trained with: none, DDP, FSDP2 or DeepSpeed's ZeRO.

    Raises:
        UserError: they ask for another one.
    """
    asked = next((engine for name, engine in _OTHER_ENGINES.items() if _is_on(name)), None)
    if asked is None and is_sharded() and os.environ.get("FSDP_VERSION", "1") != "2":
        asked = "FSDP version 1"
    if asked is not None:
        raise UserError(
            f"accelerate's settings ask for {asked}, which is not supported; choose FSDP with fsdp_version: 2, which "
            "shards weights, gradients and moments, DeepSpeed's ZeRO, or plain data parallelism (torchrun)"
        )
    if is_zero() and int(os.environ.get("WORLD_SIZE", "1")) < 2:
        os.environ["ACCELERATE_USE_DEEPSPEED"] = "false"  # nobody to share with
    if is_zero() and importlib.util.find_spec("deepspeed") is None:
        raise UserError(
            "accelerate's settings ask for DeepSpeed, which is not installed; pip install deepspeed, or choose FSDP "
            "with fsdp_version: 2"
        )
    if is_sharded():
        # the libraries would load networks without values on all processes but the first; the teacher is needed on all
        os.environ["FSDP_CPU_RAM_EFFICIENT_LOADING"] = "false"


def is_sharded() -> bool:
    """Whether accelerate's settings ask for FSDP."""
    return _is_on("ACCELERATE_USE_FSDP")


def is_zero() -> bool:
    """Whether accelerate's settings ask for DeepSpeed."""
    return _is_on("ACCELERATE_USE_DEEPSPEED")


def join() -> None:
    """This process made known to the others and put on its own device; nothing where it is alone."""
    if _state() is None and _is_on("ACCELERATE_USE_CPU") and os.environ.get("MASTER_ADDR"):
        # accelerate 1.15 names an address where several were asked for, starts one, and leaves the others to mpirun
        warnings.warn(
            Remark(
                "this is a single process: on a CPU accelerate launch starts one whatever --num_processes says; "
                "several are started by torchrun --nproc-per-node, or accelerate launch --multi_gpu in place of --cpu"
            ),
            stacklevel=1,  # said once, whoever joins
        )


def index() -> int:
    """The number of this process, from 0."""
    state = _state()
    return 0 if state is None else state.process_index


def count() -> int:
    """The number of processes."""
    state = _state()
    return 1 if state is None else state.num_processes


def is_silent() -> bool:
    """Whether this process leaves it to the first one to talk to people; nothing is joined or imported for it."""
    return int(os.environ.get("WORLD_SIZE", "1")) > 1 and int(os.environ.get("RANK", "0")) > 0


def wait() -> None:
    """Nothing, once every process is here."""
    state = _state()
    if state is not None:
        state.wait_for_everyone()


def any_of(claim: bool) -> bool:
    """Whether any process claims it; all of them learn the same, and none goes on before all have looked."""
    state = _state()
    if state is None:
        return claim
    from accelerate.utils import gather_object

    return any(gather_object([claim]))


def by_main(work: Callable[[], object]) -> None:
    """Does `work` on the main process, while the others wait.

    Raises:
        UserError: the one that the work raised, on every process.
    """
    state, said = _state(), None
    if state is None:
        work()
        return
    if state.is_main_process:
        try:
            work()
        except UserError as error:
            said = str(error)
    from accelerate.utils import gather_object

    if (said := gather_object([said])[0]) is not None:
        raise UserError(said)


def is_main() -> bool:
    """Whether this process is the one that writes files and shows progress."""
    state = _state()
    return state is None or state.is_main_process


def share(num: int) -> range:
    """Which of `num` batches are this process's."""
    state = _state()
    return range(num) if state is None else range(state.process_index, num, state.num_processes)


def gathered(parts: dict[int, T]) -> list[T]:
    """The parts of all processes in the order of their numbers, on every process.

    Args:
        parts: number of the batch -> what this process made of it.
    """
    state = _state()
    if state is not None:
        from accelerate.utils import gather_object

        parts = {number: part for each in gather_object([parts]) for number, part in each.items()}
    return [parts[number] for number in sorted(parts)]
