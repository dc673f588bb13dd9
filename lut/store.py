"""Table files: append-only JSON lines that survive a kill at any moment.

The first line is the header: what the numbers are of. Each further line is one block and its measurement.
Lines are only ever added, in batches that reach the disk together, so a process killed while writing loses
at most the batch it was writing; a last line without its newline is torn and is dropped. A block that could
not be run has a line that says why, and counts as missing; one that was only predicted may come again, measured
or predicted anew: the later line counts. Everything else that is out of order (another format, a latency that is
no positive number, a block that comes twice) is refused with the file and the line, because a table that is read
wrong is worse than no table.

Each line ends with a checksum of what it says, ``crc32``, so that a digit that flipped is told from one that was
measured; a line without one is taken as it is (version 0.1.0 wrote none, and people write none).

One process writes a file at a time: see :class:`compofa.files.AppendFile`.
"""

from __future__ import annotations

import hashlib
import json
import re
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from backends.base import Measurement, Target
from compofa.blocks import Block
from compofa.errors import InputError
from compofa.files import AppendFile, ClosedAtEnd, parse_json, read_bounded
from compofa.home import home
from compofa.spaces.registry import family_fields, family_name
from lut.kinds import not_a_table

FORMAT = "hwbench-table"
SCHEMA = 1
LONGEST_NAME = 200
"""Characters of a file's name before its hash: file systems take 255 in all."""
HEADER_START = b'{"format":"' + FORMAT.encode() + b'"'
LONGEST_HEADER = 1_000_000
"""Bytes that are read to find it."""
LARGEST_SIZE = 2**24
"""Of a block, in channels or pixels: anything larger is damage, and would overflow where blocks are compared."""


@dataclass(frozen=True)
class Header:
    """What the numbers of a table are of.

    Args:
        target: where and how the blocks were measured.
        family: name of the family whose blocks they are.
        space: the space that the first build was asked for; a later build may add the blocks of another.
        resolutions: in pixels, likewise of the first build.
        created: date and time in UTC, ISO 8601.
        host: the machine, as text to read; not compared.
        classes: of the family with another number of classes than its own; None for its own.
    """

    target: Target
    family: str
    space: str
    resolutions: tuple[int, ...]
    created: str
    host: dict[str, Any] = field(default_factory=dict)
    classes: int | None = None

    def to_dict(self) -> dict[str, Any]:
        """The fields as JSON-ready values; :meth:`from_dict` reads them back."""
        return {
            "format": FORMAT,
            "schema": SCHEMA,
            **family_fields(self.family),
            "space": self.space,
            "resolutions": list(self.resolutions),
            "created": self.created,
            "target": self.target.to_dict(),
            "host": self.host,
            **({} if self.classes is None else {"classes": self.classes}),
        }

    @classmethod
    def from_dict(cls, fields: Any) -> Header:
        """The header that :meth:`to_dict` wrote.

        Raises:
            ValueError: it is no header of a table, or of a schema that this version does not read.
        """
        if not isinstance(fields, dict) or fields.get("format") != FORMAT:
            raise InputError("not a hwbench table")
        if fields.get("schema") != SCHEMA:
            raise InputError(
                f"schema {fields.get('schema')!r}; this version of hwbench reads schema {SCHEMA}"
            )
        try:
            return cls(
                target=Target.from_dict(fields["target"]),
                family=family_name(fields),
                space=str(fields["space"]),
                resolutions=tuple(int(r) for r in fields["resolutions"]),
                created=str(fields["created"]),
                host=dict(fields["host"]),
                classes=_classes(fields.get("classes")),
            )
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise InputError(f"broken header: {error}") from error

    @property
    def family_name(self) -> str:
        """The family, with its classes where they are not its own."""
        return self.family if self.classes is None else f"{self.family} with {self.classes} classes"

    @property
    def digest(self) -> str:
        """Short hash that tells this table from any other. It covers the header only, so it stays the same
        while the table grows."""
        return hashlib.sha256(_dumped(self.to_dict()) + b"\n").hexdigest()[:16]

    def differences(self, other: Header) -> list[str]:
        """How target and family of `other` differ from this table's, for a message; empty if they do not."""
        mine, its = self.family_name, other.family_name
        return ([] if mine == its else [f"family {mine}, not {its}"]) + target_differences(
            self.target, other.target
        )


