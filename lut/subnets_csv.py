"""Subnets, alone or with what was measured of them, in every form that commands take.

*CSV*, a subnet in each row and any other columns beside it. The subnet is

- in columns ``r, d0.., k00.., e00..``: the resolution in pixels, each unit's depth, the kernel and the expand ratio (or
  what else a family chooses) of each slot (place of a block, counted over all units); ``ks<slot>`` is read for
  ``k<slot>``, too; ``w0..`` is the multiplier of the width of a unit of several. Slots past a unit's depth are
  inactive, whatever they hold. The layout is that of the HELP project (Lee et al., NeurIPS 2021);
- or in a column ``arch``, as ``r32-k3e6_k5e4-...``;
- or in the one column that holds dictionaries ``{'ks': ..., 'e': ..., 'd': ..., 'r': ...}``, as DyNAS-T writes them.

*JSON*: one value of :mod:`compofa.configs`, a list of them, or one in each line; their other numbers and texts are
columns. *Text*: ``r32-k3e6_k5e4-...`` in each line.
"""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

import numpy as np
from numpy.typing import NDArray

from compofa.configs import SIDES, is_subnet, parse_config
from compofa.errors import InputError
from compofa.files import parse_json, read_bounded, read_text, write_atomically
from compofa.spaces.arch import Arch
from compofa.spaces.family import Family
from compofa.spaces.layout import Genotypes, decode, encode, layout
from lut.predictors.base import PLAUSIBLE_MS, Floats

TARGET = "target"
"""Name of the column of text that says what the latencies are of."""
ARCH = "arch"
"""Name of the column of subnets as text."""
LONGEST_LIST = 8
"""Names that a message lists before it only counts."""


@dataclass(frozen=True)
class SubnetsCsv:
    """A file of subnets.

    Args:
        path: where it was read.
        family: whose subnets they are.
        header: names of all columns.
        cells: the text of each row, as it was.
        lines: the line of the file on which each row ends, from 1; in a JSON document the number of the value.
        genotypes: shape (rows, columns).
    """

    path: Path
    family: Family
    header: tuple[str, ...]
    cells: list[list[str]]
    lines: list[int]
    genotypes: Genotypes

    def latencies(self, column: str) -> Floats:
        """The column of latencies in milliseconds, shape (rows,).

        Raises:
            ValueError: there is no such column, or a row holds no positive number there.
        """
        targets = [name for name in self.header if name not in (ARCH, *_design(self.header, self.family))]
        if column not in targets:
            raise InputError(f"{self.path} has no column {column!r} of latencies; it has {_list(targets)}")
        at = self.header.index(column)
        values = np.array([_number(row[at]) for row in self.cells])
        least, most = PLAUSIBLE_MS
        bad = np.flatnonzero(~((values >= least) & (values <= most)))
        if len(bad):
            first = int(bad[0])
            raise InputError(
                f"{self.path}, line {self.lines[first]}: {column} is {_short(self.cells[first][at])}, not a positive "
                f"number of milliseconds ({len(bad)} of {len(values)} rows are wrong: correct or delete them)"
            )
        return values

    @property
    def target(self) -> str | None:
        """What the latencies are of, from the column :data:`TARGET`; None without it.

        Raises:
            ValueError: rows are of different targets.
        """
        if TARGET not in self.header:
            return None
        at = self.header.index(TARGET)
        found = sorted({row[at] for row in self.cells})
        if len(found) > 1:
            raise InputError(f"{self.path} mixes measurements of {len(found)} targets: {_list(found)}")
        return found[0]

    def archs(self) -> list[Arch]:
        """The subnets, one for each row."""
        return decode(self.family, self.genotypes)


def _number(text: str) -> float:
    """NaN for what is no number; Python would also read ``1_0`` and digits of other scripts."""
    try:
        return float(text) if text.isascii() and "_" not in text else math.nan
    except ValueError:
        return math.nan


# --- reading ---


