"""OFA's accuracy predictor gives the same numbers here as in torch, and its file runs no code."""

from __future__ import annotations

import os
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from compofa.accuracy.predictor import AccuracyPredictor
from compofa.accuracy.published import RESOLUTIONS, load_published
from compofa.spaces.features import one_hot
from compofa.spaces.layout import encode
from compofa.spaces.registry import get_family
from compofa.spaces.space import get_space

FAMILY = get_family("imagenet-w1.2")


def network(inputs: int = 128, outputs: int = 1) -> nn.Sequential:
    torch.manual_seed(0)
    sizes = (inputs, 400, 400, 400)
    hidden = [nn.Sequential(nn.Linear(a, b), nn.ReLU()) for a, b in pairwise(sizes)]
    last = nn.Linear(400, outputs)
    nn.init.constant_(last.bias, 0.5)  # fractions come out
    return nn.Sequential(*(layer for pair in hidden for layer in pair), last)


def drawn(resolutions: tuple[int, ...], count: int = 20) -> np.ndarray:
    rng = np.random.default_rng(0)
    space = get_space("ofa", FAMILY)
    return encode(FAMILY, [space.sample(rng, int(rng.choice(resolutions))) for _ in range(count)])


def expected(net: nn.Sequential, genotypes: np.ndarray) -> np.ndarray:
    """From inputs laid out over the published resolutions."""
    own = replace(FAMILY, resolutions=RESOLUTIONS)
    index = [RESOLUTIONS.index(FAMILY.resolutions[r]) for r in genotypes[:, 0]]
    x = one_hot(own, np.column_stack([index, genotypes[:, 1:]]))
    assert x.shape[1] == 128
    return net(torch.from_numpy(x))[:, 0].detach().numpy()


@pytest.mark.parametrize("suffix", ["pth", "safetensors", "nested"])
def test_the_file_predicts_what_torch_computes(tmp_path: Path, suffix: str) -> None:
    net, path = network(), tmp_path / f"p.{suffix}"
    if suffix == "safetensors":
        save_file(net.state_dict(), path)
    else:
        torch.save({"state_dict": net.state_dict()} if suffix == "nested" else net.state_dict(), path)
    genotypes = drawn((160, 176, 224))
    predictor = load_published(FAMILY, path)
    np.testing.assert_allclose(predictor.predict(genotypes), expected(net, genotypes), atol=1e-6)
    predictor.save(tmp_path / "ours.safetensors")
    ours = AccuracyPredictor.load(tmp_path / "ours.safetensors")
    np.testing.assert_array_equal(ours.predict(genotypes), predictor.predict(genotypes))


def test_a_resolution_it_does_not_know_is_refused(tmp_path: Path) -> None:
    torch.save(network().state_dict(), tmp_path / "p.pth")
    with pytest.raises(ValueError, match="knows only the resolutions 112, 128"):
        load_published(FAMILY, tmp_path / "p.pth").predict(drawn((132,)))


class Harmful:
    def __reduce__(self):
        return os.mkdir, ("harm",)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (network(inputs=145).state_dict(), "128 inputs arrive"),
        (network(outputs=2).state_dict(), "2 outputs, not 1"),
        ({"weight": torch.zeros(1)}, "its keys are not"),
        ({}, "its keys are not"),
        ([1, 2], "holds a list"),
        (Harmful(), "neither a safetensors file nor a torch state dict"),
    ],
    ids=["inputs", "outputs", "keys", "empty", "list", "code"],
)
def test_what_is_no_such_predictor_is_refused(tmp_path: Path, monkeypatch, content, message: str) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save(content, tmp_path / "p.pth")
    with pytest.raises(ValueError, match=message):
        load_published(FAMILY, tmp_path / "p.pth")
    assert not (tmp_path / "harm").exists()