def _classes(value: Any) -> int | None:
    if value is not None and (type(value) is not int or not 1 <= value <= LARGEST_SIZE):
        raise InputError(f"{value!r} is no number of classes")
    return value


def target_differences(recorded: Target, present: Target) -> list[str]:
    """The fields in which two targets differ, as ``threads 1, not 2``; empty if they are equal."""
    old, new = _flat(recorded.to_dict()), _flat(present.to_dict())
    found = [
        f"{name} {old.get(name, 'unset')}, not {new.get(name, 'unset')}"
        for name in dict.fromkeys((*old, *new))
        if old.get(name) != new.get(name)
    ]
    if old.get("timing") != new.get("timing"):
        found.append("timed by another method: build the older one anew with build_lut")
    return found


def _flat(fields: dict[str, Any]) -> dict[str, Any]:
    """`fields` with the packages of ``versions`` and the settings of ``details`` as fields of their own."""
    nested = {**fields.pop("versions"), **fields.pop("details")}
    return {**fields, **nested}


# --- one line ---


def _dumped(fields: Mapping[str, Any]) -> bytes:
    return json.dumps(fields, separators=(",", ":"), allow_nan=False).encode()


def checksum(fields: Mapping[str, Any]) -> str:
    """CRC-32 of what `fields` say, whatever their order and the blanks between them; 8 hexadecimal digits."""
    text = json.dumps(fields, separators=(",", ":"), sort_keys=True)
    return f"{zlib.crc32(text.encode()):08x}"


def _line(fields: dict[str, Any]) -> bytes:
    return _dumped({**fields, "crc32": checksum(fields)}) + b"\n"


CHANGED_ENDS = "it has bare carriage returns: another program has changed the ends of the lines"


def _parse_line(text: bytes) -> Any:
    """What the line says, with its checksum."""
    if b"\r" in text.removesuffix(b"\r"):
        raise InputError(CHANGED_ENDS)
    return parse_json(text)


def check_sum(fields: Any) -> None:
    """Take the checksum out of `fields`, if they have one.

    Raises:
        ValueError: it is not theirs.
    """
    given = fields.pop("crc32", None)
    if given is not None and given != checksum(fields):
        raise InputError(
            "it was damaged or changed after it was written: its checksum does not fit. Delete it, and "
            "hwbench build_lut measures the block again; or delete the checksum (crc32) if the change is meant"
        )


def check_measurement(measurement: Measurement) -> None:
    """Raise ValueError unless the latencies are finite, positive and inside their interval, and each field is of
    its type."""
    m = measurement
    for time in (m.latency_ms, m.low_ms, m.high_ms, *m.rounds_ms):
        _check_time(time)
    for name, value in m.details:
        if not isinstance(value, str) or name.endswith("_ms"):
            _check_time(value, "a latency" if name.endswith("_ms") else name)
    if m.latency_ms <= 0:
        raise InputError(f"a latency must be positive, not {m.latency_ms:g} ms")
    slack = 1e-9 * m.latency_ms
    if not m.low_ms - slack <= m.latency_ms <= m.high_ms + slack:
        raise InputError(
            f"the latency, {m.latency_ms:g} ms, lies outside its own interval, {m.low_ms:g} to {m.high_ms:g} ms"
        )
    if m.origin not in Measurement.ORIGINS:
        raise InputError(f"unknown origin {m.origin!r}; there are {', '.join(Measurement.ORIGINS)}")
    if type(m.noisy) is not bool:
        raise InputError(f"noisy is true or false, not {m.noisy!r}")
    if m.cycles is not None and (type(m.cycles) is not int or not 0 <= m.cycles < 2**63):
        raise InputError(f"{m.cycles!r} is no number of cycles")