def read_subnets(path: Path, family: Family) -> SubnetsCsv:
    """The subnets in a file, in any of the forms above.

    Raises:
        OSError: the file cannot be read.
        InputError: it is in none of them, or a row is torn or no subnet of `family`; names the line.
    """
    text = read_text(path)
    if text.lstrip()[:1] in ("{", "["):
        return _from_values(path, family, _values(path, text))
    header, cells, lines = _read(path, text)
    if ARCH not in header and _is_arch(header[0]):
        cells, lines = [list(header), *cells], [1, *lines]
        header = (ARCH, *(f"column {n}" for n in range(2, len(header) + 1)))
    if not cells:
        raise InputError(f"{path} holds no subnets, only a header")
    names = _design(header, family)
    missing = [name for name in names if name not in header]
    if not missing:
        file = SubnetsCsv(
            path, family, header, cells, lines, _from_columns(path, family, header, cells, lines)
        )
        return _agreeing(file) if ARCH in header else file
    column = header.index(ARCH) if ARCH in header else _column_of_dictionaries(cells[0])
    if column is None:
        raise InputError(
            f"{path} lacks {_list(missing)}: subnets of {family.name} need the columns {_families_of(names)}, or a "
            f"column {ARCH} of r32-k3e6_k5e4-..., or one of "
            "{'ks': .., 'e': .., 'd': .., 'r': ..}"
        )
    archs = _archs(path, family, lines, [_value(row[column]) for row in cells])
    return SubnetsCsv(path, family, header, cells, lines, encode(family, archs))


def _is_arch(text: str) -> bool:
    return text[:1] == "r" and text[1:2].isdigit() and "-" in text


def _read(path: Path, text: str) -> tuple[tuple[str, ...], list[list[str]], list[int]]:
    """Header, cells and line numbers; blank lines are skipped."""
    try:
        reader = csv.reader(io.StringIO(text, newline=""))
        header = tuple(name.strip() for name in next(reader, []))
        rows = [(row, reader.line_num) for row in reader if row]
    except csv.Error as error:
        raise InputError(f"{path} is no CSV file: {error}") from error
    if not header:
        raise InputError(f"{path} is empty: it holds no subnets")
    if twice := sorted({name for name in header if header.count(name) > 1}):
        raise InputError(f"{path} has the column {_list(twice)} twice")
    for row, line in rows:
        if len(row) != len(header):
            raise InputError(
                f"{path}, line {line}: {len(row)} cells, but the header has {len(header)} (is the file cut short?)"
            )
    return header, [row for row, _ in rows], [line for _, line in rows]


# --- subnets in columns of numbers ---


def _from_columns(
    path: Path, family: Family, header: Sequence[str], cells: Sequence[list[str]], lines: Sequence[int]
) -> Genotypes:
    columns, numbers = _columns(header, family), _Numbers()
    picked = [header.index(column.name) for column in columns]
    values = np.array([[numbers[row[i]] for i in picked] for row in cells])
    try:
        return _encode(family, columns, values)
    except _Wrong as wrong:
        text = _short(cells[wrong.row][picked[wrong.column]])
        raise InputError(
            f"{path}, line {lines[wrong.row]}: {columns[wrong.column].name} is {text}; {family.name} has "
            f"{wrong.allowed} ({wrong.count} of {len(cells)} rows are outside the family)"
        ) from None


def _families_of(names: Sequence[str]) -> str:
    """``r, d0.., k00.., e00..`` of all columns."""
    first = dict.fromkeys(name.rstrip("0123456789") for name in names)
    starts = {
        letters: next(name for name in names if name.rstrip("0123456789") == letters) for letters in first
    }
    return ", ".join(name if name == "r" else f"{name}.." for name in starts.values())


def _agreeing(file: SubnetsCsv) -> SubnetsCsv:
    """`file`, of which the column ``arch`` says what the columns of numbers say, or InputError."""
    at = file.header.index(ARCH)
    for row, line, arch in zip(file.cells, file.lines, file.archs(), strict=True):
        if row[at].strip() != str(arch):
            raise InputError(f"{file.path}, line {line}: {ARCH} is not what the columns r, d0.. say")
    return file


class _Numbers(dict[str, float]):
    """Text -> number, -1 for anything else; each text is parsed once."""

    def __missing__(self, text: str) -> float:
        value = _number(text)
        self[text] = value if 0 <= value < 1e6 else -1
        return self[text]


def _slot(letter: str, slot: int) -> str:
    return f"{letter}{slot:02d}"


@dataclass(frozen=True)
class _Column:
    """A column of numbers that describes a part of a subnet.

    Args:
        name: in the header.
        values: that it may have.
        unit: elastic unit that it belongs to; -1 for the resolution.
        slot: that it is of; -1 for a column of the whole unit.
        axis: of the unit's, for a slot's column.
    """

    name: str
    values: tuple[float, ...]
    unit: int = -1
    slot: int = -1
    axis: int = -1


