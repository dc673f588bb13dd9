"""The gradients of one step."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from compofa.data import ImageData, Pixels
from compofa.recipe import Recipe
from compofa.supernet import Supernet
from compofa.training.norms import at_least_single
from compofa.training.schedule import StepDraw
from compofa.world import World

PRECISIONS = {"bf16": torch.bfloat16, "fp16": torch.float16}


def soft_cross_entropy(logits: Tensor, teacher_logits: Tensor) -> Tensor:
    """Mean cross-entropy with the teacher's probabilities; both (n, classes)."""
    return -(F.softmax(teacher_logits, 1) * F.log_softmax(logits, 1)).sum(1).mean()


class Stepper:
    """Computes gradients and applies them.

    Args:
        supernet: that is trained, on the device.
        teacher: of the same classes, on the device; None trains by the labels alone.
        recipe: losses and seeds.
        data: whose images they are.
        amp: ``bf16`` or ``fp16`` computes in that where torch deems it safe, and the losses in float32 all the same.
        world: the processes that share each batch.
        micro_batch: most images that go through a network at once; what is computed is the whole batch's gradient, but
            BN goes by these.
    """

    def __init__(
        self,
        supernet: Supernet,
        teacher: nn.Module | None,
        recipe: Recipe,
        data: ImageData,
        amp: str | None = None,
        world: World | None = None,
        micro_batch: int | None = None,
    ) -> None:
        self.supernet, self.teacher, self.recipe, self.data = supernet, teacher, recipe, data
        self.world, self.micro_batch = world or World(), micro_batch
        self.device = next(supernet.parameters()).device
        self.dtype = PRECISIONS[amp] if amp else torch.float32
        # in fp16 small gradients would vanish
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=amp == "fp16")

    def gradients(self, draw: StepDraw, pixels: Pixels) -> float:
        """Leave in the parameters this process's part of the gradients of its share of the batch; returns its part of
        the mean loss over the subnets. Parts of all processes add up to what is the whole batch's."""
        torch.manual_seed(draw.torch_seed + self.world.rank)
        self.supernet.train()
        for parameter in self.supernet.parameters():
            # zeros, not None: what no subnet of this step uses still decays and keeps its momentum, as in
            # the papers, and a resumed run does the same as an uninterrupted one
            parameter.grad = torch.zeros_like(parameter)
        losses: list[Tensor] = []
        for images, labels in self._micro_batches(pixels):
            x = self.data.standardise(images.to(self.device, non_blocking=True))
            y = labels.to(self.device, non_blocking=True)
            # the mean over the whole batch is the sum of the parts' means, weighted by their shares of it
            losses += self._backward(x, y, draw, len(y) / len(draw.indices))
        return float(torch.stack(losses).double().sum()) / len(draw.archs)

    def _micro_batches(self, pixels: Pixels) -> Sequence[tuple[Tensor, Tensor]]:
        parts = -(-len(pixels.labels) // (self.micro_batch or len(pixels.labels)))
        return list(zip(pixels.images.tensor_split(parts), pixels.labels.tensor_split(parts), strict=True))

    def _backward(self, x: Tensor, y: Tensor, draw: StepDraw, share: float) -> list[Tensor]:
        sandwich = self.recipe.stages[draw.number].sandwich
        target = None if sandwich else self._teachers(x)
        losses = []
        for n, arch in enumerate(draw.archs):
            with self._autocast():
                logits = self.supernet(x, arch)
            logits = at_least_single(logits)
            if sandwich and n:
                assert target is not None
                loss = soft_cross_entropy(logits, target)
            else:
                loss = F.cross_entropy(logits, y, label_smoothing=self.recipe.label_smoothing)
                if target is not None:
                    loss = loss + self.recipe.distill * soft_cross_entropy(logits, target)
            if sandwich and not n:
                target = logits.detach()
            loss = share * loss
            self.scaler.scale(loss).backward()
            losses.append(loss.detach())
        return losses

    def _teachers(self, x: Tensor) -> Tensor | None:
        if self.teacher is None:
            return None
        with torch.no_grad(), self._autocast():
            logits: Tensor = self.teacher(x)
        return at_least_single(logits)

    def _autocast(self) -> torch.autocast:
        return torch.autocast(self.device.type, self.dtype, enabled=self.dtype != torch.float32)

    def update(self, optimizer: torch.optim.Optimizer, lr: float) -> None:
        """Step the optimizer by the gradients of all processes."""
        self.sum_gradients()
        for group in optimizer.param_groups:
            group["lr"] = lr
        self.scaler.step(optimizer)
        self.scaler.update()

    def sum_gradients(self) -> None:
        """Make the gradients the sums over all processes."""
        if self.world.size == 1:
            return
        gradients = [p.grad for p in self.supernet.parameters() if p.grad is not None]
        flat = torch.cat([g.flatten() for g in gradients])
        self.world.sum(flat)
        for gradient, part in zip(gradients, flat.split([g.numel() for g in gradients]), strict=True):
            gradient.copy_(part.view_as(gradient))


def make_optimizer(supernet: Supernet, recipe: Recipe) -> torch.optim.SGD:
    """SGD with Nesterov momentum; BN and biases do not decay."""
    decay: list[nn.Parameter] = []
    plain: list[nn.Parameter] = []
    for name, parameter in supernet.named_parameters():
        (plain if parameter.ndim == 1 or name.endswith(".bias") else decay).append(parameter)
    groups = [
        {"params": decay, "weight_decay": recipe.weight_decay},
        {"params": plain, "weight_decay": 0.0},
    ]
    return torch.optim.SGD(groups, lr=0.0, momentum=recipe.momentum, nesterov=recipe.momentum > 0)
