"""Networks compiled into shared libraries, kept on disk.

A library is named after a hash of everything that decides its code: the graph with its weights, the target, the
version of TVM, the trials of tuning that were asked for and the database that they are looked up in. So it is compiled
once, and a table that is resumed or validated finds it again. The folder is kept below a size: what was used least
recently goes first.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from backends.base import Network
from backends.tvm.errors import refused_by_tvm
from backends.tvm.target import TvmTarget
from compofa.errors import RunFailed
from compofa.graph import network_to_onnx
from compofa.home import home

if TYPE_CHECKING:
    from tvm.ir import IRModule
    from tvm.target import Target

RECIPE = "1"
"""Counts up whenever the same graph is compiled differently, so that old libraries are not taken for new."""
WEIGHTS_SEED = 0
MAX_BYTES = 4_000_000_000
TIMED_SOURCE = Path(__file__).with_name("timed.cc")


@dataclass(frozen=True)
class Recipe:
    """How networks are compiled.

    Args:
        target: for what.
        threads: that a run may use.
        batch: images in a run.
        trials: of tuning for each operator; 0 for TVM's own loops, untuned.
        database: folder of the tuning database; there is one if there are trials.
    """

    target: TvmTarget
    threads: int = 1
    batch: int = 1
    trials: int = 0
    database: Path = Path()

    def graph(self, network: Network) -> bytes:
        """`network` as an ONNX model, its weights always the same."""
        model: bytes = network_to_onnx(network, batch=self.batch, seed=WEIGHTS_SEED).SerializeToString()
        return model

    def key(self, graph: bytes) -> str:
        """Name of the library of an ONNX model."""
        settings = [
            self.target.digest,
            self.target.settings(self.threads),
            self.trials,
            tvm_version(),
            RECIPE,
        ]
        if self.trials and (database := database_id(self.database)):
            settings.append(database)
        return hashlib.sha256(json.dumps(settings).encode() + graph).hexdigest()[:32]


def database_id(folder: Path) -> str:
    """What tells a tuning database from any other; empty for those that version 0.1.0 began."""
    try:
        return str(json.loads((folder / "target.json").read_text(encoding="utf-8")).get("id", ""))
    except (OSError, ValueError, AttributeError):  # whoever tunes is told
        return ""


@dataclass(frozen=True)
class Library:
    """A compiled network.

    Args:
        path: of the shared library.
        trials: the fewest that any of its operators was tuned with; 0 if one was not.
    """

    path: Path
    trials: int


def tvm_version() -> str:
    """The installed version."""
    return version("apache-tvm")


def libraries_folder() -> Path:
    """Where libraries are kept: in :func:`compofa.home.home`."""
    return home() / "tvm" / "libraries"


def find(recipe: Recipe, network: Network) -> Library | None:
    """The library of `network`, if it was compiled before."""
    path = libraries_folder() / f"{recipe.key(recipe.graph(network))}.so"
    try:
        trials = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))["trials"]
        os.utime(path)
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return Library(path, trials)


def prune(folder: Path, max_bytes: int = MAX_BYTES) -> None:
    """Delete the libraries in `folder` that were used least recently, until it is below `max_bytes`."""
    found: list[tuple[int, int, Path]] = []
    for path in folder.glob("*.so"):
        with contextlib.suppress(FileNotFoundError):  # another process prunes, too
            state = path.stat()
            found.append((state.st_mtime_ns, state.st_size, path))
    excess = sum(size for _, size, _ in found) - max_bytes
    for _, size, path in sorted(found):
        if excess <= 0:
            break
        for part in (path, path.with_suffix(".json")):
            part.unlink(missing_ok=True)
        excess -= size


# --- with TVM: in child processes ---


def library(recipe: Recipe, network: Network) -> Library:
    """The library of `network`, compiled unless it was before.

    Raises:
        CannotRun: TVM cannot compile it.
        ValueError: the C++ compiler for the target is not there.
        RuntimeError: it cannot be linked.
    """
    if there := find(recipe, network):
        return there
    import tvm

    from backends.tvm import tuning

    graph = recipe.graph(network)
    target = tvm_target(recipe)
    with refused_by_tvm(), target:
        lowered = lower(graph, target)
        tuned, trials = tuning.apply(recipe, lowered) if recipe.trials else (lowered, 0)
        built = tvm.compile(tuned, target=target, relax_pipeline=tvm.relax.get_default_pipeline(target))
    path = libraries_folder() / f"{recipe.key(graph)}.so"
    _export(built, path, recipe.target)
    _write(path.with_suffix(".json"), json.dumps({"trials": trials, "network": [str(b) for b in network]}))
    return Library(path, trials)


def tvm_target(recipe: Recipe) -> Target:
    """What TVM's compiler is asked for."""
    import tvm

    return tvm.target.Target(recipe.target.settings(recipe.threads))


def lower(graph: bytes, target: Target) -> IRModule:
    """An ONNX model as a Relax module of fused loops, one function for each operator with what was fused into
    it: what tuning works on."""
    import onnx
    import tvm
    from tvm import relax
    from tvm.relax.frontend.onnx import from_onnx

    module = from_onnx(onnx.load_from_string(graph), keep_params_in_input=False)
    passes = tvm.transform.Sequential(
        [
            relax.transform.LegalizeOps(),
            relax.transform.AnnotateTIROpPattern(),
            relax.transform.FoldConstant(),
            relax.transform.FuseOps(),
            relax.transform.FuseTIR(),
        ]
    )
    with target:
        return passes(module)


def _export(built: Any, path: Path, target: TvmTarget) -> None:
    target.check_compiler()
    path.parent.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(dir=path.parent))
    try:
        built.export_library(str(folder / "a.so"), cc=target.compiler)
        os.replace(folder / "a.so", path)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _write(path: Path, text: str) -> None:
    """At once: a reader sees all of it or nothing."""
    handle, name = tempfile.mkstemp(dir=path.parent)
    with os.fdopen(handle, "w") as file:
        file.write(text)
    os.replace(name, path)


def timed_library(target: TvmTarget) -> Path:
    """The library with the function that times a network on the device, compiled unless it was before.

    Raises:
        ValueError: the compiler for the target is not there.
        RuntimeError: it cannot be compiled.
    """
    import tvm_ffi

    target.check_compiler()
    include = [f"-I{folder}" for folder in tvm_ffi.libinfo.include_paths()]
    options = ["-O2", "-std=c++17", "-shared", "-fPIC", *include]
    content = [
        TIMED_SOURCE.read_text(encoding="utf-8"),
        target.triple,
        target.compiler,
        version("apache-tvm-ffi"),
        *options,
    ]
    name = hashlib.sha256(repr(content).encode()).hexdigest()[:32]
    path = libraries_folder() / f"timed-{name}.so"
    if not path.exists():
        compile_cpp(target.compiler, [*options, str(TIMED_SOURCE)], path)
    return path


def compile_cpp(compiler: str, arguments: Sequence[str], path: Path) -> None:
    """Run a C++ compiler to make the file at `path`, at once.

    Raises:
        OSError: it is not there.
        RuntimeError: it failed; says what it said first.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent)
    os.close(handle)
    try:
        done = subprocess.run([compiler, *arguments, "-o", name], capture_output=True, text=True, check=False)
        if done.returncode:
            first = next((line for line in done.stderr.splitlines() if "error" in line), done.stderr.strip())
            raise RunFailed(f"{compiler} failed: {first}")
        os.replace(name, path)
    finally:
        Path(name).unlink(missing_ok=True)
