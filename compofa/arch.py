"""A subnet of a family: its resolution and what is chosen for each block; and the network that this stands for."""

from __future__ import annotations

import re
from dataclasses import dataclass

from compofa.blocks import Block, make_divisible
from compofa.errors import InputError
from compofa.families import Family

BlockChoice = tuple[int, int]
"""(kernel, expand ratio) of one elastic block."""
UnitChoice = tuple[BlockChoice, ...]
"""The active blocks of one unit."""


class InvalidArch(InputError):
    """A subnet that its family or space does not hold."""


@dataclass(frozen=True)
class Arch:
    """One subnet: input side in pixels and, per unit, (kernel, expand ratio) of each active block."""

    resolution: int
    units: tuple[UnitChoice, ...]

    @property
    def depths(self) -> tuple[int, ...]:
        return tuple(len(unit) for unit in self.units)

    def __str__(self) -> str:
        units = ("_".join(f"k{kernel}e{expand}" for kernel, expand in unit) for unit in self.units)
        return "-".join((f"r{self.resolution}", *units))

    @classmethod
    def parse(cls, text: str) -> Arch:
        """The subnet that `str` wrote, such as ``r32-k3e6_k5e4-k3e3_k3e3``.

        Raises:
            InvalidArch: the text is no subnet.
        """
        if not isinstance(text, str):
            raise InvalidArch(f"not a subnet: {_short(text)}; it reads like r32-k3e6_k5e4-k3e3_k3e3-...")
        head, *units = text.strip().split("-")
        if not (match := re.fullmatch(rf"r({_NUMBER})", head)) or not units:
            raise InvalidArch(f"not a subnet: {_short(text)}; it reads like r32-k3e6_k5e4-k3e3_k3e3-...")
        return cls(int(match[1]), tuple(_parse_unit(unit, text) for unit in units))


_NUMBER = "[0-9]{1,4}"


def _parse_unit(unit: str, text: str) -> UnitChoice:
    matches = [re.fullmatch(rf"k({_NUMBER})e({_NUMBER})", block) for block in unit.split("_")]
    if not all(matches):
        raise InvalidArch(f"not a subnet: {_short(text)}; its unit {_short(unit)} should read like k3e6_k5e4")
    return tuple((int(m[1]), int(m[2])) for m in matches if m)


def _short(value: object) -> str:
    """`value` as a message shows it: whole subnets fit, whole files do not."""
    text = repr(value)
    return text if len(text) <= 200 else f"{text[:200]}..."


def check_arch(family: Family, arch: Arch) -> None:
    """Raise InvalidArch unless `arch` is a subnet of `family`'s supernet."""
    if len(arch.units) != len(family.units):
        raise InvalidArch(f"{arch}: {family.name} has {len(family.units)} units, not {len(arch.units)}")
    try:
        family.check_resolution(arch.resolution)
    except ValueError as error:
        raise InvalidArch(f"{arch}: {error}") from error
    for unit in arch.units:
        if len(unit) not in family.depths:
            raise InvalidArch(f"{arch}: depth {len(unit)} is not among {family.depths}")
        for kernel, expand in unit:
            if kernel not in family.kernels or expand not in family.expands:
                raise InvalidArch(
                    f"{arch}: k{kernel}e{expand} is not of kernels {family.kernels}, expands {family.expands}"
                )


def extreme(family: Family, largest: bool, resolution: int | None = None) -> Arch:
    """The largest or the smallest subnet, at `resolution` or the largest or smallest one."""
    pick = max if largest else min
    block = (pick(family.kernels), pick(family.expands))
    unit = (block,) * pick(family.depths)
    return Arch(resolution or pick(family.resolutions), (unit,) * len(family.units))


# --- as blocks ---


def slot_block(family: Family, resolution: int, unit: int, position: int, kernel: int, expand: int) -> Block:
    """The elastic block at a slot: it depends on nothing but the slot, the resolution and its own choice."""
    spec = family.units[unit]
    first = position == 0
    width = family.width(spec.base_width)
    before = family.width(family.units[unit - 1].base_width if unit else family.stem_width)
    in_channels = before if first else width
    side = -(-resolution // family.stem_stride)
    for earlier in family.units[: unit if first else unit + 1]:
        side = -(-side // earlier.stride)
    return Block(
        kind="mbconv",
        in_shape=(in_channels, side, side),
        out_channels=width,
        hidden_channels=make_divisible(in_channels * expand),
        kernel=kernel,
        stride=spec.stride if first else 1,
        se=spec.se,
        act=spec.act,
        shortcut=not first,
    )


def head_blocks(family: Family, resolution: int) -> tuple[Block, ...]:
    """The stem convolution and the first, inelastic, inverted residual block."""
    stem_width = family.width(family.stem_width)
    stem = Block(
        "conv",
        (family.in_channels, resolution, resolution),
        stem_width,
        kernel=3,
        stride=family.stem_stride,
        act="hswish",
    )
    first = Block(
        "mbconv", stem.out_shape, stem_width, hidden_channels=stem_width, kernel=3, act="relu", shortcut=True
    )
    return stem, first


def tail_blocks(family: Family, resolution: int) -> tuple[Block, ...]:
    """Final expand, global pooling, feature mix and classifier."""
    side = -(-resolution // family.stem_stride)
    for unit in family.units:
        side = -(-side // unit.stride)
    expanded = family.width(family.final_expand_width)
    mixed = family.width(family.mix_width)
    return (
        Block("conv", (family.width(family.units[-1].base_width), side, side), expanded, act="hswish"),
        Block("pool", (expanded, side, side), expanded),
        Block("mix", (expanded, 1, 1), mixed, act="hswish"),
        Block("linear", (mixed, 1, 1), family.classes),
    )


def arch_blocks(family: Family, arch: Arch) -> tuple[Block, ...]:
    """The network of `arch`, from the stem to the classifier.

    Raises:
        InvalidArch: the family does not hold `arch`.
    """
    check_arch(family, arch)
    elastic = (
        slot_block(family, arch.resolution, u, position, *choice)
        for u, unit in enumerate(arch.units)
        for position, choice in enumerate(unit)
    )
    return (*head_blocks(family, arch.resolution), *elastic, *tail_blocks(family, arch.resolution))
