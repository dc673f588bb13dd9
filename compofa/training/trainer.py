"""Training a supernet by the stages of a recipe.

Every step draws its images, their augmentation, the resolution and the subnets from the seed, the stage
and the step alone, so that a run resumed from its checkpoint ends where an uninterrupted one does.
Under torchrun each process takes its share of every batch, and gradients are those of the whole batch: all draw
the same but for dropout, and BN normalises by each process's own share.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from compofa.checkpoint import open_supernet, save_supernet
from compofa.data import ImageData, absolute_name, class_differences
from compofa.errors import InputError, RunFailed
from compofa.identity import hash_names
from compofa.recipe import Recipe, Stage
from compofa.spaces.arch import Arch, extreme
from compofa.spaces.registry import get_family
from compofa.supernet import Supernet
from compofa.training.state import Cost, Log, Progress, State, identity_differences, kept
from compofa.training.world import World

SUPERNET_FILE = "supernet.safetensors"
LOG_EVERY = 20
"""Steps between two lines of the log."""


def stage_steps(recipe: Recipe, stage: Stage, images: int) -> tuple[int, int]:
    """(steps, warm-up steps) of a stage, on a data set of `images` images."""
    per_epoch = (recipe.images_per_epoch or images) / recipe.batch_size * recipe.epoch_scale
    return max(1, round(stage.epochs * per_epoch)), round(stage.warmup_epochs * per_epoch)


def learning_rate(peak: float, step: int, steps: int, warmup: int) -> float:
    """Linear warm-up from zero, then half a cosine to zero."""
    if step < warmup:
        return peak * (step + 1) / warmup
    return 0.5 * peak * (1 + math.cos(math.pi * (step - warmup) / max(1, steps - warmup)))


def soft_cross_entropy(logits: Tensor, teacher_logits: Tensor) -> Tensor:
    """Mean cross-entropy with the teacher's probabilities; both (n, classes)."""
    return -(F.softmax(teacher_logits, 1) * F.log_softmax(logits, 1)).sum(1).mean()


def normalise_by_batch(network: nn.Module) -> None:
    """Evaluation mode, but for BN, which goes by each batch's own statistics.

    The running ones are a mix over all resolutions and fit none: with them the glyphs teacher is right on
    14 % of the test images at 16 px, with the batch's on 60 %.
    """
    network.eval()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.train()


