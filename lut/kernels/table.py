"""Tables of kernels: append-only JSON lines, as tables of blocks are (:mod:`lut.store`).

The header says what the numbers are of. Each further line is a kernel with its measurement or the reason why it cannot
run, or a network: how often it runs which kernel, and what it takes as a whole. Networks are what sums are calibrated
on. Each line ends with the checksum of what it says; a torn last line is dropped.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from backends.base import Measurement, Target
from backends.kernels.kernel import MOST_ELEMENTS, Kernel
from compofa.errors import InputError
from compofa.files import AppendFile, ClosedAtEnd, parse_json
from lut.header import target_differences
from lut.kernels.packed import unpacked
from lut.kinds import kind_of
from lut.lines import begins_a_header, check_measurement, check_sum, line_of
from lut.paths import default_path

FORMAT = "hwbench-kernels"
SCHEMA = 1
LONGEST_NAME = 200
AGAIN = "hwbench profile measures the kernel again"


@dataclass(frozen=True)
class Header:
    """What the numbers of a table are of.

    Args:
        target: where and how kernels and networks were measured.
        created: date and time in UTC, ISO 8601.
        host: the machine, as text to read; not compared. ``reference`` in it is what latencies rest on.
    """

    target: Target
    created: str = ""
    host: dict[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """The fields as JSON-ready values; :meth:`from_dict` reads them back."""
        return {
            "format": FORMAT,
            "schema": SCHEMA,
            "created": self.created,
            "target": self.target.to_dict(),
            "host": self.host,
        }

    @classmethod
    def from_dict(cls, fields: Any) -> Header:
        """The header that :meth:`to_dict` wrote.

        Raises:
            InputError: it is none, or of a schema that this version does not read.
        """
        if not isinstance(fields, dict) or fields.get("format") != FORMAT:
            raise InputError("not a table of kernels")
        if fields.get("schema") != SCHEMA:
            raise InputError(
                f"schema {fields.get('schema')!r}; this version of hwbench reads schema {SCHEMA}"
            )
        try:
            return cls(Target.from_dict(fields["target"]), str(fields["created"]), dict(fields["host"]))
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(f"broken header: {error}") from error

    @classmethod
    def now(cls, target: Target, host: Mapping[str, Any]) -> Header:
        """Of a table that is begun now."""
        return cls(target, datetime.now(UTC).isoformat(timespec="seconds"), dict(host))


@dataclass(frozen=True)
class NetworkEntry:
    """A network that was measured as a whole.

    Args:
        name: for people.
        kernels: key of each of its kernels -> how many nodes run it.
        nodes: of the optimised model in all, those included that are no kernel.
        measurement: of the whole.
    """

    name: str
    kernels: dict[str, int]
    nodes: int
    measurement: Measurement

    def to_dict(self) -> dict[str, Any]:
        """The fields, JSON-ready."""
        return {
            "network": self.name,
            "nodes": self.nodes,
            "kernels": self.kernels,
            **_measurement_fields(self.measurement),
        }

    @classmethod
    def from_dict(cls, fields: dict[str, Any]) -> NetworkEntry:
        """What :meth:`to_dict` gave.

        Raises:
            InputError: it is something else.
        """
        name, nodes, kernels = (fields.pop(key, None) for key in ("network", "nodes", "kernels"))
        counts = [nodes, *kernels.values()] if isinstance(kernels, dict) else [None]
        if not isinstance(name, str) or not all(type(n) is int and 0 <= n < MOST_ELEMENTS for n in counts):
            raise InputError("not a network of a table of kernels")
        return cls(name[:LONGEST_NAME], kernels, nodes, _measurement(fields))


@dataclass
class KernelTable:
    """What a table of kernels holds.

    Args:
        header: the first line.
        entries: the kernels' costs inside a network.
        failures: kernels that cannot run there, and why.
        networks: measured as a whole.
        unmeasured: kernels of networks that were not timed themselves.
    """

    header: Header
    entries: dict[Kernel, Measurement] = field(default_factory=dict)
    failures: dict[Kernel, str] = field(default_factory=dict)
    networks: list[NetworkEntry] = field(default_factory=list)
    unmeasured: dict[Kernel, None] = field(default_factory=dict)

    @property
    def target(self) -> Target:
        """What the numbers are of."""
        return self.header.target

    @property
    def by_key(self) -> dict[str, Kernel]:
        """The kernels by the key that networks call them by."""
        return {kernel.key: kernel for kernel in (*self.unmeasured, *self.failures, *self.entries)}

    def add(self, what: Kernel | NetworkEntry, found: Measurement | str | None = None) -> None:
        """Take a line's word: of a kernel the latest holds, and a measurement rather than a failure."""
        if isinstance(what, NetworkEntry):
            if what.kernels:  # of one that folds to a constant there is nothing to learn
                self.networks.append(what)
        elif found is None:
            if what not in self.entries and what not in self.failures:
                self.unmeasured[what] = None
        elif isinstance(found, str):
            if what not in self.entries:
                self.failures[what] = found
        else:
            self.failures.pop(what, None)
            self.unmeasured.pop(what, None)
            self.entries[what] = found