def _check_time(value: object, what: str = "a latency") -> None:
    if type(value) not in (int, float) or not abs(value) < LONGEST_MS:  # type: ignore[arg-type]
        unit = " of milliseconds" if what == "a latency" else ""
        raise InputError(f"{what} must be a finite number{unit}, not {str(value)[:40]}")


LONGEST_MS = 1e300
"""Larger numbers, NaN and integers that no float holds are damage."""


def entry_fields(block: Block, measurement: Measurement, resolution: int | None = None) -> dict[str, Any]:
    """An entry as JSON-ready values.

    Args:
        block: which.
        measurement: of it.
        resolution: of the networks that it holds for; None for all.
    """
    fields = asdict(measurement)
    details = fields.pop("details")
    return {
        "block": block.to_dict(),
        **({} if resolution is None else {"resolution": resolution}),
        **fields,
        "rounds_ms": list(measurement.rounds_ms),
        **({"details": dict(details)} if details else {}),
    }


def _entry_line(block: Block, measurement: Measurement, resolution: int | None = None) -> bytes:
    try:
        check_measurement(measurement)
    except InputError as error:
        raise InputError(f"the answer for {block} is unusable: {error}") from error
    return _line(entry_fields(block, measurement, resolution))


def _failure_line(block: Block, reason: str) -> bytes:
    return _line({"block": block.to_dict(), "failed": reason})


def check_block(block: Block) -> None:
    """Raise ValueError if a size of `block` is beyond any network."""
    sizes = (*block.in_shape, block.out_channels, block.hidden_channels, block.kernel, block.stride)
    if max(sizes) > LARGEST_SIZE:
        raise InputError(f"a block of size {max(sizes)!s:.20} is none of any network")


class _Entry(NamedTuple):
    block: Block
    resolution: int | None
    found: Measurement | str
    """The measurement, or the reason why there is none."""


def _parse_entry(text: bytes) -> _Entry:
    fields = _parse_line(text)
    if not isinstance(fields, dict) or not isinstance(fields.get("block"), dict):
        raise InputError("not an entry of a table")
    as_written = dict(fields)
    block = Block.from_dict(fields.pop("block"))
    check_block(block)
    fields.pop("crc32", None)
    resolution = fields.pop("resolution", None)
    found = str(fields["failed"]) if fields.keys() == {"failed"} else _parse_measurement(fields)
    if resolution is not None and (type(resolution) is not int or isinstance(found, str)):
        raise InputError(f"{resolution!r} is no resolution of an entry")
    check_sum(as_written)
    return _Entry(block, resolution, found)


def _parse_measurement(fields: dict[str, Any]) -> Measurement:
    try:
        details = tuple(dict(fields.pop("details", {})).items())
        measurement = Measurement(**{**fields, "rounds_ms": tuple(fields["rounds_ms"])}, details=details)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise InputError(f"not an entry of a table: {error}") from error
    check_measurement(measurement)
    return measurement


# --- reading ---


def read_header(path: Path) -> Header:
    """The header of the table at `path`.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is no table; the message names the file and the line.
    """
    with open(path, "rb") as file:
        return _parse_header(path, file.read(LONGEST_HEADER))


def read(path: Path) -> tuple[Header, dict[Block, Measurement]]:
    """The header and the entries of the table at `path`, in the order they were measured.

    A torn last line is left out.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is no table, or a line of it is wrong; the message names the file and the line.
    """
    contents = read_contents(path)
    return contents.header, contents.entries


def read_failures(path: Path) -> dict[Block, str]:
    """The blocks that the table at `path` has no measurement of because they could not be run, and why.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is no table, or a line of it is wrong; the message names the file and the line.
    """
    return read_contents(path).failures


