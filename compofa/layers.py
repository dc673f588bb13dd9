"""Elastic layers: they hold the weights of the largest block and compute with the leading part that a (kernel,
expand ratio) asks for. :mod:`compofa.static` has their static counterparts.

Sources: elastic kernels, depths and widths, and their order, are those of OFA (arXiv:1908.09791, section
3.2); the depthwise part runs convolution, BN, activation, squeeze-and-excitation, as MobileNetV3 does.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from compofa.blocks import Block, make_divisible
from compofa.static import ACTIVATIONS, BN_EPS, BN_MOMENTUM


class SqueezeExcite(nn.Module):
    """Channel gate: mean over pixels, two 1x1 convolutions with biases, ReLU between, hard sigmoid."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        squeeze = make_divisible(channels / 4)
        self.reduce = nn.Conv2d(channels, squeeze, 1)
        self.expand = nn.Conv2d(squeeze, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        gate = self.expand(F.relu(self.reduce(x.mean((2, 3), keepdim=True))))
        return x * F.hardsigmoid(gate)


class ElasticBatchNorm(nn.BatchNorm2d):
    """BN over as many leading channels as the input has; they share their statistics with wider inputs."""

    def forward(self, x: Tensor) -> Tensor:
        c = x.shape[1]
        assert self.running_mean is not None and self.running_var is not None
        return F.batch_norm(
            x,
            self.running_mean[:c],
            self.running_var[:c],
            self.weight[:c],
            self.bias[:c],
            self.training,
            BN_MOMENTUM,
            self.eps,
        )


class ElasticDepthwise(nn.Module):
    """Depthwise convolution with an elastic kernel, on the leading channels of the largest.

    A smaller kernel is the centre of the next larger one times a square matrix over its positions, one
    matrix per layer and step shared by all channels, the identity to begin with. Without
    `kernel_transform` it is the bare centre (CompOFA's published training).
    """

    def __init__(self, channels: int, kernels: Sequence[int], stride: int, kernel_transform: bool) -> None:
        super().__init__()
        self.kernels = sorted(kernels, reverse=True)
        self.stride = stride
        self.weight = nn.Parameter(torch.empty(channels, 1, self.kernels[0], self.kernels[0]))
        self.matrices = nn.ParameterDict()
        if kernel_transform:
            for kernel in self.kernels[1:]:
                self.matrices[str(kernel)] = nn.Parameter(torch.eye(kernel**2))

    def active_weight(self, channels: int, kernel: int) -> Tensor:
        """The (channels, 1, kernel, kernel) filter."""
        weight = self.weight[:channels]
        for size in self.kernels[1 : self.kernels.index(kernel) + 1]:
            edge = (weight.shape[-1] - size) // 2
            weight = weight[:, :, edge : edge + size, edge : edge + size]
            if str(size) in self.matrices:
                weight = F.linear(weight.reshape(channels, 1, -1), self.matrices[str(size)])
                weight = weight.view(channels, 1, size, size)
        return weight.contiguous()

    def forward(self, x: Tensor, kernel: int) -> Tensor:
        channels = x.shape[1]
        weight = self.active_weight(channels, kernel)
        return F.conv2d(x, weight, None, self.stride, kernel // 2, groups=channels)


class ElasticMBConv(nn.Module):
    """The largest inverted residual block of a slot, computing any smaller one.

    Args:
        block: the largest block of the slot.
        kernels: elastic kernels.
        kernel_transform: learn the matrices that turn a kernel into a smaller one.
    """

    def __init__(self, block: Block, kernels: Sequence[int], kernel_transform: bool) -> None:
        super().__init__()
        self.in_channels, hidden = block.in_shape[0], block.hidden_channels
        self.act, self.shortcut = block.act, block.shortcut
        self.expand_weight = nn.Parameter(torch.empty(hidden, self.in_channels, 1, 1))
        self.expand_bn = ElasticBatchNorm(hidden, BN_EPS, BN_MOMENTUM)
        self.depthwise = ElasticDepthwise(hidden, kernels, block.stride, kernel_transform)
        self.depthwise_bn = ElasticBatchNorm(hidden, BN_EPS, BN_MOMENTUM)
        self.se = SqueezeExcite(hidden) if block.se else None
        self.project_weight = nn.Parameter(torch.empty(block.out_channels, hidden, 1, 1))
        self.project_bn = nn.BatchNorm2d(block.out_channels, BN_EPS, BN_MOMENTUM)

    def hidden(self, expand: int) -> int:
        """Hidden channels at an expand ratio."""
        return make_divisible(self.in_channels * expand)

    def forward(self, x: Tensor, kernel: int, expand: int) -> Tensor:
        act, hidden = ACTIVATIONS[self.act], self.hidden(expand)
        y = act(self.expand_bn(F.conv2d(x, self.expand_weight[:hidden])))
        y = act(self.depthwise_bn(self.depthwise(y, kernel)))
        if self.se:
            y = y * F.hardsigmoid(self._gate(y.mean((2, 3), keepdim=True)))
        y = self.project_bn(F.conv2d(y, self.project_weight[:, :hidden]))
        return x + y if self.shortcut else y

    def _gate(self, pooled: Tensor) -> Tensor:
        assert self.se
        hidden = pooled.shape[1]
        squeeze = make_divisible(hidden / 4)
        reduce, expand = self.se.reduce, self.se.expand
        assert reduce.bias is not None and expand.bias is not None
        y = F.relu(F.conv2d(pooled, reduce.weight[:squeeze, :hidden], reduce.bias[:squeeze]))
        return F.conv2d(y, expand.weight[:hidden, :squeeze], expand.bias[:hidden])

    def static_state(self, kernel: int, expand: int) -> dict[str, Tensor]:
        """The active weights and statistics under the names of a static :class:`MBConv`'s state."""
        hidden = self.hidden(expand)
        squeeze = make_divisible(hidden / 4)
        state = {
            "expand.conv.weight": self.expand_weight[:hidden],
            "depthwise.conv.weight": self.depthwise.active_weight(hidden, kernel),
            "project.conv.weight": self.project_weight[:, :hidden],
        }
        if self.se:
            for name, rows, columns in (("reduce", squeeze, hidden), ("expand", hidden, squeeze)):
                conv = getattr(self.se, name)
                state[f"se.{name}.weight"] = conv.weight[:rows, :columns]
                state[f"se.{name}.bias"] = conv.bias[:rows]
        batch_norms = (
            ("expand", self.expand_bn, hidden),
            ("depthwise", self.depthwise_bn, hidden),
            ("project", self.project_bn, None),
        )
        for part, bn, channels in batch_norms:
            for name, value in bn.state_dict().items():
                state[f"{part}.bn.{name}"] = value[:channels] if value.ndim else value
        return state

    @torch.no_grad()
    def sort_hidden(self, keep_expands: Sequence[int] = ()) -> None:
        """Reorder hidden channels by falling importance, so that a narrower block takes the best ones.

        Importance is the L1 norm of the project convolution's weights from that channel; the squeeze's
        channels are sorted likewise. The function of the full-width block is unchanged.

        Args:
            keep_expands: widths already trained: a channel stays within the narrowest of them that holds it.
        """
        importance = self.project_weight.abs().sum((0, 2, 3))
        order: list[int] = []
        edges = [0, *sorted(self.hidden(e) for e in keep_expands), len(importance)]
        for low, high in pairwise(edges):
            ranked = torch.argsort(importance[low:high], descending=True, stable=True) + low
            order += ranked.tolist()
        index = torch.tensor(order)
        for tensor in (self.expand_weight, self.depthwise.weight):
            tensor.copy_(tensor[index])
        self.project_weight.copy_(self.project_weight[:, index])
        for bn in (self.expand_bn, self.depthwise_bn):
            for value in (bn.weight, bn.bias, bn.running_mean, bn.running_var):
                assert value is not None
                value.copy_(value[index])
        if self.se:
            self._sort_squeeze(self.se, index)

    @staticmethod
    def _sort_squeeze(se: SqueezeExcite, hidden_index: Tensor) -> None:
        reduce, expand = se.reduce, se.expand
        assert reduce.bias is not None and expand.bias is not None
        reduce.weight.copy_(reduce.weight[:, hidden_index])
        expand.weight.copy_(expand.weight[hidden_index])
        expand.bias.copy_(expand.bias[hidden_index])
        index = torch.argsort(expand.weight.abs().sum((0, 2, 3)), descending=True, stable=True)
        reduce.weight.copy_(reduce.weight[index])
        reduce.bias.copy_(reduce.bias[index])
        expand.weight.copy_(expand.weight[:, index])
