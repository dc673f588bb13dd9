"""Table files: append-only JSON lines that survive a kill at any moment.

The first line is the header: what the numbers are of. Each further line is one block and its measurement.
Lines are only ever added, in batches that reach the disk together, so a process killed while writing loses
at most the batch it was writing; a last line without its newline is torn and is dropped. A block that could
not be run has a line that says why, and counts as missing; one that was only predicted may come again, measured
or predicted anew: the later line counts. Everything else that is out of order (another format, a latency that is
no positive number, a block that comes twice) is refused with the file and the line, because a table that is read
wrong is worse than no table.

One process writes a file at a time: it holds the lock of ``flock(2)``, which ends with the process.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import math
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from backends.base import Measurement, Target
from compofa.blocks import Block
from compofa.errors import InputError, RunFailed
from compofa.home import home

FORMAT = "hwbench-table"
SCHEMA = 1
LONGEST_NAME = 200
"""Characters of a file's name before its hash: file systems take 255 in all."""
HEADER_START = b'{"format":"' + FORMAT.encode() + b'"'


class TableBusy(RunFailed):
    """Another process is writing this table."""


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
    """

    target: Target
    family: str
    space: str
    resolutions: tuple[int, ...]
    created: str
    host: dict[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """The fields as JSON-ready values; :meth:`from_dict` reads them back."""
        return {
            "format": FORMAT,
            "schema": SCHEMA,
            "family": self.family,
            "space": self.space,
            "resolutions": list(self.resolutions),
            "created": self.created,
            "target": self.target.to_dict(),
            "host": self.host,
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
                family=str(fields["family"]),
                space=str(fields["space"]),
                resolutions=tuple(int(r) for r in fields["resolutions"]),
                created=str(fields["created"]),
                host=dict(fields["host"]),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(f"broken header: {error}") from error

    @property
    def digest(self) -> str:
        """Short hash that tells this table from any other. It covers the header only, so it stays the same
        while the table grows."""
        return hashlib.sha256(_line(self.to_dict())).hexdigest()[:16]

    def differences(self, target: Target, family: str) -> list[str]:
        """How `target` and `family` differ from this table's, for a message; empty if they do not."""
        found = [] if family == self.family else [f"family {self.family}, not {family}"]
        return found + target_differences(self.target, target)


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


def _line(fields: dict[str, Any]) -> bytes:
    return json.dumps(fields, separators=(",", ":"), allow_nan=False).encode() + b"\n"


def check_measurement(measurement: Measurement) -> None:
    """Raise ValueError unless the latencies are positive, finite and in order."""
    times = [measurement.latency_ms, measurement.low_ms, measurement.high_ms, *measurement.rounds_ms]
    times += [value for name, value in measurement.details if name.endswith("_ms")]  # type: ignore[misc]
    for time in times:
        if type(time) not in (int, float) or not math.isfinite(time):
            raise InputError(f"a latency must be a finite number of milliseconds, not {time}")
    if measurement.latency_ms <= 0:
        raise InputError(f"a latency must be positive, not {measurement.latency_ms:g} ms")
    if measurement.origin not in Measurement.ORIGINS:
        raise InputError(f"unknown origin {measurement.origin!r}; there are {', '.join(Measurement.ORIGINS)}")


def _entry_line(block: Block, measurement: Measurement) -> bytes:
    try:
        check_measurement(measurement)
    except ValueError as error:
        raise InputError(f"the backend's answer for {block} is unusable: {error}") from error
    fields = asdict(measurement)
    details = fields.pop("details")
    return _line({"block": block.to_dict(), **fields, **({"details": dict(details)} if details else {})})


def _failure_line(block: Block, reason: str) -> bytes:
    return _line({"block": block.to_dict(), "failed": reason})


def _parse_entry(text: bytes) -> tuple[Block, Measurement | str]:
    """A block with its measurement, or with the reason why it could not be measured."""
    fields = _parse_json(text)
    try:
        block = Block.from_dict(fields.pop("block"))
        if fields.keys() == {"failed"}:
            return block, str(fields["failed"])
        details = tuple(dict(fields.pop("details", {})).items())
        measurement = Measurement(**{**fields, "rounds_ms": tuple(fields["rounds_ms"])}, details=details)
    except (AttributeError, KeyError, TypeError) as error:
        raise InputError(f"not an entry of a table: {error}") from error
    check_measurement(measurement)
    return block, measurement


def _parse_json(text: bytes) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:  # JSONDecodeError and UnicodeDecodeError alike
        raise InputError("not JSON") from error


# --- reading ---


def read_header(path: Path) -> Header:
    """The header of the table at `path`.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is no table; the message names the file and the line.
    """
    with open(path, "rb") as file:
        return _parse_header(path, file.readline(1_000_000))


def read(path: Path) -> tuple[Header, dict[Block, Measurement]]:
    """The header and the entries of the table at `path`, in the order they were measured.

    A torn last line is left out.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is no table, or a line of it is wrong; the message names the file and the line.
    """
    header, entries, _ = _parse(path, Path(path).read_bytes())
    return header, entries


def read_failures(path: Path) -> dict[Block, str]:
    """The blocks that the table at `path` has no measurement of because they could not be run, and why.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is no table, or a line of it is wrong; the message names the file and the line.
    """
    return _parse(path, Path(path).read_bytes())[2]


Contents = tuple[Header, dict[Block, Measurement], dict[Block, str]]
"""Header, entries, and reasons of failures."""


