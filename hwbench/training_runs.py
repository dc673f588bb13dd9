"""Training as it is asked for: a recipe in, a supernet file out. Under torchrun each process calls it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from compofa.stopping import deferred
from hwbench.extras import need
from hwbench.torchrun import joined

if TYPE_CHECKING:
    from compofa.recipe import Recipe
    from compofa.training.plan import Plan
    from compofa.training.state import Cost
    from compofa.training.trainer import Trainer

Entry = dict[str, Any]
Told = Callable[[Entry], None]
Progress = Callable[[str, int, int], AbstractContextManager[Told]]
"""Called with what is trained, all steps and those that an earlier run took; gives what is called with each step's
entry."""


@contextmanager
def no_progress(label: str, total: int, done: int) -> Iterator[Told]:
    """Nobody looks."""
    yield ignore


def ignore(entry: Entry) -> None:
    """Nobody listens."""


@dataclass(frozen=True)
class Trained:
    """A supernet and what its training took.

    Args:
        path: the supernet's file.
        recipe: the recipe's name.
        steps: of all stages.
        cost: measured, interruptions left out.
    """

    path: Path
    recipe: str
    steps: int
    cost: Cost

    @property
    def summary(self) -> dict[str, Any]:
        """JSON-ready."""
        return {"supernet": str(self.path), "recipe": self.recipe, "steps": self.steps, **vars(self.cost)}


def train(
    recipe: Recipe | str,
    *,
    out: str | Path,
    teacher: str | Path | None = None,
    data: str | None = None,
    epoch_scale: float | None = None,
    seed: int | None = None,
    device: str = "cpu",
    validate_every: int = 0,
    tensorboard: bool = False,
    progress: Progress = no_progress,
    stop: Callable[[], bool] = lambda: False,
    **options: Any,
) -> Trained:
    """Train a supernet, or go on with it.

    >>> import hwbench, tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     trained = hwbench.train("digits-teacher", out=f"{folder}/run", epoch_scale=0.002)
    >>> trained.recipe, trained.steps > 0
    ('digits-teacher', True)

    Args:
        recipe: a shipped recipe's name, a TOML file's, or a recipe.
        out: folder of checkpoint, log and supernet; the checkpoint of the same run found there is resumed.
        teacher: supernet file to start and distil from.
        data, epoch_scale, seed: instead of the recipe's.
        device: torch device; with ``cuda`` each process that torchrun started takes one of its own.
        validate_every: steps between two measurements of a small and a large subnet for the log; 0 for none.
        tensorboard: log for TensorBoard, too.
        progress: shows it.
        stop: asked after each step whether to end there, as a signal does.
        options: of :class:`compofa.training.trainer.Trainer`.

    Raises:
        InputError: the recipe, the data or the teacher does not fit, or `out` holds another run.
        RunFailed: the loss is not finite, a process was lost, or another one trains in the same folder.
        Unavailable: torch cannot use the device, or a library is missing.
        KeyboardInterrupt: it was told to stop, and did between two steps; there is a checkpoint.
        OSError: a file cannot be read or written.
    """
    need("torch", "training")
    from compofa.data import load_data
    from compofa.training.trainer import Trainer

    asked = open_recipe(recipe, data=data, epoch_scale=epoch_scale, seed=seed)
    source = Path(teacher) if teacher else None
    with joined(device) as mine:
        trainer = Trainer(asked, load_data(asked.data, "train"), Path(out), source, device=mine, **options)
        validate = _validator(trainer, validate_every)
        with _tensorboard(trainer, tensorboard) as on_log:
            path = train_to_the_end(trainer, progress, stop, validate, validate_every, on_log)
    return Trained(path, asked.name, trainer.total_steps(), trainer.cost)


def plan_training(
    recipe: Recipe | str,
    *,
    out: Path,
    teacher: Path | None = None,
    data: str | None = None,
    epoch_scale: float | None = None,
    seed: int | None = None,
    device: str = "cpu",
    **options: Any,
) -> Plan:
    """What :func:`train` would take, predicted by some steps that are measured; see there. Nothing is written."""
    need("torch", "training")
    from compofa.data import load_data
    from compofa.training.plan import plan
    from compofa.training.trainer import Trainer

    asked = open_recipe(recipe, data=data, epoch_scale=epoch_scale, seed=seed)
    with joined(device) as mine:
        return plan(Trainer(asked, load_data(asked.data, "train"), out, teacher, device=mine, **options))


def open_recipe(
    recipe: Recipe | str,
    *,
    data: str | None = None,
    epoch_scale: float | None = None,
    seed: int | None = None,
) -> Recipe:
    """A recipe by name, with what is given changed.

    Raises:
        InputError: there is none, or it is none.
        OSError: it cannot be read.
    """
    from compofa.recipe import Recipe

    changes: dict[str, Any] = {"data": data, "epoch_scale": epoch_scale, "seed": seed}
    found = Recipe.load(recipe) if isinstance(recipe, str) else recipe
    return replace(found, **{name: value for name, value in changes.items() if value is not None})


def train_to_the_end(
    trainer: Trainer,
    progress: Progress = no_progress,
    stop: Callable[[], bool] = lambda: False,
    validate: Callable[[Trainer], Entry] = lambda trainer: {},
    validate_every: int = 0,
    on_log: Told = ignore,
) -> Path:
    """Train, or until a signal says stop: then the step that is being taken is finished first. See
    :meth:`compofa.training.trainer.Trainer.run`.

    Raises:
        KeyboardInterrupt: it was told to stop; there is a checkpoint.
    """
    shown = no_progress if trainer.world.rank else progress
    path = None
    try:
        with (
            deferred("stopping at the end of a step, with a checkpoint") as told,
            shown(f"training {trainer.recipe.name}", trainer.total_steps(), trainer.steps_done()) as advance,
        ):
            path = trainer.run(advance, lambda: told() or stop(), validate, validate_every, on_log)
    except KeyboardInterrupt:
        pass  # whether it came in time is said by what there is
    if path is None:
        raise KeyboardInterrupt(f"{trainer.out} holds a checkpoint; the same command goes on from there")
    return path


def _validator(trainer: Trainer, every: int) -> Callable[[Trainer], Entry]:
    if not every or trainer.world.rank:
        return lambda trainer: {}
    from compofa.data import load_data
    from compofa.training.validation import Validator

    data = trainer.data
    return Validator(load_data(trainer.recipe.data, "test", data.class_names, data.normalisation))


@contextmanager
def _tensorboard(trainer: Trainer, wanted: bool) -> Iterator[Told]:
    if not wanted or trainer.world.rank:
        yield ignore
        return
    from hwbench.curves import TensorBoard

    with TensorBoard(trainer.out / "tensorboard") as board:
        yield board.write
