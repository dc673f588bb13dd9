"""Accuracy of any subnet from a few measured ones.

The inputs are those of OFA's published predictor: one-hot kernels of all slots, one-hot expand ratios of all
slots (an inactive slot is all zero), one-hot resolution (:mod:`compofa.spaces.features`). A predictor is a stack of
dense layers with ReLU between; the published one has three hidden layers of 400, a linear model none.
:meth:`AccuracyPredictor.fit` chooses by cross-validation, since a linear model with resolution interactions is hard to
beat on little data.
"""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from compofa.accuracy_origin import AccuracyOrigin
from compofa.errors import InputError
from compofa.files import parse_json, read_bounded, write_atomically
from compofa.spaces.coverage import Coverage
from compofa.spaces.family import Family
from compofa.spaces.features import column_features, feature_count, one_hot
from compofa.spaces.layout import Genotypes
from compofa.spaces.registry import family_fields, family_name, get_family

Floats = NDArray[np.float64]
METADATA = "hwbench_accuracy_predictor"
SCHEMA = 1
UNKNOWN = AccuracyOrigin()
ABSURD = 0.5
"""Answers so far below 0 or above 1 come from a predictor of something else, such as of per cent."""
MIN_SUBNETS = 50
MIN_AT_RESOLUTION = 10
FOLDS = 5
HELD_OUT = 0.2
CHUNK = 256
"""Subnets at a time: their hidden values then stay in the second-level cache, which is 1.2 times as fast."""


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
    the others 0, only picks rows. Columns of genotypes are taken two by two, which halves the sum.

    Args:
        resolutions: what each resolution and the bias add, shape (resolutions, width).
        pairs: what each two neighbouring columns add, shape (pairs x values^2, width).
        values: that a column has, at most.
    """

    resolutions: NDArray[np.float32]
    pairs: NDArray[np.float32]
    values: int

    @classmethod
    def of(cls, family: Family, weight: NDArray[np.float32], bias: NDArray[np.float32]) -> RowSums:
        """The layer of `weight` (width, inputs) and `bias` (width,)."""
        inputs = column_features(family)
        most = max(len(column.table) for column in inputs)
        # One more column, always 0, makes their number even.
        each = np.zeros((len(inputs) + len(inputs) % 2, most, len(bias)), dtype=np.float32)
        for rows, column in zip(each, inputs, strict=False):
            rows[: len(column.table)] = column.table @ weight.T[column.places]
        pairs = (each[0::2, :, None] + each[1::2, None]).reshape(-1, len(bias))
        return cls(weight.T[feature_count(family) :] + bias, pairs, most)

    def __call__(self, genotypes: Genotypes, out: NDArray[np.float32]) -> None:
        """Write the layer's values (n, width) of genotypes (n, columns)."""
        columns = genotypes[:, 1:].astype(np.intp)
        if columns.shape[1] % 2:
            columns = np.pad(columns, ((0, 0), (0, 1)))
        pair = columns[:, 0::2] * self.values + columns[:, 1::2]
        pair += np.arange(pair.shape[1]) * self.values**2
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

    It answers only where it was fitted, and never with less than none or more than all.

    Args:
        family: whose subnets.
        features: name of the inputs, from :data:`FEATURES`.
        layers: dense layers.
        report: of the fit: which candidate, the others' errors, held-out error and rank correlation.
        resolutions: that it was fitted at and that its inputs tell apart, in pixels; the family's unless given.
        coverage: the choices that it was fitted to; all that the family has unless given.
        origin: of the accuracies that it was fitted to.

    Raises:
        InputError: the layers do not fit together, or hold numbers that are none.
    """

    family: Family
    features: str
    layers: Layers
    report: dict[str, Any]
    resolutions: tuple[int, ...] = ()
    coverage: Coverage | None = None
    origin: AccuracyOrigin = UNKNOWN

    def __post_init__(self) -> None:
        object.__setattr__(self, "resolutions", self.resolutions or self.family.resolutions)
        check_layers(self.family, self.features, self.layers, len(self.resolutions))

    def predict(self, genotypes: Genotypes, covered: bool = False) -> Floats:
        """Accuracies (n,) of genotypes (n, columns).

        Args:
            genotypes: the subnets.
            covered: the caller has made sure that :attr:`coverage` holds all choices that matter.

        Raises:
            ValueError: a subnet has a resolution or a choice that the predictor was not fitted to, or what it
                predicts are no accuracies.
        """
        genotypes = self._own_resolutions(genotypes)
        if not covered and self.coverage and (choice := self.coverage.lacks(genotypes)):
            raise InputError(f"the accuracy predictor was fitted to no subnet with {choice}")
        accuracy = np.empty(len(genotypes))
        # Memory that is used again and again, not given back and faulted in anew for each part.
        hidden = [np.empty((CHUNK, len(bias)), dtype=np.float32) for _, bias in self.layers]
        for start in range(0, len(genotypes), CHUNK):
            part = genotypes[start : start + CHUNK]
            first, *above = (values[: len(part)] for values in hidden)
            self._first_layer(part, first)
            accuracy[start : start + CHUNK] = _above(first, self.layers[1:], above)
        if len(accuracy) and not -ABSURD <= (typical := float(np.median(accuracy))) <= 1 + ABSURD:
            raise InputError(
                f"the accuracy predictor says {typical:.4g}: accuracies are fractions from 0 to 1"
            )
        return np.clip(accuracy, 0.0, 1.0, out=accuracy)

    @cached_property
    def _first_layer(self) -> Callable[[Genotypes, NDArray[np.float32]], None]:
        """Writes the first layer's values (n, width), before its ReLU, for genotypes (n, columns)."""
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
    def fit(
        cls,
        family: Family,
        genotypes: Genotypes,
        accuracy: Floats,
        seed: int = 0,
        origin: AccuracyOrigin = UNKNOWN,
    ) -> AccuracyPredictor:
        """The best candidate by cross-validation, fitted on all of it.

        A fifth is held out first; the choice is made without it and its error is the one reported. Resolutions with
        fewer than :data:`MIN_AT_RESOLUTION` subnets are left out: too few to be held to anything.

        Args:
            family: whose subnets.
            genotypes: measured subnets, shape (n, columns).
            accuracy: theirs, as fractions, shape (n,).
            seed: of the splits.
            origin: of the accuracies.

        Raises:
            ValueError: fewer than 50 subnets, or an accuracy is not from 0 to 1.
        """
        if not ((accuracy >= 0) & (accuracy <= 1)).all():
            raise InputError("accuracies are fractions from 0 to 1")
        counts = np.bincount(genotypes[:, 0], minlength=len(family.resolutions))
        enough = counts >= MIN_AT_RESOLUTION
        known = tuple(r for r, many in zip(family.resolutions, enough, strict=True) if many)
        genotypes, accuracy = genotypes[enough[genotypes[:, 0]]], accuracy[enough[genotypes[:, 0]]]
        if len(genotypes) < MIN_SUBNETS:
            raise InputError(
                f"an accuracy predictor needs {MIN_SUBNETS} measured subnets or more, {MIN_AT_RESOLUTION} or more at "
                f"each resolution, not {len(genotypes)}"
            )
        coverage = Coverage.of(family, genotypes)
        inputs = replace(family, resolutions=known)
        own = np.cumsum(enough, dtype=np.int16) - 1
        genotypes = np.column_stack([own[genotypes[:, 0]], genotypes[:, 1:]])
        order = np.random.default_rng(seed).permutation(len(genotypes))
        held_out, rest = np.split(order, [round(HELD_OUT * len(order))])
        errors = {c.name: _cross_validate(c, inputs, genotypes[rest], accuracy[rest]) for c in CANDIDATES}
        best = min(CANDIDATES, key=lambda c: errors[c.name])
        x = FEATURES[best.features](inputs, genotypes)
        predicted = _forward(x[held_out], best.fit(x[rest], accuracy[rest]))
        report = {
            "model": best.name,
            "subnets": len(genotypes),
            "cross_validated_mae": errors,
            "held_out": _scores(accuracy[held_out], predicted),
        }
        return cls(family, best.features, best.fit(x, accuracy), report, known, coverage, origin)

    def save(self, path: Path) -> None:
        """Write a safetensors file with keys ``0.weight, 0.bias, 2.weight, ...``, as published, at once."""
        from safetensors.numpy import save

        arrays = {}
        for number, (weight, bias) in enumerate(self.layers):
            arrays[f"{2 * number}.weight"] = np.ascontiguousarray(weight)
            arrays[f"{2 * number}.bias"] = np.ascontiguousarray(bias)
        header = {
            "schema": SCHEMA,
            **family_fields(self.family.name),
            "features": self.features,
            "resolutions": self.resolutions,
            "choices": self.coverage.to_lists() if self.coverage else None,
            "of": self.origin.to_dict(),
            "report": self.report,
            "sha256": _digest(self.layers),
        }
        write_atomically(path, save(arrays, {METADATA: json.dumps(header)}))

    @classmethod
    def load(cls, path: Path) -> AccuracyPredictor:
        """The predictor that :meth:`save` wrote. One of version 0.1.0 does not say what it was fitted to.

        Raises:
            ValueError: the file is none, or damaged.
            OSError: it cannot be read.
        """
        from safetensors import SafetensorError
        from safetensors.numpy import load

        content = read_bounded(path)
        try:
            arrays = load(content)
        except (SafetensorError, KeyError, ValueError, TypeError, OverflowError) as error:
            raise NoPredictor(f"{path} is not an accuracy predictor that hwbench wrote: {error}") from error
        if not (header := _metadata(path, content)):
            raise NoPredictor(f"{path} is not an accuracy predictor that hwbench wrote")
        try:
            return cls._from_header(header, arrays)
        except (AttributeError, IndexError, KeyError, TypeError) as error:
            raise InputError(f"{path}: broken accuracy predictor: {type(error).__name__} {error}") from error
        except ValueError as error:
            raise InputError(f"{path}: {error}") from error

    @classmethod
    def _from_header(cls, header: dict[str, Any], arrays: dict[str, NDArray[Any]]) -> AccuracyPredictor:
        if header.get("schema") != SCHEMA or header.get("features") not in FEATURES:
            raise InputError("an accuracy predictor of another version of hwbench")
        family = get_family(family_name(header))
        count = len(arrays) // 2
        layers = tuple((arrays[f"{2 * n}.weight"], arrays[f"{2 * n}.bias"]) for n in range(count))
        if len(arrays) != 2 * count or header.get("sha256", _digest(layers)) != _digest(layers):
            raise InputError("a damaged accuracy predictor: its checksum is another")
        resolutions = tuple(header.get("resolutions", ()))
        if any(type(r) is not int or r < 1 for r in resolutions):
            raise InputError(f"a damaged accuracy predictor: its resolutions are {resolutions}")
        choices = header.get("choices")
        coverage = None if choices is None else Coverage.from_lists(family, choices)
        origin = AccuracyOrigin.from_dict(header.get("of", {}))
        report = header["report"]
        if not isinstance(report, dict) or not isinstance(report.get("held_out", {}), dict):
            raise InputError("a damaged accuracy predictor: its report is none")
        return cls(family, header["features"], layers, report, resolutions, coverage, origin)


