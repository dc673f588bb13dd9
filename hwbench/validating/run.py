"""A validation as it is asked for: a table in, scores and a calibration out."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from compofa.errors import InputError
from compofa.spaces.space import get_space
from hwbench.inputs.idle import refuse_idle
from hwbench.telling import note
from hwbench.validating.measuring import check_target, measure, open_backend
from hwbench.validating.subnets import draw_subnets
from lut.calibration import MIN_NETWORKS, Calibration, calibration_path
from lut.formats import read_table
from lut.scores import scores

if TYPE_CHECKING:
    from lut.model import LatencyModel
    from lut.table import Table


@dataclass(frozen=True)
class Validation:
    """Networks that were measured beside a table. In a notebook it shows its picture.

    Args:
        lut: file of the table.
        calibration: the networks.
        target: what they were measured on, JSON-ready.
        label: the same for people.
        origin: of the latencies, one of :data:`backends.base.Measurement.ORIGINS`.
        same_target: it is the table's.
        kept: where the calibration is; None if it was not kept.
        failed: what could not be written, and why.
    """

    lut: Path
    calibration: Calibration
    target: dict[str, Any] | str
    label: str
    origin: str
    same_target: bool
    kept: Path | None = None
    failed: tuple[str, ...] = ()

    @property
    def table(self) -> Table:
        """What was validated."""
        return self.calibration.table

    @property
    def model(self) -> LatencyModel:
        """The table, calibrated by these networks."""
        return self.calibration.model

    @cached_property
    def scores(self) -> dict[str, Any]:
        """Of the raw sums and, leave-one-out, of the calibrated model, with what can be asked of any model: see
        :func:`assess`."""
        return assess(self.calibration)

    @property
    def mape_pct(self) -> float:
        """Mean absolute error of the calibrated model on networks that it was not fitted to, in percent."""
        return float(self.scores["calibrated"]["mape_pct"])

    @property
    def repeatability_pct(self) -> float | None:
        """By how much a second measurement of the same networks differs from the first, in percent."""
        return self.calibration.repeatability_pct

    def to_dict(self) -> dict[str, Any]:
        """All of it, JSON-ready."""
        return {
            "lut": str(self.lut),
            "calibration": str(self.kept) if self.kept else None,
            "target": self.table.target.to_dict(),
            "measured_on": self.target,
            "origin": self.origin,
            "blocks": self.table.origins,
            "family": self.table.family.name,
            "n": len(self.calibration.archs),
            **self.scores,
        }

    def draw(self, path: str | Path) -> None:
        """Predicted against measured, a png, svg or pdf."""
        from hwbench import plots

        calibration, found = self.calibration, self.scores
        raw, calibrated = found["raw"], found["calibrated"]
        repeats = "" if self.repeatability_pct is None else f", repeatability {self.repeatability_pct:.1f} %"
        plots.draw_validation(
            Path(path),
            measured_ms=calibration.measured_ms,
            panels=[
                plots.Panel("raw sum", calibration.raw_ms, raw["mape_pct"], raw["spearman"]),
                plots.Panel(
                    "calibrated, leave-one-out",
                    calibration.held_out_ms,
                    calibrated["mape_pct"],
                    calibrated["spearman"],
                ),
            ],
            title=f"{len(calibration.archs)} subnets of {self.table.family.name}{repeats}",
            target=str(self.table.target),
            origin=self.origin,
        )

    def __repr__(self) -> str:
        repeats = "" if self.repeatability_pct is None else f" (repeatability {self.repeatability_pct:.1f} %)"
        return (
            f"{self.lut}: {len(self.calibration.archs)} {self.origin} subnets, calibrated MAPE {self.mape_pct:.1f} %"
            f"{repeats}, {self.scores['calibrated']['within_5_pct']:.0f} % within 5 %, {self.label}"
        )


def validate(
    table: str | Path | None = None,
    *,
    family: str = "glyphs",
    space: str | None = None,
    subnets: int = 40,
    measured: str | Path | None = None,
    column: str = "measured_ms",
    options: Mapping[str, str] | None = None,
    keep: bool = True,
    force_calibration: bool = False,
    force_target: bool = False,
    seed: int = 0,
) -> Validation:
    """Hold a table against whole networks, measured now or read from a file, and keep the calibration beside it.

    >>> import hwbench, tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     table = hwbench.build_table(
    ...         "fpga", options={"target": "zcu102-b4096"}, space="compofa", out=f"{folder}/dpu.jsonl"
    ...     )
    ...     checked = hwbench.validate(table.path, subnets=20)
    >>> checked.mape_pct < 10
    True

    Args:
        table: its file; None for the best of the family here (:mod:`lut.trust`).
        family: whose best table.
        space: whose subnets (default: the widest that the table covers).
        subnets: random ones to measure.
        measured: a CSV of subnets that were measured on the table's device, in place of measuring here.
        column: of the latencies in milliseconds in `measured`.
        options: of the table's backend, besides those that its target tells.
        keep: write the calibration beside the table, where it is worth keeping.
        force_calibration: keep it though it is not to be trusted, or rests on fewer subnets than the one there.
        force_target: go on though this machine is not the table's target; the calibration is then not kept.
        seed: of the subnets and their order.

    Raises:
        InputError: the table is broken, of another target, or covers no resolution of the space.
        BackendUnavailable: its target cannot be measured on here.
    """
    if measured:
        of_measuring = {"space": space, "options": options or None, "force_target": force_target or None}
        refuse_idle(of_measuring, "is of measuring here: leave it out, or measured")
    lut = Path(table) if table else default_table(family)
    opened = read_table(lut)
    if measured:
        found = from_file(opened, lut, Path(measured), column)
    else:
        rng = np.random.default_rng(seed)
        found = from_machine(opened, lut, space, subnets, rng, seed, options, force_target)
    return kept(found, force_calibration) if keep else found


def from_machine(
    table: Table,
    lut: Path,
    space: str | None,
    subnets: int,
    rng: np.random.Generator,
    seed: int,
    options: Mapping[str, str] | None,
    force_target: bool,
) -> Validation:
    """Measure random subnets here and now."""
    searched = get_space(space, table.family_as_built) if space else table.widest_space()
    archs = draw_subnets(table, searched, subnets, rng)
    backend = open_backend(table.target, seed, options)
    same_target = check_target(table.target, backend.target, force_target)
    if same_target:
        backend.use_reference(table.header.host.get("reference"))
    calibration = measure(backend, table, archs, rng)
    target = backend.target
    return Validation(lut, calibration, target.to_dict(), str(target), backend.origin, same_target)


def from_file(table: Table, lut: Path, path: Path, column: str) -> Validation:
    """Subnets and their latencies from a CSV file, which is believed to be of the table's device.

    Raises:
        InputError: the file names another target, a subnet comes twice, or there are too few.
    """
    from compofa.spaces.layout import decode
    from lut.subnets_csv import read_subnets

    rows = read_subnets(path, table.family_as_built)
    latency_ms = rows.latencies(column)
    archs = tuple(decode(table.family_as_built, rows.genotypes))
    if len(set(archs)) < len(archs):
        twice = next(arch for i, arch in enumerate(archs) if arch in archs[:i])
        raise InputError(f"{path} has {twice} more than once: give each subnet one latency")
    if len(archs) < MIN_NETWORKS:
        raise InputError(f"{path} holds {len(archs)} subnets; a calibration needs {MIN_NETWORKS} or more")
    label = rows.target or str(table.target)
    if rows.target and rows.target != str(table.target):
        raise InputError(
            f"{path} is of {rows.target}, the table of {table.target}: measure both on one device"
        )
    origin = column.removesuffix("_ms") if column in ("modelled_ms", "predicted_ms") else "measured"
    return Validation(lut, Calibration(table, archs, tuple(latency_ms.tolist())), label, label, origin, True)


# --- keeping what was measured ---


def kept(validation: Validation, force: bool) -> Validation:
    """Write the calibration beside the table, or, where that cannot be done, to the folder for temporary files; or say
    why it is not kept."""
    calibration, path = validation.calibration, calibration_path(validation.lut)
    if not validation.same_target:
        note("the calibration is not kept: it is of another target than the table")
        return validation
    if not force and (reason := _not_worth_keeping(calibration, path)):
        note(f"the calibration is not kept: {reason} (--force-calibration keeps it all the same)")
        return validation
    failed: list[str] = []
    if attempt(failed, lambda: calibration.save(path), path):
        return replace(validation, kept=path)
    rescued = Path(tempfile.gettempdir()) / path.name
    if attempt(failed, lambda: calibration.save(rescued), rescued):
        failed.append(f"what was measured is in {rescued}: move it beside the table once there is room")
        return replace(validation, kept=rescued, failed=tuple(failed))
    return replace(validation, failed=tuple(failed))


def _not_worth_keeping(calibration: Calibration, path: Path) -> str | None:
    if calibration.distrust:
        return calibration.distrust
    if not path.exists():
        return None
    try:
        there = Calibration.load(path, calibration.table)
    except ValueError:  # of another table, or broken: nobody can use it
        return None
    if len(there.archs) > len(calibration.archs) and not there.distrust:
        return f"the one in {path} rests on {len(there.archs)} subnets, this one on {len(calibration.archs)}"
    return None


def attempt(failed: list[str], write: Callable[[], object], path: Path) -> bool:
    """Try to write a file; if it cannot be, that is added to `failed`."""
    try:
        write()
        return True
    except OSError as error:
        failed.append(f"{error.filename or path} cannot be written: {error.strerror or error}")
        return False


def default_table(family: str) -> Path:
    """The table of `family` in the default place that :func:`lut.trust.choose_table` picks.

    Raises:
        ValueError: there is no such family or no such table.
    """
    from backends.machine.host import cpu_name
    from compofa.spaces.registry import get_family
    from lut.paths import tables_folder
    from lut.trust import choose_table

    if choice := choose_table(get_family(family), cpu_name()):
        if choice.why:
            note(f"validates {choice.path}, {choice.why}")
        return choice.path
    raise InputError(
        f"no table of {family} in {tables_folder()}: run hwbench build_lut --family {family}, or give --lut"
    )


def write_measured(path: Path, validation: Validation) -> None:
    """Write the subnets and the mean of the measurements of each as CSV: ``measured_ms``, or ``modelled_ms``."""
    from compofa.spaces.layout import encode
    from lut.subnets_csv import TARGET, subnet_columns, write_csv

    calibration = validation.calibration
    family = calibration.table.family_as_built
    header, cells = subnet_columns(family, encode(family, calibration.archs))
    latency = {f"{validation.origin}_ms": calibration.measured_ms}
    write_csv(path, [*header, TARGET], [[*row, validation.label] for row in cells], latency)


def assess(calibration: Calibration) -> dict[str, Any]:
    """The scores of the raw sums and, leave-one-out, of the calibrated model; what can be asked of any model, and
    whether this one or the machine is the limit; and the model fitted on everything."""
    measured = calibration.measured_ms
    calibrated = scores(measured, calibration.held_out_ms)
    noise_pct = calibration.noise_pct
    return {
        "raw": scores(measured, calibration.raw_ms),
        "calibrated": calibrated,
        "repeatability_pct": calibration.repeatability_pct,
        "drift_pct": calibration.drift_pct,
        "noise_pct": noise_pct,
        "model_error_pct": model_error_pct(calibrated["mape_pct"], noise_pct),
        "limit": limit(calibrated["mape_pct"], noise_pct),
        "within_95_pct": calibration.error_bound_pct(),
        "distrust": calibration.distrust,
        "model": dict(calibration.model.coefficients),
    }


def model_error_pct(mape_pct: float, noise_pct: float | None) -> float:
    """The model's own part of its error: the noise of what it was compared with adds to it in quadrature."""
    return math.sqrt(max(mape_pct**2 - (noise_pct or 0.0) ** 2, 0.0))


def limit(mape_pct: float, noise_pct: float | None) -> str | None:
    """Whether the ``machine``'s noise or the ``model``'s own error is the larger part; None if it cannot be told."""
    if noise_pct is None:
        return None
    return "machine" if noise_pct > model_error_pct(mape_pct, noise_pct) else "model"
