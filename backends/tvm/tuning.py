"""Tuning with TVM's meta-schedule: loops tried out on the device, the best of each operator kept.

One database for each target, which grows: an operator (with what is fused into it) is tuned once, whichever block
or network it comes from, and a later build with more trials goes on where the last stopped. The files are TVM's
own, beside one that says for what they are and one that counts the trials of each operator. Written as trials
come: what ends a tuning loses at most a round.
"""

from __future__ import annotations

import json
import sys
import types
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from backends.base import Network
from backends.tvm.address import Address
from backends.tvm.crew import Beat, Trade
from backends.tvm.errors import refused_by_tvm
from backends.tvm.library import Recipe, lower, tvm_target
from backends.tvm.target import TvmTarget
from compofa.errors import InputError
from compofa.files import parse_json, read_bounded, reading
from compofa.home import home

if TYPE_CHECKING:
    from tvm.ir import IRModule
    from tvm.s_tir.meta_schedule import ExtractedTask

    from backends.tvm.device import Device

TRIALS_AT_ONCE = 16
"""Built, run and written together."""
REPEATS = 5
RUN_MS = 5.0
"""A trial's time is the least of so many, each of at least so long: whatever else the machine does only adds."""
MOST_TRIALS = 10**9
"""Of an operator; more are damage."""


def database_folder(target: TvmTarget, threads: int) -> Path:
    """Where the tuning database of a target is kept: in :func:`compofa.home.home`."""
    return home() / "tvm" / "tuning" / f"{target.name}-{target.digest}-t{threads}"


def check_database(folder: Path, recipe: Recipe) -> None:
    """Begin the database in `folder`, or make sure that it is of this target.

    Raises:
        OSError: it cannot be read or written.
        ValueError: it is of another target, or no database.
    """
    wanted = {**recipe.target.settings(recipe.threads), "digest": recipe.target.digest}
    file = folder / "target.json"
    if not file.exists():
        if folder.exists() and any(folder.iterdir()):
            raise InputError(f"{folder} is no tuning database of hwbench: it lacks target.json")
        folder.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps({**wanted, "id": uuid.uuid4().hex}) + "\n", encoding="utf-8")
    content = read_bounded(file)
    with reading(file, "the target of a tuning database"):
        found = parse_json(content)
        known = [name for name in {**found, **wanted} if name != "id"]
        names = [name for name in known if found.get(name) != wanted.get(name)]
    if names:
        differs = ", ".join(f"{name} {found.get(name)}, not {wanted.get(name)}" for name in names)
        raise InputError(f"the tuning database {folder} is of another target: {differs}")


def read_trials(folder: Path) -> dict[str, int]:
    """Trials that each operator had, by its hash. A torn last line is left out."""
    found: dict[str, int] = {}
    path = folder / "trials.jsonl"
    if not path.exists():
        return {}
    for number, line in enumerate(read_bounded(path).split(b"\n")[:-1], start=1):
        with reading(f"{path}, line {number}", "a tuning database's list of trials"):
            entry = parse_json(line)
            operator, trials = entry["operator"], entry["trials"]
            if not isinstance(operator, str) or type(trials) is not int or not 0 <= trials <= MOST_TRIALS:
                raise InputError("not an operator's hash and a number of trials")
            found[operator] = found.get(operator, 0) + trials
    return found


def _add_trials(folder: Path, operator: str, name: str, trials: int) -> None:
    with (folder / "trials.jsonl").open("a", encoding="utf-8") as file:
        file.write(json.dumps({"operator": operator, "name": name, "trials": trials}) + "\n")


# --- with TVM: in child processes ---


def apply(recipe: Recipe, lowered: IRModule) -> tuple[IRModule, int]:
    """`lowered` with the best loops found so far, and the fewest trials that any of its operators had."""
    import tvm
    from tvm import relax

    folder = recipe.database
    trials = read_trials(folder)
    target = tvm_target(recipe)
    fewest = min((trials.get(operator, 0) for operator in _operators(recipe, lowered)), default=0)
    with target, _open_database(folder), tvm.transform.PassContext(opt_level=3):
        return relax.transform.MetaScheduleApplyDatabase()(lowered), fewest


def _operators(recipe: Recipe, lowered: IRModule) -> dict[str, ExtractedTask]:
    """What can be tuned in `lowered`, by hash."""
    from tvm.s_tir.meta_schedule import relax_integration
    from tvm_ffi import structural_hash

    tasks = relax_integration.extract_tasks(lowered, tvm_target(recipe))
    return {f"{structural_hash(task.dispatched[0]) & (2**64 - 1):016x}": task for task in tasks}


def _open_database(folder: Path) -> Any:
    from tvm.s_tir import meta_schedule

    return meta_schedule.database.JSONDatabase(str(folder / "workloads.json"), str(folder / "records.json"))


@dataclass(frozen=True)
class Tuner(Trade):
    """Tunes all operators of a network.

    Args:
        recipe: with the trials that each operator is to have.
        address: of the device.
        seed: of the candidates.
    """

    recipe: Recipe
    address: Address
    seed: int

    def __str__(self) -> str:
        return "a tuning process"

    @property
    def environment(self) -> dict[str, str]:
        return {"TVM_NUM_THREADS": str(self.recipe.threads), "OMP_NUM_THREADS": "1"}

    def start(self, beat: Beat) -> Callable[[Network], int]:
        from backends.tvm.device import Device

        without_gpu_intrinsics()
        device = (
            Device(self.recipe.target, self.address, self.recipe.threads, beat) if self.address.host else None
        )

        def work(network: Network) -> int:
            return self._tune(network, device, beat)

        return work

    def _tune(self, network: Network, device: Device | None, beat: Beat) -> int:
        """Returns the number of trials that were made."""
        with refused_by_tvm():
            lowered = lower(self.recipe.graph(network), tvm_target(self.recipe))
            operators = _operators(self.recipe, lowered)
        made = 0
        for operator, task in operators.items():
            done = read_trials(self.recipe.database).get(operator, 0)
            while done < self.recipe.trials:
                trials = min(TRIALS_AT_ONCE, self.recipe.trials - done)
                # Noted before: an operator that ends the process must not be tried for ever.
                _add_trials(self.recipe.database, operator, task.task_name, trials)
                self._round(task, trials, self.seed + done, device, beat)
                done += trials
                made += trials
        return made

    def _round(self, task: ExtractedTask, trials: int, seed: int, device: Device | None, beat: Beat) -> None:
        from tvm.s_tir import meta_schedule

        from backends.tvm.trial import make_builder, make_runner

        folder = self.recipe.database
        contexts, weights = meta_schedule.relax_integration.extracted_tasks_to_tune_contexts(
            [task], str(folder), strategy="replay-trace", num_threads=1, seed=seed
        )
        meta_schedule.tune.tune_tasks(
            tasks=contexts,
            task_weights=weights,
            work_dir=str(folder),
            max_trials_global=trials,
            num_trials_per_iter=trials,
            builder=make_builder(self.recipe, device, beat),
            runner=make_runner(device, beat),
            database=_open_database(folder),
            cost_model="random",
            measure_callbacks=[meta_schedule.measure_callback.AddToDatabase()],
            task_scheduler="round-robin",
        )


def without_gpu_intrinsics() -> None:
    """Keep TVM from registering the tensor instructions of GPUs and DSPs, which takes most of a minute and which
    no CPU uses."""
    for name in ("cuda", "rocm", "hexagon", "riscv_cpu"):
        full = f"tvm.s_tir.tensor_intrin.{name}"
        sys.modules.setdefault(full, types.ModuleType(full))
