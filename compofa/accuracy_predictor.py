"""Accuracy of any subnet from a few measured ones.

The inputs are those of OFA's published predictor: one-hot kernels of all slots, one-hot expand ratios of all
slots (an inactive slot is all zero), one-hot resolution. A predictor is a stack of dense layers with ReLU
between; the published one has three hidden layers of 400, a linear model none. :meth:`AccuracyPredictor.fit`
chooses by cross-validation, since a linear model with resolution interactions is hard to beat on little data.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from compofa.errors import InputError
from compofa.families import Family, get_family
from compofa.genotype import Genotypes

Floats = NDArray[np.float64]
SCHEMA = 1
FOLDS = 5
HELD_OUT = 0.2
CHUNK = 256
"""Subnets at a time: their hidden values then stay in the second-level cache, which is 1.2 times as fast."""


def one_hot(family: Family, genotypes: Genotypes) -> NDArray[np.float32]:
    """Kernels (slot by slot), expands (slot by slot), resolution: shape (n, slots x (kernels + expands) +
    resolutions); 128 inputs for the published predictor's eight resolutions."""
    kernels, expands = len(family.kernels), len(family.expands)
    choice = np.asarray(genotypes[:, 1:], dtype=np.int64) - 1
    table = np.zeros((kernels * expands + 1, kernels + expands), dtype=np.float32)
    for index in range(kernels * expands):
        table[index, index % kernels] = table[index, kernels + index // kernels] = 1
    slots = table[choice]  # an inactive slot, -1, takes the last row: zeros
    resolution = np.eye(len(family.resolutions), dtype=np.float32)[genotypes[:, 0]]
    n = len(genotypes)
    parts = (slots[:, :, :kernels].reshape(n, -1), slots[:, :, kernels:].reshape(n, -1), resolution)
    return np.hstack(parts)


def one_hot_by_resolution(family: Family, genotypes: Genotypes) -> NDArray[np.float32]:
    """:func:`one_hot` and, half as large, each of its columns once for each resolution, zero at the others: an
    effect shared by all resolutions and what each adds to it."""
    shared = one_hot(family, genotypes)
    at = np.eye(len(family.resolutions), dtype=np.float32)[genotypes[:, 0]]
    each = shared[:, None, :] * at[:, :, None]
    return np.hstack([shared, 0.5 * each.reshape(len(shared), -1)])


FEATURES: dict[str, Callable[[Family, Genotypes], NDArray[np.float32]]] = {
    "one-hot": one_hot,
    "one-hot-by-resolution": one_hot_by_resolution,
}
Layers = tuple[tuple[NDArray[np.float32], NDArray[np.float32]], ...]
"""(weight (out, in), bias (out,)) of each dense layer."""


@dataclass(frozen=True)
class RowSums:
    """A dense layer over :func:`one_hot`, as sums of rows: a product with inputs of which one in each group is 1,
    the others 0, only picks rows. Slots are taken two by two, which halves the sum.

    Args:
        resolutions: what each resolution and the bias add, shape (resolutions, width).
        pairs: what each two neighbouring slots add, shape (pairs x choices^2, width).
        choices: of a slot, inactive included.
    """

    resolutions: NDArray[np.float32]
    pairs: NDArray[np.float32]
    choices: int

    @classmethod
    def of(cls, family: Family, weight: NDArray[np.float32], bias: NDArray[np.float32]) -> RowSums:
        """The layer of `weight` (width, inputs) and `bias` (width,)."""
        kernels, expands, slots = len(family.kernels), len(family.expands), family.slots
        by_kernel = weight.T[: slots * kernels].reshape(slots, 1, kernels, -1)
        by_expand = weight.T[slots * kernels : slots * (kernels + expands)].reshape(slots, expands, 1, -1)
        # One more slot, never active, makes their number even.
        each = np.zeros((slots + slots % 2, 1 + kernels * expands, len(bias)), dtype=np.float32)
        each[:slots, 1:] = (by_kernel + by_expand).reshape(slots, kernels * expands, -1)
        pairs = (each[0::2, :, None] + each[1::2, None]).reshape(-1, len(bias))
        return cls(weight.T[slots * (kernels + expands) :] + bias, pairs, each.shape[1])

    def __call__(self, genotypes: Genotypes, out: NDArray[np.float32]) -> None:
        """Write the layer's values (n, width) of genotypes (n, 1 + slots)."""
        slots = genotypes[:, 1:].astype(np.intp)
        if slots.shape[1] % 2:
            slots = np.pad(slots, ((0, 0), (0, 1)))
        pair = slots[:, 0::2] * self.choices + slots[:, 1::2]
        pair += np.arange(pair.shape[1]) * self.choices**2
        # "clip" only because it skips a second check of the bounds.
        np.take(self.resolutions, genotypes[:, 0], axis=0, out=out, mode="clip")
        rows = np.empty_like(out)
        for column in pair.T:
            out += np.take(self.pairs, column, axis=0, out=rows, mode="clip")


@dataclass(frozen=True)
class Candidate:
    """A kind of predictor to choose from: inputs, and how to fit layers to inputs (n, d) and targets (n,)."""

    name: str
    features: str
    fit: Callable[[NDArray[np.float32], Floats], Layers]


def _ridge(x: NDArray[np.float32], y: Floats) -> Layers:
    from sklearn.linear_model import RidgeCV

    model = RidgeCV(alphas=np.logspace(-2, 3, 21)).fit(x, y)
    return ((model.coef_[None].astype(np.float32), np.array([model.intercept_], dtype=np.float32)),)


def _mlp(x: NDArray[np.float32], y: Floats) -> Layers:
    import warnings

    from sklearn.exceptions import ConvergenceWarning
    from sklearn.neural_network import MLPRegressor

    mean, scale = y.mean(), y.std() or 1.0
    model = MLPRegressor(
        hidden_layer_sizes=(64, 64), alpha=0.3, learning_rate_init=2e-3, max_iter=150, random_state=0
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # a fixed number of epochs is what is asked
        model.fit(x, (y - mean) / scale)
    weights = [w.T.astype(np.float32) for w in model.coefs_]
    biases = [b.astype(np.float32) for b in model.intercepts_]
    weights[-1], biases[-1] = (
        weights[-1] * np.float32(scale),
        biases[-1] * np.float32(scale) + np.float32(mean),
    )
    return tuple(zip(weights, biases, strict=True))


CANDIDATES = (
    Candidate("ridge", "one-hot", _ridge),
    Candidate("ridge-by-resolution", "one-hot-by-resolution", _ridge),
    Candidate("mlp", "one-hot", _mlp),
)


@dataclass(frozen=True)
class AccuracyPredictor:
    """Predicts the accuracy of any subnet of a family, as a fraction.

    Args:
        family: whose subnets.
        features: name of the inputs, from :data:`FEATURES`.
        layers: dense layers.
        report: of the fit: which candidate, the others' errors, held-out error and rank correlation.
        resolutions: that the inputs tell apart, in pixels; the family's unless given.
    """

    family: Family
    features: str
    layers: Layers
    report: dict[str, Any]
    resolutions: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "resolutions", self.resolutions or self.family.resolutions)

    def predict(self, genotypes: Genotypes) -> Floats:
        """Accuracies (n,) of genotypes (n, 1 + slots).

        Raises:
            ValueError: a subnet has a resolution that the predictor does not know.
        """
        genotypes = self._own_resolutions(genotypes)
        accuracy = np.empty(len(genotypes))
        # Memory that is used again and again, not given back and faulted in anew for each part.
        hidden = [np.empty((CHUNK, len(bias)), dtype=np.float32) for _, bias in self.layers]
        for start in range(0, len(genotypes), CHUNK):
            part = genotypes[start : start + CHUNK]
            first, *above = (values[: len(part)] for values in hidden)
            self._first_layer(part, first)
            accuracy[start : start + CHUNK] = _above(first, self.layers[1:], above)
        return accuracy

    @cached_property
    def _first_layer(self) -> Callable[[Genotypes, NDArray[np.float32]], None]:
        """Writes the first layer's values (n, width), before its ReLU, for genotypes (n, 1 + slots)."""
        family = replace(self.family, resolutions=self.resolutions)
        weight, bias = self.layers[0]
        if self.features == "one-hot":
            return RowSums.of(family, weight, bias)

        def multiply(genotypes: Genotypes, out: NDArray[np.float32]) -> None:
            np.matmul(FEATURES[self.features](family, genotypes), weight.T, out=out)
            out += bias

        return multiply

    def _own_resolutions(self, genotypes: Genotypes) -> Genotypes:
        """`genotypes` with the index of the resolution among the predictor's, not the family's."""
        if self.resolutions == self.family.resolutions:
            return genotypes
        own = {resolution: i for i, resolution in enumerate(self.resolutions)}
        index = np.array([own.get(r, -1) for r in self.family.resolutions], dtype=np.int16)
        genotypes = np.column_stack([index[genotypes[:, 0]], genotypes[:, 1:]])
        if (genotypes[:, 0] < 0).any():
            known = ", ".join(map(str, self.resolutions))
            raise InputError(f"the accuracy predictor knows only the resolutions {known}")
        return genotypes

    @classmethod
    def fit(cls, family: Family, genotypes: Genotypes, accuracy: Floats, seed: int = 0) -> AccuracyPredictor:
        """The best candidate by cross-validation, fitted on all of it.

        A fifth is held out first; the choice is made without it and its error is the one reported.

        Args:
            family: whose subnets.
            genotypes: measured subnets, shape (n, 1 + slots).
            accuracy: theirs, as fractions, shape (n,).
            seed: of the splits.

        Raises:
            ValueError: fewer than 50 subnets.
        """
        if len(genotypes) < 50:
            raise InputError(f"an accuracy predictor needs 50 measured subnets or more, not {len(genotypes)}")
        order = np.random.default_rng(seed).permutation(len(genotypes))
        held_out, rest = np.split(order, [round(HELD_OUT * len(order))])
        errors = {c.name: _cross_validate(c, family, genotypes[rest], accuracy[rest]) for c in CANDIDATES}
        best = min(CANDIDATES, key=lambda c: errors[c.name])
        x = FEATURES[best.features](family, genotypes)
        predicted = _forward(x[held_out], best.fit(x[rest], accuracy[rest]))
        report = {
            "model": best.name,
            "subnets": len(genotypes),
            "cross_validated_mae": errors,
            "held_out": _scores(accuracy[held_out], predicted),
        }
        return cls(family, best.features, best.fit(x, accuracy), report)

    def save(self, path: Path) -> None:
        """Write a safetensors file with keys ``0.weight, 0.bias, 2.weight, ...``, as published."""
        from safetensors.numpy import save_file

        arrays = {}
        for number, (weight, bias) in enumerate(self.layers):
            arrays[f"{2 * number}.weight"] = np.ascontiguousarray(weight)
            arrays[f"{2 * number}.bias"] = np.ascontiguousarray(bias)
        header = {
            "schema": SCHEMA,
            "family": self.family.name,
            "features": self.features,
            "resolutions": self.resolutions,
            "report": self.report,
        }
        save_file(arrays, path, metadata={"hwbench_accuracy_predictor": json.dumps(header)})

    @classmethod
    def load(cls, path: Path) -> AccuracyPredictor:
        """The predictor that :meth:`save` wrote.

        Raises:
            ValueError: the file is none.
            OSError: it cannot be read.
        """
        from safetensors import SafetensorError, safe_open

        try:
            with safe_open(path, framework="np") as file:
                header = json.loads((file.metadata() or {})["hwbench_accuracy_predictor"])
                numbers = sorted({int(key.split(".")[0]) for key in file.keys()})  # noqa: SIM118 - not a dict
                layers = tuple(
                    (file.get_tensor(f"{n}.weight"), file.get_tensor(f"{n}.bias")) for n in numbers
                )
        except (SafetensorError, KeyError, ValueError) as error:
            raise InputError(f"{path} is not an accuracy predictor that hwbench wrote: {error}") from error
        if header.get("schema") != SCHEMA or header.get("features") not in FEATURES:
            raise InputError(f"{path} is of another version of hwbench")
        resolutions = tuple(header.get("resolutions", ()))
        return cls(get_family(header["family"]), header["features"], layers, header["report"], resolutions)


def _forward(x: NDArray[np.float32], layers: Layers) -> Floats:
    """Outputs (n,) of inputs (n, d)."""
    weight, bias = layers[0]
    return _above(x @ weight.T + bias, layers[1:])


def _above(
    values: NDArray[np.float32], layers: Layers, out: Sequence[NDArray[np.float32] | None] | None = None
) -> Floats:
    """Outputs (n,) of the layers above one whose values (n, width), before the ReLU, are given and overwritten.

    Args:
        values: of the layer below.
        layers: those above it.
        out: memory for the values of each.
    """
    for (weight, bias), memory in zip(layers, out or [None] * len(layers), strict=True):
        np.maximum(values, 0, out=values)
        values = np.matmul(values, weight.T, out=memory)
        values += bias
    return values[:, 0].astype(np.float64)


def _cross_validate(candidate: Candidate, family: Family, genotypes: Genotypes, accuracy: Floats) -> float:
    """Mean absolute error over FOLDS folds."""
    x = FEATURES[candidate.features](family, genotypes)
    fold = np.arange(len(x)) % FOLDS
    errors = [
        np.abs(_forward(x[fold == k], candidate.fit(x[fold != k], accuracy[fold != k])) - accuracy[fold == k])
        for k in range(FOLDS)
    ]
    return float(np.concatenate(errors).mean())


def _scores(measured: Floats, predicted: Floats) -> dict[str, float]:
    from scipy.stats import kendalltau, spearmanr

    return {
        "subnets": len(measured),
        "mae": float(np.abs(predicted - measured).mean()),
        "rmse": float(np.sqrt(((predicted - measured) ** 2).mean())),
        "spearman": float(spearmanr(predicted, measured).statistic),
        "kendall_tau": float(kendalltau(predicted, measured).statistic),
    }
