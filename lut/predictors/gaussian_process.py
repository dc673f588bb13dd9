"""Gaussian processes whose kernel is a sum: one linear kernel a group of columns, and a smooth rest.

How much each group matters is found by the evidence of the data (Rasmussen and Williams 2006, chapter 5), so
100 rows settle for coarse columns (work in all) and 900 afford fine ones (each choice of each slot).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from compofa.errors import InputError
from lut.predictors.base import Estimator, Floats, Rows, column_size
from lut.predictors.roofline import Roofline
from lut.robust import robust_spread

EVIDENCE_ROWS = 400
"""Rows that the evidence is computed on: enough for a dozen variances, and its time grows with their cube."""
FIRST_VARIANCE, GROUP_VARIANCE, SMOOTH_VARIANCE, NOISE_VARIANCE = 1.0, 0.03, 0.01, 1e-3
SMOOTH_LENGTH = 1.4
"""Where the search for the variances begins; those are relative to the mean latency."""
PRECISION = 0.01
"""Of the prior on the logarithms of the variances, which keeps those that the data leave open in bounds."""
LOG_LIMITS = (-18.0, 8.0)
STUDENT_DEGREES = 4.0
"""Of freedom: errors have heavy tails, because a machine is sometimes busy."""
CLOSED_FORM_ROWS = 250
"""Rows from which on folds may share the variances. Probed: the error then looks 1 to 2 % smaller than it is at
300 rows, which folds that lack a tenth of the rows make up for, but 13 to 25 % smaller at 100."""
STEPS = (60, 25)
"""Of the search, in the first round and in that after the weights of the rows are known."""


class GaussianProcess(Estimator):
    """Relative errors are weighed, and rows that no kernel explains are trusted less (Student's t by
    reweighting, from leave-one-out errors)."""

    name = "gp"
    min_rows = 20

    def fit(self, rows: Rows, latency_ms: Floats) -> Self:
        return self._fit(rows, latency_ms, None)

    def searched(self) -> dict[str, Any]:
        """``log_variances``: the kernel's parameters after each round."""
        return {"log_variances": self.log_variances.tolist()}

    def refit(self, rows: Rows, latency_ms: Floats, searched: Mapping[str, Any]) -> Self:
        return self._fit(rows, latency_ms, np.asarray(searched["log_variances"], dtype=float))

    def _fit(self, rows: Rows, latency_ms: Floats, log_variances: Floats | None) -> Self:
        """Search for the variances unless they are known, shape (rounds, parameters)."""
        self._prepare(rows, latency_ms)
        self.mean_ms = float(latency_ms.mean())
        weight = self.mean_ms / latency_ms  # divided by its latency, every row is 1
        groups = self._groups(rows)
        self.size = {name: _size(part) for name, part in groups.items()}
        scaled = {name: part / self.size[name] * weight[:, None] for name, part in groups.items()}
        smooth = self._smooth(rows)
        self.centre, self.spread = smooth.mean(axis=0), smooth.std(axis=0) + 1e-9
        self.places = (smooth - self.centre) / self.spread

        linear = np.array([part @ part.T for part in scaled.values()])
        distance = _distance(self.places, self.places)
        kernel = _Kernel(linear, distance, np.outer(weight, weight))
        self.log_variances, self.answer, self.inverse = self._solve(kernel, log_variances)
        self._keep(self.log_variances[-1], scaled, self.answer, weight)
        return self

    def _solve(self, kernel: _Kernel, known: Floats | None) -> tuple[Floats, Floats, Floats]:
        """In turns the variances and, from the errors that they leave, the noise of each row.

        Args:
            kernel: at n rows.
            known: what an earlier search found, shape (rounds, parameters); None searches.

        Returns:
            Logarithms of the variances after each round, and what :meth:`_Kernel.solve` gives.
        """
        if known is not None:
            kernel.check(known)
        count = len(kernel.distance)
        some = np.random.default_rng(self.seed).permutation(count)[:EVIDENCE_ROWS]
        part_of_it = kernel.at(some)
        noise, rounds = np.ones(count), [kernel.start]
        for turn, steps in enumerate(STEPS):
            found = part_of_it.most_evident(rounds[-1], noise[some], steps) if known is None else known[turn]
            rounds.append(found)
            answer, inverse = kernel.solve(found, noise)
            noise = _student_noise(answer / np.diag(inverse))
        # The noise that the last round used is the one before; the next would change little.
        return np.array(rounds[1:]), answer, inverse

    def cross_predict(self, rows: Rows, latency_ms: Floats, folds: Sequence[NDArray[np.intp]]) -> Floats:
        """With many rows in closed form from one fit: the variances (and the roofline), a dozen or two numbers, are
        those of all rows; the rest is as if the fold had not been there (Rasmussen and Williams, 5.12, for
        blocks)."""
        if len(rows) < CLOSED_FORM_ROWS:
            return super().cross_predict(rows, latency_ms, folds)
        self.fit(rows, latency_ms)
        relative_error = np.empty(len(rows))
        for held_out in folds:
            block = self.inverse[np.ix_(held_out, held_out)]
            relative_error[held_out] = np.linalg.solve(block, self.answer[held_out])
        return latency_ms * (1 - relative_error)

    def _keep(self, logs: Floats, scaled: dict[str, Floats], answer: Floats, weight: Floats) -> None:
        """A linear kernel is a weight a column; the smooth one needs the rows."""
        variances = np.exp(logs)
        self.column_ms = {
            name: self.mean_ms * variance * (part.T @ answer) / self.size[name]
            for variance, (name, part) in zip(variances[: len(scaled)], scaled.items(), strict=True)
        }
        self.row_ms = self.mean_ms * variances[-3] * answer * weight
        self.length = variances[-2]

    def predict(self, rows: Rows) -> Floats:
        groups = self._groups(rows)
        linear = sum(groups[name] @ column_ms for name, column_ms in self.column_ms.items())
        places = (self._smooth(rows) - self.centre) / self.spread
        near = _distance(places, self.places)
        near *= -0.5 / self.length
        return np.asarray(linear + np.exp(near, out=near) @ self.row_ms)

    # What a subclass adds to:

    def _prepare(self, rows: Rows, latency_ms: Floats) -> None:
        """Fit whatever the columns are computed with."""

    def _groups(self, rows: Rows) -> dict[str, Floats]:
        """The groups of columns, each (n, columns); the first one starts with the largest variance."""
        return rows.linear

    def _smooth(self, rows: Rows) -> Floats:
        """The few columns of the smooth kernel, (n, columns)."""
        return np.hstack([rows.linear["launches"], np.log(rows.linear["work"] + 1e-9)])


