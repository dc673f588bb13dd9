"""Compiled networks on an emulated Arm processor: are the numbers right, and how many instructions does a run take?

QEMU's user emulation runs a small program linked with TVM's own runtime for aarch64. How long that takes says
nothing about a board; instructions are counted by a plug-in and are reported as counts only.

``scripts/setup_arm64_emulation`` installs what it needs.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from backends.base import BackendUnavailable
from backends.tvm.target import TvmTarget
from compofa.errors import RunFailed
from compofa.home import home

TRIPLE = "aarch64-linux-gnu"
QEMU = "qemu-aarch64"
SYSROOT = Path("/usr/aarch64-linux-gnu")
"""Of Debian's cross compiler: C library and C++ runtime."""
COMMAND = (QEMU, "-L", str(SYSROOT), "-E", "TVM_NUM_THREADS=1")
LIBRARIES = ("libtvm_runtime.so", "libtvm_ffi.so")
REMEDY = "run scripts/setup_arm64_emulation"
SOURCES = Path(__file__).parent
RUN_S = 600


@dataclass(frozen=True)
class Emulated:
    """One run: the output, and the instructions it took; None without the plug-in."""

    output: NDArray[np.float32]
    instructions: int | None


def runtime_folder() -> Path:
    """Where TVM's runtime for aarch64 is kept, of the version that is installed here."""
    return home() / "tvm" / f"aarch64-{version('apache-tvm')}-{version('apache-tvm-ffi')}"


def problem(target: TvmTarget) -> str | None:
    """Why code for `target` cannot be emulated here, with the remedy; None if it can."""
    if target.triple != TRIPLE:
        return f"only {TRIPLE} is emulated, not {target.triple or 'this machine'}"
    if shutil.which(target.compiler) is None:
        return f"{target.compiler} is not there: {target.install}"
    if shutil.which(QEMU) is None:
        return f"{QEMU} is not there: {REMEDY}"
    if not (SYSROOT / "lib").is_dir():
        return f"{SYSROOT} is not there: {REMEDY}"
    if missing := [name for name in LIBRARIES if not (runtime_folder() / name).is_file()]:
        return f"{runtime_folder()} lacks {' and '.join(missing)}: {REMEDY}"
    return None


def emulate(
    target: TvmTarget, programs: Sequence[tuple[Path, NDArray[np.float32], tuple[int, ...]]]
) -> list[Emulated]:
    """Run each compiled network once.

    Args:
        target: what they are compiled for.
        programs: library, input, and shape of the output of each.

    Raises:
        BackendUnavailable: the emulation is not set up; says how.
        RuntimeError: the emulated program failed.
    """
    if reason := problem(target):
        raise BackendUnavailable(f"cannot emulate {target.name}: {reason}")
    plugin = _plugin()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        lines = []
        for i, (library, given, _) in enumerate(programs):
            given.astype("<f4").tofile(folder / f"x{i}")
            sizes = " ".join(map(str, (given.ndim, *given.shape)))
            lines.append(f"{library} {folder}/x{i} {folder}/y{i} {sizes}\n")
        (folder / "list").write_text("".join(lines), encoding="utf-8")
        counting = ["-plugin", str(plugin), "-d", "plugin", "-D", f"{folder}/log"] if plugin else []
        done = subprocess.run(
            [*COMMAND, *counting, str(program(target, SOURCES / "runner.cc")), f"{folder}/list"],
            capture_output=True,
            text=True,
            timeout=RUN_S,
            check=False,
        )
        if done.returncode:
            said = done.stderr.strip().splitlines()
            raise RunFailed(f"{QEMU} ended with code {done.returncode}: {said[-1] if said else 'no message'}")
        counts = _counts(folder / "log") if plugin else [None] * len(programs)
        return [
            Emulated(np.fromfile(folder / f"y{i}", "<f4").reshape(shape), counts[i])
            for i, (_, _, shape) in enumerate(programs)
        ]


def _counts(log: Path) -> list[int | None]:
    return [
        int(line.split()[1])
        for line in log.read_text(encoding="utf-8").splitlines()
        if line.startswith("instructions ")
    ]


def program(target: TvmTarget, source: Path) -> Path:
    """A C++ program linked with TVM's runtime for the emulated processor, compiled unless it was before."""
    import tvm_ffi

    from backends.tvm.library import compile_cpp

    libraries = runtime_folder()
    path = libraries / f"{source.stem}-{_digest(source, target.compiler)}"
    if not path.exists():
        include = [f"-I{folder}" for folder in tvm_ffi.libinfo.include_paths()]
        links = [
            f"-L{libraries}",
            "-Wl,--no-as-needed",
            "-ltvm_runtime",
            "-ltvm_ffi",
            f"-Wl,-rpath,{libraries}",
        ]
        compile_cpp(target.compiler, ["-O2", "-std=c++17", *include, str(source), *links], path)
        path.chmod(0o755)
    return path


def _plugin() -> Path | None:
    """The plug-in that counts instructions, compiled for this machine; None if QEMU here takes none."""
    from backends.tvm.library import compile_cpp

    source = SOURCES / "count.c"
    path = runtime_folder() / f"count-{_digest(source, 'gcc')}.so"
    try:
        if not path.exists():
            compile_cpp("gcc", ["-O2", "-shared", "-fPIC", str(source)], path)
    except (OSError, RuntimeError):
        return None
    asked = subprocess.run(
        [QEMU, "-plugin", str(path), "/nonexistent"], capture_output=True, text=True, check=False
    )
    refused = ("plugin support not enabled", "unknown option", "Could not load plugin")
    return None if any(text in asked.stderr for text in refused) else path


def _digest(source: Path, compiler: str) -> str:
    return hashlib.sha256(f"{compiler} {source.read_text(encoding='utf-8')}".encode()).hexdigest()[:16]
