"""The frontiers of several spaces on each of several devices."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from compofa.errors import InputError
from hwbench.inputs.costs import Given, Source, name_of, open_source
from hwbench.subnets import Subnet, to_frame
from lut.of_table import OfTable

if TYPE_CHECKING:
    from compofa.spaces.family import Family
    from hwbench.frontiers.compare import ParetoResult
    from lut.costs import CostModel


@dataclass(frozen=True)
class DeviceFrontiers:
    """Frontiers of the same spaces on several devices. In a notebook it shows its picture.

    Args:
        devices: by name, the frontiers on each, as they are of that device alone.
    """

    devices: Mapping[str, ParetoResult]

    @property
    def family(self) -> Family:
        """Whose subnets."""
        return next(iter(self.devices.values())).family

    @property
    def cost(self) -> CostModel:
        """What is traded against accuracy, on the first device: quantity and unit are those of all."""
        return next(iter(self.devices.values())).cost

    @property
    def hypervolumes(self) -> dict[str, dict[str, float]]:
        """Of each device: of each space's frontier, from the reference point of that device."""
        return {name: one.hypervolumes for name, one in self.devices.items()}

    @property
    def frontiers(self) -> dict[str, dict[str, list[Subnet]]]:
        """Of each device: of each space, the subnets that no other beats there, by rising cost."""
        return {name: one.frontiers for name, one in self.devices.items()}

    def to_frame(self) -> Any:
        """All subnets on each device as a pandas data frame: the device, and what the frame of one device holds."""
        return to_frame(self.rows())

    def rows(self) -> Iterator[dict[str, Any]]:
        """The rows of :meth:`to_frame`."""
        for name, one in self.devices.items():
            for row in one.rows():
                yield {"device": name, **row}

    def to_dict(self) -> dict[str, Any]:
        """For each device what the document of one device holds, JSON-ready."""
        return {
            "family": self.family.name,
            "cost": self.cost.name,
            "devices": [{"name": name, **one.to_dict()} for name, one in self.devices.items()],
        }

    def draw(self, path: str | Path | io.BytesIO) -> None:
        """Draw the picture, a png, svg or pdf: one colour a space, one marker a device.

        Raises:
            InputError: there are more devices than markers.
        """
        from hwbench.frontiers.device_picture import draw

        draw(path if isinstance(path, io.BytesIO) else Path(path), self)

    def _repr_png_(self) -> bytes:
        picture = io.BytesIO()
        self.draw(picture)
        return picture.getvalue()

    def __repr__(self) -> str:
        return "\n".join(f"{name}: {one!r}" for name, one in self.devices.items())


def open_devices(
    given: Mapping[str, Given] | Iterable[Given], family: Family | None, force: bool = False
) -> dict[str, Source]:
    """Costs, one a device, by the names that were given, or by what tells the devices apart.

    Raises:
        InputError: none is given, one is given twice, or they are of different families or quantities.
        OSError: a file cannot be read.
    """
    named = given if isinstance(given, Mapping) else dict(enumerate(given))
    if not named:
        raise InputError("no table is given")
    sources = [open_source(one, family, force) for one in named.values()]
    files = [source.file.resolve() for source in sources if source.file]
    if twice := [str(file) for file in files if files.count(file) > 1]:
        raise InputError(f"{twice[0]} is given twice: give each table once")
    _check_families(sources, family)
    apart = told_apart(sources)
    names = [name if isinstance(name, str) else apart[i] for i, name in enumerate(named)]
    if twice := [name for name in names if names.count(name) > 1]:
        raise InputError(f"two devices are called {twice[0]!r}: name them, as in --lut A={sources[0]}")
    found = dict(zip(names, sources, strict=True))
    _check_quantities(found)
    return found


def _check_families(sources: Sequence[Source], family: Family | None) -> None:
    owners = [source.cost.family.name for source in sources]
    wanted = family.name if family else owners[0]
    for source, owner in zip(sources, owners, strict=True):
        if owner != wanted:
            mend = f"say --family {owner}" if len(set(owners)) == 1 else "give tables of one family"
            raise InputError(f"{source} is of family {owner}, not of {wanted}: {mend}")


def _check_quantities(sources: Mapping[str, Source]) -> None:
    (first, one), *others = sources.items()
    for name, other in others:
        if other.cost.name != one.cost.name:
            raise InputError(
                f"{first} is a matter of {one.cost.label}, {name} of {other.cost.label}: one picture has one axis"
            )


def told_apart(sources: list[Source]) -> list[str]:
    """A name for each: the device, and whatever else of the targets is not the same for all; where that is not enough,
    the file."""
    names = [", ".join(parts) for parts in zip(*_parts(sources), strict=True)]
    for more in (lambda s: s.file.name if s.file else "", str):
        names = [
            f"{name} ({more(source)})" if names.count(name) > 1 else name
            for name, source in zip(names, sources, strict=True)
        ]
    return names


def _parts(sources: list[Source]) -> list[list[str]]:
    """Of all sources: their devices, then each property that is not the same for all."""
    tables = [source.cost for source in sources if isinstance(source.cost, OfTable)]
    if len(tables) < len(sources):
        return [[name_of(source) for source in sources]]
    found = [[cost.target.device for cost in tables]]
    for words in (
        [cost.target.backend for cost in tables],
        [cost.target.precision for cost in tables],
        [f"batch {cost.target.batch}" for cost in tables],
        [f"{cost.target.threads} threads" for cost in tables],
        [f"{cost.family.classes} classes" for cost in tables],
    ):
        if len(set(words)) > 1:
            found.append(words)
    return found
