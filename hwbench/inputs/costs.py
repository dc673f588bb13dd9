"""Costs as a command or a function is given them: a table, a fitted model, MACs; or nothing, for the best table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from compofa.errors import InputError
from hwbench.telling import note, warn

if TYPE_CHECKING:
    from compofa.spaces.family import Family
    from lut.costs import CostModel
    from lut.model import LatencyModel

CALIBRATION = ".calibration.json"
WARNED_OF = ("noisy", "implausible", "another machine")
"""Doubts about a table that are told, see :mod:`lut.trust`; what is missing or cannot run is told otherwise."""


@dataclass(frozen=True)
class Source:
    """A cost, and where it comes from.

    Args:
        cost: the model.
        file: that it was read from; None if it was given as an object or follows from the networks alone.
        shipped: whether it is the reference table that comes along.
    """

    cost: CostModel
    file: Path | None = None
    shipped: bool = False

    def __str__(self) -> str:
        return str(self.file or self.cost.of)


Given = Path | str | object
"""A :class:`Source`, a file, the name of a cost that needs none (``macs``, ``params``, ``memory``), or a model."""


def open_sources(
    given: Given | Mapping[str, Given] | None, family: Family | None, force: bool = False
) -> dict[str, Source]:
    """Costs by name, all of one family.

    Args:
        given: one or, by name, several; None for the best table of the family (:mod:`lut.trust`), or the shipped one.
        family: that they must be of; None for any.
        force: take what is not to be trusted, too.

    Raises:
        InputError: they are of different families, or a file is broken.
        OSError: a file cannot be read.
    """
    if isinstance(given, Mapping):
        if not given:
            raise InputError("no cost is given: give a table, or None for the best one here")
        found = {name: open_source(one, family, force) for name, one in given.items()}
    else:
        one = open_source(given, family, force)
        found = {name_of(one): one}
    wanted = family or next(iter(found.values())).cost.family
    for source in found.values():
        if source.cost.family.name != wanted.name:
            raise InputError(
                f"{source} holds latencies of family {source.cost.family.name}, not of {wanted.name}: give another "
                f"table, or --family {source.cost.family.name}"
            )
    return found


def name_of(source: Source) -> str:
    """What to call a cost that was given no name: its file's, without suffixes, or what it is."""
    return source.file.name.split(".")[0] if source.file else source.cost.name


def open_source(given: Given | None, family: Family | None = None, force: bool = False) -> Source:
    """The cost that was given, see :func:`open_sources`."""
    from compofa.spaces.registry import GLYPHS
    from lut.costs import COUNTED

    if given is None:
        path, shipped = find_table(family or GLYPHS)
        return Source(trusted_model(path, force), path, shipped)
    if isinstance(given, str) and given in COUNTED:
        return Source(COUNTED[given](family or GLYPHS))
    if isinstance(given, Source):
        return given
    if not isinstance(given, str | Path):
        if not hasattr(given, "predict"):
            raise InputError(
                f"a {type(given).__name__} is no cost: give a table or model, by its path or opened, or several by name"
            )
        return Source(given)  # type: ignore[arg-type]  # a model of the user's own, see CostModel
    path = Path(given)
    if path.name.endswith(CALIBRATION):
        if not path.is_file():
            raise FileNotFoundError(2, "No such file or directory", str(path))
        path = path.with_name(path.name.removesuffix(CALIBRATION) + ".jsonl")
    if _is_subnet_model(path):
        return Source(open_subnet_model(path), path)
    return Source(trusted_model(path, force), path)


def open_energy(given: Given | None, family: Family | None = None, force: bool = False) -> Source:
    """The energies of a table instead of its latencies.

    Raises:
        InputError: what was given is no table, or holds no energies.
    """
    from lut.energy import EnergyModel
    from lut.of_table import OfTable

    source = open_source(given, family, force)
    if not isinstance(source.cost, OfTable):
        raise InputError(f"{source} is no table: it tells no energy")
    return Source(EnergyModel(source.cost.table), source.file, source.shipped)


def _is_subnet_model(path: Path) -> bool:
    from lut.subnet_model import FORMAT

    if not path.is_file():
        return False
    with path.open("rb") as file:
        return FORMAT.encode() in file.read(200)


def open_subnet_model(path: Path) -> CostModel:
    """The model that ``hwbench fit`` wrote.

    Raises:
        InputError: it is no such file.
    """
    from lut.subnet_model import SubnetModel

    try:
        model = SubnetModel.load(path)
    except ValueError as error:
        raise InputError(f"{error} (give a file that hwbench fit wrote)") from error
    if model.about.get("chosen_anew"):
        note(f"another version of hwbench wrote {path}: it was chosen and fitted anew; fit writes it again")
    return model


def find_table(family: Family) -> tuple[Path, bool]:
    """The table to use where none was given, and whether it is the shipped one.

    Raises:
        InputError: none was built, and none is shipped for the family.
    """
    from backends.machine.host import cpu_name
    from hwbench import shipped
    from lut.trust import choose_table

    if choice := choose_table(family, cpu_name()):
        if choice.why:
            note(f"latencies of {choice.path}, {choice.why}")
        return choice.path, False
    try:
        path = shipped.reference_table(family.name)
    except ValueError:
        raise InputError(
            f"no table of {family.name}: build one with hwbench build_lut --family {family.name}, or give --lut FILE"
        ) from None
    note("no table was built on this machine: these are the latencies of the shipped reference table")
    return path, True


def trusted_model(path: Path, force: bool = False) -> LatencyModel:
    """The table's model, calibrated if it was validated and the calibration is worth something; says what is not
    calibrated or not to be trusted, and what to do.

    Raises:
        InputError: the table or its calibration is broken.
    """
    from backends.machine.host import cpu_name
    from lut.calibration import load_model
    from lut.trust import doubts

    model = load_model(path)
    if model.caution and force:
        warn(model.caution.replace("is not used", "is used all the same"))
        model = load_model(path, force)
    elif model.caution:
        note(f"{model.caution}; latencies are plain sums (--force uses it)")
    elif not model.calibrated:
        note(f"{path} is not calibrated: latencies are plain sums; run hwbench validate --lut {path}")
    for doubt in doubts(model.table, cpu_name()):
        if doubt.kind in WARNED_OF:
            warn(f"{path}: {doubt.text}")
    return model
