"""The moving average of a network's weights, in one pass over them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from diffusers.training_utils import EMAModel
from torch import nn

from condistill import processes


class Average(EMAModel):
    """diffusers' moving average, taken by one interpolation in place.

    diffusers' own way by foreach goes over the weights twice and holds a second copy of all of them meanwhile.
    """

    @torch.no_grad()
    def step(self, parameters: Iterable[nn.Parameter]) -> None:
        """average += (1 - decay) (weights - average), with the decay that diffusers' rule gives for this step.

        Args:
            parameters: all of the network's, in the order that it was made with; all of them train.
        """
        if processes.is_zero():  # diffusers knows how DeepSpeed's shares are gathered
            super().step(parameters)
            return
        self.optimization_step += 1
        decay: Any = self.get_decay(self.optimization_step)
        self.cur_decay_value = decay
        torch._foreach_lerp_(list(self.shadow_params), list(parameters), 1.0 - decay)