def _columns(header: Sequence[str], family: Family) -> list[_Column]:
    """The columns that describe a subnet, with the file's own name for kernels: the resolution, the depth of each unit,
    each axis slot by slot, the multiplier of each unit's width where it has several."""
    at = layout(family)
    found = [_Column("r", family.resolutions)]
    found += [_Column(f"d{number}", unit.depths, number) for number, unit in enumerate(at.units)]
    for name in dict.fromkeys(axis.name for unit in at.units for axis in unit.axes):
        letter = "ks" if name == "kernel" and _slot("ks", 0) in header else name[0]
        for slot in range(at.slots):
            number, _ = at.slot(slot)
            unit = at.units[number]
            if axis := unit.axis(name):
                found.append(_Column(_slot(letter, slot), axis.values, number, slot, unit.axes.index(axis)))
    found += [_Column(f"w{number}", at.units[number].width_mults, number) for number in at.wide_units]
    return found


def _design(header: Sequence[str], family: Family) -> list[str]:
    return [column.name for column in _columns(header, family)]


class _Wrong(Exception):
    """A value is none that the family has."""

    def __init__(self, column: int, rows: NDArray[np.intp], allowed: Sequence[float], count: int) -> None:
        self.column, self.row, self.count = column, int(rows[0]), count
        self.allowed = ", ".join(f"{value:g}" for value in allowed)


def _encode(family: Family, columns: Sequence[_Column], values: Floats) -> Genotypes:
    """Genotypes from the values of `columns`, shape (n, columns).

    Raises:
        _Wrong: a value is none that the family has; the one in the first row of all.
    """
    at = layout(family)
    rows = np.zeros((len(values), at.columns), dtype=np.int16)
    active = np.ones((len(values), at.slots), dtype=np.bool_)
    wrong: list[tuple[int, NDArray[np.bool_]]] = []
    choice = np.zeros((len(values), at.slots), dtype=np.int64)
    for c, (column, given) in enumerate(zip(columns, values.T, strict=True)):
        needed = active[:, column.slot] if column.slot >= 0 else np.ones(len(given), dtype=np.bool_)
        place = np.searchsorted(column.values, given).clip(max=len(column.values) - 1)
        bad = needed & (np.array(column.values)[place] != given)
        if bad.any():
            wrong.append((c, bad))
        if column.slot >= 0:
            # The first axis changes fastest.
            before = at.units[column.unit].axes[: column.axis]
            choice[:, column.slot] += place * math.prod(len(axis.values) for axis in before)
        elif column.unit < 0:
            rows[:, 0] = place
        elif column.name[0] == "d":
            positions = np.arange(at.units[column.unit].max_depth)
            active[:, at.starts[column.unit] : at.starts[column.unit + 1]] = positions < given[:, None]
        else:
            rows[:, at.width_column(column.unit)] = place
    if wrong:
        c, bad = min(wrong, key=lambda each: (int(np.flatnonzero(each[1])[0]), each[0]))
        count = int(np.any([each for _, each in wrong], axis=0).sum())
        raise _Wrong(c, np.flatnonzero(bad), columns[c].values, count)
    rows[:, 1 : 1 + at.slots] = np.where(active, 1 + choice, 0)
    return rows


def _list(names: Sequence[str]) -> str:
    more = len(names) - LONGEST_LIST
    return ", ".join(names[:LONGEST_LIST]) + (f" and {more} more" if more > 0 else "")


def _short(text: str) -> str:
    return repr(text if len(text) <= 40 else text[:40] + "...")


# --- subnets as single values ---


def _column_of_dictionaries(row: Sequence[str]) -> int | None:
    found = [i for i, cell in enumerate(row) if cell.lstrip().startswith("{") and is_subnet(_value(cell))]
    return found[0] if len(found) == 1 else None


def _value(cell: str) -> Any:
    """What a cell says: the text of a subnet, or a dictionary as JSON or as Python writes it; None if neither."""
    if not cell.lstrip().startswith("{"):
        return cell
    as_json = (
        cell.replace("'", '"').replace("None", "null").replace("(", "[").replace(",)", "]").replace(")", "]")
    )
    try:
        return parse_json(as_json)
    except InputError:
        return None


