"""What TVM compiles for: a processor, its features, and the C++ compiler that links for it.

A target is a TOML file in :mod:`backends.tvm.targets` or anywhere else. Standard library only.
"""

from __future__ import annotations

import platform
import shutil
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from backends import description
from backends.description import parse_table
from backends.machine.host import CPUINFO, cpu_name
from compofa.errors import InputError

TARGETS = "backends.tvm.targets"

X86_LEVELS = (
    ("x86-64-v4", {"avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"}),
    ("x86-64-v3", {"avx2", "bmi1", "bmi2", "f16c", "fma", "movbe"}),
    ("x86-64-v2", {"sse4_2", "ssse3", "popcnt"}),
)
"""Micro-architecture levels of the x86-64 psABI, best first, with the flags of /proc/cpuinfo that tell them."""
ARM_PARTS = {
    "0xd03": "cortex-a53",
    "0xd04": "cortex-a35",
    "0xd05": "cortex-a55",
    "0xd07": "cortex-a57",
    "0xd08": "cortex-a72",
    "0xd09": "cortex-a73",
    "0xd0a": "cortex-a75",
    "0xd0b": "cortex-a76",
    "0xd0c": "neoverse-n1",
    "0xd40": "neoverse-v1",
    "0xd49": "neoverse-n2",
    "0xd4f": "neoverse-v2",
}
"""`CPU part` of /proc/cpuinfo, of Arm's own designs -> LLVM's name."""


@dataclass(frozen=True)
class TvmTarget:
    """A processor to compile for.

    Args:
        name: as given to ``--target``.
        device: for people: the board and its processor; empty for this machine.
        triple: LLVM's, such as ``aarch64-linux-gnu``; empty for this machine.
        mcpu: LLVM's name of the processor; empty to find this machine's.
        features: LLVM's switches, such as ``+neon``.
        cores: of the fastest kind; the most that ``--threads`` may ask for.
        compiler: C++ compiler that links libraries for the processor.
        install: how to get it.
    """

    name: str
    device: str
    triple: str
    mcpu: str
    features: tuple[str, ...]
    cores: int
    compiler: str
    install: str

    def __post_init__(self) -> None:
        if self.cores < 1:
            raise InputError(f"cores must be at least 1, not {self.cores}")
        if self.triple and not (self.device and self.mcpu):
            raise InputError("a triple needs device and mcpu beside it: only this machine's can be found out")
        if wrong := [f for f in self.features if not isinstance(f, str) or f[:1] not in ("+", "-")]:
            raise InputError(f"features are such as +neon or -sve, not {wrong[0]!r}")
        if not self.compiler.strip():
            raise InputError("the compiler is missing")

    @property
    def digest(self) -> str:
        """Short hash of everything that decides the code."""
        return description.digest(self)

    @property
    def is_host(self) -> bool:
        """Whether the code runs on this machine."""
        return not self.triple

    def settings(self, threads: int) -> dict[str, Any]:
        """The argument of ``tvm.target.Target``; `threads` is what a parallel loop is cut for."""
        found: dict[str, Any] = {"kind": "llvm", "mcpu": self.mcpu, "num-cores": threads}
        if self.triple:
            found["mtriple"] = self.triple
        if self.features:
            found["mattr"] = list(self.features)
        return found

    def check_compiler(self) -> None:
        """Raise ValueError, with the remedy, unless the compiler is there."""
        if shutil.which(self.compiler) is None:
            raise InputError(
                f"target {self.name} needs the compiler {self.compiler}, which is not there: {self.install}"
            )


def target_names() -> tuple[str, ...]:
    """The targets that come with the package."""
    return description.target_names(TARGETS)


def load_target(name: str) -> TvmTarget:
    """The target called `name`, or described in the TOML file at that path; of ``host``, all that was left
    open is filled in from this machine.

    Raises:
        OSError: the file cannot be read.
        ValueError: there is no such target, or its description is wrong; says what and where.
    """
    return description.load_target(TARGETS, name, parse_target)


def parse_target(name: str, content: dict[str, Any]) -> TvmTarget:
    """The target that a TOML file's `content` describes.

    Raises:
        ValueError: a field is missing, unknown, of the wrong type or out of range.
    """
    found = parse_table(TvmTarget, "", {**content, "name": name})
    fields = {**asdict(found), "features": tuple(found.features)}
    if found.is_host:
        fields |= {"device": found.device or cpu_name(), "mcpu": found.mcpu or host_mcpu()}
    return TvmTarget(**fields)


def host_mcpu(cpuinfo: Path = CPUINFO, machine: str | None = None) -> str:
    """LLVM's name for this machine's processor: the level of its instruction set on x86-64, the design on
    Arm, ``generic`` elsewhere. (LLVM's own detection names processors that it then compiles badly for.)"""
    try:
        lines = cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    if (machine or platform.machine()) in ("x86_64", "AMD64"):
        flags = set(_values(lines, "flags")[:1][0].split()) if _values(lines, "flags") else set()
        needed: set[str] = set()
        levels = []
        for level, names in reversed(X86_LEVELS):
            needed |= names
            if needed <= flags:
                levels.append(level)
        return levels[-1] if levels else "x86-64"
    # Big and little cores: the big ones have the higher part numbers in every generation sold so far.
    known = [ARM_PARTS[part] for part in sorted(_values(lines, "CPU part")) if part in ARM_PARTS]
    return known[-1] if known else "generic"


def _values(lines: Iterable[str], key: str) -> list[str]:
    pairs = (line.partition(":") for line in lines)
    return [value.strip() for name, _, value in pairs if name.strip() == key]
