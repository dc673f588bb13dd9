"""Families: the skeletons that supernets and their subnets share, as data.

A family is a list of units. A unit says which kind of block it is made of, how many of them it may have, what each of
them may be (kernel, expand ratio, anything), and which width they all share. A unit of a single possibility is fixed
(a stem, a classifier); the others are elastic, and what is chosen for them is a subnet (:mod:`compofa.spaces.arch`).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from compofa.errors import InputError

Number = int | float
Choice = tuple[Number, ...]
"""What is chosen for one block: a value of each of its unit's axes, in their order."""

LARGEST_RESOLUTION = 8192
LARGEST_CHOICES = 1000


@dataclass(frozen=True)
class Axis:
    """One thing that may be chosen for a block.

    Args:
        name: as the block's kind calls it, such as ``kernel`` or ``expand``.
        values: ascending.
    """

    name: str
    values: tuple[Number, ...]

    @property
    def letter(self) -> str:
        """By which the text of a subnet calls it."""
        return self.name[0]


@dataclass(frozen=True)
class Unit:
    """Blocks of one kind, one after the other; the first has the stride.

    Args:
        kind: name of the kind of its blocks, in :data:`compofa.spaces.making.MAKERS`.
        widths: output channels, one of which all blocks share; none where the kind keeps its input's, or takes the
            family's classes.
        width_mults: what each of `widths` is called: the multiplier that it comes from.
        stride: of the first block.
        depths: blocks that it may have, ascending.
        axes: what may be chosen for each block; block by block it may be chosen anew.
        fixed: the value of an axis in spaces that fix it, by the axis' name: CompOFA's kernels.
        act: activation.
        se: squeeze-and-excitation.
        first_shortcut: the first block has a shortcut, too, where it keeps the shape.
        options: further fields of its blocks, for kinds of one's own.
        elastic, wide: something, or its width, may be chosen; as the choices say unless given, so that it stays where
            they are restricted.

    Raises:
        InputError: a list of choices is not what it should be.
    """

    kind: str
    widths: tuple[int, ...] = ()
    width_mults: tuple[float, ...] = ()
    stride: int = 1
    depths: tuple[int, ...] = (1,)
    axes: tuple[Axis, ...] = ()
    fixed: tuple[tuple[str, Number], ...] = ()
    act: str = "none"
    se: bool = False
    first_shortcut: bool = False
    options: tuple[tuple[str, int], ...] = ()
    elastic: bool | None = None
    wide: bool | None = None

    def __post_init__(self) -> None:
        if not self.width_mults:
            object.__setattr__(self, "width_mults", (1.0,) * max(len(self.widths), 1))
        if self.wide is None:
            object.__setattr__(self, "wide", len(self.width_mults) > 1)
        if self.elastic is None:
            several = len(self.depths) > 1 or any(len(axis.values) > 1 for axis in self.axes)
            object.__setattr__(self, "elastic", several or self.wide)
        self._check()

    def _check(self) -> None:
        _check_ascending("depths", self.depths, 1)
        for axis in self.axes:
            _check_ascending(f"{axis.name}s", axis.values, 0)
        if self.widths and (
            len(self.widths) != len(self.width_mults)
            or not all(type(w) is int and w > 0 for w in self.widths)
        ):
            raise InputError(f"widths must be whole numbers above 0, not {list(self.widths)}")
        if list(self.width_mults) != sorted(set(self.width_mults)):
            raise InputError(f"width_mults must be different and ascend, not {list(self.width_mults)}")
        if type(self.stride) is not int or self.stride < 1:
            raise InputError(f"stride must be a whole number from 1 on, not {self.stride!r}")
        if len({axis.letter for axis in self.axes} | {"w", "r"}) != len(self.axes) + 2:
            raise InputError("the axes of a unit must begin with different letters, and not with w or r")
        if len(self.choices) > LARGEST_CHOICES:
            raise InputError(f"a block has {len(self.choices)} choices: too many, above {LARGEST_CHOICES}")

    @property
    def max_depth(self) -> int:
        return self.depths[-1]

    @cached_property
    def choices(self) -> tuple[Choice, ...]:
        """Everything that one block may be; the first axis changes fastest."""
        turned = itertools.product(*(axis.values for axis in reversed(self.axes)))
        return tuple(tuple(reversed(choice)) for choice in turned)

    def axis(self, name: str) -> Axis | None:
        """The axis called `name`, if the unit has it."""
        return next((axis for axis in self.axes if axis.name == name), None)

    def restricted(self, depths: Sequence[int] | None, values: Mapping[str, Sequence[Number]]) -> Unit:
        """The unit with those of its choices that are allowed; where none is, all stay.

        Args:
            depths: allowed; all unless given.
            values: allowed of some axes, by name; multipliers of the width by the name ``width``.
        """
        axes = tuple(
            Axis(axis.name, _kept(axis.values, values.get(axis.name, axis.values))) for axis in self.axes
        )
        mults = _kept(self.width_mults, values.get("width", self.width_mults))
        widths = tuple(w for w, mult in zip(self.widths, self.width_mults, strict=False) if mult in mults)
        kept = tuple(depth for depth in self.depths if depths is None or depth in depths) or self.depths
        return replace(self, depths=kept, axes=axes, widths=widths, width_mults=mults)


