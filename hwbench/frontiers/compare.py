"""The frontiers of several spaces by one cost, or by those of several devices."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

from compofa.errors import InputError
from compofa.spaces.layout import encode
from compofa.spaces.registry import get_family
from compofa.spaces.space import get_space
from hwbench.frontiers.cloud import Cloud
from hwbench.frontiers.spaces import SpaceResult, check_comparable, join
from hwbench.inputs.accuracies import accuracy_files
from hwbench.inputs.costs import Given, Source, open_source
from hwbench.inputs.networks import NamedNetwork, read_networks
from hwbench.inputs.trust import note_differences
from hwbench.shipped import ACCURACY_FAMILIES
from hwbench.subnets import Subnet, to_frame
from hwbench.telling import note
from lut.lookup import MissingEntry

if TYPE_CHECKING:
    from compofa.spaces.family import Family
    from hwbench.frontiers.devices import DeviceFrontiers
    from lut.costs import CostModel


@dataclass(frozen=True)
class ParetoResult:
    """Frontiers of several spaces by one cost. In a notebook it shows its picture.

    Args:
        family: whose subnets, with the classes of the table.
        source: the cost.
        spaces: what each space has.
        networks: that were given to stand beside them, with the accuracies that somebody states.
        networks_cost: of these, shape (n,).
    """

    family: Family
    source: Source
    spaces: tuple[SpaceResult, ...]
    networks: tuple[NamedNetwork, ...] = ()
    networks_cost: tuple[float, ...] = ()

    @property
    def cost(self) -> CostModel:
        """What is traded against accuracy."""
        return self.source.cost

    @property
    def reference_point(self) -> tuple[float, float]:
        """The most that a subnet of any space costs, and the lowest accuracy of one; of measured subnets where there
        are any."""
        return (
            max(float(space.shown.cost.max()) for space in self.spaces),
            min(float(space.shown.accuracy.min()) for space in self.spaces),
        )

    @property
    def hypervolumes(self) -> dict[str, float]:
        """Of each space's frontier, in the unit of the cost x accuracy, from :attr:`reference_point`."""
        reference = self.reference_point
        return {space.name: space.shown.frontier().hypervolume(reference) for space in self.spaces}

    @property
    def frontiers(self) -> dict[str, list[Subnet]]:
        """Of each space: the subnets that no other beats, by rising cost; of measured accuracy where any was."""
        return {space.name: self.subnets(space.shown.frontier()) for space in self.spaces}

    def subnets(self, cloud: Cloud) -> list[Subnet]:
        """The subnets of a cloud as objects."""
        rows = zip(cloud.archs(), cloud.accuracy.tolist(), cloud.cost.tolist(), strict=True)
        return [Subnet(arch, accuracy, {self.cost.name: cost}) for arch, accuracy, cost in rows]

    def to_frame(self) -> Any:
        """All subnets as a pandas data frame: space, arch, accuracy, the cost, whether the accuracy is measured or
        predicted, and whether it is on its space's frontier."""
        return to_frame(self.rows())

    def rows(self) -> Iterator[dict[str, Any]]:
        """The rows of :meth:`to_frame`."""
        from hwbench.frontiers.document import rows

        return rows(self)

    def to_dict(self) -> dict[str, Any]:
        """Frontiers, hypervolumes and where the numbers come from, JSON-ready."""
        from hwbench.frontiers.document import describe

        return describe(self)

    def draw(self, path: str | Path | io.BytesIO) -> None:
        """Draw the picture, a png, svg or pdf."""
        from hwbench.frontiers.document import draw

        draw(path if isinstance(path, io.BytesIO) else Path(path), self)

    def _repr_png_(self) -> bytes:
        picture = io.BytesIO()
        self.draw(picture)
        return picture.getvalue()

    def __repr__(self) -> str:
        lines = [f"subnets of {self.family.name} by {self.cost.label}, {self.cost.of}"]
        for space in self.spaces:
            frontier = space.shown.frontier()
            lines.append(
                f"  {space.name}: {len(frontier)} of {len(space.shown):,} {space.accuracy_is} subnets on the frontier, "
                f"hypervolume {self.hypervolumes[space.name]:.5f} {self.cost.unit} x accuracy"
            )
        return "\n".join(lines)


@overload
def pareto(  # type: ignore[overload-overlap]  # a list could be somebody's cost model, which it is not taken for
    cost: Mapping[str, Given] | list[Any] | tuple[Any, ...],
    *,
    spaces: Sequence[str] = ...,
    family: str | Family | None = ...,
    accuracy: str | Path | Sequence[str | Path] | None = ...,
    networks: str | Path | None = ...,
    seed: int = ...,
    force: bool = ...,
) -> DeviceFrontiers: ...


