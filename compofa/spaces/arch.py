"""A subnet of a family: its resolution and what is chosen for each elastic unit, as text and as values."""

from __future__ import annotations

import re
from dataclasses import dataclass

from compofa.errors import InputError
from compofa.spaces.family import Choice, Family, Number, Unit

UnitChoice = tuple[Choice, ...]
"""What is chosen for each of a unit's active blocks."""
KERNEL_AND_EXPAND = ("k", "e")


class InvalidArch(InputError):
    """A subnet that its family or space does not hold."""


@dataclass(frozen=True)
class Arch:
    """One subnet.

    Its text is ``r32-k3e6_k5e4-...``: units joined by ``-``, blocks by ``_``, each block the first letter of each axis
    with its value, or ``b`` where its unit has no axes; a unit of several widths begins with ``w`` and a multiplier.

    >>> import hwbench
    >>> arch = hwbench.Arch.parse("r24-k3e3_k3e3-k5e4_k5e4_k5e4-k3e3_k3e3-k3e6_k3e6_k3e6_k3e6-k5e3_k5e3")
    >>> arch.resolution, [len(blocks) for blocks in arch.units]
    (24, [2, 3, 2, 4, 2])

    Args:
        resolution: input side in pixels.
        units: per elastic unit, what is chosen for each active block: a value of each of the unit's axes, such as
            (kernel, expand ratio).
        widths: per elastic unit, the multiplier of its width, None where it has but one; empty where all have but one.
        letters: per elastic unit, the first letters of its axes; empty where all are kernel and expand ratio.
    """

    resolution: int
    units: tuple[UnitChoice, ...]
    widths: tuple[float | None, ...] = ()
    letters: tuple[tuple[str, ...], ...] = ()

    def __post_init__(self) -> None:
        if all(width is None for width in self.widths):
            object.__setattr__(self, "widths", ())
        if all(letters == KERNEL_AND_EXPAND for letters in self.letters):
            object.__setattr__(self, "letters", ())

    @property
    def depths(self) -> tuple[int, ...]:
        return tuple(len(unit) for unit in self.units)

    def width(self, unit: int) -> float | None:
        """The multiplier of a unit's width; None where it has but one."""
        return self.widths[unit] if self.widths else None

    def axes(self, unit: int) -> tuple[str, ...]:
        """The first letters of a unit's axes."""
        return self.letters[unit] if self.letters else KERNEL_AND_EXPAND

    def __str__(self) -> str:
        parts = [f"r{self.resolution}"]
        for number, unit in enumerate(self.units):
            letters, width = self.axes(number), self.width(number)
            blocks = [choice_text(letters, choice) for choice in unit]
            parts.append("_".join(blocks if width is None else [f"w{width:g}", *blocks]))
        return "-".join(parts)

    @classmethod
    def parse(cls, text: str) -> Arch:
        """The subnet that `str` wrote.

        Raises:
            InvalidArch: the text is no subnet.
        """
        if not isinstance(text, str):
            raise InvalidArch(f"not a subnet: {_short(text)}; it reads like {_EXAMPLE}")
        head, *parts = text.strip().split("-")
        if not (match := re.fullmatch("r([0-9]{1,4})", head)) or not parts:
            raise InvalidArch(f"not a subnet: {_short(text)}; it reads like {_EXAMPLE}")
        widths, letters, units = zip(*(_parse_unit(part, text) for part in parts), strict=True)
        return cls(int(match[1]), units, widths, letters)


def choice_text(letters: tuple[str, ...], choice: Choice) -> str:
    """What is chosen for a block, as ``k3e6``; ``b`` where its unit has no axes."""
    return "".join(f"{letter}{value:g}" for letter, value in zip(letters, choice, strict=True)) or "b"


_NUMBER = r"[0-9]{1,4}(?:\.[0-9]{1,4})?"
_BLOCK = re.compile(f"b|(?:[a-z]{_NUMBER})+")
_EXAMPLE = "r32-k3e6_k5e4-k3e3_k3e3-..."


