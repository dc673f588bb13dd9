"""Training a supernet by the stages of a recipe.

Every step draws its images, their augmentation, the resolution and the subnets from the seed, the stage
and the step alone, so that a run resumed from its checkpoint ends where an uninterrupted one does.
Under torchrun each process takes its share of every batch and gradients are averaged.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn

from compofa.arch import extreme
from compofa.checkpoint import load_supernet, save_supernet
from compofa.data import ImageData
from compofa.errors import InputError
from compofa.families import get_family
from compofa.recipe import Recipe, Stage
from compofa.supernet import Supernet

SUPERNET_FILE = "supernet.safetensors"
STATE_FILE = "state.pt"
LOG_FILE = "log.jsonl"
LOG_EVERY = 20
"""Steps between two lines of the log."""


@dataclass
class Cost:
    """What a run has spent, interruptions left out.

    Args:
        images: images read.
        subnet_passes: forward and backward passes, images x subnets.
        teacher_passes: forward passes of the teacher, in images.
        cpu_s: processor seconds of this process, over all its threads.
        wall_s: seconds.
    """

    images: int = 0
    subnet_passes: int = 0
    teacher_passes: int = 0
    cpu_s: float = 0.0
    wall_s: float = 0.0


@dataclass
class Progress:
    """Where a run is: stage and the next step in it."""

    stage: int = 0
    step: int = 0


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

    Raises:
        ValueError: the recipe distils and there is no teacher, or the teacher or the checkpoint in `out`
            is of something else.
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
    ) -> None:
        if recipe.distill > 0 and teacher is None:
            raise InputError(f"recipe {recipe.name} distils from a teacher: give one with --teacher FILE")
        self.recipe, self.data, self.out = recipe, data, out
        self.device, self.amp = torch.device(device), amp
        self.checkpoint_every_s = checkpoint_every_s
        self.family = replace(get_family(recipe.family), classes=data.classes)
        self.rank = dist.get_rank() if dist.is_initialized() else 0
        self.world = dist.get_world_size() if dist.is_initialized() else 1
        torch.manual_seed(recipe.seed)
        self.teacher: nn.Module | None = None
        supernet = self._load_teacher(teacher) if teacher else Supernet(self.family, recipe.kernel_transform)
        supernet.set_dropout(recipe.dropout)
        self.supernet = supernet.to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.progress, self.cost = Progress(), Cost()
        self.optimizer: torch.optim.SGD | None = None
        out.mkdir(parents=True, exist_ok=True)
        if (out / STATE_FILE).exists():
            self._resume()

    def _load_teacher(self, path: Path) -> Supernet:
        supernet, _ = load_supernet(path, self.recipe.kernel_transform)
        if supernet.family != self.family:
            raise InputError(
                f"{path} is a {supernet.family.name} of {supernet.family.classes} classes;"
                f" recipe {self.recipe.name} needs {self.family.name} of {self.family.classes}"
            )
        if self.recipe.distill > 0:
            static = supernet.extract(extreme(self.family, largest=True)).requires_grad_(False)
            normalise_by_batch(static)
            self.teacher = static.to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        return supernet

    # --- checkpoints ---

    def _identity(self) -> dict[str, Any]:
        return {"recipe": asdict(self.recipe), "data": self.data.name}

    def _resume(self) -> None:
        state = torch.load(self.out / STATE_FILE, map_location=self.device, weights_only=True)
        if state["identity"] != json.dumps(self._identity(), sort_keys=True):
            raise InputError(
                f"{self.out} holds a run of another recipe or data set: choose another --out, or empty it"
            )
        self.supernet.load_state_dict(state["supernet"])
        self.progress, self.cost = Progress(**state["progress"]), Cost(**state["cost"])
        if state["optimizer"] is not None:
            self.optimizer = self._make_optimizer()
            self.optimizer.load_state_dict(state["optimizer"])

    def save(self) -> None:
        """Write the checkpoint that a later run in the same folder resumes."""
        if self.rank:
            return
        partial = self.out / (STATE_FILE + ".partial")
        state = {
            "identity": json.dumps(self._identity(), sort_keys=True),
            "supernet": self.supernet.state_dict(),
            "optimizer": self.optimizer.state_dict() if self.optimizer else None,
            "progress": asdict(self.progress),
            "cost": asdict(self.cost),
        }
        torch.save(state, partial)
        partial.replace(self.out / STATE_FILE)

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

    def run(self, on_step: Callable[[dict[str, Any]], None] = lambda entry: None) -> Path:
        """Train to the end; returns the supernet's file.

        Args:
            on_step: called after each step with the entry that every LOG_EVERY-th step logs.
        """
        for number, stage in enumerate(self.recipe.stages):
            if number < self.progress.stage:
                continue
            if self.optimizer is None:
                if stage.sort_hidden:
                    self.supernet.sort_hidden(stage.keep_expands)
                self.optimizer = self._make_optimizer()
            self._run_stage(number, stage, on_step)
            self.optimizer = None
            self.progress = Progress(number + 1, 0)
            self.save()
        path = self.out / SUPERNET_FILE
        if self.rank == 0:
            save_supernet(self.supernet, path, {**self._identity(), "cost": asdict(self.cost)})
        return path

    def _run_stage(self, number: int, stage: Stage, on_step: Callable[[dict[str, Any]], None]) -> None:
        steps, warmup = stage_steps(self.recipe, stage, len(self.data))
        peak = stage.base_lr * self.recipe.batch_size / stage.lr_images
        done = self._steps(self.recipe.stages[:number])
        wall, cpu, saved = time.monotonic(), time.process_time(), time.monotonic()
        for step in range(self.progress.step, steps):
            lr = learning_rate(peak, step, steps, warmup)
            loss = self._step(number, stage, step, done + step, lr)
            now, used = time.monotonic(), time.process_time()
            self.cost.wall_s += now - wall
            self.cost.cpu_s += used - cpu
            wall, cpu = now, used
            self.progress.step = step + 1
            entry = {"stage": stage.name, "step": step, "lr": lr, "loss": loss, **asdict(self.cost)}
            on_step(entry)
            if self.rank == 0 and (step % LOG_EVERY == 0 or step == steps - 1):
                with (self.out / LOG_FILE).open("a", encoding="utf-8") as log:
                    log.write(json.dumps(entry) + "\n")
            if now - saved > self.checkpoint_every_s:
                self.save()
                saved = time.monotonic()

    def _step(self, number: int, stage: Stage, step: int, global_step: int, lr: float) -> float:
        """One optimiser step; returns the mean loss over its subnets."""
        assert self.optimizer
        rng = np.random.default_rng([self.recipe.seed, number, step])
        resolution = int(rng.choice(self.family.resolutions))
        space = stage.subspace(self.family)
        archs = [space.sample(rng, resolution) for _ in range(stage.subnets_per_step)]
        torch.manual_seed(int(rng.integers(2**62)) + self.rank)
        x, y = self.data.batch(self._indices(global_step), resolution, rng)
        x, y = x.to(self.device), y.to(self.device)
        self.supernet.train()
        for parameter in self.supernet.parameters():
            # zeros, not None: what no subnet of this step uses still decays and keeps its momentum, as in
            # the papers, and a resumed run does the same as an uninterrupted one
            parameter.grad = torch.zeros_like(parameter)
        for group in self.optimizer.param_groups:
            group["lr"] = lr
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.amp == "bf16"):
            with torch.no_grad():
                target = self.teacher(x) if self.teacher else None
            losses = [self._backward(x, y, target, arch) for arch in archs]
        self._average_gradients()
        self.optimizer.step()
        self.cost.images += self.recipe.batch_size
        self.cost.subnet_passes += self.recipe.batch_size * len(archs)
        self.cost.teacher_passes += self.recipe.batch_size if self.teacher else 0
        return sum(losses) / len(losses)

    def _backward(self, x: Tensor, y: Tensor, target: Tensor | None, arch: Any) -> float:
        logits = self.supernet(x, arch)
        loss = F.cross_entropy(logits, y, label_smoothing=self.recipe.label_smoothing)
        if target is not None:
            loss = loss + self.recipe.distill * soft_cross_entropy(logits, target)
        loss.backward()
        return loss.item()

    def _indices(self, global_step: int) -> np.ndarray:
        """This process's share of the batch: a fresh permutation of the data set each time it is used up."""
        batch = self.recipe.batch_size
        per_permutation = max(1, len(self.data) // batch)
        order = np.random.default_rng([self.recipe.seed, global_step // per_permutation])
        start = global_step % per_permutation * batch
        return order.permutation(len(self.data))[start : start + batch][self.rank :: self.world]

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

    def _average_gradients(self) -> None:
        if self.world == 1:
            return
        gradients = [p.grad for p in self.supernet.parameters() if p.grad is not None]
        flat = torch.cat([g.flatten() for g in gradients])
        dist.all_reduce(flat)
        flat /= self.world
        for gradient, part in zip(gradients, flat.split([g.numel() for g in gradients]), strict=True):
            gradient.copy_(part.view_as(gradient))