@dataclass
class Contents:
    """What a table's file holds.

    Args:
        header: the first line.
        entries: the blocks' measurements.
        failures: blocks that could not be run, and why.
        exceptions: (resolution, block): what a block costs in networks of that resolution, where its source says
            that it is not what `entries` has.
    """

    header: Header
    entries: dict[Block, Measurement] = field(default_factory=dict)
    failures: dict[Block, str] = field(default_factory=dict)
    exceptions: dict[tuple[int, Block], Measurement] = field(default_factory=dict)

    def add(self, block: Block, resolution: int | None, found: Measurement | str) -> None:
        """Take a line's word.

        Raises:
            ValueError: there is one that no later one may replace.
        """
        twice = self.is_final(block) if resolution is None else (resolution, block) in self.exceptions
        if twice:
            raise InputError(f"{block} is there twice; delete one of the two lines")
        # The latest word on a block holds: a failure may be tried again, and what was predicted may fail.
        if isinstance(found, str):
            self.entries.pop(block, None)
            self.failures[block] = found
        elif resolution is None:
            self.failures.pop(block, None)
            self.entries.pop(block, None)  # the order is that of the file
            self.entries[block] = found
        else:
            self.exceptions[resolution, block] = found

    def is_final(self, block: Block) -> bool:
        """Whether `block` has an entry that no later one may replace."""
        return block in self.entries and self.entries[block].origin != "predicted"


def read_contents(path: Path) -> Contents:
    """All that the table at `path` holds.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is no table, or a line of it is wrong; the message names the file and the line.
    """
    content = read_bounded(path)
    end = content.rfind(b"\n") + 1
    return _parse(path, content[:end], content[end:])


def _parse(path: Path, whole: bytes, torn: bytes) -> Contents:
    """What the `whole` lines say; `torn` is what stands after them."""
    contents = Contents(_parse_header(path, whole + torn))
    if not whole:
        return contents
    lines = whole.removesuffix(b"\n").split(b"\n")[1:]
    for number, line in enumerate(lines, start=2):
        try:
            contents.add(*_parse_entry(line))
        except InputError as error:
            raise InputError(f"{path}, line {number}: {error}") from error
    if _is_more_than_torn(torn):
        raise InputError(
            f"{path}, line {len(lines) + 2}: it holds more than one line's words; {CHANGED_ENDS}"
        )
    return contents


def _is_more_than_torn(text: bytes) -> bool:
    """Whether `text`, without a newline, cannot be the beginning of one line of ours: dropping it would lose
    more than a line that was being written."""
    if b"\r" in text.removesuffix(b"\r"):
        return True
    try:
        _, end = json.JSONDecoder().raw_decode(text.decode(errors="replace"))
    except (ValueError, RecursionError):
        return False
    return bool(text[end:].strip())


def _parse_header(path: Path, content: bytes) -> Header:
    """The header that is the first line of `content`."""
    line, end, _ = content.partition(b"\n")
    try:
        if not content:
            raise InputError("the file is empty, not a hwbench table")
        if b"\r" in line.removesuffix(b"\r") and line.startswith(HEADER_START):
            raise InputError(CHANGED_ENDS)
        try:
            fields = parse_json(line)
            header = Header.from_dict(fields)
        except InputError:
            if not _is_a_header(line):
                raise InputError(not_a_table(content)) from None
            if not end:
                raise InputError("the header is cut short") from None
            raise
        check_sum(fields)
        return header
    except InputError as error:
        raise InputError(f"{path}, line 1: {error}") from error


def _is_a_header(line: bytes) -> bool:
    """Whether `line` was meant as one, be it that of another version or a broken one."""
    return line.startswith((HEADER_START, HEADER_START.replace(b":", b": ")))


# --- writing ---


