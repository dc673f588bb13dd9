"""A folded torch network and the ONNX model of the same seed are the same function."""

from __future__ import annotations

import numpy as np
import onnxruntime
import pytest
import torch
from torch import nn

from compofa.blocks import Block
from compofa.folded import folded_network
from compofa.graph import network_to_onnx
from compofa.network import arch_blocks
from compofa.spaces.arch import Arch
from compofa.spaces.registry import GLYPHS
from compofa.spaces.space import get_space

BLOCKS = [
    Block("conv", (3, 9, 9), 16, kernel=3, stride=2, act="hswish"),
    Block("mbconv", (8, 8, 8), 8, 24, kernel=5, se=True, act="hswish", shortcut=True),
    Block("mbconv", (8, 8, 8), 16, 8, kernel=3, stride=2, act="relu"),
    Block("pool", (8, 5, 5), 8),
    Block("mix", (8, 1, 1), 24, act="hswish"),
    Block("linear", (24, 1, 1), 10),
]


def outputs(blocks: tuple[Block, ...], seed: int, batch: int = 2) -> tuple[np.ndarray, np.ndarray]:
    x = np.random.default_rng(1).standard_normal((batch, *blocks[0].in_shape), dtype=np.float32)
    with torch.inference_mode():
        found = folded_network(blocks, seed=seed)(torch.from_numpy(x)).numpy()
    model = network_to_onnx(blocks, batch=batch, seed=seed).SerializeToString()
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    return found, session.run(["y"], {"x": x})[0]


@pytest.mark.parametrize("block", BLOCKS, ids=str)
def test_a_block_computes_what_the_onnx_model_does(block: Block) -> None:
    found, expected = outputs((block,), seed=5)
    np.testing.assert_allclose(found, expected, atol=1e-4 * np.abs(expected).max())


def random_arch() -> Arch:
    return get_space("ofa", GLYPHS).sample(np.random.default_rng(3), max(GLYPHS.resolutions))


def test_a_network_computes_what_the_onnx_model_does() -> None:
    found, expected = outputs(arch_blocks(GLYPHS, random_arch()), seed=2)
    np.testing.assert_allclose(found, expected, atol=1e-4 * np.abs(expected).max())


def test_nothing_of_batch_norm_is_left() -> None:
    network = folded_network(arch_blocks(GLYPHS, random_arch()))
    assert not any(isinstance(module, nn.BatchNorm2d) for module in network.modules())
    assert not network.training


def test_blocks_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="cannot follow"):
        folded_network(BLOCKS[:2])
    with pytest.raises(ValueError, match="at least one"):
        folded_network(())
