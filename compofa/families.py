"""Families: the skeletons that supernets and their subnets share.

Source of `imagenet-*`: MobileNetV3 as the supernets of OFA (Cai et al., ICLR 2020, arXiv:1908.09791) and
CompOFA (Sahni et al., ICLR 2021, arXiv:2104.12642) use it. `glyphs` keeps the skeleton and the choices,
with widths, strides and resolutions small enough for two CPU cores to train it.
"""

from __future__ import annotations

from dataclasses import dataclass

from compofa.blocks import make_divisible
from compofa.errors import InputError


@dataclass(frozen=True)
class Unit:
    """A stage of inverted residual blocks; the first has the stride, the others an identity shortcut."""

    base_width: int
    stride: int
    act: str
    se: bool
    fixed_kernel: int
    """Kernel in CompOFA's fixed-kernel space: MobileNetV3's own."""


@dataclass(frozen=True)
class Family:
    """A supernet's skeleton. Widths are `make_divisible(base_width x width_mult)`.

    Args:
        name: as given to ``--family``.
        width_mult: multiplies every base width.
        stem_width: base width of the 3x3 stem and of the first block (expand 1, 3x3, ReLU, not elastic).
        stem_stride: of the stem.
        units: the elastic units.
        final_expand_width: base width of the 1x1 convolution before pooling.
        mix_width: base width of the 1x1 convolution after pooling.
        classes: outputs of the classifier.
        resolutions: input sides in pixels, ascending; the family's latency and accuracy are of these only.
        in_channels: channels of the input image.
        depths: blocks that a unit may have, ascending.
        kernels: of the blocks' depthwise convolutions, ascending, odd.
        expands: ratios of hidden to input channels, ascending, 2 or more: a block of ratio 1 would have no expand
            convolution, and an elastic block always has one.

    Raises:
        InputError: a list of choices is not what it should be.
    """

    name: str
    width_mult: float
    stem_width: int
    stem_stride: int
    units: tuple[Unit, ...]
    final_expand_width: int
    mix_width: int
    classes: int
    resolutions: tuple[int, ...]
    in_channels: int = 3
    depths: tuple[int, ...] = (2, 3, 4)
    kernels: tuple[int, ...] = (3, 5, 7)
    expands: tuple[int, ...] = (3, 4, 6)

    def __post_init__(self) -> None:
        for name, least in (("resolutions", 1), ("depths", 1), ("kernels", 1), ("expands", 2)):
            values = getattr(self, name)
            if not values or list(values) != sorted(set(values)) or values[0] < least:
                raise InputError(
                    f"family {self.name}: {name} must be different whole numbers from {least} on, ascending, "
                    f"not {values}"
                )
        if not all(kernel % 2 for kernel in self.kernels):
            raise InputError(f"family {self.name}: kernels must be odd, not {self.kernels}")

    def width(self, base: int) -> int:
        """`base` scaled by the family's multiplier, rounded as published."""
        return make_divisible(base * self.width_mult)

    @property
    def max_depth(self) -> int:
        return max(self.depths)

    @property
    def slots(self) -> int:
        """Places for elastic blocks: units x largest depth."""
        return len(self.units) * self.max_depth

    def check_resolution(self, resolution: int) -> None:
        """Raise ValueError unless the family has `resolution`."""
        if resolution not in self.resolutions:
            known = ", ".join(map(str, self.resolutions))
            raise InputError(f"family {self.name} has no resolution {resolution}; it has {known}")


def _mobilenet_v3(name: str, width_mult: float) -> Family:
    return Family(
        name=name,
        width_mult=width_mult,
        stem_width=16,
        stem_stride=2,
        units=(
            Unit(24, 2, "relu", False, 3),
            Unit(40, 2, "relu", True, 5),
            Unit(80, 2, "hswish", False, 3),
            Unit(112, 1, "hswish", True, 3),
            Unit(160, 2, "hswish", True, 5),
        ),
        final_expand_width=960,
        mix_width=1280,
        classes=1000,
        resolutions=tuple(range(128, 225, 4)),
    )


GLYPHS = Family(
    name="glyphs",
    width_mult=1.0,
    stem_width=8,
    stem_stride=2,
    units=(
        Unit(8, 1, "relu", False, 3),
        Unit(16, 2, "relu", True, 5),
        Unit(24, 2, "hswish", False, 3),
        Unit(32, 1, "hswish", True, 3),
        Unit(48, 2, "hswish", True, 5),
    ),
    final_expand_width=128,
    mix_width=192,
    classes=62,
    resolutions=(16, 20, 24, 28, 32),
)

FAMILIES: dict[str, Family] = {
    family.name: family
    for family in (GLYPHS, _mobilenet_v3("imagenet-w1.0", 1.0), _mobilenet_v3("imagenet-w1.2", 1.2))
}


def get_family(name: str) -> Family:
    """The family called `name`.

    Raises:
        ValueError: there is none; the message lists those there are.
    """
    try:
        return FAMILIES[name]
    except KeyError:
        raise InputError(f"unknown family {name!r}; there are {', '.join(FAMILIES)}") from None