class NoPredictor(InputError):
    """The file is no accuracy predictor that hwbench wrote: perhaps it is another kind of file."""


def _metadata(path: Path, content: bytes) -> dict[str, Any] | None:
    """Our own header in the content of a safetensors file that could be read; None if it has none."""
    head = parse_json(content[8 : 8 + int.from_bytes(content[:8], "little")])
    text = head.get("__metadata__", {}).get(METADATA)
    if text is None:
        return None
    try:
        found = parse_json(text)
    except InputError as error:
        raise InputError(f"{path}: broken accuracy predictor: {error}") from None
    if not isinstance(found, dict):
        raise InputError(f"{path}: broken accuracy predictor: its header is no object")
    return found


def _digest(layers: Layers) -> str:
    """The SHA-256 of the layers' numbers."""
    digest = hashlib.sha256()
    for array in itertools.chain(*layers):
        digest.update(f"{array.dtype.str}{array.shape}".encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def check_layers(family: Family, features: str, layers: Layers, resolutions: int) -> None:
    """Raise InputError unless `layers` take `features` of `family` at so many resolutions and give one number."""
    inputs = feature_count(family) + resolutions
    inputs *= 1 if features == "one-hot" else 1 + resolutions
    sizes = [inputs, *(weight.shape[0] for weight, _ in layers if weight.ndim)]
    for (before, after), (weight, bias) in zip(itertools.pairwise(sizes), layers, strict=True):
        if weight.shape != (after, before) or bias.shape != (after,):
            raise InputError(
                f"not an accuracy predictor of {family.name}: a layer of shape {weight.shape} where {before} inputs "
                "arrive"
            )
    if sizes[-1] != 1:
        raise InputError(f"not an accuracy predictor: {sizes[-1]} outputs, not 1")
    if not all(np.isfinite(array).all() for array in itertools.chain(*layers)):
        raise InputError("not an accuracy predictor: it holds numbers that are not finite")


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
