"""What BN goes by while a supernet trains."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from compofa.supernet.static import BN_MOMENTUM
from compofa.world import World


def at_least_single(x: Tensor) -> Tensor:
    """`x` in float32, or better where it is."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def normalise_by_batch(network: nn.Module) -> None:
    """Evaluation mode, but for BN, which goes by each batch's own statistics.

    The running ones are a mix over all resolutions and fit none: with them the glyphs teacher is right on
    14 % of the test images at 16 px, with the batch's on 60 %.
    """
    network.eval()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.train()


def synchronise(network: nn.Module, world: World) -> None:
    """Let the BN layers of a network in training normalise by the batch of all processes together.

    torch's own ``SyncBatchNorm`` runs on CUDA only and knows no elastic widths.
    """
    if world.size > 1:
        for module in network.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.forward = partial(_synchronised, module, world)  # type: ignore[method-assign]


def _synchronised(norm: nn.BatchNorm2d, world: World, x: Tensor) -> Tensor:
    """(n, c, h, w), of which this process holds n images and others the rest; `norm` may have more channels than c."""
    c = x.shape[1]
    assert norm.running_mean is not None and norm.running_var is not None
    values = at_least_single(x)
    count = _total(values.new_tensor([x.numel() // c]), world)
    # Two passes: the difference of the squares' mean and the mean's square loses all digits where the mean is large.
    mean = _total(values.sum((0, 2, 3)), world) / count
    centred = values - mean.view(1, c, 1, 1)
    variance = _total((centred * centred).sum((0, 2, 3)), world) / count
    with torch.no_grad():
        norm.running_mean[:c].lerp_(mean, BN_MOMENTUM)
        norm.running_var[:c].lerp_(variance * count / (count - 1), BN_MOMENTUM)
    scale = norm.weight[:c] * (variance + norm.eps).rsqrt()
    return (centred * scale.view(1, c, 1, 1) + norm.bias[:c].view(1, c, 1, 1)).to(x.dtype)


class _Total(torch.autograd.Function):
    """The sum over all processes: each one's values are part of what all compute, so gradients add up, too."""

    @staticmethod
    def forward(context: Any, values: Tensor, world: World) -> Tensor:
        context.world = world
        total = values.clone()
        world.sum(total)
        return total

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> tuple[Tensor, None]:
        total = gradient.contiguous().clone()
        context.world.sum(total)
        return total, None


def _total(values: Tensor, world: World) -> Tensor:
    total: Tensor = _Total.apply(values, world)
    return total