def _archs(path: Path, family: Family, lines: Sequence[int], values: Sequence[Any]) -> list[Arch]:
    archs = []
    for line, value in zip(lines, values, strict=True):
        try:
            archs.append(parse_config(family, value))
            family.check_resolution(archs[-1].resolution)
        except InputError as error:
            raise InputError(f"{path}, line {line}: {error}") from error
    return archs


def _values(path: Path, text: str) -> list[tuple[int, Any]]:
    """The values of a JSON file, each with its number, or of a file of JSON lines, each with its line."""
    try:
        document = parse_json(text)
    except InputError as error:
        lines = [(number, line) for number, line in enumerate(text.split("\n"), start=1) if line.strip()]
        if len(lines) < 2:
            raise InputError(f"{path}: {error}") from error
        return [(number, _line(path, number, line)) for number, line in lines]
    values = document if isinstance(document, list) else [_with_side(path, document)]
    return list(enumerate(values, start=1))


def _line(path: Path, number: int, line: str) -> Any:
    try:
        return parse_json(line)
    except InputError as error:
        raise InputError(f"{path}, line {number}: {error}") from error


def _with_side(path: Path, value: Any) -> Any:
    """OFA keeps the side of a network's images in the ``run.config`` beside its ``net.config``."""
    beside = path.with_name("run.config")
    if isinstance(value, dict) and "blocks" in value and not value.keys() & set(SIDES) and beside.is_file():
        run = parse_json(read_bounded(beside))
        if isinstance(run, dict) and "image_size" in run:
            return {"config": value, "image_size": run["image_size"]}
    return value


def _from_values(path: Path, family: Family, numbered: Sequence[tuple[int, Any]]) -> SubnetsCsv:
    """Subnets of JSON values; what else they say in numbers and texts becomes columns."""
    if not numbered:
        raise InputError(f"{path} holds no subnets")
    numbers, values = [number for number, _ in numbered], [value for _, value in numbered]
    genotypes = encode(family, _archs(path, family, numbers, values))
    design, rows = subnet_columns(family, genotypes)
    taken = {*design, *SIDES, ARCH, "wid"}
    dictionaries = [value if isinstance(value, dict) else {} for value in values]
    others = {
        key: None
        for value in dictionaries
        for key, content in value.items()
        if key not in taken and isinstance(content, (int, float, str))
    }
    cells = [
        [*row, *(_cell(value.get(key)) for key in others)]
        for row, value in zip(rows, dictionaries, strict=True)
    ]
    return SubnetsCsv(path, family, (*design, *others), cells, numbers, genotypes)


def _cell(value: Any) -> str:
    return value if isinstance(value, str) else "" if value is None else json.dumps(value)


# --- writing ---


def subnet_columns(family: Family, genotypes: Genotypes) -> tuple[list[str], list[list[str]]]:
    """The header and the rows that describe subnets; inactive slots are 0.

    Raises:
        InvalidArch: a row of `genotypes` is no subnet of the family.
    """
    at, columns = layout(family), _columns((), family)
    rows = []
    for arch in decode(family, genotypes):
        cells = []
        for column in columns:
            if column.unit < 0:
                value: float | None = arch.resolution
            elif column.slot >= 0:
                position = column.slot - at.starts[column.unit]
                chosen = arch.units[column.unit]
                value = chosen[position][column.axis] if position < len(chosen) else 0
            else:
                value = len(arch.units[column.unit]) if column.name[0] == "d" else arch.width(column.unit)
            cells.append(f"{value:g}")
        rows.append(cells)
    return [column.name for column in columns], rows


def write_csv(
    path: Path, header: Sequence[str], cells: Sequence[Sequence[str]], added: Mapping[str, Floats]
) -> None:
    """Write rows and further columns of numbers, six significant digits, at once: a reader sees the old file or
    the new one.

    Raises:
        OSError: it cannot be written.
    """
    text = io.StringIO(newline="")
    write_rows(text, header, cells, added)
    write_atomically(path, text.getvalue())


def write_rows(
    file: TextIO, header: Sequence[str], cells: Sequence[Sequence[str]], added: Mapping[str, Floats]
) -> None:
    """:func:`write_csv` into an open text file."""
    if wrong := [name for name, column in added.items() if len(column) != len(cells)]:
        raise InputError(f"column {wrong[0]} has {len(added[wrong[0]])} numbers for {len(cells)} rows")
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow([*header, *added])
    numbers = [[f"{value:.6g}" for value in column.tolist()] for column in added.values()]
    writer.writerows([*row, *(column[i] for column in numbers)] for i, row in enumerate(cells))
