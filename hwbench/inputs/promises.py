"""Promises of latency as they are asked for: what each kind of cost can promise, and what to run where it cannot."""

from __future__ import annotations

from functools import singledispatch
from typing import TYPE_CHECKING

from compofa.errors import InputError
from hwbench.inputs.trust import insist
from lut.calibration import Calibration, calibration_path
from lut.model import LatencyModel
from lut.promise import Bound, check_confidence
from lut.promise_residuals import Residuals
from lut.promised import Bounding, FittedBound, Promised
from lut.subnet_model import SubnetModel

if TYPE_CHECKING:
    from hwbench.inputs.costs import Source


def promised(source: Source, confidence: float, force: bool = False) -> Promised:
    """The cost of a source as bounds that its device keeps with a probability.

    Raises:
        InputError: it is none, or the source cannot promise it; says what to run.
    """
    check_confidence(confidence)
    if isinstance(source.cost, Promised):
        raise InputError(f"{source} is a promise already: leave the confidence out")
    return Promised(source.cost, _bound(source.cost, source, confidence, force))


@singledispatch
def _bound(cost: object, source: Source, confidence: float, force: bool) -> Bounding:
    raise InputError(
        f"{source} tells no error that a promise could rest on: a confidence is of latencies, of a table that was "
        "validated (hwbench validate) or a model that hwbench fit wrote"
    )


@_bound.register(SubnetModel)
def _of_fitted(cost: SubnetModel, source: Source, confidence: float, force: bool) -> Bounding:
    return FittedBound(cost, confidence)


@_bound.register(LatencyModel)
def _of_table(cost: LatencyModel, source: Source, confidence: float, force: bool) -> Bounding:
    return Bound(Residuals.of(calibration_of(cost, source, force)), confidence)


def calibration_of(cost: LatencyModel, source: Source, force: bool = False) -> Calibration:
    """What lies beside the table of a source.

    Raises:
        InputError: it was never validated, or the calibration is not to be trusted.
    """
    if source.file is None:
        raise InputError(
            f"a promise of {source} needs what validate measured beside it: give the table's file"
        )
    beside = calibration_path(source.file)
    if not beside.exists():
        raise InputError(
            f"{source} was never validated, so nobody knows what its device keeps: run hwbench validate --lut {source}"
        )
    found = Calibration.load(beside, cost.table)
    if found.distrust:
        insist(f"{beside} promises nothing: {found.distrust}", force)
    return found