class Writer(ClosedAtEnd):
    """A table file open for adding entries, begun or resumed; a context manager.

    A new file gets its header together with its first entry: a build that fails before that leaves no file.

    Args:
        path: the file; its folder must exist.
        header: of a new file (or of one that was killed before its header was whole); otherwise the file's
            own header stays, and must be of the same target and family.

    Raises:
        FileBusy: another process is writing the file.
        OSError: the file cannot be opened or written.
        ValueError: the file holds something else; the message says what differs.
    """

    def __init__(self, path: Path, header: Header) -> None:
        self.path = Path(path)
        self._file = AppendFile(self.path)
        try:
            self._contents = self._begin(header)
        except BaseException:
            self._file.close()
            raise

    def _begin(self, header: Header) -> Contents:
        """Read what is there."""
        whole, torn = self._file.content, self._file.torn
        if not whole and _begins_a_header(torn):
            return Contents(header)
        found = _parse(self.path, whole, torn)
        if differences := found.header.differences(header):
            raise InputError(
                f"{self.path} is a table of something else ({'; '.join(differences)}): choose another file"
            )
        return found

    @property
    def header(self) -> Header:
        """Of the file."""
        return self._contents.header

    @property
    def entries(self) -> dict[Block, Measurement]:
        """What is there, in the order of the file."""
        return self._contents.entries

    @property
    def failures(self) -> dict[Block, str]:
        """The blocks that could not be run, and why."""
        return self._contents.failures

    def append(self, items: Iterable[tuple[Block, Measurement]]) -> None:
        """Add entries; when this returns they are on the disk. They may replace predicted ones.

        Raises:
            OSError: they could not be written (the disk is full); the file is as it was before.
            ValueError: a latency is no positive number, or a block is there already, not just predicted.
        """
        new: dict[Block, Measurement] = {}
        for block, measurement in items:
            if self._contents.is_final(block) or block in new:
                raise InputError(f"{self.path} has {block} already")
            new[block] = measurement
        self._write(b"".join(_entry_line(block, measurement) for block, measurement in new.items()))
        for block, measurement in new.items():
            self._contents.add(block, None, measurement)

    def append_exceptions(self, items: Mapping[tuple[int, Block], Measurement]) -> None:
        """Add what blocks cost in networks of one resolution only; see :class:`Contents`.

        Raises:
            OSError: as :meth:`append`.
            ValueError: as :meth:`append`.
        """
        self._write(b"".join(_entry_line(block, m, resolution) for (resolution, block), m in items.items()))
        for (resolution, block), measurement in items.items():
            self._contents.add(block, resolution, measurement)

    def append_failures(self, reasons: Mapping[Block, str]) -> None:
        """Note blocks that could not be measured, each with the reason; when this returns it is on the disk.

        Raises:
            OSError: as :meth:`append`.
        """
        new = {block: why for block, why in reasons.items() if self.failures.get(block) != why}
        self._write(b"".join(_failure_line(block, why) for block, why in new.items()))
        for block, why in new.items():
            self._contents.add(block, None, why)

    def _write(self, lines: bytes) -> None:
        if lines:
            begin = b"" if self._file.content else _line(self.header.to_dict())
            self._file.append(begin + lines)

    def close(self) -> None:
        """Close the file and with it the lock; one that holds no whole line is removed."""
        if not self._file.content:
            self._file.remove_below(1)
        self._file.close()


def _begins_a_header(text: bytes) -> bool:
    """Whether `text` is empty, or what a process killed in its first write left."""
    return (text.startswith(HEADER_START) or HEADER_START.startswith(text)) and not _is_more_than_torn(text)


# --- where tables live ---


def tables_folder() -> Path:
    """Where tables are kept unless a file is named: ``tables`` in :func:`compofa.home.home`, which is
    ``$HWBENCH_HOME`` or ``~/.cache/hwbench``."""
    return home() / "tables"


def default_path(target: Target, family: str, options: Mapping[str, str] | None = None) -> Path:
    """The default file of a table: one for each family and target.

    Args:
        target: any two that differ have files of their own, by the hash at the name's end.
        family: whose blocks.
        options: settings that tell people what is special about the target; part of the name, too.
    """
    parts = [family, target.backend, _slug(target.device), target.precision]
    parts += [f"b{target.batch}", f"t{target.threads}"]
    parts += [_slug(f"{name}-{value}") for name, value in sorted((options or {}).items())]
    digest = hashlib.sha256(json.dumps(target.to_dict(), sort_keys=True).encode()).hexdigest()[:8]
    return tables_folder() / f"{'-'.join(parts)[:LONGEST_NAME]}-{digest}.jsonl"


def _slug(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")
