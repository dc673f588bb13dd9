"""Accuracy predictors on disk: safetensors with the published keys, and a header of ours beside them.

A reader that knows only the published format finds its ``0.weight, 0.bias, 2.weight, ...``; what ours have more (how
sure they are) stands under other names. Files of version 0.1.0, which say less, are read as they are.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from compofa.accuracy.intervals import Intervals
from compofa.accuracy.layers import Layers
from compofa.accuracy.origin import AccuracyOrigin
from compofa.accuracy.predictor import AccuracyPredictor
from compofa.accuracy.spread import Spread
from compofa.errors import InputError
from compofa.files import parse_json, read_bounded, write_atomically
from compofa.spaces.coverage import Coverage
from compofa.spaces.registry import family_fields, family_name, get_family

METADATA = "hwbench_accuracy_predictor"
SCHEMA = 1
ANCHORS, QUANTILES = "anchors", "intervals.quantiles"
SPREAD = ("spread.weight", "spread.bias", "spread.floor")
Arrays = dict[str, NDArray[Any]]


class NoPredictor(InputError):
    """The file is no accuracy predictor that hwbench wrote: perhaps it is another kind of file."""


def save(predictor: AccuracyPredictor, path: Path) -> None:
    """Write a safetensors file with keys ``0.weight, 0.bias, 2.weight, ...``, as published, at once."""
    from safetensors.numpy import save as to_bytes

    arrays: Arrays = {}
    for number, (weight, bias) in enumerate(predictor.layers):
        arrays[f"{2 * number}.weight"], arrays[f"{2 * number}.bias"] = weight, bias
    if predictor.anchors is not None:
        arrays[ANCHORS] = predictor.anchors.astype(np.uint8)
    if predictor.spread is not None:
        spread = predictor.spread
        arrays |= dict(zip(SPREAD, (spread.weight, spread.bias, np.array([spread.floor])), strict=True))
    if predictor.intervals is not None:
        arrays[QUANTILES] = predictor.intervals.quantiles
    arrays = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    header = {
        "schema": SCHEMA,
        **family_fields(predictor.family.name),
        "features": predictor.features,
        "resolutions": predictor.resolutions,
        "choices": predictor.coverage.to_lists() if predictor.coverage else None,
        "of": predictor.origin.to_dict(),
        "report": predictor.report,
        "sha256": _digest(arrays),
    }
    if predictor.intervals is not None:
        header["intervals_of"] = predictor.intervals.subnets
    write_atomically(path, to_bytes(arrays, {METADATA: json.dumps(header)}))


def load(path: Path) -> AccuracyPredictor:
    """The predictor that :func:`save` wrote. One of version 0.1.0 does not say what it was fitted to.

    Raises:
        NoPredictor: the file is none.
        InputError: it is damaged.
        OSError: it cannot be read.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load as from_bytes

    content = read_bounded(path)
    try:
        arrays = from_bytes(content)
    except (SafetensorError, KeyError, ValueError, TypeError, OverflowError) as error:
        raise NoPredictor(f"{path} is not an accuracy predictor that hwbench wrote: {error}") from error
    if not (header := _metadata(path, content)):
        raise NoPredictor(f"{path} is not an accuracy predictor that hwbench wrote")
    try:
        return from_header(header, arrays)
    except (AttributeError, IndexError, KeyError, TypeError) as error:
        raise InputError(f"{path}: broken accuracy predictor: {type(error).__name__} {error}") from error
    except ValueError as error:
        raise InputError(f"{path}: {error}") from error


def from_header(header: Mapping[str, Any], arrays: Arrays) -> AccuracyPredictor:
    """The predictor of a header and the arrays beside it.

    Raises:
        InputError: they are damaged, or of another version.
    """
    if header.get("schema") != SCHEMA:
        raise InputError("an accuracy predictor of another version of hwbench")
    family = get_family(family_name(header))
    if header.get("sha256", found := _digest(arrays)) != found:
        raise InputError("a damaged accuracy predictor: its checksum is another")
    resolutions = tuple(header.get("resolutions", ()))
    if any(type(r) is not int or r < 1 for r in resolutions):
        raise InputError(f"a damaged accuracy predictor: its resolutions are {resolutions}")
    choices, report = header.get("choices"), header["report"]
    if not isinstance(report, dict) or not isinstance(report.get("held_out", {}), dict):
        raise InputError("a damaged accuracy predictor: its report is none")
    anchors = arrays.get(ANCHORS)
    return AccuracyPredictor(
        family,
        header["features"],
        _layers(arrays),
        report,
        resolutions,
        None if choices is None else Coverage.from_lists(family, choices),
        AccuracyOrigin.from_dict(header.get("of", {})),
        None if anchors is None else anchors.astype(np.int16),
        _spread(arrays),
        Intervals(header["intervals_of"], arrays[QUANTILES]) if QUANTILES in arrays else None,
    )


def _layers(arrays: Arrays) -> Layers:
    own = [name for name in arrays if name not in (ANCHORS, QUANTILES, *SPREAD)]
    if len(own) % 2:
        raise InputError("a damaged accuracy predictor: a layer lacks its bias or its weight")
    return tuple((arrays[f"{2 * n}.weight"], arrays[f"{2 * n}.bias"]) for n in range(len(own) // 2))


def _spread(arrays: Arrays) -> Spread | None:
    if not set(SPREAD) <= set(arrays):
        return None
    weight, bias, floor = (arrays[name] for name in SPREAD)
    return Spread(weight, bias, float(floor[0]))


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


def _digest(arrays: Arrays) -> str:
    """The SHA-256 of the numbers: of the layers' in their order, as since version 0.1.0, then of the others'."""
    digest = hashlib.sha256()
    for name in sorted(arrays, key=_place):
        array = arrays[name]
        digest.update(f"{array.dtype.str}{array.shape}".encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def _place(name: str) -> tuple[int, str, bool]:
    number, _, part = name.partition(".")
    return (int(number), "", part == "bias") if number.isdecimal() else (10**9, name, False)