def _parse_unit(part: str, text: str) -> tuple[float | None, tuple[str, ...], UnitChoice]:
    first, *_ = blocks = part.split("_")
    width = None
    if match := re.fullmatch(f"w({_NUMBER})", first):
        width, blocks = float(match[1]), blocks[1:]
    found = [re.findall(f"([a-z])({_NUMBER})", block) for block in blocks]
    letters = [tuple(letter for letter, _ in pairs) for pairs in found]
    if not blocks or not all(map(_BLOCK.fullmatch, blocks)) or len(set(letters)) > 1:
        raise InvalidArch(f"not a subnet: {_short(text)}; its unit {_short(part)} should read like k3e6_k5e4")
    return width, letters[0], tuple(tuple(_number(value) for _, value in pairs) for pairs in found)


def _number(text: str) -> Number:
    return float(text) if "." in text else int(text)


def _short(value: object) -> str:
    """`value` as a message shows it: whole subnets fit, whole files do not."""
    text = repr(value)
    return text if len(text) <= 200 else f"{text[:200]}..."


# --- in its family ---


def make_arch(
    family: Family, resolution: int, units: tuple[UnitChoice, ...], widths: tuple[int, ...] = ()
) -> Arch:
    """The subnet of `family` with these choices; `widths` are the places of each unit's width among its own."""
    elastic = family.elastic_units
    mults = (
        unit.width_mults[place] if unit.wide else None
        for unit, place in zip(elastic, widths or (0,) * len(elastic), strict=True)
    )
    return Arch(
        resolution, units, tuple(mults), tuple(tuple(axis.letter for axis in unit.axes) for unit in elastic)
    )


def width_index(unit: Unit, mult: float | None) -> int:
    """Where a unit's width stands among its own.

    Raises:
        ValueError: it has no such width.
    """
    return unit.width_mults.index(mult) if mult is not None else 0


def check_arch(family: Family, arch: Arch) -> None:
    """Raise InvalidArch unless `arch` is a subnet of `family`'s supernet, of any side that can be built."""
    units = family.elastic_units
    if len(arch.units) != len(units):
        raise InvalidArch(f"{arch}: {family.name} has {len(units)} units, not {len(arch.units)}")
    try:
        family.check_side(arch.resolution)
    except InputError as error:
        raise InvalidArch(f"{arch}: {error}") from error
    for number, (unit, chosen) in enumerate(zip(units, arch.units, strict=True)):
        if len(chosen) not in unit.depths:
            raise InvalidArch(f"{arch}: depth {len(chosen)} is not among {unit.depths}")
        several, mult = bool(unit.wide), arch.width(number)
        if several != (mult is not None) or (several and mult not in unit.width_mults):
            known = ", ".join(f"w{each:g}" for each in unit.width_mults) if several else "one width"
            raise InvalidArch(f"{arch}: unit {number + 1} of {family.name} has {known}")
        if arch.axes(number) != tuple(axis.letter for axis in unit.axes):
            like = choice_text(tuple(axis.letter for axis in unit.axes), unit.choices[0])
            raise InvalidArch(f"{arch}: blocks of unit {number + 1} of {family.name} read like {like}")
        for choice in chosen:
            if choice not in unit.choices:
                what = choice_text(arch.axes(number), choice)
                allowed = ", ".join(f"{axis.name}s {axis.values}" for axis in unit.axes)
                raise InvalidArch(f"{arch}: {what} is not of {allowed}")


def extreme(family: Family, largest: bool, resolution: int | None = None) -> Arch:
    """The largest or the smallest subnet, at `resolution` or the largest or smallest one of the family's."""
    at = -1 if largest else 0
    units = family.elastic_units
    chosen = tuple((tuple(axis.values[at] for axis in unit.axes),) * unit.depths[at] for unit in units)
    widths = tuple((len(unit.width_mults) - 1) * largest for unit in units)
    return make_arch(family, resolution or family.resolutions[at], chosen, widths)
