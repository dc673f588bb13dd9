"""An accuracy predictor in OFA's published format, fitted to a made-up accuracy that is not additive.

The published predictor's weights are not shipped. This one has the same inputs, layers and sizes, and is trained on
what accuracies of supernets look like: they rise with the size of the network and saturate, a resolution is
worth more to a deep network, units help each other, and each subnet has its own small deviation.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from compofa.accuracy.predictor import AccuracyPredictor
from compofa.accuracy.published import RESOLUTIONS, from_published
from compofa.spaces.family import Family
from compofa.spaces.features import one_hot
from compofa.spaces.layout import Genotypes, layout

HIDDEN = 400
SAMPLES = 16_000  # as many subnets as OFA measured to fit its own
EPOCHS = 40


def random_genotypes(family: Family, count: int, rng: np.random.Generator) -> Genotypes:
    """Random OFA subnets, drawn without the detour over subnet objects; shape (count, columns)."""
    at = layout(family)
    genotypes = rng.integers(1, at.max_choices + 1, (count, at.columns), dtype=np.int16)
    genotypes[:, 0] = rng.integers(len(family.resolutions), size=count)
    for number, unit in enumerate(at.units):
        depth = rng.choice(unit.depths, count)
        genotypes[:, at.place(number)] *= np.arange(unit.max_depth) < depth[:, None]
    return genotypes


def made_up_accuracy(family: Family, genotypes: Genotypes, rng: np.random.Generator) -> NDArray[np.float64]:
    """Top-1 accuracy as a fraction, shape (n,), between about 0.70 and 0.80; `rng` draws the constants."""
    x = one_hot(family, genotypes).astype(float)
    slots = layout(family).slots
    kernel = x[:, : 3 * slots].reshape(-1, slots, 3) @ [0.0, 0.6, 1.0]
    expand = x[:, 3 * slots : 6 * slots].reshape(-1, slots, 3) @ [1.0, 1.45, 2.1]
    gain = rng.uniform(0.5, 1.5, slots)
    block = gain * expand * (1 + rng.uniform(0.05, 0.25, slots) * kernel)
    unit = np.sqrt(block.reshape(len(x), len(family.elastic_units), -1).sum(2))
    together = (unit @ rng.uniform(-0.06, 0.12, (5, 5)) * unit).sum(1)
    side = np.array(family.resolutions)[genotypes[:, 0]] / 224
    size = unit.sum(1) + together + 7 * side + 1.5 * side * unit[:, :2].sum(1)
    own = np.tanh(x @ rng.normal(0, 0.35, (x.shape[1], 64))) @ rng.normal(0, 0.0006, 64)
    return 0.82 - 0.5 * np.exp(-0.11 * size) + own


def fit_synthetic(family: Family, seed: int = 0) -> AccuracyPredictor:
    """The predictor, its 128 x 400 x 400 x 400 x 1 weights trained for about half a minute."""
    import torch
    from torch import nn

    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    genotypes = random_genotypes(family, SAMPLES, rng)
    accuracy = made_up_accuracy(family, genotypes, rng)
    inputs = torch.from_numpy(one_hot(family, genotypes))
    mean, scale = float(accuracy.mean()), float(accuracy.std())
    target = torch.from_numpy((accuracy - mean) / scale).float()
    sizes = (inputs.shape[1], HIDDEN, HIDDEN, HIDDEN)
    layers: list[nn.Module] = []
    for before, after in pairwise(sizes):
        layers += [nn.Linear(before, after), nn.ReLU()]
    net = nn.Sequential(*layers, nn.Linear(HIDDEN, 1))
    optimizer = torch.optim.AdamW(net.parameters(), lr=2e-3, weight_decay=1e-3)
    steps = EPOCHS * SAMPLES // 256
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for _ in range(steps):
        batch = torch.from_numpy(rng.integers(SAMPLES, size=256))
        loss = ((net(inputs[batch])[:, 0] - target[batch]) ** 2).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    state = {name: value.detach().numpy() for name, value in net.state_dict().items()}
    state["6.weight"], state["6.bias"] = state["6.weight"] * scale, state["6.bias"] * scale + mean
    report = {"model": "synthetic", "train_rmse": scale * float(loss.detach()) ** 0.5}
    weights = [(state[f"{n}.weight"], state[f"{n}.bias"]) for n in (0, 2, 4, 6)]
    if family.resolutions == RESOLUTIONS:
        return from_published(family, state)
    return AccuracyPredictor(family, "one-hot", tuple(weights), report)