def load(path: Path) -> KernelTable:
    """The table at `path`, packed or not. A torn last line is left out.

    Raises:
        OSError: it cannot be read.
        InputError: it is no table of kernels, or a line of it is wrong; names the file and the line.
    """
    content = unpacked(path)
    return _parse(Path(path), content[: content.rfind(b"\n") + 1], content)


def _parse(path: Path, whole: bytes, content: bytes) -> KernelTable:
    first, *lines = whole.removesuffix(b"\n").split(b"\n")
    with _line_of(path, 1):
        table = KernelTable(_header(first, content))
    for number, line in enumerate(lines, start=2):
        with _line_of(path, number):
            table.add(*_entry(line))
    return table


@contextmanager
def _line_of(path: Path, number: int) -> Iterator[None]:
    try:
        yield
    except InputError as error:
        raise InputError(f"{path}, line {number}: {error}") from error


def _header(line: bytes, content: bytes) -> Header:
    try:
        fields = parse_json(line)
        header = Header.from_dict(fields)
    except InputError as error:
        if FORMAT.encode() in line[:100]:
            raise
        kind = kind_of(content)
        raise InputError(f"not a table of kernels{f' but {kind}' if kind else ''}") from error
    check_sum(fields, AGAIN)
    return header


def _entry(line: bytes) -> tuple[Kernel | NetworkEntry, Measurement | str | None]:
    fields = parse_json(line)
    if not isinstance(fields, dict) or not fields.keys() & {"kernel", "network"}:
        raise InputError("neither a kernel nor a network")
    check_sum(fields, AGAIN)
    if "network" in fields:
        return NetworkEntry.from_dict(fields), None
    kernel = Kernel.from_dict(fields.pop("kernel"))
    if not fields:
        return kernel, None
    if fields.keys() == {"failed"}:
        return kernel, str(fields["failed"])
    return kernel, _measurement(fields)


def _measurement(fields: dict[str, Any]) -> Measurement:
    try:
        latency, low, high = (fields.pop(name) for name in ("latency_ms", "low_ms", "high_ms"))
        origin, noisy = str(fields.pop("origin")), fields.pop("noisy", False)
        found = Measurement(origin, latency, low, high, noisy=noisy)
    except KeyError as error:
        raise InputError(f"it lacks {error}") from None
    if fields:
        raise InputError(f"unknown field {sorted(fields)[0]!r:.80}")
    check_measurement(found)
    return found


def _measurement_fields(measurement: Measurement) -> dict[str, Any]:
    times = {n: float(f"{getattr(measurement, n):.6g}") for n in ("latency_ms", "low_ms", "high_ms")}
    noisy = {"noisy": True} if measurement.noisy else {}
    return {"origin": measurement.origin, **times, **noisy}


