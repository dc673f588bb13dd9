"""Every class, method, enum and argument of TensorRT that hwbench uses is there in NVIDIA's own bindings.

All calls are in two files, and a type checker holds the whole of them against the signatures that the bindings
state, so nothing here lists what is used and could be forgotten.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

CALLS = Path(__file__).parents[3] / "backends" / "tensorrt" / "calls.py"
RTX_CALLS = CALLS.with_name("rtx_calls.py")


@pytest.fixture(scope="module")
def types(bindings: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("types")
    bindings.write_type_information(folder)
    return folder


def files_with_errors(sources: dict[str, str], types: Path, folder: Path) -> set[str]:
    """Names of those `sources` in which the type checker finds errors."""
    for name, source in sources.items():
        (folder / f"{name}.py").write_text(source)
    files = [f"{name}.py" for name in sources]
    options = ["--config-file=", f"--cache-dir={types / 'cache'}", "--check-untyped-defs"]
    done = subprocess.run(
        [sys.executable, "-m", "mypy", *options, "--disallow-any-unimported", *files],
        cwd=folder,
        env={**os.environ, "MYPYPATH": os.pathsep.join((str(types), str(CALLS.parents[2])))},
        capture_output=True,
        text=True,
    )
    assert f"checked {len(files)} source file" in done.stdout or done.returncode == 0, (
        done.stdout + done.stderr
    )
    return {line.split(".py:")[0] for line in done.stdout.splitlines() if ": error:" in line} & set(sources)


def sources(bindings: Any) -> dict[str, Path]:
    """The files of calls that these bindings are called from."""
    rtx = "tensorrt_rtx" in bindings.offered_as
    return {"calls": CALLS} | ({"rtx_calls": RTX_CALLS} if rtx else {})


def test_every_call_fits_the_bindings(bindings: Any, types: Path, tmp_path: Path) -> None:
    texts = {name: path.read_text() for name, path in sources(bindings).items()}
    assert files_with_errors(texts, types, tmp_path) == set()


MISUSES = {
    "a method that is not there": ("create_builder_config()", "create_build_config()"),
    "a class that is not there": ("trt.OnnxParser(", "trt.OnnxReader("),
    "an enum that is not there": ("BuilderFlag.TF32", "BuilderFlag.TF33"),
    "a wrong keyword": ("ignore_mismatch=False", "ignore_mismatches=False"),
    "a missing argument": ("parser.get_error(i)", "parser.get_error()"),
    "an argument of another type": ("execute_async_v3(stream)", "execute_async_v3('stream')"),
    "a method of what a method returns": ("cache.serialize()", "cache.to_bytes()"),
    "a method of an error": ("error.desc()", "error.description()"),
    "another result": ("config.set_timing_cache(cache, ignore", "config.set_timing_cache(model, ignore"),
    "an override with other arguments": ("layer_name: str, ms", "layer_name: str, batch: int, ms"),
}


RTX_MISUSES = {
    "an attribute that is not there": ("num_compute_capabilities =", "compute_capabilities ="),
    "an enum without members": ("ComputeCapability.__members__", "ComputeCapability.members"),
    "another context": ("create_execution_context(config)", "create_execution_context(self.cache)"),
    "another cache": ("deserialize(kept)", "deserialize(3)"),
    "a cache that is not made": ("create_runtime_cache()", "make_runtime_cache()"),
}


def test_the_checker_would_see_a_misuse(bindings: Any, types: Path, tmp_path: Path) -> None:
    broken = {}
    for name, path in sources(bindings).items():
        source = path.read_text()
        for misuse, (right, wrong) in (MISUSES if name == "calls" else RTX_MISUSES).items():
            assert right in source, misuse
            broken[misuse.replace(" ", "_")] = source.replace(right, wrong, 1)
    assert files_with_errors(broken, types, tmp_path) == set(broken)


LOADS = """
import sys; sys.path.insert(0, sys.argv[1])
from backends.tensorrt import library
library.use(library.RTX if sys.argv[2] == "rtx" else library.TENSORRT)
from backends.tensorrt import calls
tensorrt = library.load()
m = calls.Messages()
m.log(tensorrt.ILogger.Severity.ERROR, "it  broke")
m.log(tensorrt.ILogger.Severity.INFO, "chatter")
seen = []
monitor = calls.Monitor(lambda *step: seen.append(step))
monitor.phase_start("tactics", "", 4); assert monitor.step_complete("tactics", 0); monitor.phase_finish("tactics")
times = calls.LayerTimes()
times.report_layer_time("conv", 0.5); times.report_layer_time("conv", 0.25)
print(calls.version(), "|", m, "|", seen, "|", times.total_ms)
"""


def test_what_tensorrt_calls_back_can_be_made(bindings: Any) -> None:
    """Our subclasses of its classes, in a process that has loaded the bindings."""
    runtime = "rtx" if "tensorrt_rtx" in bindings.offered_as else "tensorrt"
    done = bindings.run("-c", LOADS, str(CALLS.parents[2]), runtime)
    assert done.returncode == 0, done.stderr
    version, messages, seen, times = (part.strip() for part in done.stdout.split("|"))
    assert version.startswith(bindings.version)
    assert messages == "it broke"
    assert (seen, times) == ("[('tactics', 1, 4)]", "{'conv': 0.75}")
