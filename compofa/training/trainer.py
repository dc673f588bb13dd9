"""Training a supernet by the stages of a recipe.

Every step draws its images, their augmentation, the resolution and the subnets from the seed, the stage
and the step alone (:mod:`compofa.training.schedule`), so that a run resumed from its checkpoint ends where an
uninterrupted one does. Under torchrun each process takes its share of every batch, and gradients are those of the whole
batch: all draw the same but for dropout, and BN normalises by each process's own share unless the recipe says
otherwise.
"""

from __future__ import annotations

import math
import time
import zlib
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch

from compofa.checkpoint import save_supernet
from compofa.data import ImageData, Pixels
from compofa.errors import InputError, RunFailed
from compofa.recipe import Recipe
from compofa.spaces.registry import get_family
from compofa.training.average import WeightAverage
from compofa.training.clock import StepClock
from compofa.training.feed import Feed
from compofa.training.norms import synchronise
from compofa.training.recorder import Entry, Recorder
from compofa.training.run_identity import check_same_run, provenance, run_identity
from compofa.training.schedule import Schedule, StepDraw, stage_steps
from compofa.training.state import Cost, Progress, State, kept
from compofa.training.step import Stepper, make_optimizer
from compofa.training.teacher import start
from compofa.world import World

SUPERNET_FILE = "supernet.safetensors"
LOG_EVERY = 20
"""Steps between two lines of the log."""

Fed = tuple[StepDraw, Pixels]


