"""Table files: append-only JSON lines that survive a kill at any moment.

The first line is the header: what the numbers are of. Each further line is one block and its measurement.
Lines are only ever added, in batches that reach the disk together, so a process killed while writing loses
at most the batch it was writing; a last line without its newline is torn and is dropped. A block that could
not be run has a line that says why, and counts as missing; one that was only predicted may come again, measured
or predicted anew: the later line counts. Everything else that is out of order (another format, a latency that is
no positive number, a block that comes twice) is refused with the file and the line, because a table that is read
wrong is worse than no table.

One process writes a file at a time: see :class:`compofa.files.AppendFile`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from backends.base import Measurement
from compofa.blocks import Block
from compofa.errors import InputError
from compofa.files import AppendFile, ClosedAtEnd, parse_json, read_bounded
from lut.header import FORMAT, Header
from lut.kinds import not_a_table
from lut.lines import (
    CHANGED_ENDS,
    begins_a_header,
    check_sum,
    entry_line,
    failure_line,
    header_start,
    is_more_than_torn,
    line_of,
    parse_entry,
)

HEADER_START = header_start(FORMAT)
LONGEST_HEADER = 1_000_000
"""Bytes that are read to find it."""


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
            contents.add(*parse_entry(line))
        except InputError as error:
            raise InputError(f"{path}, line {number}: {error}") from error
    if is_more_than_torn(torn):
        raise InputError(
            f"{path}, line {len(lines) + 2}: it holds more than one line's words; {CHANGED_ENDS}"
        )
    return contents


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
        if not whole and begins_a_header(torn, FORMAT):
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
        self._write(b"".join(entry_line(block, measurement) for block, measurement in new.items()))
        for block, measurement in new.items():
            self._contents.add(block, None, measurement)

    def append_exceptions(self, items: Mapping[tuple[int, Block], Measurement]) -> None:
        """Add what blocks cost in networks of one resolution only; see :class:`Contents`.

        Raises:
            OSError: as :meth:`append`.
            ValueError: as :meth:`append`.
        """
        if twice := [block for key, block in items if (key, block) in self._contents.exceptions]:
            raise InputError(f"{self.path} has {twice[0]} of this resolution already")
        self._write(b"".join(entry_line(block, m, resolution) for (resolution, block), m in items.items()))
        for (resolution, block), measurement in items.items():
            self._contents.add(block, resolution, measurement)

    def append_failures(self, reasons: Mapping[Block, str]) -> None:
        """Note blocks that could not be measured, each with the reason; when this returns it is on the disk.

        Raises:
            OSError: as :meth:`append`.
            ValueError: a block is measured already.
        """
        new = {block: why for block, why in reasons.items() if self.failures.get(block) != why}
        if measured := [block for block in new if self._contents.is_final(block)]:
            raise InputError(f"{self.path} has {measured[0]} already")
        self._write(b"".join(failure_line(block, why) for block, why in new.items()))
        for block, why in new.items():
            self._contents.add(block, None, why)

    def _write(self, lines: bytes) -> None:
        if lines:
            begin = b"" if self._file.content else line_of(self.header.to_dict())
            self._file.append(begin + lines)

    def close(self) -> None:
        """Close the file and with it the lock; one that holds no whole line is removed."""
        if not self._file.content:
            self._file.remove_below(1)
        self._file.close()
