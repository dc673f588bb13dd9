"""A moving average of the weights, which often is better than the last ones."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class WeightAverage:
    """The exponential moving average of a network's state over the steps of a stage.

    Args:
        network: whose state; the average begins as that.
        decay: how much of the average stays in each step.
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        self.decay = decay
        self.state = {name: value.detach().clone() for name, value in network.state_dict().items()}

    @torch.no_grad()
    def update(self, network: nn.Module) -> None:
        """Take the network's present state in."""
        for name, value in network.state_dict().items():
            average = self.state[name]
            if average.is_floating_point():
                average.lerp_(value, 1 - self.decay)
            else:
                average.copy_(value)

    def load(self, state: dict[str, Tensor]) -> None:
        """Go on from the state of an average."""
        for name, value in state.items():
            self.state[name].copy_(value)