class Writer(ClosedAtEnd):
    """A table of kernels open for adding to it; a context manager. A new file gets its header with the first line.

    Args:
        path: the file; its folder must exist.
        header: of a new file; the file's own must be of the same target.

    Raises:
        FileBusy: another process is writing the file.
        OSError: it cannot be opened or written.
        InputError: it holds something else; the message says what differs.
    """

    def __init__(self, path: Path, header: Header) -> None:
        self.path = Path(path)
        self._file = AppendFile(self.path)
        try:
            self.table = self._begin(header)
        except BaseException:
            self._file.close()
            raise

    def _begin(self, header: Header) -> KernelTable:
        content, torn = self._file.content, self._file.torn
        if not content and begins_a_header(torn, FORMAT):
            return KernelTable(header)
        content = content or torn  # a whole file without a newline, which must not be written over
        found = _parse(self.path, content, content)
        check_same(found.target, header.target, self.path)
        return found

    def append(
        self,
        kernels: Mapping[Kernel, Measurement],
        failures: Mapping[Kernel, str],
        networks: Iterable[NetworkEntry] = (),
        kernels_of_them: Iterable[Kernel] = (),
    ) -> int:
        """Add what is new of the kernels, and the networks; when this returns they are on the disk.

        Args:
            kernels: with their measurements.
            failures: kernels that cannot run, and why.
            networks: measured as a whole.
            kernels_of_them: those that are neither measured nor failures become known by name.

        Returns:
            How many kernels were new.

        Raises:
            OSError: they could not be written; the file is as it was before.
            InputError: a measurement is none; nothing was written.
        """
        new = {kernel: m for kernel, m in kernels.items() if kernel not in self.table.entries}
        known = self.table.entries.keys() | self.table.failures.keys()
        failed = {kernel: why for kernel, why in failures.items() if kernel not in known}
        networks, there = [network for network in networks if network.kernels], self.table.by_key
        named = dict.fromkeys(
            k for k in kernels_of_them if k.key not in there and k not in new and k not in failed
        )
        lines = [line_of({"kernel": k.to_dict(), **_measurement_fields(m)}) for k, m in new.items()]
        lines += [line_of({"kernel": k.to_dict(), "failed": why}) for k, why in failed.items()]
        lines += [line_of({"kernel": k.to_dict()}) for k in named]
        lines += [line_of(network.to_dict()) for network in networks]
        for line in lines:
            _entry(line)  # what could not be read back would make the whole table unreadable
        if lines:
            begin = b"" if self._file.content else line_of(self.table.header.to_dict())
            self._file.append(begin + b"".join(lines))
        for some in (new, failed, named):
            for kernel, found in some.items():
                self.table.add(kernel, found)
        for network in networks:
            self.table.add(network)
        return len(new)

    def close(self) -> None:
        """Close the file and with it the lock; one that holds no whole line is removed."""
        if not self._file.content:
            self._file.remove_below(1)
        self._file.close()


def check_same(recorded: Target, present: Target, path: Path) -> None:
    """Raise InputError, with what differs, unless the table at `path`, of `recorded`, is of `present`."""
    if recorded.backend != present.backend:
        raise InputError(
            f"{path} is a table of {recorded.backend}, whose kernels are not those of {present.backend}: "
            "choose another file"
        )
    differences = target_differences(recorded, present)
    if differences and recorded.versions != present.versions:
        raise InputError(
            f"{path} is a table of another runtime version, which fuses and runs otherwise "
            f"({'; '.join(differences)}): choose another file, or install that version"
        )
    if differences:
        raise InputError(
            f"{path} is a table of something else ({'; '.join(differences)}): choose another file"
        )


def default_table(target: Target) -> Path:
    """Where a target's kernels are kept unless a file is named."""
    return default_path(target, "kernels")
