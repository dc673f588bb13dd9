"""Subnets as others write them down, as values of JSON:

- ``{"ks": [...], "e": [...], "d": [...], "r": 176}`` of OFA, HELP, DynamicOFA and DyNAS-T: kernel and expand ratio
  of each slot, depth of each unit; what stands past a unit's depth means nothing. ``r`` may be a list of one.
- the ``net.config`` of OFA's specialised networks, block by block, beside or under the side of its images:
  ``{"config": {...}, "image_size": 176}``.
- ``"r32-k3e6_k5e4-..."``, as :class:`compofa.arch.Arch` is written, or ``{"arch": "r32-..."}``.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from compofa.arch import Arch, BlockChoice, InvalidArch, arch_blocks, check_arch
from compofa.blocks import Block
from compofa.families import Family

KERNELS, EXPANDS, DEPTHS, RESOLUTION = "ks", "e", "d", "r"
SIDES = ("image_size", "resolution", "r")
"""Keys beside a ``config`` that give the side of its images."""


def is_subnet(value: Any) -> bool:
    """Whether `value` looks like one of the kinds of this module, right or wrong."""
    return isinstance(value, str) or (
        isinstance(value, dict) and bool(value.keys() & {"arch", "ks", "config", "blocks"})
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
    if "ks" in value:
        return _from_lists(family, value)
    side = next((value[key] for key in SIDES if key in value), None)
    return _from_network(family, value.get("config", value), side)


# --- {ks, e, d, r} ---


def _from_lists(family: Family, value: dict[str, Any]) -> Arch:
    if missing := [key for key in (EXPANDS, DEPTHS, RESOLUTION) if key not in value]:
        raise InvalidArch(f"a subnet as {{ks, e, d, r}} lacks {', '.join(missing)}")
    depths = _whole_numbers(DEPTHS, value[DEPTHS], len(family.units))
    kernels, expands = (_whole_numbers(key, value[key], family.slots) for key in (KERNELS, EXPANDS))
    side = value[RESOLUTION]
    (resolution,) = _whole_numbers(RESOLUTION, side if isinstance(side, list) else [side], 1)
    units = []
    for unit, depth in enumerate(depths):
        if depth not in family.depths:
            raise InvalidArch(f"d[{unit}] is {depth}; {family.name} has depths {_list(family.depths)}")
        start = unit * family.max_depth
        slots = slice(start, start + depth)
        units.append(tuple(zip(kernels[slots], expands[slots], strict=True)))
    arch = Arch(resolution, tuple(units))
    check_arch(family, arch)
    return arch


def _whole_numbers(key: str, values: Any, count: int) -> list[int]:
    if not isinstance(values, list) or len(values) != count:
        found = f"{len(values)} numbers" if isinstance(values, list) else repr(values)[:40]
        raise InvalidArch(f"{key} is a list of {count} numbers for this family, not {found}")
    if wrong := [value for value in values if not _is_whole(value)]:
        raise InvalidArch(f"{key} holds {str(wrong[0])[:40]!r}, which is no whole number")
    return [int(value) for value in values]


def _is_whole(value: Any) -> bool:
    return type(value) is int or (type(value) is float and value.is_integer())


# --- net.config ---


def _from_network(family: Family, config: Any, side: Any) -> Arch:
    """The subnet whose blocks are those of the network `config`; stem and tail are not looked at: they are the
    family's, or the widths of the blocks are not."""
    if not isinstance(config, dict) or not isinstance(config.get("blocks"), list):
        raise InvalidArch("not a network configuration: it has no list of blocks")
    if (name := str(config.get("name", "MobileNetV3"))[:40]) != "MobileNetV3":
        raise InvalidArch(f"a configuration of a {name}; {family.name} is a MobileNetV3")
    if not _is_whole(side):
        raise InvalidArch(
            'a network configuration does not tell the side of its images: write {"config": {...}, "image_size": 224}'
        )
    convolutions = [_convolution(number, block) for number, block in enumerate(config["blocks"])]
    units = _by_unit(family, convolutions[1:])
    arch = Arch(int(side), tuple(tuple(_choice(layer) for layer in unit) for unit in units))
    check_arch(family, arch)
    _check_widths(family, arch, convolutions)
    return arch


def _convolution(number: int, block: Any) -> dict[str, Any]:
    layer = isinstance(block, dict) and (block.get("mobile_inverted_conv") or block.get("conv"))
    wanted = ("in_channels", "out_channels", "kernel_size", "stride", "expand_ratio")
    if not isinstance(layer, dict) or not all(_is_whole(layer.get(key)) for key in wanted):
        raise InvalidArch(f"block {number} is no inverted residual with {', '.join(wanted)}")
    return layer


def _by_unit(family: Family, layers: Iterable[dict[str, Any]]) -> list[list[dict[str, Any]]]:
    """Layers one after the other, cut where the width changes."""
    units: list[list[dict[str, Any]]] = []
    for layer in layers:
        if not units or layer["in_channels"] != layer["out_channels"]:
            units.append([])
        units[-1].append(layer)
    if len(units) != len(family.units):
        raise InvalidArch(f"{len(units)} units of blocks; {family.name} has {len(family.units)}")
    return units


def _choice(layer: dict[str, Any]) -> BlockChoice:
    return int(layer["kernel_size"]), int(layer["expand_ratio"])


def _check_widths(family: Family, arch: Arch, layers: list[dict[str, Any]]) -> None:
    """Raise InvalidArch where a block is not of the widths, the stride or the kind that the family has there."""
    ours = [block for block in arch_blocks(family, arch) if block.kind == "mbconv"]
    for number, (block, layer) in enumerate(zip(ours, layers, strict=True)):
        for what, want, found in _differences(block, layer):
            raise InvalidArch(f"block {number} has {what} {found}; {family.name} has {want} there")


def _differences(block: Block, layer: dict[str, Any]) -> Iterable[tuple[str, Any, Any]]:
    pairs = (
        ("in_channels", block.in_shape[0], layer["in_channels"]),
        ("out_channels", block.out_channels, layer["out_channels"]),
        ("stride", block.stride, layer["stride"]),
        ("kernel_size", block.kernel, layer["kernel_size"]),
        ("mid_channels", block.hidden_channels, layer.get("mid_channels")),
        ("use_se", block.se, layer.get("use_se")),
    )
    return (pair for pair in pairs if pair[2] is not None and pair[1] != pair[2])


def _list(values: Iterable[int]) -> str:
    return ", ".join(map(str, values))
