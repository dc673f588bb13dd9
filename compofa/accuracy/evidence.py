"""Ridge regression with a penalty for each group of inputs, chosen by the evidence, and the doubt that is left.

The penalties are the fixed point of MacKay (Bayesian interpolation, Neural Computation 4, 1992): a group's prior
variance is the square of its weights over the number of them that the data determine. No search over grids, and a group
that says nothing is shrunk to nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
ROUNDS = 30
STEADY = 0.02
"""Relative change of the noise and of the penalties that ends the rounds."""
LEAST, MOST = 1e-10, 10.0
"""Of what a group explains, as a share of the targets' variance."""
LEAST_NOISE = 1e-4
"""As such a share: with more inputs than targets these can be met exactly, which says nothing of their noise."""


@dataclass(frozen=True, eq=False)
class Regression:
    """``mean + (inputs - centre) @ weight``, and its uncertainty.

    Args:
        centre: of the inputs, shape (d,).
        mean: of the targets.
        weight: shape (d,).
        covariance: of the weights, given the data, shape (d, d).
        noise: variance of a target that was measured as well as may be.
    """

    centre: Floats
    mean: float
    weight: Floats
    covariance: Floats
    noise: float


def regress(groups: Sequence[NDArray[np.floating]], targets: Floats, known_noise: Floats) -> Regression:
    """Fit groups of inputs, each of shape (n, some), to targets (n,).

    Args:
        groups: inputs that belong together, and share a penalty.
        targets: what is to be told.
        known_noise: variance of each target that is known beforehand, as of a finite test set, shape (n,); the noise
            that is learned comes on top.
    """
    joined = np.hstack(groups).astype(float)
    sizes = [group.shape[1] for group in groups]
    of_group = np.repeat(np.arange(len(groups)), sizes)
    # The middle, too, is that of the targets that are known.
    share = 1 / (0.01 * max(float(targets.var()), 1e-12) + known_noise)
    share /= share.sum()
    centre, mean = share @ joined, float(share @ targets)
    x, y = joined - centre, targets - mean
    total = max(float(share @ y**2), 1e-12)
    typical = np.array(
        [max(float((x[:, of_group == g] ** 2).sum(1).mean()), 1e-9) for g in range(len(groups))]
    )
    prior = total / len(groups) / typical
    noise = 0.01 * total
    steady = known_noise.max() == 0  # all rows count the same: the products are made once
    gram, product = x.T @ x, x.T @ y
    for _ in range(ROUNDS):
        precision, right = gram / noise, product / noise
        if not steady:
            scaled = x / (noise + known_noise)[:, None]
            precision, right = scaled.T @ x, scaled.T @ y
        precision[np.diag_indices_from(precision)] += 1 / prior[of_group]
        covariance = np.linalg.inv(precision)
        weight = covariance @ right
        unsure = np.bincount(of_group, np.diag(covariance), len(groups)) / prior
        determined = np.maximum(np.array(sizes) - unsure, 1e-3)
        squares = np.bincount(of_group, weight**2, len(groups))
        before = np.append(prior, noise)
        prior = np.clip(squares / determined, LEAST * total / typical, MOST * total / typical)
        residual = y - x @ weight
        # Targets that are hardly known say hardly anything of the noise that is left.
        worth = (noise / (noise + known_noise)) ** 2
        freedom = float(worth.mean()) * max(len(y) - float(determined.sum()), 0.1 * len(y))
        noise = max(float(worth @ (residual**2 - known_noise)) / freedom, LEAST_NOISE * total)
        after = np.append(prior, noise)
        alive = np.append(
            prior * typical > 1e-6 * total, True
        )  # what shrinks to nothing is no longer waited for
        if np.all(np.abs(after - before)[alive] <= STEADY * after[alive]):
            break
    return Regression(centre, mean, weight, covariance, noise)
