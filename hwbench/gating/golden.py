"""Golden sets: measurements of one target, frozen, hashed and split, by which changed code is judged.

A folder holds several sets and ``golden.json``, the manifest. A set is a lookup table and the end-to-end
latencies of two groups of subnets, in the formats of ``build_lut`` and ``validate``: models are fitted on the
training half and judged on the test half. Subnets made of the same blocks are never on both sides.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import re
from collections.abc import Hashable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from compofa.errors import InputError
from compofa.files import parse_json, read_bounded, reading, write_atomically
from compofa.spaces.arch import Arch, UnitChoice, make_arch
from compofa.spaces.space import Space, get_space
from lut.calibration import Calibration
from lut.scores import mape_pct
from lut.table import Table

FORMAT = "hwbench-golden"
SCHEMA = 1
MANIFEST = "golden.json"
MIN_SUBNETS = 20
"""In each half. With fewer a bootstrap interval of the error says little."""
PLAUSIBLE = 5.0
"""Factor by which measured latencies may differ from the table's sums before their units are doubted."""


@dataclass(frozen=True)
class Figures:
    """One figure for each of :data:`hwbench.gating.statistics.SCORES`."""

    mape_pct: float
    bias_pct: float
    within_10_pct: float
    spearman: float


@dataclass(frozen=True)
class Entry:
    """A set as the manifest lists it.

    Args:
        name: of the set.
        files: name in the folder -> SHA-256 of its content.
        limits: the floor: a worse figure breaks it. Frozen with the set, so that it stays where it is when the
            baseline moves.
        margins: changes for the worse that are put up with.
        about: how it was measured and split, to read.
    """

    name: str
    files: dict[str, str]
    limits: Figures
    margins: Figures
    about: dict[str, Any]

    def to_dict(self) -> dict[str, Any]:
        """The fields as JSON-ready values."""
        figures = {"limits": asdict(self.limits), "margins": asdict(self.margins)}
        return {"files": self.files, **figures, **self.about}

    @property
    def digest(self) -> str:
        """Hash of everything that the manifest says of the set, the hashes of its files included."""
        return hashlib.sha256(json.dumps(self.to_dict(), sort_keys=True).encode()).hexdigest()[:16]


@dataclass(frozen=True)
class GoldenSet:
    """A set, read and checked.

    Args:
        entry: from the manifest.
        table: the blocks.
        training: subnets to fit on; the terms are those that the present code chooses.
        test: subnets to be judged on.
    """

    entry: Entry
    table: Table
    training: Calibration
    test: Calibration

    @property
    def name(self) -> str:
        return self.entry.name

    @property
    def space(self) -> Space:
        """The space whose blocks were measured."""
        return get_space(self.table.header.space, self.table.family)

    @cached_property
    def asked(self) -> tuple[Arch, ...]:
        """What models are asked about: the test half, then the :func:`probes` at its resolutions."""
        resolutions = sorted({arch.resolution for arch in self.test.archs})
        return (*self.test.archs, *probes(self.space, resolutions))


# --- reading ---


def read_manifest(folder: Path) -> dict[str, Entry]:
    """The sets of `folder` by name.

    Raises:
        OSError: there is no manifest that can be read.
        ValueError: it is broken.
    """
    path = folder / MANIFEST
    content = read_bounded(path)
    with reading(path, "a manifest of golden sets"):
        return _parse_manifest(parse_json(content))


def _parse_manifest(content: Any) -> dict[str, Entry]:
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise InputError("not a manifest of golden sets")
    if content["schema"] != SCHEMA:
        raise InputError(f"schema {content['schema']!r}; this version of hwbench reads schema {SCHEMA}")
    return {name: _parse_entry(name, dict(fields)) for name, fields in content["sets"].items()}


def _parse_entry(name: str, fields: dict[str, Any]) -> Entry:
    check_name(name)
    files = {str(file): str(digest) for file, digest in fields.pop("files").items()}
    if set(files) != set(file_names(name)):
        raise InputError(f"set {name} must have the files {', '.join(file_names(name))}")
    limits, margins = (_parse_figures(name, key, fields.pop(key)) for key in ("limits", "margins"))
    return Entry(name, files, limits, margins, fields)


def _parse_figures(name: str, key: str, fields: dict[str, Any]) -> Figures:
    """Limits and margins are edited by hand: an absurd one would let everything pass."""
    for score, value in fields.items():
        highest = 1.0 if score == "spearman" else 100.0
        lowest = -1.0 if (key, score) == ("limits", "spearman") else 0.0
        if type(value) not in (int, float) or not lowest <= value <= highest:
            raise InputError(f"set {name}: {score} in {key} is from {lowest:g} to {highest:g}, not {value!r}")
    return Figures(**{score: float(value) for score, value in fields.items()})