class Trainer:
    """One run of a recipe in a folder, resumable.

    Args:
        recipe: what to do.
        data: training images.
        out: folder for checkpoint, log and result; a checkpoint found there is resumed.
        teacher: a supernet file whose largest subnet is start and teacher; None starts from scratch.
        device: torch device.
        amp: ``bf16`` computes in bfloat16 where torch deems it safe; None in float32.
        checkpoint_every_s: seconds between checkpoints.
        world: the processes that train together; those that torchrun started unless given.

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
    ) -> None:
        if recipe.distill > 0 and teacher is None:
            raise InputError(f"recipe {recipe.name} distils from a teacher: give one with --teacher FILE")
        self.recipe, self.data, self.out = recipe, data, out
        self.device, self.amp = torch.device(device), amp
        self.checkpoint_every_s = checkpoint_every_s
        self.world = world or World.joined()
        self._check_batch()
        self.family = replace(get_family(recipe.family), classes=data.classes)
        torch.manual_seed(recipe.seed)
        self.teacher: nn.Module | None = None
        self.teacher_sha256: str | None = None
        supernet = self._load_teacher(teacher) if teacher else Supernet(self.family, recipe.kernel_transform)
        supernet.set_dropout(recipe.dropout)
        self.supernet = supernet.to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.progress, self.cost = Progress(), Cost()
        self.optimizer: torch.optim.SGD | None = None
        out.mkdir(parents=True, exist_ok=True)
        if state := State.load(out):
            self._resume(state)

    def _check_batch(self) -> None:
        batch, size = min(self.recipe.batch_size, len(self.data)), self.world.size
        if batch < 2 * size:  # batch norm needs two
            raise InputError(f"a batch of {batch} images is too small for {size} processes: each needs two")

    def _load_teacher(self, path: Path) -> Supernet:
        supernet, identity = open_supernet(path, self.recipe.family, self.recipe.kernel_transform)
        if identity.classes != self.family.classes:
            raise InputError(
                f"{path} tells {identity.classes} classes apart, {self.recipe.data} has {self.family.classes}"
            )
        if identity.class_names not in (None, self.data.class_names):
            words = class_differences(identity.class_names or (), self.data.class_names)
            raise InputError(f"{self.recipe.data} {words}: {path} tells other classes apart")
        self.teacher_sha256 = identity.sha256
        if self.recipe.distill > 0:
            static = supernet.extract(extreme(self.family, largest=True)).requires_grad_(False)
            normalise_by_batch(static)
            self.teacher = static.to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        return supernet

    # --- checkpoints ---

    def _identity(self) -> dict[str, Any]:
        """What decides the result, but for the machine. Where the images lie does not."""
        recipe = {name: value for name, value in asdict(self.recipe).items() if name != "data"}
        return {
            "recipe": recipe,
            "data": self.data.identity,
            "class names": hash_names(self.data.class_names)[:16],
            "teacher": self.teacher_sha256 and self.teacher_sha256[:16],
            "precision": self.amp or "fp32",
            "processes": self.world.size,
        }

    def _resume(self, state: State) -> None:
        if words := identity_differences(state.identity, self._identity()):
            more = f" and {len(words) - 4} more" if len(words) > 4 else ""
            raise InputError(
                f"{self.out} holds another run ({'; '.join(words[:4])}{more}): choose another --out, or empty it"
            )
        try:
            self.supernet.load_state_dict(state.supernet)
            if state.optimizer is not None:
                self.optimizer = self._make_optimizer()
                self.optimizer.load_state_dict(state.optimizer)
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
            optimizer = self.optimizer.state_dict() if self.optimizer else None
            state = State(self._identity(), self.supernet.state_dict(), optimizer, self.progress, self.cost)
            state.save(self.out)

    # --- the loop ---

    def total_steps(self) -> int:
        """Steps of the whole recipe."""
        return self._steps(self.recipe.stages)

    def steps_done(self) -> int:
        """Steps that a resumed run need not take again."""
        before = self.recipe.stages[: self.progress.stage]
        return self._steps(before) + self.progress.step

    def _steps(self, stages: Sequence[Stage]) -> int:
        return sum(stage_steps(self.recipe, stage, len(self.data))[0] for stage in stages)

    def run(
        self,
        on_step: Callable[[dict[str, Any]], None] = lambda entry: None,
        stop: Callable[[], bool] = lambda: False,
    ) -> Path | None:
        """Train to the end; returns the supernet's file, or None if it was stopped before.

        Args:
            on_step: called after each step with the entry that every LOG_EVERY-th step logs.
            stop: asked after each step, in every process. Once one says yes, all stop, and the checkpoint is saved.

        Raises:
            RunFailed: the loss or a weight is not finite; the last good checkpoint stays.
            FileBusy: another process trains in the same folder.
            OSError: the folder cannot be written.
        """
        if self.world.rank:
            return self._run_stages(on_step, stop, None)
        with Log(self.out, self.cost.images) as log:
            return self._run_stages(on_step, stop, log)

    def _run_stages(
        self, on_step: Callable[[dict[str, Any]], None], stop: Callable[[], bool], log: Log | None
    ) -> Path | None:
        for number, stage in enumerate(self.recipe.stages):
            if number < self.progress.stage:
                continue
            if self.optimizer is None:
                if stage.sort_hidden:
                    self.supernet.sort_hidden(stage.keep_expands)
                self.optimizer = self._make_optimizer()
            if not self._run_stage(number, stage, on_step, stop, log):
                return None
            self.optimizer = None
            self.progress = Progress(number + 1, 0)
            self.save()
        path = self.out / SUPERNET_FILE
        if self.world.rank == 0:
            save_supernet(self.supernet, path, self._provenance())
        return path

    def _provenance(self) -> dict[str, Any]:
        return {
            "recipe": asdict(self.recipe),
            "data": self.data.name,
            "data_source": absolute_name(self.recipe.data),
            "class_names": list(self.data.class_names),
            "teacher_sha256": self.teacher_sha256,
            "precision": self.amp or "fp32",
            "processes": self.world.size,
            "cost": asdict(self.cost),
        }

    def _run_stage(
        self,
        number: int,
        stage: Stage,
        on_step: Callable[[dict[str, Any]], None],
        stop: Callable[[], bool],
        log: Log | None,
    ) -> bool:
        """Take the steps of a stage that are left; returns whether it came to its end."""
        steps, warmup = stage_steps(self.recipe, stage, len(self.data))
        peak = stage.base_lr * self.recipe.batch_size / stage.lr_images
        wall, cpu, saved = time.monotonic(), time.process_time(), time.monotonic()
        for step in range(self.progress.step, steps):
            lr = learning_rate(peak, step, steps, warmup)
            loss, stopped = self._totals(self._gradients(number, stage, step), stop())
            if not math.isfinite(loss):
                raise RunFailed(
                    f"training diverged: the loss is {loss} at step {step} of stage {stage.name}; {kept(self.out)}"
                )
            self._update(lr)
            now, used = time.monotonic(), time.process_time()
            self.cost.wall_s += now - wall
            self.cost.cpu_s += used - cpu
            wall, cpu = now, used
            self.progress.step = step + 1
            entry = {"stage": stage.name, "step": step, "lr": lr, "loss": loss, **asdict(self.cost)}
            on_step(entry)
            if log and (step % LOG_EVERY == 0 or step == steps - 1):
                log.write(entry)
            if stopped or now - saved > self.checkpoint_every_s:
                self.save()
                saved = time.monotonic()
            if stopped:
                return False
        return True

    def _totals(self, loss: float, stop: bool) -> tuple[float, bool]:
        """The loss of all processes, and whether one of them was told to stop."""
        totals = torch.tensor([loss, float(stop)], dtype=torch.float64, device=self.device)
        self.world.sum(totals)
        return float(totals[0]), bool(totals[1])

    # --- one step ---

    def _gradients(self, number: int, stage: Stage, step: int) -> float:
        """Compute this process's part of the gradients; returns its part of the mean loss over the subnets."""
        rng = np.random.default_rng([self.recipe.seed, number, step])
        resolution = int(rng.choice(self.family.resolutions))
        space = stage.subspace(self.family)
        archs = [space.sample(rng, resolution) for _ in range(stage.subnets_per_step)]
        torch.manual_seed(int(rng.integers(2**62)) + self.world.rank)
        indices = self._indices(self._steps(self.recipe.stages[:number]) + step)
        try:
            x, y = self.data.batch(indices, resolution, rng, self.world.share)
        except InputError:  # a broken image, and nothing of this step is done yet
            self.save()
            raise
        x, y = x.to(self.device), y.to(self.device)
        share = len(y) / len(indices)
        self.supernet.train()
        for parameter in self.supernet.parameters():
            # zeros, not None: what no subnet of this step uses still decays and keeps its momentum, as in
            # the papers, and a resumed run does the same as an uninterrupted one
            parameter.grad = torch.zeros_like(parameter)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.amp == "bf16"):
            with torch.no_grad():
                target = self.teacher(x) if self.teacher else None
            losses = [self._backward(x, y, target, arch, share) for arch in archs]
        self.cost.images += len(indices)
        self.cost.subnet_passes += len(indices) * len(archs)
        self.cost.teacher_passes += len(indices) if self.teacher else 0
        return sum(losses) / len(losses)

    def _backward(self, x: Tensor, y: Tensor, target: Tensor | None, arch: Arch, share: float) -> float:
        logits = self.supernet(x, arch)
        loss = F.cross_entropy(logits, y, label_smoothing=self.recipe.label_smoothing)
        if target is not None:
            loss = loss + self.recipe.distill * soft_cross_entropy(logits, target)
        # the mean over the whole batch is the sum of the processes' means, weighted by their shares of it
        loss = share * loss
        loss.backward()
        return loss.item()

    def _indices(self, global_step: int) -> np.ndarray:
        """The whole batch: a fresh permutation of the data set each time it is used up."""
        batch = self.recipe.batch_size
        per_permutation = max(1, len(self.data) // batch)
        order = np.random.default_rng([self.recipe.seed, global_step // per_permutation])
        start = global_step % per_permutation * batch
        return order.permutation(len(self.data))[start : start + batch]

    def _update(self, lr: float) -> None:
        """Step the optimizer by the gradients of all processes."""
        assert self.optimizer
        self._sum_gradients()
        for group in self.optimizer.param_groups:
            group["lr"] = lr
        self.optimizer.step()

    def _sum_gradients(self) -> None:
        if self.world.size == 1:
            return
        gradients = [p.grad for p in self.supernet.parameters() if p.grad is not None]
        flat = torch.cat([g.flatten() for g in gradients])
        self.world.sum(flat)
        for gradient, part in zip(gradients, flat.split([g.numel() for g in gradients]), strict=True):
            gradient.copy_(part.view_as(gradient))

    def _make_optimizer(self) -> torch.optim.SGD:
        decay: list[nn.Parameter] = []
        plain: list[nn.Parameter] = []
        for name, parameter in self.supernet.named_parameters():
            (plain if parameter.ndim == 1 or name.endswith(".bias") else decay).append(parameter)
        groups = [
            {"params": decay, "weight_decay": self.recipe.weight_decay},
            {"params": plain, "weight_decay": 0.0},
        ]
        return torch.optim.SGD(groups, lr=0.0, momentum=self.recipe.momentum, nesterov=True)
