"""Where a command's latencies and accuracies come from: given files, the newest table, or what is shipped."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from compofa.errors import InputError
from hwbench import cli

if TYPE_CHECKING:
    from compofa.accuracy import Accuracies
    from compofa.accuracy_predictor import AccuracyPredictor
    from compofa.families import Family
    from compofa.spaces import Space
    from hwbench.subnet_latency import SubnetLatency
    from lut.model import LatencyModel


def find_table(given: Path | None, family: Family) -> tuple[Path, bool]:
    """The table to use, and whether it is the shipped one.

    Raises:
        ValueError: none was given or built, and none is shipped for the family.
    """
    from backends.host import cpu_name
    from hwbench import shipped
    from lut.trust import choose_table

    if given:
        return given, False
    if choice := choose_table(family, cpu_name()):
        if choice.why:
            cli.note(f"latencies of {choice.path}, {choice.why}")
        return choice.path, False
    try:
        path = shipped.reference_table(family.name)
    except ValueError:
        raise InputError(
            f"no table of {family.name}: build one with hwbench build_lut --family {family.name}, or give --lut FILE"
        ) from None
    cli.note("no table was built on this machine: these are the latencies of the shipped reference table")
    return path, True


def load_latency_model(lut: Path, family: Family) -> LatencyModel:
    """The table's model, calibrated if it was validated.

    Raises:
        ValueError: the table is broken, or of another family.
    """
    from lut.calibration import load_model

    model = load_model(lut)
    if model.family.name != family.name:
        raise InputError(
            f"{lut} is a table of family {model.family.name}, not of {family.name}: say --family {model.family.name}, "
            "or give another --lut"
        )
    if model.target.precision != "fp32":
        cli.note(f"accuracies are of fp32 subnets; the latencies are of {model.target.precision} ones")
    if not model.calibrated:
        cli.note(f"{lut} is not calibrated: latencies are plain sums; run hwbench validate --lut {lut}")
    return model


def load_subnet_latency(path: Path, family: Family) -> SubnetLatency:
    """The model that ``hwbench fit`` wrote.

    Raises:
        ValueError: the file is broken, or of another family.
    """
    from hwbench.subnet_latency import SubnetLatency

    model = SubnetLatency.load(path)
    if model.family.name != family.name:
        raise InputError(f"{path} is a model of family {model.family.name}, not of {family.name}")
    return model


def covered_resolutions(model: LatencyModel | SubnetLatency, space: Space, path: Path) -> tuple[int, ...]:
    """The resolutions that a model of subnets was fitted at, or that a table was built for, at which it must know
    every block of `space`; says so if they are not all that the family has.

    Raises:
        MissingEntry: it lacks blocks there; names the first and says how many.
    """
    from hwbench.subnet_latency import SubnetLatency
    from lut.lookup import MissingEntry

    if isinstance(model, SubnetLatency):
        return model.covered_resolutions(path)
    table, family = model.table, space.family
    if not table.entries:
        raise MissingEntry(f"{path} has no entry: finish it with hwbench build_lut")
    wanted = {*table.complete_resolutions(space), *table.header.resolutions}
    covered = tuple(resolution for resolution in family.resolutions if resolution in wanted)
    if missing := table.missing(space, covered):
        raise MissingEntry(
            f"{path} lacks {len(missing)} blocks of space {space.name}, the first being {missing[0]}: "
            f"add them with hwbench build_lut --space {space.name}"
        )
    if len(covered) < len(family.resolutions):
        sides = ", ".join(map(str, covered))
        cli.note(f"{path} covers {sides} px only: subnets of other resolutions are left out")
    return covered


def accuracy_files(spaces: Sequence[str], family: Family, given: Sequence[Path] | None) -> list[Path]:
    """The accuracy file of each space.

    Raises:
        ValueError: there are neither one nor as many as spaces, or none is given or shipped.
    """
    from hwbench import shipped

    if not given:
        return [shipped.accuracies(family.name, space) for space in spaces]
    if len(given) not in (1, len(spaces)):
        raise InputError(f"{len(given)} times --accuracy for {len(spaces)} spaces: give one, or one for each")
    return list(given) * (len(spaces) if len(given) == 1 else 1)


def load_accuracies(path: Path, family: Family) -> Accuracies:
    """Measured accuracies of subnets of `family`.

    Raises:
        ValueError: the file is broken, or of another family.
    """
    from compofa.accuracy import Accuracies

    accuracies = Accuracies.load(path)
    if accuracies.header.family != family.name:
        raise InputError(
            f"{path} holds accuracies of family {accuracies.header.family}, not of {family.name}"
        )
    return accuracies


def find_predictor(accuracy_file: Path, family: Family) -> AccuracyPredictor | None:
    """The predictor beside an accuracy file: ``x.accuracy.jsonl`` has ``x.predictor.safetensors``; or None."""
    from compofa.accuracy_predictor import AccuracyPredictor

    path = accuracy_file.with_name(
        accuracy_file.name.removesuffix(".accuracy.jsonl") + ".predictor.safetensors"
    )
    if not path.is_file():
        return None
    predictor = AccuracyPredictor.load(path)
    if predictor.family.name != family.name:
        raise InputError(
            f"{path} predicts accuracies of family {predictor.family.name}, not of {family.name}"
        )
    return predictor
