"""Accuracies of subnets: measured ones on disk, and a predictor fitted to them."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from compofa.arch import Arch, InvalidArch, check_arch
from compofa.errors import InputError
from compofa.families import Family, get_family
from compofa.genotype import Genotypes, encode

FORMAT = "hwbench-accuracy"
SCHEMA = 1


@dataclass(frozen=True)
class Header:
    """What measured accuracies are of.

    Args:
        family: name of the family.
        supernet: recipe that trained the supernet.
        supernet_sha256: of the supernet's file.
        data: test split.
        images: test images that each subnet classified.
        calibration_images: training images that BN was recalibrated with.
    """

    family: str
    supernet: str
    supernet_sha256: str
    data: str
    images: int
    calibration_images: int


@dataclass
class Accuracies:
    """Measured accuracies of subnets of one supernet.

    Args:
        header: what they are of.
        correct: test images classified right, out of `header.images`.
    """

    header: Header
    correct: dict[Arch, int] = field(default_factory=dict)

    @property
    def family(self) -> Family:
        return get_family(self.header.family)

    def accuracy(self, arch: Arch) -> float:
        """Measured accuracy as a fraction.

        Raises:
            KeyError: it was not measured.
        """
        return self.correct[arch] / self.header.images

    def standard_error(self, accuracy: float) -> float:
        """Binomial standard error of one accuracy. Differences between subnets are known better than
        that, since all classify the same images."""
        return math.sqrt(accuracy * (1 - accuracy) / self.header.images)

    def arrays(self) -> tuple[Genotypes, NDArray[np.float64]]:
        """Genotypes (n, 1 + slots) and accuracies (n,), in the order measured."""
        accuracies = np.array(list(self.correct.values()), dtype=float) / self.header.images
        return encode(self.family, list(self.correct)), accuracies

    @classmethod
    def load(cls, path: Path) -> Accuracies:
        """Read a file that :func:`append` wrote. A torn last line (a killed run) is passed over.

        Raises:
            ValueError: it is no such file, or a line is not sound; names the line.
            OSError: it cannot be read.
        """
        lines = path.read_bytes().splitlines(keepends=True)
        table = cls(_read_header(path, lines[0] if lines else b""))
        for number, line in enumerate(lines[1:], start=2):
            if not line.endswith(b"\n"):
                break
            arch, correct = _read_line(path, number, line, table.header)
            if arch in table.correct:
                raise InputError(f"{path}, line {number}: {arch} comes twice")
            table.correct[arch] = correct
        return table


def _read_header(path: Path, line: bytes) -> Header:
    try:
        fields = json.loads(line)
        if fields.pop("format") != FORMAT:
            raise InputError("another format")
        if (schema := fields.pop("schema")) != SCHEMA:
            raise InputError(f"schema {schema}, this version reads {SCHEMA}")
        header = Header(**fields)
        get_family(header.family)
        return header
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{path} does not hold accuracies that hwbench measured: {error}") from error


def _read_line(path: Path, number: int, line: bytes, header: Header) -> tuple[Arch, int]:
    try:
        fields = json.loads(line)
        arch, correct = Arch.parse(fields["arch"]), fields["correct"]
        check_arch(get_family(header.family), arch)
        if type(correct) is not int or not 0 <= correct <= header.images:
            raise InputError(f"correct is {correct!r}, not between 0 and {header.images}")
        return arch, correct
    except (InvalidArch, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path}, line {number}: {error}") from error


def append(path: Path, header: Header, measured: Iterable[tuple[Arch, int]]) -> None:
    """Add measured subnets to `path`, each on the disk before the next is asked for; start it if need be.

    Raises:
        ValueError: the file holds accuracies of something else.
        OSError: it cannot be written.
    """
    if path.exists():
        if (found := Accuracies.load(path).header) != header:
            raise InputError(f"{path} holds accuracies of {found.supernet} on {found.data}, not of this run")
        _drop_torn_line(path)
    with path.open("ab") as file:
        if file.tell() == 0:
            fields: dict[str, Any] = {"format": FORMAT, "schema": SCHEMA, **asdict(header)}
            file.write(json.dumps(fields).encode() + b"\n")
        for arch, correct in measured:
            file.write(json.dumps({"arch": str(arch), "correct": correct}).encode() + b"\n")
            file.flush()


def _drop_torn_line(path: Path) -> None:
    content = path.read_bytes()
    os.truncate(path, content.rfind(b"\n") + 1)
