"""Subnets as others write them down, as values of JSON:

- ``{"ks": [...], "e": [...], "d": [...], "r": 176}`` of OFA, HELP, DynamicOFA and DyNAS-T: kernel and expand ratio
  of each slot, depth of each unit; what stands past a unit's depth means nothing. ``r`` may be a list of one.
  ResNet50D's has no ``ks`` but ``w``, which width each stage has; its ``d`` counts blocks beyond the fewest, the stem's
  first.
- the ``net.config`` of OFA's specialised networks, block by block, beside or under the side of its images:
  ``{"config": {...}, "image_size": 176}``.
- ``"r32-k3e6_k5e4-..."``, as :class:`compofa.spaces.arch.Arch` is written, or ``{"arch": "r32-..."}``.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import fields, replace
from typing import Any

from compofa.blocks import Block
from compofa.errors import InputError
from compofa.network import fixed_choices
from compofa.published_networks import published_network
from compofa.spaces.arch import Arch, InvalidArch, UnitChoice, check_arch, make_arch
from compofa.spaces.family import Choice, Family, Number, Unit
from compofa.spaces.layout import layout
from compofa.spaces.making import CLASSIFIERS, make_block

LISTS = {"kernel": "ks", "expand": "e"}
DEPTHS, WIDTHS, RESOLUTION = "d", "w", "r"
SIDES = ("image_size", "resolution", "r")
"""Keys beside a ``config`` that give the side of its images."""
LARGEST_NUMBER = 1e6
"""Of any list: what is larger is not told in full."""


def is_subnet(value: Any) -> bool:
    """Whether `value` looks like one of the kinds of this module, right or wrong."""
    return isinstance(value, str) or (
        isinstance(value, dict)
        and (bool(value.keys() & {"arch", "ks", "config", "blocks"}) or {WIDTHS, DEPTHS} <= value.keys())
    )


def parse_config(family: Family, value: Any) -> Arch:
    """The subnet of `family` that `value` describes.

    Raises:
        InvalidArch: it is of none of the kinds above, or no subnet of the family; says what is wrong.
    """
    if isinstance(value, dict) and "arch" in value:
        value = value["arch"]
    if isinstance(value, str):
        arch = Arch.parse(value)
        check_arch(family, arch)
        return arch
    if not is_subnet(value):
        raise InvalidArch("not a subnet: neither {ks, e, d, r}, nor a net.config, nor r32-k3e6_k5e4-...")
    if value.keys() & {LISTS["kernel"], WIDTHS} and not value.keys() & {"config", "blocks"}:
        return _from_lists(family, value)
    side = next((value[key] for key in SIDES if key in value), None)
    return _from_network(family, value.get("config", value), side)


# --- {ks, e, d, r} ---


def _from_lists(family: Family, value: dict[str, Any]) -> Arch:
    at = layout(family)
    names = [name for name in LISTS if any(_varies(unit, name) for unit in at.units)]
    keys = [*(LISTS[name] for name in names), DEPTHS, *([WIDTHS] if at.wide_units else []), RESOLUTION]
    if missing := [key for key in keys if key not in value]:
        raise InvalidArch(f"a subnet as {{{', '.join(keys)}}} lacks {', '.join(missing)}")
    given = {
        name: iter(
            _numbers(LISTS[name], value[LISTS[name]], sum(u.max_depth for u in at.units if _varies(u, name)))
        )
        for name in names
    }
    depths = _depths(family, value[DEPTHS])
    widths = [0] * len(at.units)
    if at.wide_units:
        for unit, index in zip(
            at.wide_units, _whole_numbers(WIDTHS, value[WIDTHS], len(at.wide_units)), strict=True
        ):
            if not 0 <= index < at.width_count(unit):
                raise InvalidArch(f"w holds {index}; {family.name} has {at.width_count(unit)} widths there")
            widths[unit] = index
    side = value[RESOLUTION]
    (resolution,) = _whole_numbers(RESOLUTION, side if isinstance(side, list) else [side], 1)
    units = []
    for spec, depth in zip(at.units, depths, strict=True):
        chosen = [
            tuple(next(given[a.name]) if _varies(spec, a.name) else a.values[0] for a in spec.axes)
            for _ in range(spec.max_depth)
        ]
        units.append(tuple(chosen[:depth]))
    arch = make_arch(family, resolution, tuple(units), tuple(widths))
    check_arch(family, arch)
    return arch


def _varies(unit: Unit, name: str) -> bool:
    axis = unit.axis(name)
    return axis is not None and len(axis.values) > 1


def _depths(family: Family, values: Any) -> list[int]:
    """How many blocks each elastic unit has."""
    units = family.elastic_units
    if family.published != "resnet":
        depths = _whole_numbers(DEPTHS, values, len(units))
        # What a unit of a single depth is given means nothing, as in OFA's ProxylessNAS.
        depths = [
            depth if len(unit.depths) > 1 else unit.max_depth
            for unit, depth in zip(units, depths, strict=True)
        ]
    else:
        varying = [unit for unit in units if len(unit.depths) > 1]
        more = iter(_whole_numbers(DEPTHS, values, len(varying)))
        # The stem's optional layer is there with the largest number only.
        depths = [
            unit.max_depth
            if len(unit.depths) == 1
            else (unit.max_depth if next(more) > 1 else unit.depths[0])
            if unit.kind == "conv"
            else unit.depths[0] + next(more)
            for unit in units
        ]
    for number, (unit, depth) in enumerate(zip(units, depths, strict=True)):
        if depth not in unit.depths:
            raise InvalidArch(f"d[{number}] is {depth}; {family.name} has depths {_list(unit.depths)}")
    return depths


def _numbers(key: str, values: Any, count: int) -> list[Number]:
    if not isinstance(values, list) or len(values) != count:
        found = f"{len(values)} numbers" if isinstance(values, list) else repr(values)[:40]
        raise InvalidArch(f"{key} is a list of {count} numbers for this family, not {found}")
    if wrong := [value for value in values if type(value) not in (int, float)]:
        raise InvalidArch(f"{key} holds {str(wrong[0])[:40]!r}, which is no number")
    if wrong := [value for value in values if abs(value) > LARGEST_NUMBER]:
        raise InvalidArch(f"{key} holds {str(wrong[0])[:12]}..., which no subnet has")
    return [int(value) if type(value) is float and value.is_integer() else value for value in values]


def _whole_numbers(key: str, values: Any, count: int) -> list[int]:
    numbers = _numbers(key, values, count)
    if wrong := [value for value in numbers if type(value) is not int]:
        raise InvalidArch(f"{key} holds {str(wrong[0])[:40]!r}, which is no whole number")
    return [int(value) for value in numbers]


def _is_whole(value: Any) -> bool:
    return type(value) is int or (type(value) is float and value.is_integer())


# --- net.config ---


def _from_network(family: Family, config: Any, side: Any) -> Arch:
    """The subnet of `family` that is the network `config`."""
    if not isinstance(config, dict) or not isinstance(config.get("blocks"), list):
        raise InvalidArch("not a network configuration: it has no list of blocks")
    if not _is_whole(side):
        raise InvalidArch(
            'a network configuration does not tell the side of its images: write {"config": {...}, "image_size": 224}'
        )
    try:
        blocks = published_network(config, int(side))
    except InvalidArch:
        raise
    except InputError as error:
        raise InvalidArch(str(error)) from error
    return find_arch(family, int(side), blocks)


def find_arch(family: Family, resolution: int, blocks: Sequence[Block]) -> Arch:
    """The subnet of `family` that is the network `blocks`.

    Raises:
        InvalidArch: there is none; says which block is the first that the family cannot have, and how it differs.
    """
    if blocks[-1].kind in CLASSIFIERS:  # how many classes it tells apart is no part of a subnet
        family = replace(family, classes=blocks[-1].out_channels)
    found: dict[int, str] = {}
    units = _match(family, 0, tuple(blocks), 0, found)
    if units is None:
        raise InvalidArch(found[max(found)])
    elastic = [chosen for unit, chosen in zip(family.units, units, strict=True) if unit.elastic]
    return make_arch(family, resolution, tuple(c for c, _ in elastic), tuple(w for _, w in elastic))


def _match(
    family: Family, unit: int, blocks: Sequence[Block], begun: int, found: dict[int, str]
) -> list[tuple[UnitChoice, int]] | None:
    """What the units from `unit` on choose for `blocks` from `begun` on, with their widths; None if there is nothing,
    and in `found` how far it went and why not further."""
    if unit == len(family.units):
        if begun == len(blocks):
            return []
        found[begun] = f"block {begun} is one more than {family.name} has"
        return None
    spec = family.units[unit]
    for width in range(len(spec.width_mults)):
        chosen: list[Choice] = []
        for position in range(spec.max_depth):
            at = begun + position
            choice = _choice(family, spec, position, width, blocks, at, found)
            if choice is None:
                break
            chosen.append(choice)
        for depth in reversed(spec.depths):
            if depth <= len(chosen):
                rest = _match(family, unit + 1, blocks, begun + depth, found)
                if rest is not None:
                    return [(tuple(chosen[:depth]), width), *rest]
    return None


def _choice(
    family: Family,
    unit: Unit,
    position: int,
    width: int,
    blocks: Sequence[Block],
    at: int,
    found: dict[int, str],
) -> Choice | None:
    if at >= len(blocks):
        found.setdefault(at, f"{len(blocks)} blocks are fewer than {family.name} has")
        return None
    choices = unit.choices if unit.elastic else fixed_choices(unit)[:1]
    made = [make_block(family, unit, blocks[at].in_shape, position, choice, width) for choice in choices]
    differing = [_differences(block, blocks[at]) for block in made]
    fewest = min(differing, key=len)
    if not fewest:
        return choices[differing.index(fewest)]
    name, want, has = fewest[0]
    found.setdefault(at, f"block {at} has {name} {has}; {family.name} has {want} there")
    return None


def _differences(ours: Block, theirs: Block) -> list[tuple[str, Any, Any]]:
    pairs = ((field.name, getattr(ours, field.name), getattr(theirs, field.name)) for field in fields(ours))
    return [(name, want, has) for name, want, has in pairs if want != has]


def _list(values: Iterable[int]) -> str:
    return ", ".join(map(str, values))
