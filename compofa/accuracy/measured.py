"""Measured accuracies of subnets, on disk."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from compofa.errors import InputError
from compofa.files import AppendFile, ClosedAtEnd, parse_json, read_bounded
from compofa.identity import differences
from compofa.spaces.arch import Arch, check_arch
from compofa.spaces.family import Family
from compofa.spaces.layout import Genotypes, encode
from compofa.spaces.registry import get_family

FORMAT = "hwbench-accuracy"
SCHEMA = 1
MOST_IMAGES = 10**12
"""Larger counts are damage."""


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
        classes: that were told apart.
        class_names_sha256: of their names in label order (:func:`compofa.identity.hash_names`).
        precision: that the subnets computed in; files that do not say it, as those of version 0.1.0, are of fp32, since
            nothing else was measured then.

    Classes and their names are None where the file does not say, as those of version 0.1.0.
    """

    family: str
    supernet: str
    supernet_sha256: str
    data: str
    images: int
    calibration_images: int
    classes: int | None = None
    class_names_sha256: str | None = None
    precision: str = "fp32"

    def __post_init__(self) -> None:
        texts = (self.family, self.supernet, self.supernet_sha256, self.data, self.precision)
        names = [self.class_names_sha256] if self.class_names_sha256 else []
        if not all(isinstance(text, str) for text in (*texts, *names)):
            raise InputError("its family, supernet, data, hashes and precision must be texts")
        get_family(self.family)
        for count, least in ((self.images, 1), (self.calibration_images, 0), (self.classes or 1, 1)):
            if type(count) is not int or not least <= count <= MOST_IMAGES:
                raise InputError(f"it counts {count!r} images or classes")

    def differences(self, other: Header) -> list[str]:
        """What both know and differ in, in words: their accuracies are not comparable unless it is empty."""
        return differences(self, other)


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

    @property
    def resolutions(self) -> tuple[int, ...]:
        """Input sides in pixels that some subnet was measured at, ascending."""
        return tuple(sorted({arch.resolution for arch in self.correct}))

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
        """Read a file that :class:`AccuracyFile` wrote. A torn last line (a killed run) is passed over.

        Raises:
            InputError: it is no such file, or a line is not sound; names the line.
            OSError: it cannot be read.
        """
        content = read_bounded(path)
        return cls.parse(path, content[: content.rfind(b"\n") + 1])

    @classmethod
    def parse(cls, path: Path, content: bytes) -> Accuracies:
        """The accuracies in `content`, whole lines of the file at `path`; see :meth:`load`."""
        first, *lines = content.split(b"\n")[:-1] or [b""]
        table = cls(_read_header(path, first))
        family = table.family
        for number, line in enumerate(lines, start=2):
            arch, correct = _read_line(path, number, line, table.header, family)
            if arch in table.correct:
                raise InputError(f"{path}, line {number}: {arch} comes twice")
            table.correct[arch] = correct
        return table


def _read_header(path: Path, line: bytes) -> Header:
    try:
        found = parse_json(line)
        if found.pop("format") != FORMAT:
            raise InputError("another format")
        if (schema := found.pop("schema")) != SCHEMA:
            raise InputError(f"schema {schema}, this version reads {SCHEMA}")
        return Header(**found)
    except (InputError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{path} does not hold accuracies that hwbench measured: {error}") from error


def _read_line(path: Path, number: int, line: bytes, header: Header, family: Family) -> tuple[Arch, int]:
    try:
        found = parse_json(line)
        arch, correct = Arch.parse(found["arch"]), found["correct"]
        check_arch(family, arch)
        if type(correct) is not int or not 0 <= correct <= header.images:
            raise InputError(f"correct is {correct!r}, not between 0 and {header.images}")
        return arch, correct
    except (InputError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{path}, line {number}: {error}") from error


class AccuracyFile(ClosedAtEnd):
    """A file of accuracies, open for adding to it, by one process at a time; a context manager.

    A file that holds nothing but a header, as a run that failed at once leaves, is begun anew.

    Args:
        path: the file, begun with the first subnet if it is not there.
        header: what is to be measured.

    Attributes:
        accuracies: what the file holds.

    Raises:
        InputError: the file holds accuracies of something else, or is no such file.
        FileBusy: another process is adding to it.
        OSError: it cannot be written.
    """

    def __init__(self, path: Path, header: Header) -> None:
        self.accuracies = Accuracies(header)
        self._file = AppendFile(path)
        try:
            self._go_on()
        except BaseException:
            self.close()
            raise

    def _go_on(self) -> None:
        file = self._file
        if not file.content and file.torn and not file.torn.startswith(b"{"):
            raise InputError(f"{file.path} does not hold accuracies that hwbench measured")
        if not file.content:
            return
        found = Accuracies.parse(file.path, file.content)
        wanted = self.accuracies.header
        if not found.correct:
            file.content = b""
        elif words := found.header.differences(wanted):
            raise InputError(f"{file.path} holds accuracies of something else: {'; '.join(words)}")
        else:
            self.accuracies = found

    def add(self, arch: Arch, correct: int) -> None:
        """Add a measured subnet; when this returns it is on the disk."""
        line = json.dumps({"arch": str(arch), "correct": correct})
        if not self._file.content:
            known = {k: v for k, v in asdict(self.accuracies.header).items() if v is not None}
            line = json.dumps({"format": FORMAT, "schema": SCHEMA, **known}) + "\n" + line
        self._file.append(line.encode() + b"\n")
        self.accuracies.correct[arch] = correct

    def close(self) -> None:
        """Close the file; one without a subnet leaves no trace."""
        if not self._file.content and not self._file.torn:
            self._file.remove_below(2)
        self._file.close()


def append(path: Path, header: Header, measured: Iterable[tuple[Arch, int]]) -> None:
    """Add measured subnets to `path`, each on the disk before the next is asked for; see :class:`AccuracyFile`."""
    with AccuracyFile(path, header) as file:
        for arch, correct in measured:
            file.add(arch, correct)