def _parse(path: Path, content: bytes) -> Contents:
    first, *lines = content.splitlines(keepends=True) or [b""]
    header = _parse_header(path, first)
    entries: dict[Block, Measurement] = {}
    failures: dict[Block, str] = {}
    for number, line in enumerate(_whole(lines), start=2):
        try:
            block, found = _parse_entry(line)
            if _is_final(entries, block):
                raise InputError(f"{block} is there twice; delete one of the two lines")
        except ValueError as error:
            raise InputError(f"{path}, line {number}: {error}") from error
        failures.pop(block, None)  # the latest word on a block holds: a failure may be tried again
        if isinstance(found, str):
            failures[block] = found
        else:
            entries.pop(block, None)
            entries[block] = found
    return header, entries, failures


def _is_final(entries: Mapping[Block, Measurement], block: Block) -> bool:
    """Whether `block` has an entry that no later one may replace."""
    return block in entries and entries[block].origin != "predicted"


def _whole(lines: list[bytes]) -> list[bytes]:
    return lines[:-1] if lines and not lines[-1].endswith(b"\n") else lines


def _parse_header(path: Path, line: bytes) -> Header:
    try:
        if not line:
            raise InputError("the file is empty, not a hwbench table")
        if not line.endswith(b"\n"):
            cut_short = line.startswith(HEADER_START)
            raise InputError("the header is cut short" if cut_short else "not a hwbench table")
        return Header.from_dict(_parse_json(line))
    except ValueError as error:
        raise InputError(f"{path}, line 1: {error}") from error


# --- writing ---


class Writer:
    """A table file open for adding entries, begun or resumed; a context manager.

    Args:
        path: the file; its folder must exist.
        header: written if the file is new (or was killed before its header was whole); otherwise the file's
            own header stays, and must be of the same target and family.

    Raises:
        TableBusy: another process is writing the file.
        OSError: the file cannot be opened or written.
        ValueError: the file holds something else; the message says what differs.
    """

    def __init__(self, path: Path, header: Header) -> None:
        self.path = Path(path)
        self._file = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            self._lock()
            self.header, self.entries, self.failures = self._begin(header)
        except BaseException:
            self.close()
            raise

    def append(self, items: Iterable[tuple[Block, Measurement]]) -> None:
        """Add entries; when this returns they are on the disk. They may replace predicted ones.

        Raises:
            OSError: they could not be written (the disk is full); the file is as it was before.
            ValueError: a latency is no positive number, or a block is there already, not just predicted.
        """
        new: dict[Block, Measurement] = {}
        for block, measurement in items:
            if _is_final(self.entries, block) or block in new:
                raise InputError(f"{self.path} has {block} already")
            new[block] = measurement
        self._write(b"".join(_entry_line(block, measurement) for block, measurement in new.items()))
        for block, measurement in new.items():
            self.entries.pop(block, None)  # the order is that of the file
            self.entries[block] = measurement
            self.failures.pop(block, None)

    def append_failures(self, reasons: Mapping[Block, str]) -> None:
        """Note blocks that could not be measured, each with the reason; when this returns it is on the disk.

        Raises:
            OSError: as :meth:`append`.
        """
        new = {block: why for block, why in reasons.items() if self.failures.get(block) != why}
        self._write(b"".join(_failure_line(block, why) for block, why in new.items()))
        self.failures.update(new)

    def close(self) -> None:
        """Close the file and with it the lock."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _lock(self) -> None:
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise TableBusy(
                f"{self.path} is being written by another process; wait for it, or choose another file"
            ) from None

    def _begin(self, header: Header) -> Contents:
        """Read what is there, drop a torn last line, write the header if there is none."""
        content = self.path.read_bytes()
        whole = content[: content.rfind(b"\n") + 1]
        if not whole and (content.startswith(HEADER_START) or HEADER_START.startswith(content)):
            # Killed while it wrote its first line, or just created.
            os.ftruncate(self._file, 0)
            self._write(_line(header.to_dict()))
            _sync_folder(self.path.parent)
            return header, {}, {}
        found, entries, failures = _parse(self.path, whole or content)
        if differences := found.differences(header.target, header.family):
            raise InputError(
                f"{self.path} is a table of something else ({'; '.join(differences)}): choose another file"
            )
        os.ftruncate(self._file, len(whole))
        return found, entries, failures

    def _write(self, lines: bytes) -> None:
        end = os.lseek(self._file, 0, os.SEEK_END)
        try:
            while lines:
                lines = lines[os.write(self._file, lines) :]
            os.fsync(self._file)
        except OSError as error:
            with contextlib.suppress(OSError):
                os.ftruncate(self._file, end)
            raise OSError(error.errno, error.strerror, str(self.path)) from error


def _sync_folder(folder: Path) -> None:
    """Make a new file's name durable, too."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


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


def newest_table(family: str) -> Path | None:
    """The table of `family` in :func:`tables_folder` that was written last; None if there is none.

    Raises:
        OSError: the folder is there but cannot be read.
    """
    folder = tables_folder()
    if not folder.is_dir():
        return None
    mine = [path for path in folder.glob("*.jsonl") if _is_of_family(path, family)]
    return max(mine, key=lambda path: path.stat().st_mtime_ns, default=None)


def _is_of_family(path: Path, family: str) -> bool:
    try:
        return read_header(path).family == family
    except (OSError, ValueError):
        return False
