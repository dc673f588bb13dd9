"""The supernet: one set of weights from which every subnet of a family is cut."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import lru_cache

from torch import Tensor, nn

from compofa.blocks import Block
from compofa.blocks.operations import INPUT, Add, Convolution
from compofa.network import Frame, frame, place_blocks
from compofa.spaces.arch import Arch, check_arch, extreme
from compofa.spaces.family import Choice, Family, Unit
from compofa.supernet.elastic import ElasticBlock
from compofa.supernet.sorting import sort_channels
from compofa.supernet.static import build_network

REMEMBERED = 4096
"""Subnets whose blocks are kept."""


class Supernet(nn.Module):
    """All subnets of `family` with shared weights.

    Args:
        family: the skeleton.
        kernel_transform: learn the matrices that turn a kernel into a smaller one (OFA); without them a smaller kernel
            is the centre of the larger (CompOFA's published training).
        dropout: before the classifier, while training.

    Raises:
        InputError: blocks that are to share weights are made of different operations.
    """

    def __init__(self, family: Family, kernel_transform: bool = True, dropout: float = 0.0) -> None:
        super().__init__()
        self.family = family
        self.kernel_transform = kernel_transform
        around = frame(family, family.resolutions[-1])
        self.head = self._fixed([around.before])
        self.units = nn.ModuleList(self._unit(around, number) for number in range(len(family.elastic_units)))
        self.between = nn.ModuleList(self._fixed(widths) for widths in around.after[:-1])
        self.tail = self._fixed(around.after[-1])
        self._blocks = lru_cache(REMEMBERED)(self._network)
        self.set_dropout(dropout)
        self._initialise()

    def _fixed(self, by_width: Sequence[Sequence[Block]]) -> nn.ModuleList:
        """Blocks that every subnet has, at each width before them."""
        *narrower, widest = by_width
        places = zip(widest, *narrower, strict=True)
        return nn.ModuleList(self._place(block, others) for block, *others in places)

    def _unit(self, around: Frame, number: int) -> nn.ModuleList:
        unit = self.family.elastic_units[number]
        widths = range(len(unit.width_mults))
        before = range(len(around.shapes[number]))
        places = []
        for position in range(unit.max_depth):
            # Choices, widths and widths before all ascend.
            *smaller, largest = (
                around.block(number, position, choice, width, earlier)
                for earlier, width, choice in itertools.product(before, widths, unit.choices)
            )
            places.append(self._place(largest, smaller))
        return nn.ModuleList(places)

    def _place(self, block: Block, smaller: Sequence[Block]) -> ElasticBlock:
        return ElasticBlock(block, smaller, self.kernel_transform, self.family.bn_eps)

    def places(self) -> Iterator[ElasticBlock]:
        """Every block, in order."""
        return (module for module in self.modules() if isinstance(module, ElasticBlock))

    def set_dropout(self, probability: float) -> None:
        """Drop features before the classifier with `probability` while training."""
        for place in self.places():
            place.dropout = probability

    def _initialise(self) -> None:
        """He initialisation by fan-out for convolutions, as the papers; zero biases.

        The last BN of a block with a shortcut starts at zero, so that a deep subnet begins as a shallow one (Goyal et
        al., arXiv:1706.02677): without it the glyphs teacher does not leave chance level within 500 steps.
        """
        for place in self.places():
            for operation in place.block.operations:
                if isinstance(operation, Convolution) and operation.depthwise:
                    weight = place.layer_of(operation).weight
                    # fan-out of a depthwise filter is its own area, not channels x area
                    nn.init.normal_(weight, 0.0, (2.0 / weight[0].numel()) ** 0.5)
                elif isinstance(operation, Convolution):
                    weight = place.layer_of(operation).weight
                    nn.init.kaiming_normal_(weight, mode="fan_out", nonlinearity="relu")
                if isinstance(operation, Add) and operation.inputs[1] == INPUT:
                    _zero_last_norm(place, operation.inputs[0])
        for name, parameter in self.named_parameters():
            if name.endswith("linear.weight"):
                nn.init.uniform_(parameter, -(parameter.shape[0] ** -0.5), parameter.shape[0] ** -0.5)
            elif name.endswith(".bias") and ".bn." not in f".{name}":
                nn.init.zeros_(parameter)

    # --- subnets ---

    def forward(self, x: Tensor, arch: Arch) -> Tensor:
        """Logits of subnet `arch`: (n, in_channels, side, side) -> (n, classes).

        The side is the input's: `arch.resolution` is not enforced.

        Raises:
            InvalidArch: the family does not hold `arch`.
        """
        for place, block in self.active(arch):
            x = place(x, block)
        return x

    def active(self, arch: Arch) -> list[tuple[ElasticBlock, Block]]:
        """Each place that `arch` uses, with the block that it is there; shapes are those of the largest resolution.

        Raises:
            InvalidArch: the family does not hold `arch`.
        """
        check_arch(self.family, arch)
        return self._blocks(replace(arch, resolution=self.family.resolutions[-1]))

    def _network(self, arch: Arch) -> list[tuple[ElasticBlock, Block]]:
        found, elastic = [], -1
        fixed: Iterator[nn.Module] = iter(self.head)
        for (number, position), block in place_blocks(self.family, arch):
            if self.family.units[number].elastic:
                if position == 0:
                    elastic += 1
                    fixed = iter(self.after(elastic))
                place = _list(self.units[elastic])[position]
            else:
                place = next(fixed)
            assert isinstance(place, ElasticBlock)
            found.append((place, block))
        return found

    def after(self, elastic: int) -> nn.ModuleList:
        """The fixed blocks after an elastic unit."""
        return self.tail if elastic == len(self.units) - 1 else _list(self.between[elastic])

    def extract(self, arch: Arch) -> nn.Sequential:
        """A static network with a copy of the subnet's weights and BN statistics.

        The statistics are the supernet's, of other subnets too: recalibrate them before evaluating
        (:func:`compofa.recalibration.recalibrate`).

        Raises:
            InvalidArch: the family does not hold `arch`.
        """
        check_arch(self.family, arch)
        blocks = [block for _, block in place_blocks(self.family, arch)]
        network = build_network(blocks, self.family.bn_eps)
        for module, block, (place, _) in zip(network, blocks, self.active(arch), strict=True):
            module.load_state_dict(place.static_state(block))
        return network

    def sort_hidden(self, keep_expands: Sequence[float] = ()) -> None:
        """Sort the channels inside every elastic block (:func:`compofa.supernet.sorting.sort_channels`).

        Args:
            keep_expands: expand ratios already trained.
        """
        kept = [self.active(arch) for arch in self._largest_with(keep_expands)]
        blocks: dict[int, list[Block]] = {}
        for place, block in itertools.chain(*kept):
            blocks.setdefault(id(place), []).append(block)
        for unit in self.units:
            for module in _list(unit):
                assert isinstance(module, ElasticBlock)
                sort_channels(module, blocks.get(id(module), ()))

    def _largest_with(self, expands: Sequence[float]) -> Iterator[Arch]:
        """The largest subnet with each of some expand ratios."""
        whole = extreme(self.family, largest=True)
        for expand in expands:
            units = tuple(
                tuple(_with_expand(unit, choice, expand) for choice in chosen)
                for unit, chosen in zip(self.family.elastic_units, whole.units, strict=True)
            )
            yield replace(whole, units=units)


def _with_expand(unit: Unit, choice: Choice, expand: float) -> Choice:
    """A choice with another expand ratio, where its unit has one."""
    return tuple(expand if axis.name == "expand" else v for axis, v in zip(unit.axes, choice, strict=True))


def _list(module: nn.Module) -> nn.ModuleList:
    assert isinstance(module, nn.ModuleList)
    return module


def _zero_last_norm(place: ElasticBlock, value: str) -> None:
    """Zero the scale of the norm that gives `value`, if a convolution with one does."""
    for operation in place.block.operations:
        if operation.name == value and isinstance(operation, Convolution) and operation.affine == "norm":
            nn.init.zeros_(place.norm_of(operation).weight)
