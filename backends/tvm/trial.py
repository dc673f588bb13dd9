"""How a trial of tuning is built and run: in the tuning process itself, which may crash, or on a board.

TVM's own builders and runners start a process for each trial and load everything anew in it.
"""

from __future__ import annotations

import itertools
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from backends.tvm.crew import Beat
from backends.tvm.library import Recipe
from backends.tvm.tuning import REPEATS, RUN_MS

if TYPE_CHECKING:
    from backends.tvm.device import Device

_BUILT: dict[str, Any] = {}
"""Between builder and runner of this process, which TVM lets exchange names only."""


def make_builder(recipe: Recipe, device: Device | None, beat: Beat) -> Any:
    """A meta-schedule builder: for this machine in memory, for a board a shared library."""
    from tvm.driver import build
    from tvm.ir.utils import derived_object
    from tvm.s_tir.meta_schedule.builder import BuilderResult, PyBuilder
    from tvm.s_tir.transform import RemoveWeightLayoutRewriteBlock

    names, files = map(str, itertools.count()), itertools.count()
    folder = tempfile.TemporaryDirectory()  # it goes with the builder

    def made(module: Any, target: Any) -> Any:
        code = build(RemoveWeightLayoutRewriteBlock(skip_tensor_rewrite=True)(module), target=target)
        if device is None:
            return code
        path = Path(folder.name) / f"{next(files)}.so"
        code.export_library(str(path), cc=recipe.target.compiler)
        return path

    @derived_object
    class Builder(PyBuilder):
        def build(self, build_inputs: list[Any]) -> list[Any]:
            return [self._one(given) for given in build_inputs]

        def _one(self, given: Any) -> Any:
            beat()
            name = next(names)
            try:
                _BUILT[name] = made(given.mod, given.target)
            except Exception as error:
                return BuilderResult(None, str(error))
            return BuilderResult(name, None)

    return Builder()


def _loaded(device: Device, path: Path) -> tuple[Any, Any]:
    """What :meth:`Device.load_function` gives; the file is no longer needed then."""
    try:
        return device.load_function(path)
    finally:
        path.unlink()


def make_runner(device: Device | None, beat: Beat) -> Any:
    """A meta-schedule runner; a trial's time is the least of several."""
    import tvm
    from tvm.ir.utils import derived_object
    from tvm.s_tir.meta_schedule.runner import PyRunner, PyRunnerFuture, RunnerResult

    rng = np.random.default_rng(0)

    def seconds(given: Any) -> float:
        built = _BUILT.pop(given.artifact_path)
        module, cpu = (built, tvm.cpu()) if device is None else _loaded(device, built)
        shapes = [[int(size) for size in info.shape] for info in given.args_info]
        arguments = [tvm.runtime.tensor(rng.random(shape, dtype=np.float32), cpu) for shape in shapes]
        evaluator = module.time_evaluator("main", cpu, number=1, repeat=REPEATS, min_repeat_ms=int(RUN_MS))
        return float(min(evaluator(*arguments).results))

    @derived_object
    class Future(PyRunnerFuture):
        def __init__(self, result: Any) -> None:
            self._result = result

        def done(self) -> bool:
            return True

        def result(self) -> Any:
            return self._result

    @derived_object
    class Runner(PyRunner):
        def run(self, runner_inputs: list[Any]) -> list[Any]:
            return [Future(self._one(given)) for given in runner_inputs]

        def _one(self, given: Any) -> Any:
            beat()
            try:
                return RunnerResult([seconds(given)], None)
            except Exception as error:
                return RunnerResult(None, str(error))

    return Runner()