def _kept(values: tuple[Number, ...], allowed: Sequence[Number]) -> tuple[Number, ...]:
    return tuple(value for value in values if value in allowed) or values


def _check_ascending(name: str, values: Sequence[Number], least: int) -> None:
    whole = least > 0
    sound = values and all(
        isinstance(v, (int, float)) and not isinstance(v, bool) and math.isfinite(v) for v in values
    )
    if whole and sound:
        sound = all(type(v) is int for v in values)
    if not sound or list(values) != sorted(set(values)) or values[0] < least or values[0] <= 0:
        kind = f"whole numbers from {least} on" if whole else "numbers above 0"
        raise InputError(f"{name} must be different {kind}, ascending, not {list(values)}")


@dataclass(frozen=True)
class Family:
    """A supernet's skeleton.

    >>> import hwbench
    >>> family = hwbench.get_family("glyphs")
    >>> family.classes, len(family.elastic_units), family.resolutions
    (62, 5, (16, 20, 24, 28, 32))

    Args:
        name: as given to ``--family``.
        units: from the image to the classifier.
        classes: outputs of the classifier.
        resolutions: input sides in pixels, ascending: those that spaces hold. Networks may be built at any other side
            that the strides allow (:meth:`check_side`).
        in_channels: channels of the input image.
        bn_eps: added to the variance by batch norm.
        published: the layout of state dicts and configurations that others publish of such networks: ``mbv3``,
            ``proxyless``, ``resnet``, or none.

    Raises:
        InputError: it has nothing to choose, or a list of choices is not what it should be.
    """

    name: str
    units: tuple[Unit, ...]
    classes: int
    resolutions: tuple[int, ...]
    in_channels: int = 3
    bn_eps: float = 1e-5
    published: str = ""

    def __post_init__(self) -> None:
        try:
            _check_ascending("resolutions", self.resolutions, 1)
            if not self.elastic_units:
                raise InputError("it has no unit with something to choose")
            for resolution in (self.resolutions[0], self.resolutions[-1]):
                self.check_side(resolution)
        except InputError as error:
            text = str(error)
            raise InputError(text if text.startswith("family ") else f"family {self.name}: {text}") from None

    @cached_property
    def elastic_units(self) -> tuple[Unit, ...]:
        """Units that a subnet chooses something of, in order."""
        return tuple(unit for unit in self.units if unit.elastic)

    @property
    def total_stride(self) -> int:
        """By how much a network reduces the side of its input before pooling."""
        return math.prod(unit.stride for unit in self.units)

    def check_resolution(self, resolution: int) -> None:
        """Raise InputError unless the family's spaces hold `resolution`."""
        if resolution not in self.resolutions:
            known = ", ".join(map(str, self.resolutions))
            raise InputError(f"family {self.name} has no resolution {resolution}; it has {known}")

    def takes_side(self, resolution: int) -> bool:
        """Whether a network can be built for images of that side."""
        return type(resolution) is int and self.total_stride <= resolution <= LARGEST_RESOLUTION

    def check_side(self, resolution: int) -> None:
        """Raise InputError unless a network can be built for images of that side."""
        if not self.takes_side(resolution):
            raise InputError(
                f"family {self.name} has a total stride of {self.total_stride}: images have a side from there to "
                f"{LARGEST_RESOLUTION} pixels, not {resolution}"
            )

    def with_resolutions(self, resolutions: Sequence[int]) -> Family:
        """The family with `resolutions` among its own.

        Raises:
            InputError: no network can be built at one of them.
        """
        for resolution in resolutions:
            self.check_side(resolution)
        more = tuple(sorted({*self.resolutions, *resolutions}))
        return self if more == self.resolutions else replace(self, resolutions=more)

    def restricted(self, depths: Sequence[int] | None = None, **values: Sequence[Number]) -> Family:
        """The family with those of its units' choices that are allowed (:meth:`Unit.restricted`)."""
        units = (unit.restricted(depths, values) if unit.elastic else unit for unit in self.units)
        return replace(self, units=tuple(units))

    def axis_values(self, name: str) -> tuple[Number, ...]:
        """Every value that an axis has in some elastic unit, ascending; none where no unit has it."""
        axes = (unit.axis(name) for unit in self.elastic_units)
        return tuple(sorted({value for axis in axes if axis for value in axis.values}))

    @property
    def all_width_mults(self) -> tuple[float, ...]:
        """Every multiplier that some elastic unit may choose its width by, ascending; none where none has several."""
        return tuple(sorted({mult for unit in self.elastic_units if unit.wide for mult in unit.width_mults}))

    @property
    def all_depths(self) -> tuple[int, ...]:
        """Every number of blocks that some elastic unit may have, ascending."""
        return tuple(sorted({depth for unit in self.elastic_units for depth in unit.depths}))