class Trainer:
    """One run of a recipe in a folder, resumable.

    Args:
        recipe: what to do.
        data: training images.
        out: folder for checkpoint, log and result; a checkpoint found there is resumed.
        teacher: a supernet file whose largest subnet is start and teacher; None starts from scratch.
        device: torch device.
        amp: ``bf16`` or ``fp16`` computes in that where torch deems it safe; None in float32.
        checkpoint_every_s: seconds between checkpoints.
        world: the processes that train together; those that torchrun started unless given.
        micro_batch: most images that go through a network at once, to save memory.
        data_workers: processes that read images (:func:`compofa.data.loading.load`).

    Raises:
        InputError: the recipe distils and there is no teacher; the teacher is of another family or of other classes;
            the checkpoint in `out` is of another run, or damaged; there are too few images for so many processes.
    """

    def __init__(
        self,
        recipe: Recipe,
        data: ImageData,
        out: Path,
        teacher: Path | None = None,
        device: str = "cpu",
        amp: str | None = None,
        checkpoint_every_s: float = 60.0,
        world: World | None = None,
        micro_batch: int | None = None,
        data_workers: int | None = None,
    ) -> None:
        self.recipe, self.data, self.out = recipe, data, out
        self.amp, self.micro_batch, self.data_workers = amp, micro_batch, data_workers
        self.checkpoint_every_s = checkpoint_every_s
        self.world = world or World.joined()
        family = replace(get_family(recipe.family), classes=data.classes)
        self.schedule = Schedule(recipe, family, len(data))
        torch.manual_seed(recipe.seed)
        begun = start(recipe, family, data, teacher)
        self._check_batch()
        self.teacher_sha256 = begun.teacher_sha256
        begun.supernet.set_dropout(recipe.dropout)
        layout = {"device": torch.device(device), "memory_format": torch.channels_last}
        self.supernet = begun.supernet.to(**layout)  # type: ignore[call-overload]
        taught_by = begun.teacher.to(**layout) if begun.teacher else None  # type: ignore[call-overload]
        for network in filter(None, (self.supernet, taught_by)):
            if recipe.sync_bn:
                synchronise(network, self.world)
        self.stepper = Stepper(self.supernet, taught_by, recipe, data, amp, self.world, micro_batch)
        self.progress, self.cost = Progress(), Cost()
        self.optimizer: torch.optim.SGD | None = None
        self.average: WeightAverage | None = None
        if state := State.load(out):
            self._resume(state)

    def _check_batch(self) -> None:
        batch, size = min(self.recipe.batch_size, len(self.data)), self.world.size
        if batch < 2 * size:  # batch norm needs two
            raise InputError(f"a batch of {batch} images is too small for {size} processes: each needs two")
        if self.micro_batch == 1:
            raise InputError("a micro-batch of one image is too small: batch norm needs two")

    # --- checkpoints ---

    def _identity(self) -> dict[str, Any]:
        return run_identity(
            self.recipe, self.data, self.teacher_sha256, self.amp, self.world.size, self.micro_batch
        )

    def _resume(self, state: State) -> None:
        check_same_run(state.identity, self._identity(), self.out)
        try:
            self.supernet.load_state_dict(state.supernet)
            if state.optimizer is not None:
                self._begin_stage()
                assert self.optimizer
                self.optimizer.load_state_dict(state.optimizer)
            if self.average and state.average:
                self.average.load(state.average)
            if state.scaler:
                self.stepper.scaler.load_state_dict(state.scaler)
        except (RuntimeError, ValueError, KeyError, TypeError) as error:
            reason = " ".join(str(error).split())[:200]
            raise InputError(f"the checkpoint in {self.out} does not fit: {reason}") from error
        self.progress, self.cost = state.progress, state.cost

    def save(self) -> None:
        """Write the checkpoint that a later run in the same folder resumes. Only to be called between steps.

        Raises:
            RunFailed: a weight is not finite: the checkpoint of before stays.
            OSError: it cannot be written; the one before stays.
        """
        if self.world.rank == 0:
            state = State(
                self._identity(),
                self.supernet.state_dict(),
                self.optimizer.state_dict() if self.optimizer else None,
                self.progress,
                self.cost,
                self.average.state if self.average else None,
                self.stepper.scaler.state_dict() or None,
            )
            self.out.mkdir(parents=True, exist_ok=True)
            state.save(self.out)

    # --- the loop ---

    def total_steps(self) -> int:
        """Steps of the whole recipe."""
        return self.schedule.steps()

    def steps_done(self) -> int:
        """Steps that a resumed run need not take again."""
        return self.schedule.steps(self.progress.stage) + self.progress.step

    def run(
        self,
        on_step: Callable[[Entry], None] = lambda entry: None,
        stop: Callable[[], bool] = lambda: False,
        validate: Callable[[Trainer], Entry] = lambda trainer: {},
        validate_every: int = 0,
        on_log: Callable[[Entry], None] = lambda entry: None,
    ) -> Path | None:
        """Train to the end; returns the supernet's file, or None if it was stopped before.

        Args:
            on_step: called after each step with the entry that every LOG_EVERY-th step logs.
            stop: asked after each step, in every process. Once one says yes, all stop, and the checkpoint is saved.
            validate: in process 0; what it returns is logged. It may change nothing.
            validate_every: steps between two calls of it; 0 never calls it.
            on_log: called in process 0 with each entry of the log.

        Raises:
            InputError: too many images cannot be read.
            RunFailed: the loss or a weight is not finite; the last good checkpoint stays.
            FileBusy: another process trains in the same folder.
            OSError: the folder cannot be written.
        """
        self._agree()
        self.out.mkdir(parents=True, exist_ok=True)
        recorder = Recorder(self.out, self.cost.images, on_log) if self.world.rank == 0 else None

        def after(entry: Entry, due: bool) -> None:
            on_step(entry)
            if recorder and due:
                recorder.write(entry)
            if recorder and validate_every and self.steps_done() % validate_every == 0:
                recorder.write_validated(entry, validate(self))

        try:
            return self._run_stages(after, stop)
        finally:
            if recorder:
                recorder.close()

    def _agree(self) -> None:
        """Raise RunFailed unless all processes begin with the same weights at the same step."""
        checksum = 0
        for value in self.supernet.state_dict().values():
            checksum = zlib.crc32(value.cpu().contiguous().numpy().tobytes(), checksum)
        mine = (self.progress, checksum)
        if self.world.any(mine != self.world.from_first(mine), self.stepper.device):
            raise RunFailed(
                f"processes begin from different checkpoints: {self.out} must be the same folder for all of them"
            )

    def _run_stages(self, after: Callable[[Entry, bool], None], stop: Callable[[], bool]) -> Path | None:
        path = self.out / SUPERNET_FILE
        if self.progress.stage == len(self.recipe.stages) and path.exists():
            return path  # written anew its bytes may be others, and accuracies that were measured another supernet's
        for number, stage in enumerate(self.recipe.stages):
            if number < self.progress.stage:
                continue
            if self.optimizer is None:
                if stage.sort_hidden:
                    self.supernet.sort_hidden(stage.keep_expands)
                self._begin_stage()
            if not self._run_stage(number, after, stop):
                return None
            if self.average and number == len(self.recipe.stages) - 1:
                self.supernet.load_state_dict(self.average.state)
            self.optimizer = self.average = None
            self.progress = Progress(number + 1, 0)
            self.save()
        if self.world.rank == 0:
            made = provenance(self.recipe, self.data, self.teacher_sha256, self.amp, self.world.size)
            save_supernet(self.supernet, path, {**made, "cost": asdict(self.cost)})
        return path

    def _begin_stage(self) -> None:
        self.optimizer = make_optimizer(self.supernet, self.recipe)
        self.average = WeightAverage(self.supernet, self.recipe.ema) if self.recipe.ema else None

    def _run_stage(self, number: int, after: Callable[[Entry, bool], None], stop: Callable[[], bool]) -> bool:
        """Take the steps of a stage that are left; returns whether it came to its end."""
        stage = self.recipe.stages[number]
        steps, _ = stage_steps(self.recipe, stage, len(self.data))
        saved = time.monotonic()
        clock = StepClock(self.cost)
        feed = Feed(self.schedule, self.data, self.cost, self.world, self.data_workers, self.stepper.device)
        for draw, pixels in self._saving_on_error(feed.steps(number, self.progress.step)):
            clock.fed()
            lr = self.schedule.lr(number, draw.step)
            loss, stopped = self._totals(self.stepper.gradients(draw, pixels), stop())
            if not math.isfinite(loss):
                raise RunFailed(
                    f"training diverged: the loss is {loss} at step {draw.step} of stage {stage.name}; {kept(self.out)}"
                )
            self._update(lr)
            self._count(draw)
            clock.end()
            self.progress.step = draw.step + 1
            entry = {"stage": stage.name, "step": draw.step, "lr": lr, "loss": loss, **asdict(self.cost)}
            after(entry, draw.step % LOG_EVERY == 0 or draw.step == steps - 1)
            if stopped or time.monotonic() - saved > self.checkpoint_every_s:
                self.save()
                saved = time.monotonic()
            if stopped:
                return False
            clock.begin()
        return True

    def _saving_on_error(self, steps: Iterator[Fed]) -> Iterator[Fed]:
        """Where images cannot be had, nothing of that step is done yet: what is done before is kept."""
        try:
            yield from steps
        except InputError:
            self.save()
            raise

    def _totals(self, loss: float, stop: bool) -> tuple[float, bool]:
        """The loss of all processes, and whether one of them was told to stop."""
        totals = torch.tensor([loss, float(stop)], dtype=torch.float64, device=self.stepper.device)
        self.world.sum(totals)
        return float(totals[0]), bool(totals[1])

    def _update(self, lr: float) -> None:
        assert self.optimizer
        self.stepper.update(self.optimizer, lr)
        if self.average:
            self.average.update(self.supernet)

    def _count(self, draw: StepDraw) -> None:
        images = len(draw.indices)
        self.cost.images += images
        self.cost.subnet_passes += images * len(draw.archs)
        taught = self.stepper.teacher is not None and not self.recipe.stages[draw.number].sandwich
        self.cost.teacher_passes += images if taught else 0
