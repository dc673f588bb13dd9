"""Latencies of subnets learned from measured ones: the work of ``hwbench fit --measured``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from compofa.errors import InputError
from compofa.spaces.registry import get_family
from hwbench.fitting import COVERAGE
from hwbench.telling import note, warn

if TYPE_CHECKING:
    from compofa.spaces.family import Family
    from compofa.spaces.layout import Genotypes
    from lut.predictors.base import Floats
    from lut.subnet_model import SubnetModel

ODD = 100
"""Times above or below a generic device at which latencies look like those of another unit."""


def fit(
    measured: str | Path,
    column: str = "measured_ms",
    *,
    family: str = "glyphs",
    model: str = "auto",
    samples: int | None = None,
    seed: int = 0,
    out: str | Path | None = None,
) -> SubnetModel:
    """A model of the latency of any subnet, from measurements of some; it is a cost for :func:`hwbench.search`.

    >>> import hwbench, tempfile
    >>> space = hwbench.get_space("compofa", hwbench.get_family("glyphs"))
    >>> table = hwbench.open_table(hwbench.reference_table())
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     rows = [f'"{arch}",{table.latency_ms(space.blocks(arch)):.6f}' for arch in space.enumerate((24,))]
    ...     _ = open(f"{folder}/m.csv", "w").write("\\n".join(["arch,measured_ms", *rows]))
    ...     learned = hwbench.fit(f"{folder}/m.csv", model="additive", samples=60)
    >>> learned.about["held_out"]["mape_pct"] < 10
    True

    Args:
        measured: a CSV of subnets and their latencies, in any form of :mod:`lut.subnets_csv`.
        column: of the latencies in milliseconds.
        family: whose subnets they are.
        model: ``auto``, or one estimator of :data:`lut.predictors.ESTIMATORS`.
        samples: fit on so many random rows and score on the others; None: fit on all.
        seed: of the rows, the folds and the estimators.
        out: file to write the model to.

    Returns:
        The model; ``about`` says how good it is on rows that were not used, and where they come from.

    Raises:
        InputError: the file is broken, or holds too few rows; names the line.
    """
    from lut.predictors import ESTIMATORS
    from lut.predictors.auto import AutoPredictor, check_model
    from lut.subnet_model import SubnetModel

    owner = get_family(family)
    if model != "auto":
        check_model(model)
    genotypes, measured_ms, target = read_measured(Path(measured), owner, column)
    chosen, rest = split(len(genotypes), samples, seed)
    predictor = AutoPredictor(tuple(ESTIMATORS) if model == "auto" else (model,), seed, note)
    found = SubnetModel.fit(owner, column, genotypes[chosen], measured_ms[chosen], predictor)
    found.about.update(
        measured=Path(measured).name,
        target=target,
        rows=len(genotypes),
        cross_validated=assess_unseen(found),
        held_out=assess(found, genotypes[rest], measured_ms[rest]) if len(rest) > 1 else None,
    )
    if out:
        found.save(Path(out))
    return found


# --- what is learned from ---


def read_measured(path: Path, family: Family, column: str) -> tuple[Genotypes, Floats, str | None]:
    """The measured subnets, distinct, their latencies in ms, and the target if the file tells it; says what looks
    odd.

    Raises:
        ValueError: the file is no such file; names the line.
    """
    from lut.subnet_model import merge_repeats
    from lut.subnets_csv import read_subnets

    file = read_subnets(path, family)
    measured_ms = file.latencies(column)
    genotypes, merged_ms, spread_pct = merge_repeats(file.genotypes, measured_ms)
    if spread_pct is not None:
        note(
            f"{len(file.genotypes) - len(genotypes)} rows repeat a subnet of another row (slots past a unit's depth "
            f"do not count): their median is taken; repeats differ from it by {spread_pct:.2f} % in the mean"
        )
    if warning := odd_units(family, genotypes, merged_ms):
        warn(f"{column}: {warning}")
    return genotypes, merged_ms, file.target


def odd_units(family: Family, genotypes: Genotypes, measured_ms: Floats) -> str | None:
    """A warning if the latencies are orders of magnitude away from what launches, work and bytes cost on a
    generic device; None if they are not."""
    import numpy as np

    from lut.predictors.subnets import subnet_rows

    times = float(np.median(measured_ms / subnet_rows(family, genotypes).prior))
    if 1 / ODD <= times <= ODD:
        return None
    unit = "microseconds" if times > 1 else "seconds"
    return (
        f"the latencies are {max(times, 1 / times):,.0f} times {'above' if times > 1 else 'below'} those of a generic "
        f"device: are they {unit}? hwbench takes them for milliseconds"
    )


def split(count: int, samples: int | None, seed: int) -> tuple[Any, Any]:
    """Indices of the rows to fit on, random unless all are, and of the others.

    Raises:
        ValueError: there are not so many rows.
    """
    import numpy as np

    if samples is None:
        return np.arange(count), np.arange(0)
    if samples > count:
        raise InputError(f"--samples {samples}, but only {count} distinct subnets were measured")
    order = np.random.default_rng(seed).permutation(count)
    return order[:samples], order[samples:]


# --- how good it is ---


def assess_unseen(model: SubnetModel) -> dict[str, Any]:
    """Scores of the cross-validated predictions, and how many of the rows the intervals hold that were made
    without them."""
    from lut.predictors.conformal import checked_coverage
    from lut.predictors.subnets import subnet_rows
    from lut.scores import scores

    unseen_ms = model.predictor.unseen_ms
    rows = subnet_rows(model.family, model.genotypes)
    coverage = checked_coverage(rows, model.latency_ms, unseen_ms, COVERAGE, model.predictor.seed)
    return {**scores(model.latency_ms, unseen_ms), "coverage_pct": coverage}


def assess(model: SubnetModel, genotypes: Genotypes, measured_ms: Floats) -> dict[str, Any]:
    """Scores on subnets that were not used, the coverage of the intervals and their mean relative width."""
    import numpy as np

    from lut.scores import scores

    predicted, low, high = model.interval(genotypes, COVERAGE)
    return {
        "subnets": len(genotypes),
        **scores(measured_ms, predicted),
        "coverage_pct": float(100 * np.mean((low <= measured_ms) & (measured_ms <= high))),
        "mean_width_pct": float(100 * np.mean((high - low) / predicted)),
    }