class RooflineProcess(GaussianProcess):
    """The roofline with a learned residual: a Gaussian process that knows what the roofline says, and which of
    its sides is the later one."""

    name = "roofline-gp"
    min_rows = 20

    def _prepare(self, rows: Rows, latency_ms: Floats) -> None:
        self.roofline = Roofline(self.seed).fit(rows, latency_ms)

    def _groups(self, rows: Rows) -> dict[str, Floats]:
        sides = np.column_stack([self.roofline.predict(rows), *self.roofline.sides(rows)])
        return {"roofline": sides, **rows.linear}

    def _smooth(self, rows: Rows) -> Floats:
        launch, work = self.roofline.sides(rows)
        return np.column_stack(
            [rows.linear["launches"], np.log(launch / work), np.log(self.roofline.predict(rows))]
        )


class _Kernel:
    """The kernel at n rows as a function of the logarithms of its parameters: the groups' variances, the smooth
    part's variance and squared length, the noise's variance.

    Args:
        linear: shape (groups, n, n).
        distance: squared, shape (n, n).
        weight: of pairs of rows, shape (n, n).
    """

    def __init__(self, linear: Floats, distance: Floats, weight: Floats) -> None:
        self.linear, self.distance, self.weight = linear, distance, weight
        others = [GROUP_VARIANCE] * (len(linear) - 1)
        self.start = np.log([FIRST_VARIANCE, *others, SMOOTH_VARIANCE, SMOOTH_LENGTH, NOISE_VARIANCE])

    def check(self, logs: Floats) -> None:
        """Raise ValueError unless `logs` could be what searches found here, shape (rounds, parameters)."""
        low, high = LOG_LIMITS
        if logs.shape != (len(STEPS), len(self.start)) or not ((low <= logs) & (logs <= high)).all():
            raise InputError(
                f"a Gaussian process on these rows has {len(STEPS)} times {len(self.start)} logarithms of variances "
                f"from {low:g} to {high:g}, not those of the file: fit the model again"
            )

    def at(self, rows: np.ndarray) -> _Kernel:
        """The kernel at some of the rows only."""
        pairs = np.ix_(rows, rows)
        return _Kernel(self.linear[:, pairs[0], pairs[1]], self.distance[pairs], self.weight[pairs])

    def _values(self, logs: Floats, noise: Floats) -> tuple[Floats, Floats]:
        """The covariance and the smooth part's share of it before its variance, each (n, n)."""
        *variances, smooth, length, jitter = np.exp(logs)
        near = np.exp(-0.5 / length * self.distance) * self.weight
        covariance = np.tensordot(variances, self.linear, axes=1) + smooth * near
        covariance[np.diag_indices(len(noise))] += jitter * noise
        return covariance, near

    def solve(self, logs: Floats, noise: Floats) -> tuple[Floats, Floats]:
        """The covariance's inverse times 1, shape (n,), and the inverse itself."""
        inverse, _ = _invert(self._values(logs, noise)[0])
        return inverse.sum(axis=1), inverse

    def most_evident(self, start: Floats, noise: Floats, steps: int) -> Floats:
        """The parameters of the largest evidence."""
        from scipy.optimize import minimize

        found = minimize(
            self._surprise,
            start,
            args=(noise,),
            jac=True,
            method="L-BFGS-B",
            bounds=[LOG_LIMITS] * len(start),
            options={"maxiter": steps},
        )
        return np.asarray(found.x)

    def _surprise(self, logs: Floats, noise: Floats) -> tuple[float, Floats]:
        """Minus the logarithm of the evidence, and its gradient (Rasmussen and Williams, 5.8 and 5.9)."""
        *variances, smooth, length, jitter = np.exp(logs)
        covariance, near = self._values(logs, noise)
        try:
            inverse, log_root = _invert(covariance)
        except np.linalg.LinAlgError:
            return 1e10, np.zeros_like(logs)
        answer = inverse.sum(axis=1)
        slope = inverse - np.outer(answer, answer)
        bent = slope * near
        gradient = [
            variance * np.vdot(slope, part) for variance, part in zip(variances, self.linear, strict=True)
        ]
        gradient += [
            smooth * bent.sum(),
            0.5 * smooth / length * np.vdot(bent, self.distance),
            jitter * np.diag(slope) @ noise,
        ]
        away = logs - self.start
        surprise = 0.5 * answer.sum() + log_root + 0.5 * PRECISION * away @ away
        return float(surprise), 0.5 * np.array(gradient) + PRECISION * away


def _invert(matrix: Floats) -> tuple[Floats, float]:
    """The inverse of a positive definite matrix and half the logarithm of its determinant.

    Raises:
        LinAlgError: it is not positive definite.
    """
    from scipy.linalg.lapack import dpotri

    root = np.linalg.cholesky(matrix)
    lower = np.tril(dpotri(root, lower=1)[0])
    return lower + np.tril(lower, -1).T, float(np.log(np.diag(root)).sum())


def _student_noise(error: Floats) -> Floats:
    """Each row's variance of noise relative to the typical one, by how far it is from what the others say."""
    size = error / robust_spread(error)
    return (STUDENT_DEGREES + size**2) / (STUDENT_DEGREES + 1)


def _distance(one: Floats, other: Floats) -> Floats:
    """Mean squared difference over the columns of each pair of rows, (n, m)."""
    both = one @ (-2 * other.T)
    both += (one**2).sum(axis=1)[:, None]
    both += (other**2).sum(axis=1)
    both /= one.shape[1]
    return both


def _size(part: Floats) -> Floats:
    """What divides the columns of a group, so that its rows have a typical length of 1."""
    columns = column_size(part)
    return columns * max(float(np.sqrt(((part / columns) ** 2).sum(axis=1).mean())), 1e-12)