def check_name(name: str) -> None:
    """Raise ValueError unless `name` can name a set: it becomes part of file names and of reports."""
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", name):
        raise InputError(f"a golden set cannot be called {name!r}: letters, digits, '.', '_' and '-' only")


def check_repeated(path: Path, calibration: Calibration) -> None:
    """Raise InputError unless each network of a calibration was measured twice: how far two measurements differ is what
    the gate tells a change from."""
    if not calibration.second_ms:
        raise InputError(
            f"{path}: its networks were measured once each, the gate needs two measurements: run validate on the device"
        )


def file_names(name: str) -> tuple[str, str, str]:
    """The table, the training half and the test half of a set."""
    return f"{name}.jsonl", f"{name}.train.json", f"{name}.test.json"


def load(folder: Path, entry: Entry) -> GoldenSet:
    """The set that `entry` describes.

    Raises:
        OSError: a file is missing or cannot be read.
        ValueError: a file is not the one that was frozen, or what it holds cannot judge a model.
    """
    for name, digest in entry.files.items():
        if sha256(folder / name) != digest:
            raise InputError(
                f"{folder / name} is not the file that was frozen (its SHA-256 differs): restore it, or freeze "
                "the set anew"
            )
    table_name, training_name, test_name = file_names(entry.name)
    table = Table.load(folder / table_name)
    training, test = (Calibration.load(folder / name, table) for name in (training_name, test_name))
    check_halves(training, test)
    return GoldenSet(entry, table, replace(training, terms=()), test)


def sha256(path: Path) -> str:
    """Of the file's content."""
    return hashlib.sha256(read_bounded(path)).hexdigest()


def check_halves(training: Calibration, test: Calibration) -> None:
    """Raise ValueError unless the halves are large enough, share nothing, and are in milliseconds."""
    for half, name in ((training, "training"), (test, "test")):
        if len(half.archs) < MIN_SUBNETS:
            raise InputError(
                f"the {name} half has {len(half.archs)} subnets, fewer than {MIN_SUBNETS}: too few to judge by"
            )
        ratio = float(np.median(half.measured_ms / half.raw_ms))
        if not 1 / PLAUSIBLE < ratio < PLAUSIBLE:
            raise InputError(
                f"measured latencies are {ratio:.3g} x the sums of their blocks: are both in milliseconds?"
            )
    if shared := {building_key(a) for a in training.archs} & {building_key(a) for a in test.archs}:
        raise InputError(
            f"{len(shared)} subnets of the test half are made of the same blocks as training ones"
        )


def repeatability_pct(calibration: Calibration) -> float:
    """Mean difference of the second measurement from the first, in percent."""
    return mape_pct(np.array(calibration.first_ms), np.array(calibration.second_ms))


def building_key(arch: Arch) -> Hashable:
    """Equal for subnets made of the same blocks, and for one subnet at several resolutions: what follows the
    first block of a unit may stand in any order."""
    return arch.widths, tuple((unit[0], tuple(sorted(unit[1:]))) for unit in arch.units)


def probes(space: Space, resolutions: Sequence[int]) -> tuple[Arch, ...]:
    """Subnets that between them have every block of `space` at `resolutions`, so that no block can change
    unseen, although the test half lacks some. Not drawn but listed: they are the same in every version.

    Each is uniform, one block choice throughout a unit as deep as the space lets it be.
    """
    per_unit: list[list[UnitChoice]] = []
    for shapes in space.shapes:
        deepest = {
            block: (block,) * depth
            for depth, values in sorted(shapes)
            for block in itertools.product(*values)
        }
        per_unit.append(list(deepest.values()))
    at, rows = space.layout, range(max(map(len, per_unit)))
    # Every width of a unit beside every one of the unit before it.
    pairs = list(itertools.product(range(at.most_widths), repeat=2))
    return tuple(
        make_arch(
            space.family,
            resolution,
            tuple(choices[i % len(choices)] for choices in per_unit),
            tuple(pair[unit % 2] % at.width_count(unit) for unit in range(len(per_unit))),
        )
        for resolution in resolutions
        for pair in pairs
        for i in rows
    )


# --- writing ---


def write_manifest(folder: Path, sets: dict[str, Entry]) -> None:
    """Make `sets` those of `folder`.

    Raises:
        OSError: the manifest cannot be written.
    """
    content = {
        "format": FORMAT,
        "schema": SCHEMA,
        "sets": {name: entry.to_dict() for name, entry in sorted(sets.items())},
    }
    write_atomically(folder / MANIFEST, json.dumps(content, indent=1, allow_nan=False) + "\n")
