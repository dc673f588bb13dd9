"""What is profiled goes into a table of kernels."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from backends.base import Backend
from backends.kernels.kernel import Kernel
from compofa.files import ClosedAtEnd
from hwbench.profiling.profiles import Profile
from lut.kernels.table import Header, NetworkEntry, Writer, default_table


class ProfileTable(ClosedAtEnd):
    """A table of kernels, open for adding profiles to it.

    Args:
        backend: that profiles; it goes on in the milliseconds of a table that is there.
        path: the file; the target's default unless given.

    Raises:
        FileBusy: another process is writing the file.
        InputError: it is of something else.
    """

    def __init__(self, backend: Backend, path: Path | None = None) -> None:
        from backends.machine.host import fingerprint

        self.path = path or default_table(backend.target)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        begun = self.path.exists() and self.path.stat().st_size > 0
        host = fingerprint().to_dict() | ({} if begun else {"reference": backend.reference})
        self.writer = Writer(self.path, Header.now(backend.target, host))
        backend.use_reference(self.writer.table.header.host.get("reference"))

    def add(self, profiles: Iterable[Profile]) -> int:
        """Add kernels that are new, and the networks; returns how many were new."""
        return sum(
            self.writer.append(profile.kernels, profile.failed, [network_entry(profile)])
            for profile in profiles
        )

    def close(self) -> None:
        """Close the file."""
        self.writer.close()


def network_entry(profile: Profile) -> NetworkEntry:
    """The profiled model as tables keep it."""
    counts: dict[Kernel, int] = dict(profile.counts)
    name = profile.model if profile.precision == "fp32" else f"{profile.model} {profile.precision}"
    return NetworkEntry(
        name,
        {kernel.key: count for kernel, count in counts.items()},
        len(profile.nodes),
        profile.latency,
    )
