"""The supernet: one set of weights from which every subnet of a family is cut."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from compofa.arch import Arch, arch_blocks, check_arch, head_blocks, slot_block, tail_blocks
from compofa.families import Family
from compofa.layers import ElasticMBConv
from compofa.static import StaticBlock, build_network


class Supernet(nn.Module):
    """All subnets of `family` with shared weights.

    Args:
        family: the skeleton.
        kernel_transform: learn the matrices that turn a kernel into a smaller one (OFA); without them a
            smaller kernel is the centre of the larger (CompOFA's published training).
        dropout: before the classifier, while training.
    """

    def __init__(self, family: Family, kernel_transform: bool = True, dropout: float = 0.0) -> None:
        super().__init__()
        self.family = family
        self.kernel_transform = kernel_transform
        resolution = max(family.resolutions)
        kernel, expand = max(family.kernels), max(family.expands)
        self.head = build_network(head_blocks(family, resolution))
        self.units = nn.ModuleList(
            nn.ModuleList(
                ElasticMBConv(
                    slot_block(family, resolution, unit, position, kernel, expand),
                    family.kernels,
                    kernel_transform,
                )
                for position in range(family.max_depth)
            )
            for unit in range(len(family.units))
        )
        self.tail = build_network(tail_blocks(family, resolution))
        self.set_dropout(dropout)
        self._initialise()

    def set_dropout(self, probability: float) -> None:
        """Drop features before the classifier with `probability` while training."""
        classifier = self.tail[-1]
        assert isinstance(classifier, StaticBlock)
        classifier.dropout = probability

    def _initialise(self) -> None:
        """He initialisation by fan-out for convolutions, as the papers; zero biases.

        The last BN of a block with a shortcut starts at zero, so that a deep subnet begins as a shallow
        one (Goyal et al., arXiv:1706.02677): without it the glyphs teacher does not leave chance level
        within 500 steps.
        """
        for block in self.elastic_blocks():
            if block.shortcut:
                nn.init.zeros_(block.project_bn.weight)
        for name, parameter in self.named_parameters():
            if parameter.ndim == 4:
                nn.init.kaiming_normal_(parameter, mode="fan_out", nonlinearity="relu")
                if "depthwise" in name:
                    # fan-out of a depthwise filter is its own area, not channels x area
                    nn.init.normal_(parameter, 0.0, (2.0 / parameter[0].numel()) ** 0.5)
            elif name.endswith("linear.weight"):
                nn.init.uniform_(parameter, -(parameter.shape[0] ** -0.5), parameter.shape[0] ** -0.5)
            elif name.endswith(".bias") and "bn" not in name:
                nn.init.zeros_(parameter)

    def forward(self, x: Tensor, arch: Arch) -> Tensor:
        """Logits of subnet `arch`: (n, in_channels, side, side) -> (n, classes).

        The side is the input's: `arch.resolution` is not enforced.

        Raises:
            InvalidArch: the family does not hold `arch`.
        """
        check_arch(self.family, arch)
        x = self.head(x)
        for unit, choices in zip(self.units, arch.units, strict=True):
            assert isinstance(unit, nn.ModuleList)
            for block, (kernel, expand) in zip(unit, choices, strict=False):
                x = block(x, kernel, expand)
        return self.tail(x)

    def extract(self, arch: Arch) -> nn.Sequential:
        """A static network with a copy of the subnet's weights and BN statistics.

        The statistics are the supernet's, of other subnets too: recalibrate them before evaluating
        (:func:`compofa.evaluate.recalibrate`).
        """
        network = build_network(arch_blocks(self.family, arch))
        states: list[dict[str, Tensor]] = [module.state_dict() for module in self.head]
        for unit, choices in zip(self.units, arch.units, strict=True):
            assert isinstance(unit, nn.ModuleList)
            for block, choice in zip(unit, choices, strict=False):
                assert isinstance(block, ElasticMBConv)
                states.append(block.static_state(*choice))
        states += [module.state_dict() for module in self.tail]
        for module, state in zip(network, states, strict=True):
            module.load_state_dict(state)
        return network

    def elastic_blocks(self) -> list[ElasticMBConv]:
        """The elastic blocks, slot by slot."""
        return [module for module in self.modules() if isinstance(module, ElasticMBConv)]

    def sort_hidden(self, keep_expands: Sequence[int] = ()) -> None:
        """Sort every elastic block's hidden channels (:meth:`ElasticMBConv.sort_hidden`)."""
        for block in self.elastic_blocks():
            block.sort_hidden(keep_expands)
