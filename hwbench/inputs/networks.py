"""Networks that are given by name, with an accuracy that somebody states of them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from compofa.errors import InputError
from compofa.files import parse_json, read_text
from hwbench.telling import note

if TYPE_CHECKING:
    from compofa.spaces.arch import Arch
    from compofa.spaces.family import Family


@dataclass(frozen=True)
class NamedNetwork:
    """A subnet that somebody published.

    Args:
        name: what it is called.
        arch: the subnet.
        accuracy: as stated, a fraction; not measured here.
    """

    name: str
    arch: Arch
    accuracy: float


def read_networks(path: Path, family: Family) -> list[NamedNetwork]:
    """Networks from JSON lines: each a subnet in any form of :mod:`compofa.configs`, with ``name`` and with
    ``accuracy`` (a fraction) or ``top1_pct``, which may stand under ``published``. Those that are no subnets of the
    family are left out, with a line that says so.

    Raises:
        InputError: a line is none of these, or no network is of the family; says why.
    """
    from compofa.configs import parse_config
    from compofa.spaces.arch import InvalidArch

    found, others, why = [], 0, ""
    for number, line in enumerate(read_text(path).splitlines(), start=1):
        if not line.strip():
            continue
        try:
            value = parse_json(line)
            if not isinstance(value, dict):
                raise InputError("not a network with its accuracy")
            accuracy = _accuracy(value)
            try:
                found.append(
                    NamedNetwork(str(value.get("name", number)), parse_config(family, value), accuracy)
                )
            except InvalidArch as error:
                others, why = others + 1, str(error)
        except InputError as error:
            raise InputError(f"{path}, line {number}: {error}") from error
    if not found:
        raise InputError(
            f"{path} holds no network of {family.name}" + (f": the last one: {why}" if why else "")
        )
    if others:
        note(f"{path}: {others} networks are no subnets of {family.name} and are left out")
    return found


def _accuracy(value: dict[str, Any]) -> float:
    published = value.get("published")
    for fields in (value, published if isinstance(published, dict) else {}):
        for name, factor in (("accuracy", 1.0), ("top1_pct", 0.01)):
            given = fields.get(name)
            if isinstance(given, int | float) and not isinstance(given, bool):
                if not 0 < factor * given < 1:
                    raise InputError(f"{given!r} is no {name}: accuracy is a fraction of 1, top1_pct of 100")
                return factor * given
    raise InputError("it has neither accuracy (a fraction) nor top1_pct")