@overload
def pareto(
    cost: Given | None = None,
    *,
    spaces: Sequence[str] = ...,
    family: str | Family | None = ...,
    accuracy: str | Path | Sequence[str | Path] | None = ...,
    networks: str | Path | None = ...,
    seed: int = ...,
    force: bool = ...,
) -> ParetoResult: ...


def pareto(
    cost: Given | Mapping[str, Given] | Sequence[Given] | None = None,
    *,
    spaces: Sequence[str] = ("compofa", "ofa"),
    family: str | Family | None = None,
    accuracy: str | Path | Sequence[str | Path] | None = None,
    networks: str | Path | None = None,
    seed: int = 0,
    force: bool = False,
) -> ParetoResult | DeviceFrontiers:
    """The frontiers of several spaces, on one device or on several.

    >>> import hwbench
    >>> fronts = hwbench.pareto(hwbench.reference_table(), spaces=["compofa"])
    >>> fronts.frontiers["compofa"][0].latency_ms < fronts.frontiers["compofa"][-1].latency_ms
    True
    >>> both = hwbench.pareto({"cpu": hwbench.reference_table(), "any": "macs"}, spaces=["compofa"])
    Traceback (most recent call last):
        ...
    compofa.errors.InputError: cpu is a matter of latency (ms), any of MACs (M): one picture has one axis

    Args:
        cost: a table or model (a path or an object), or a name of :data:`lut.costs.COUNTED`; None for the best table
            of the family. Several, one a device, in a list, or in a mapping that names them.
        spaces: names.
        family: whose subnets (default: that of the cost, or glyphs).
        accuracy: files of accuracies, one for all spaces or one for each; None for what is shipped.
        networks: a file of networks with stated accuracies, to stand beside the frontiers, see
            :func:`hwbench.inputs.networks.read_networks`.
        seed: of the random subnets with predicted accuracy.
        force: go on with what is not to be trusted or does not belong together.

    Returns:
        The frontiers on the one device, or, where costs were given in a list or a mapping, those on each.

    Raises:
        InputError: what was given does not belong together, or is broken; says how.
        MissingEntry: the table lacks blocks of a space.
    """
    from hwbench.frontiers.devices import DeviceFrontiers, open_devices

    wanted = get_family(family) if isinstance(family, str) else family

    def on(source: Source) -> ParetoResult:
        return _on_one(source, spaces, accuracy, networks, seed, force)

    if isinstance(cost, Mapping | list | tuple):
        sources = open_devices(cost, wanted, force)
        return DeviceFrontiers({name: on(source) for name, source in sources.items()})
    source = open_source(cost, wanted, force)
    owner = source.cost.family
    if wanted and owner.name != wanted.name:
        what = "model" if source.file and source.file.suffix == ".json" else "table"
        raise InputError(
            f"{source} is a {what} of family {owner.name}, not of {wanted.name}: say --family {owner.name}, or give "
            "another one"
        )
    return on(source)


def _on_one(
    source: Source,
    spaces: Sequence[str],
    accuracy: str | Path | Sequence[str | Path] | None,
    networks: str | Path | None,
    seed: int,
    force: bool,
) -> ParetoResult:
    """The frontiers by one cost."""
    owner = source.cost.family  # with the classes of the table
    names = list(dict.fromkeys(spaces))
    given = [accuracy] if isinstance(accuracy, str | Path) else accuracy
    files: Sequence[Path | None] = [None] * len(names)  # what is shipped, predicted
    if given or owner.name in ACCURACY_FAMILIES:
        files = accuracy_files(names, owner, [Path(file) for file in given or ()])
    results = tuple(
        join(get_space(name, owner), source, file, seed, force)
        for name, file in zip(names, files, strict=True)
    )
    check_comparable(results, force)
    note_differences(source.cost, results[0].of)
    return ParetoResult(owner, source, results, *_placed(networks, source))


def _placed(path: str | Path | None, source: Source) -> tuple[tuple[NamedNetwork, ...], tuple[float, ...]]:
    """The networks in a file that the cost knows, and what they cost; says how many it does not know."""
    if path is None:
        return (), ()
    cost = source.cost
    known, costs = [], []
    given = read_networks(Path(path), cost.family)
    for network in given:
        try:
            costs.append(float(cost.predict(encode(cost.family, [network.arch]))[0]))
        except (MissingEntry, InputError):
            continue
        known.append(network)
    if not known:
        raise InputError(f"{source} knows none of the {len(given)} networks of {path}")
    if len(known) < len(given):
        left = len(given) - len(known)
        note(f"{path}: {left} networks have a resolution or blocks that are not known of {source}: left out")
    return tuple(known), tuple(costs)
