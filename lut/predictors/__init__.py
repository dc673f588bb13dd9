"""Latency predictors: estimators over feature rows, their choice by cross-validation, and honest intervals."""

from __future__ import annotations

from lut.predictors.base import Estimator
from lut.predictors.corrected import Forest, Mlp, XGBoost
from lut.predictors.gaussian_process import GaussianProcess, RooflineProcess
from lut.predictors.linear import Additive, Ridge
from lut.predictors.roofline import Roofline

ESTIMATORS: dict[str, type[Estimator]] = {
    kind.name: kind
    for kind in (
        Additive,
        Roofline,
        Ridge,
        GaussianProcess,
        RooflineProcess,
        XGBoost,
        Forest,
        Mlp,
    )
}
"""As ``--model`` names them, simplest first."""
