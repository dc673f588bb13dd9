"""The network that a subnet stands for: its blocks, from the image to the classifier."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

from compofa.blocks import Block
from compofa.spaces.arch import Arch, check_arch, width_index
from compofa.spaces.family import Choice, Family, Unit
from compofa.spaces.making import make_block

Shape = tuple[int, int, int]


def arch_blocks(family: Family, arch: Arch) -> tuple[Block, ...]:
    """The network of `arch`.

    Raises:
        InvalidArch: the family does not hold `arch`.
    """
    check_arch(family, arch)
    return tuple(block for _, block in place_blocks(family, arch))


def place_blocks(family: Family, arch: Arch) -> Iterator[tuple[tuple[int, int], Block]]:
    """Each block of a subnet that the family holds, after the number of its unit among all units of the family and its
    position in the unit."""
    shape: Shape = (family.in_channels, arch.resolution, arch.resolution)
    elastic = 0
    for number, unit in enumerate(family.units):
        chosen, width = fixed_choices(unit), 0
        if unit.elastic:
            chosen, width = arch.units[elastic], width_index(unit, arch.width(elastic))
            elastic += 1
        for position, choice in enumerate(chosen):
            block = make_block(family, unit, shape, position, choice, width)
            yield (number, position), block
            shape = block.out_shape


def fixed_choices(unit: Unit) -> tuple[Choice, ...]:
    """What every subnet has of a unit that is not elastic."""
    return unit.choices[:1] * unit.max_depth


# --- by place, for arrays over all subnets at once ---


@dataclass(frozen=True)
class Frame:
    """What stands around the elastic units at one resolution, and what each of their blocks may be.

    A block depends on its own choice, its unit's width and, if it is the first of its unit, the width before; and the
    fixed units behind an elastic one (pooling, the classifier) on that one's width.

    Args:
        family: whose.
        resolution: side of the images.
        shapes: per elastic unit and width before, the shape of its input.
        inner_shapes: per elastic unit and its width, the shape of what its blocks give.
        before: fixed blocks before the first elastic unit.
        after: per elastic unit and its width, the fixed blocks between it and the next.
    """

    family: Family
    resolution: int
    shapes: tuple[tuple[Shape, ...], ...]
    inner_shapes: tuple[tuple[Shape, ...], ...]
    before: tuple[Block, ...]
    after: tuple[tuple[tuple[Block, ...], ...], ...]

    def block(self, unit: int, position: int, choice: Choice, width: int = 0, before: int = 0) -> Block:
        """A block of an elastic unit.

        Args:
            unit: number among the elastic ones.
            position: in its unit.
            choice: a value of each of the unit's axes.
            width: which of the unit's widths.
            before: which width the elastic unit before it has.
        """
        spec = self.family.elastic_units[unit]
        shape = self.inner_shapes[unit][width] if position else self.shapes[unit][before]
        return make_block(self.family, spec, shape, position, choice, width)


@lru_cache(maxsize=256)
def frame(family: Family, resolution: int) -> Frame:
    """The frame of `family` at one resolution."""
    shapes: list[Shape] = [(family.in_channels, resolution, resolution)]
    inputs: list[tuple[Shape, ...]] = []
    inner: list[tuple[Shape, ...]] = []
    after: list[tuple[tuple[Block, ...], ...]] = []
    before: tuple[Block, ...] = ()
    fixed: list[tuple[Block, ...]] = [()]
    for unit in family.units:
        if not unit.elastic:
            more = [_chain(family, unit, shape) for shape in shapes]
            fixed = [one + two for one, two in zip(fixed, more, strict=True)]
            shapes = [blocks[-1].out_shape for blocks in more]
            continue
        if inputs:
            after.append(tuple(fixed))
        else:
            (before,) = fixed
        inputs.append(tuple(shapes))
        widths = range(len(unit.width_mults))
        shapes = [
            make_block(family, unit, shapes[0], 0, unit.choices[0], width).out_shape for width in widths
        ]
        inner.append(tuple(shapes))
        fixed = [() for _ in widths]
    after.append(tuple(fixed))
    return Frame(family, resolution, tuple(inputs), tuple(inner), before, tuple(after))


def _chain(family: Family, unit: Unit, shape: Shape) -> tuple[Block, ...]:
    blocks = []
    for position, choice in enumerate(fixed_choices(unit)):
        blocks.append(make_block(family, unit, shape, position, choice))
        shape = blocks[-1].out_shape
    return tuple(blocks)
