"""Compiling: the blocks of a network as compiled code; its modules, parameters and taps stay what they are.

A network is compiled block by block and its taps stand between the blocks, so that no hook is inside of compiled code.
What is compiled is a block's `forward` alone, and only within `Compiled.running`: names of parameters, copies and saved
students know nothing of it.
"""

from __future__ import annotations

import contextlib
import functools
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from condistill import processes
from condistill.distill.attention import CompiledAttention
from condistill.distill.step import bare
from condistill.errors import UserError
from condistill.train.arm import Arm
from condistill.train.log import Log
from condistill.train.options import TrainOptions
from condistill.train.zero import holds_shares

# compiling the embedded teacher and its student costs what about 2,000 of its steps save (docs/log.md, "torch.compile")
AUTO_STEPS = 5000
# processor seconds of one kind of block, torch and g++ together (same entry: 2-core Intel with AVX-512 and AMX, one
# compile worker, 2026-11-24): of the student's seven, forward and backward, 62 + 119; of the teacher's seven, forward,
# 23 + 33
STUDENT_SECONDS, TEACHER_SECONDS = (62 + 119) / 7, (23 + 33) / 7
# what is left of a step: samples a second in bf16 before and after (docs/speed.md, "Measured: world", same machine)
COMPILED_SHARE = 118 / 141
MAX_KINDS = 1000  # of blocks of one class, by shape, in one process


class Compiled:
    """A network whose blocks run as compiled code while `running`."""

    def __init__(self, network: nn.Module, taps: Sequence[str]):
        """Args:
        network: eager outside of `running`.
        taps: modules whose outputs are read; nothing inside of a compiled block can be.
        """
        # what torch remarks on diffusers' code is no news to who trains
        warnings.filterwarnings("ignore", module=r"torch\._dynamo\.|torch\._inductor\.")
        self._blocks = [
            (block, _with_attention(torch.compile(block.forward, dynamic=False)))
            for block in blocks(network, taps).values()
        ]

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """Inside the context the blocks are compiled code; a backward pass that computes them again belongs inside."""
        from torch._dynamo import config
        from torch._dynamo.exc import TorchDynamoException
        from torch._inductor.exc import InductorError

        before = [vars(block).get("forward") for block, _ in self._blocks]
        try:
            for block, forward in self._blocks:
                block.forward = forward  # type: ignore[method-assign]
            # blocks of one class share code where their shapes are alike; torch would give up after eight that are not
            with config.patch(recompile_limit=MAX_KINDS, accumulated_recompile_limit=MAX_KINDS):
                yield
        except (TorchDynamoException, InductorError) as error:
            raise UserError(f"torch.compile failed: {_first_line(error)}; set train.compile=false") from error
        finally:
            for (block, _), own in zip(self._blocks, before, strict=True):
                vars(block).pop("forward", None)
                if own is not None:
                    block.forward = own


def _with_attention(forward: Callable[..., Any]) -> Callable[..., Any]:
    """The compiled forward, its attention computed as suits compiled code, also where a checkpoint runs it again."""

    @functools.wraps(forward)
    def called(*args: Any, **named: Any) -> Any:
        with CompiledAttention():
            return forward(*args, **named)

    return called


def compiled_of(network: nn.Module, arms: Sequence[Arm]) -> list[Compiled]:
    """The teacher's network and those of all students, compiled."""
    pupils = [bare(arm.pupil) for arm in arms]
    asked = Compiled(network, [pair.teacher for pupil in pupils for pair in pupil.pairs])
    return [asked, *(Compiled(pupil.network, [pair.student for pair in pupil.pairs]) for pupil in pupils)]


def blocks(network: nn.Module, taps: Sequence[str]) -> dict[str, nn.Module]:
    """The modules of a network to compile each by itself, by name: as large as they can be with no tap inside.

    The network itself is none of them: its parts are what repeats. A module whose parts have no parts of their own is
    left as it is; there is too little in it to be fused.

    Args:
        network: whose modules they are.
        taps: names of modules, each with or without the number of an element.
    """
    inside = [name.partition(":")[0] for name in taps]

    def of(module: nn.Module, path: str) -> Iterator[tuple[str, nn.Module]]:
        for name, child in module.named_children():
            whole = f"{path}{name}"
            is_list = isinstance(child, nn.ModuleList | nn.ModuleDict)
            if is_list or any(tap.startswith(f"{whole}.") for tap in inside):
                yield from of(child, f"{whole}.")
            elif any(True for part in child.children() if next(part.children(), None) is not None):
                yield whole, child

    return dict(of(network, ""))


def num_kinds(network: nn.Module, taps: Sequence[str]) -> int:
    """How many blocks have code of their own: those of one class and with parameters of the same shapes share it.

    Inputs of several shapes, which have code of their own as well, are not seen here.

    Args:
        network: as for `blocks`; one on the meta device will do.
        taps: as for `blocks`.
    """
    return len(
        {
            (type(block), tuple((name, tuple(p.shape)) for name, p in block.named_parameters()))
            for block in blocks(network, taps).values()
        }
    )


def is_asked_for(compile: bool | str, steps: int) -> bool:
    """Whether a run of so many steps compiles where nothing is in the way."""
    return steps >= AUTO_STEPS if compile == "auto" else bool(compile)


def is_compiled(options: TrainOptions, device: torch.device, *, before: Path) -> bool:
    """Whether a run compiles its networks: as it was asked, or, for "auto", where it pays and can be done.

    Args:
        options: of the run.
        device: where it trains.
        before: the log of the run; one that was "auto" goes on as it was started.

    Raises:
        UserError: it is asked for, and torch.compile does not work here.
    """
    wanted, is_sharded = options.compile, processes.is_sharded() or holds_shares()
    if wanted is True and is_sharded:
        raise UserError(
            "got train.compile=true together with FSDP or ZeRO 3, with which it was not tried; leave train.compile out"
        )
    if wanted == "auto":
        started = Log(before).started_with()
        is_worth_it = is_asked_for("auto", options.steps) and not is_sharded
        wanted = is_worth_it if started is None else bool(started.get("compile"))
        if started is None and wanted and (why := why_not(device)):
            warnings.warn(f"the networks are not compiled, for torch.compile does not work here: {why}", stacklevel=2)
            return False
    if wanted and (why := why_not(device)):
        raise UserError(
            f"got train.compile={str(options.compile).lower()}, but torch.compile does not work here: {why}; install a "
            "C++ compiler (g++), or leave train.compile out"
        )
    return bool(wanted)


def why_not(device: torch.device) -> str:
    """What keeps torch.compile from working for this device, in one line; "" if nothing does."""
    try:
        with torch.no_grad():
            torch.compile(_tried, dynamic=False)(torch.ones(8, device=device))
    except Exception as error:  # whatever a compiler, its absence or a disk may raise
        return _first_line(error)
    return ""


def _first_line(error: Exception) -> str:
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)


def _tried(x: torch.Tensor) -> torch.Tensor:
    return x.sin() + 1
