"""Elastic blocks: they hold the weights of the largest block of a place and compute any smaller one of its kind with
the leading part of them.

What is computed is read off the operations of the smaller block, so any kind of block has an elastic one. The names of
the weights are those of the static block (:mod:`compofa.supernet.static`). Sources: elastic kernels, depths and widths
are those of OFA (arXiv:1908.09791, section 3.2).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from compofa.blocks import Block
from compofa.blocks.operations import INPUT, Convolution, FullyConnected, LayerNorm, Operation
from compofa.errors import InputError
from compofa.supernet.static import BN_EPS, BN_MOMENTUM, StaticBlock, channel_norm, layer_path, norm_path

MATRICES = "matrices"


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


class ElasticBlock(StaticBlock):
    """The largest block of a place, computing any smaller one.

    A smaller kernel is the centre of the next larger one times a square matrix over its positions, one matrix per layer
    and step shared by all channels, the identity to begin with. Without `kernel_transform` it is the bare centre
    (CompOFA's published training).

    Args:
        block: the largest block of the place.
        smaller: all others that it may be.
        kernel_transform: learn the matrices that turn a kernel into a smaller one.
        bn_eps: of batch norm.

    Raises:
        InputError: one of `smaller` has other operations.
    """

    norm_class = ElasticBatchNorm

    def __init__(
        self,
        block: Block,
        smaller: Sequence[Block] = (),
        kernel_transform: bool = True,
        bn_eps: float = BN_EPS,
    ) -> None:
        super().__init__(block, bn_eps=bn_eps)
        self._kernels: dict[str, list[int]] = {}
        for name, sizes in self._sizes(smaller).items():
            self._kernels[name] = sorted(sizes, reverse=True)
            if kernel_transform and len(sizes) > 1:
                matrices = {str(k): nn.Parameter(torch.eye(k**2)) for k in self._kernels[name][1:]}
                self._place(f"{name}.{MATRICES}", nn.ParameterDict(matrices))

    def _sizes(self, smaller: Sequence[Block]) -> dict[str, set[int]]:
        """The kernels of each convolution."""
        sizes: dict[str, set[int]] = {}
        names = [operation.name for operation in self.block.operations]
        for block in (self.block, *smaller):
            if [operation.name for operation in block.operations] != names:
                raise InputError(
                    f"no weights can be shared by {self.block} and {block}: they are made of different operations"
                )
            for operation in block.operations:
                if isinstance(operation, Convolution):
                    sizes.setdefault(operation.name, set()).add(operation.kernel)
        return sizes

    def forward(self, x: Tensor, block: Block | None = None) -> Tensor:
        """What `block`, one of the place's, computes with the shared weights; the largest unless given."""
        values = {INPUT: x}
        for operation in (block or self.block).operations:
            inputs = [values[name] for name in operation.inputs]
            compute = _ELASTIC.get(type(operation))
            if compute:
                values[operation.name] = compute(self, operation, *inputs)
            else:
                (value,) = (step(*inputs) for step in self.computes(operation))
                values[operation.name] = value
        return values[operation.name]

    # --- active weights ---

    def active_kernel(self, operation: Convolution) -> Tensor:
        """The (out, in / groups, kernel, kernel) filter of a smaller block's convolution."""
        out, fan, kernel, _ = operation.weights[f"{operation.name}.weight"]
        weight = self.layer_of(operation).weight[:out, :fan]
        for size in self._kernels[operation.name][1:]:
            if size < kernel:
                break
            edge = (weight.shape[-1] - size) // 2
            weight = weight[:, :, edge : edge + size, edge : edge + size]
            if (matrix := self._matrix(operation.name, size)) is not None:
                weight = F.linear(weight.reshape(out, fan, -1), matrix).view(out, fan, size, size)
        return weight.contiguous()

    def _matrix(self, name: str, size: int) -> Tensor | None:
        at: Any = self
        for part in (*name.split("."), MATRICES):
            at = getattr(at, part, None)
        return None if at is None else at[str(size)]

    def _convolve(self, operation: Convolution, x: Tensor) -> Tensor:
        layer, out = self.layer_of(operation), operation.out_channels
        bias = None if layer.bias is None else layer.bias[:out]
        weight = self.active_kernel(operation)
        y = F.conv2d(x, weight, bias, operation.stride, operation.kernel // 2, groups=operation.groups)
        return self.norm_of(operation)(y) if operation.affine == "norm" else y

    def _connect(self, operation: FullyConnected, x: Tensor) -> Tensor:
        layer = self.layer_of(operation)
        return F.linear(self.drop(x), layer.weight[:, : x.shape[1]], layer.bias)

    def _normalise_channels(self, operation: LayerNorm, x: Tensor) -> Tensor:
        layer, c = self.get_submodule(operation.name), x.shape[1]
        return channel_norm(x, layer.weight[:c], layer.bias[:c])  # type: ignore[index]

    def static_state(self, block: Block) -> dict[str, Tensor]:
        """The active weights and statistics under the names of a static block's state."""
        state: dict[str, Tensor] = {}
        for operation in block.operations:
            if isinstance(operation, Convolution):
                state[f"{layer_path(operation)}.weight"] = self.active_kernel(operation)
                if (bias := self.layer_of(operation).bias) is not None:
                    state[f"{layer_path(operation)}.bias"] = bias[: operation.out_channels]
                if operation.affine == "norm":
                    for name, value in self.norm_of(operation).state_dict().items():
                        active = value[: operation.out_channels] if value.ndim else value
                        state[f"{norm_path(operation)}.{name}"] = active
            else:
                for name, shape in operation.weights.items():
                    whole = self.get_parameter(name)
                    state[name] = whole[tuple(slice(size) for size in shape)]
        return state


_ELASTIC: dict[type[Operation], Callable[..., Tensor]] = {
    Convolution: ElasticBlock._convolve,
    FullyConnected: ElasticBlock._connect,
    LayerNorm: ElasticBlock._normalise_channels,
}
"""What computes an operation that has weights with the leading part of them."""
