"""How units make their blocks: one function for each kind, from the choice and the widths around it.

A kind of one's own is added with :func:`register_maker`, beside its operations (:func:`compofa.blocks.register_kind`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

from compofa.blocks import Block, make_divisible
from compofa.errors import InputError
from compofa.spaces.family import Choice, Family, Number, Unit

Shape = tuple[int, int, int]


class Place(NamedTuple):
    """Where a block stands.

    Args:
        unit: whose block it is.
        in_shape: (channels, height, width) of its input.
        out_channels: the unit's width, or the family's classes, or the channels of the input.
        stride: of this block.
        shortcut: the unit has a shortcut here, if the block keeps its shape.
    """

    unit: Unit
    in_shape: Shape
    out_channels: int
    stride: int
    shortcut: bool


Maker = Callable[[Place, Mapping[str, Number]], Block]
"""The block at a place, from the values chosen of its axes by name."""


def conv(at: Place, chosen: Mapping[str, Number]) -> Block:
    """``kernel``: side of the window, 1 unless chosen."""
    return Block(
        "conv",
        at.in_shape,
        at.out_channels,
        kernel=int(chosen.get("kernel", 1)),
        stride=at.stride,
        act=at.unit.act,
        shortcut=_fits(at),
    )


def mbconv(at: Place, chosen: Mapping[str, Number]) -> Block:
    """``kernel``: of the depthwise convolution; ``expand``: ratio of hidden to input channels."""
    return Block(
        "mbconv",
        at.in_shape,
        at.out_channels,
        hidden_channels=make_divisible(at.in_shape[0] * chosen["expand"]),
        kernel=int(chosen["kernel"]),
        stride=at.stride,
        se=at.unit.se,
        act=at.unit.act,
        shortcut=_fits(at),
    )


def bottleneck(at: Place, chosen: Mapping[str, Number]) -> Block:
    """``expand``: ratio of hidden to output channels; ``kernel``: of the middle convolution, 3 unless chosen."""
    return Block(
        "bottleneck",
        at.in_shape,
        at.out_channels,
        hidden_channels=make_divisible(round(at.out_channels * chosen["expand"])),
        kernel=int(chosen.get("kernel", 3)),
        stride=at.stride,
        act=at.unit.act,
    )


def maxpool(at: Place, chosen: Mapping[str, Number]) -> Block:
    """``kernel``: side of the window, 3 unless chosen."""
    return Block(
        "maxpool", at.in_shape, at.in_shape[0], kernel=int(chosen.get("kernel", 3)), stride=at.stride
    )


def pool(at: Place, chosen: Mapping[str, Number]) -> Block:
    """The mean of each channel."""
    return Block("pool", at.in_shape, at.in_shape[0])


def mix(at: Place, chosen: Mapping[str, Number]) -> Block:
    """A 1x1 convolution with neither norm nor bias."""
    return Block("mix", at.in_shape, at.out_channels, act=at.unit.act)


def linear(at: Place, chosen: Mapping[str, Number]) -> Block:
    """The classifier."""
    return Block("linear", at.in_shape, at.out_channels)


def pool_linear(at: Place, chosen: Mapping[str, Number]) -> Block:
    """Pooling and the classifier in one."""
    return Block("pool_linear", at.in_shape, at.out_channels)


def _fits(at: Place) -> bool:
    """Whether there is a shortcut; raises InputError where there should be one that cannot be."""
    if at.shortcut and (at.stride != 1 or at.in_shape[0] != at.out_channels):
        raise InputError(
            f"a shortcut needs stride 1 and equal widths, not stride {at.stride} from {at.in_shape[0]} to "
            f"{at.out_channels} channels"
        )
    return at.shortcut


class Made(NamedTuple):
    """A kind of unit.

    Args:
        make: makes its blocks.
        axes: that it may have.
        needs: of these, those that it must have.
        options: further whole numbers that it may have, the same for all its blocks.
        takes_width: it has a width of its own.
    """

    make: Maker
    axes: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()
    options: tuple[str, ...] = ()
    takes_width: bool = True


MAKERS: dict[str, Made] = {
    "conv": Made(conv, ("kernel",)),
    "mbconv": Made(mbconv, ("kernel", "expand"), ("kernel", "expand")),
    "bottleneck": Made(bottleneck, ("kernel", "expand"), ("expand",)),
    "maxpool": Made(maxpool, ("kernel",), takes_width=False),
    "pool": Made(pool, takes_width=False),
    "mix": Made(mix),
    "linear": Made(linear, takes_width=False),
    "pool_linear": Made(pool_linear, takes_width=False),
}


CLASSIFIERS = ("linear", "pool_linear")
"""Kinds whose output is one number a class."""


def register_maker(
    kind: str,
    make: Maker,
    axes: tuple[str, ...] = (),
    options: tuple[str, ...] = (),
    takes_width: bool = True,
) -> None:
    """Let units be of a kind of one's own.

    Args:
        kind: what families call it.
        make: the block at a place, from the values of `axes`.
        axes: that such a unit must have.
        options: whole numbers that such a unit may have.
        takes_width: it has a width of its own; otherwise its blocks keep their input's.

    Raises:
        InputError: there is another one of that name.
    """
    if kind in MAKERS and MAKERS[kind].make is not make:
        raise InputError(f"there is a kind of unit called {kind!r} already")
    MAKERS[kind] = Made(make, axes, axes, options, takes_width)


def make_block(
    family: Family, unit: Unit, in_shape: Shape, position: int, choice: Choice, width: int = 0
) -> Block:
    """The block of `unit` at `position`.

    Args:
        family: whose unit it is.
        unit: one of the family's.
        in_shape: of the block's input.
        position: in its unit, from 0.
        choice: a value of each of the unit's axes.
        width: which of the unit's widths.

    Raises:
        InputError: the unit is of an unknown kind, or the block cannot be.
    """
    if unit.kind not in MAKERS:
        raise InputError(
            f"family {family.name}: unknown kind of unit {unit.kind!r}; there are {', '.join(MAKERS)}"
        )
    out = unit.widths[width] if unit.widths else family.classes if unit.kind in CLASSIFIERS else in_shape[0]
    first = position == 0
    place = Place(unit, in_shape, out, unit.stride if first else 1, unit.first_shortcut if first else True)
    names = (axis.name for axis in unit.axes)
    return MAKERS[unit.kind].make(place, dict(zip(names, choice, strict=True)))


def check_family(family: Family) -> None:
    """Raise InputError unless all units of `family` can be built and fit together."""
    for resolution in (family.resolutions[0], family.resolutions[-1]):
        shapes: list[Shape] = [(family.in_channels, resolution, resolution)]
        for number, unit in enumerate(family.units, start=1):
            try:
                shapes = _shapes_after(family, unit, shapes)
            except InputError as error:
                raise InputError(
                    f"family {family.name}: unit {number}, at {resolution} px: {error}"
                ) from None
    if shapes != [(family.classes, 1, 1)]:
        raise InputError(
            f"family {family.name}: it does not end in a classifier: the last unit is to be linear"
        )


def _shapes_after(family: Family, unit: Unit, shapes: list[Shape]) -> list[Shape]:
    """What a unit gives, at each of its widths; every block that it may have is made on the way."""
    found: list[Shape] = []
    for width in range(len(unit.width_mults)):
        for shape in shapes:
            for position in range(min(unit.max_depth, 2)):
                blocks = [make_block(family, unit, shape, position, choice, width) for choice in unit.choices]
                outs = {block.out_shape for block in blocks}
                if len(outs) > 1 or (position and outs != {shape}):
                    raise InputError(f"its blocks give different shapes: {sorted({shape, *outs})}")
                (shape,) = outs
            if min(shape) < 1:
                raise InputError(f"nothing is left of its input: {shape}")
            found.append(shape)
    return list(dict.fromkeys(found))
