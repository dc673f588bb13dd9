"""BN statistics of a subnet: it shares them with all others while the supernet trains, so that they fit none."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn


@torch.no_grad()
def recalibrate(
    network: nn.Module, batches: Sequence[Tensor] | Iterable[Tensor], images: int | None = None
) -> None:
    """Replace all BN statistics by those of `batches`, each (n, channels, side, side), looked at one at a time.

    As in the reference implementation (``set_running_statistics``; OFA, section 3.2) they are the mean over the
    batches, weighted by images, of each batch's mean and *biased* variance, and every batch is normalised by its own.
    Dropout stays off. Leaves the network in evaluation mode.

    Args:
        network: whose.
        batches: of images.
        images: in all batches; needed where they are no sequence.
    """
    if images is None:
        assert isinstance(batches, Sequence)
        images = sum(map(len, batches))
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    network.eval()
    averages = [_AveragedNorm(norm, images) for norm in norms]
    for x in batches:
        network(x)
    for average in averages:
        average.finish()


class _AveragedNorm:
    """A BN layer while its statistics are averaged over batches of `images` in all."""

    def __init__(self, norm: nn.BatchNorm2d, images: int) -> None:
        self.norm, self.images, self.momentum = norm, images, norm.momentum
        norm.reset_running_stats()
        assert norm.running_mean is not None and norm.running_var is not None
        self.mean, self.var = torch.zeros_like(norm.running_mean), torch.zeros_like(norm.running_var)
        norm.momentum = 1.0  # the running statistics are then the last batch's
        self.hooks = (norm.register_forward_pre_hook(self._before), norm.register_forward_hook(self._after))

    def _before(self, norm: nn.Module, inputs: tuple[Tensor]) -> None:
        (x,) = inputs
        self.norm.train(x.numel() > x.shape[1])
        if not self.norm.training:  # one value a channel, which torch does not normalise by itself
            self.norm.running_mean.copy_(x.flatten())  # type: ignore[union-attr]
            self.norm.running_var.zero_()  # type: ignore[union-attr]

    def _after(self, norm: nn.Module, inputs: tuple[Tensor], output: Tensor) -> None:
        (x,) = inputs
        values = x.numel() // x.shape[1]
        share = len(x) / self.images
        assert self.norm.running_mean is not None and self.norm.running_var is not None
        self.mean += share * self.norm.running_mean
        # torch keeps the unbiased variance
        self.var += share * (values - 1) / values * self.norm.running_var

    def finish(self) -> None:
        for hook in self.hooks:
            hook.remove()
        self.norm.running_mean.copy_(self.mean)  # type: ignore[union-attr]
        self.norm.running_var.copy_(self.var)  # type: ignore[union-attr]
        self.norm.momentum = self.momentum
        self.norm.eval()
