"""An exported subnet computes what torch computes, batch norm folded."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
import torch
from torch import nn

from compofa.export import ExportMismatch, check_onnx, export_onnx, folded_weights
from compofa.graph import weight_shapes
from compofa.network import arch_blocks
from compofa.recalibration import recalibrate
from compofa.spaces.arch import Arch, extreme
from compofa.spaces.registry import GLYPHS
from compofa.spaces.space import get_space
from compofa.supernet import Supernet

ARCHS = [
    extreme(GLYPHS, largest=True),
    extreme(GLYPHS, largest=False),
    get_space("ofa", GLYPHS).sample(np.random.default_rng(3)),
]


def trained(arch: Arch) -> nn.Sequential:
    """A subnet whose batch norms and shortcuts do something."""
    torch.manual_seed(1)
    network = Supernet(GLYPHS).extract(arch)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.uniform_(module.bias, -0.5, 0.5)
    # Statistics that fit the activations: otherwise these die out on the way, and nothing is tested.
    recalibrate(network, [torch.randn(64, 3, arch.resolution, arch.resolution)])
    logits = network(torch.randn(8, 3, arch.resolution, arch.resolution))
    assert logits.std(0).mean() > 0.1 * logits.abs().max()
    return network


@pytest.mark.parametrize("arch", ARCHS, ids=str)
def test_the_model_computes_what_torch_computes(arch: Arch) -> None:
    network, blocks = trained(arch), arch_blocks(GLYPHS, arch)
    model = export_onnx(network, blocks, batch=2)
    onnx.checker.check_model(model, full_check=True)
    assert not any(node.op_type == "BatchNormalization" for node in model.graph.node)
    images = torch.randn(2, 3, arch.resolution, arch.resolution)
    assert check_onnx(model, network, [images]) < 1e-4
    for module, block in zip(network, blocks, strict=True):
        assert {n: a.shape for n, a in folded_weights(module).items()} == weight_shapes(block)


def test_a_model_of_other_weights_is_noticed() -> None:
    network, blocks = trained(ARCHS[1]), arch_blocks(GLYPHS, ARCHS[1])
    model = export_onnx(network, blocks)
    with torch.no_grad():
        network[0].bn.bias += 1.0
    side = ARCHS[1].resolution
    with pytest.raises(ExportMismatch, match="differ from torch's by"):
        check_onnx(model, network, [torch.randn(1, 3, side, side)])


def test_what_is_no_block_is_refused() -> None:
    with pytest.raises(ValueError, match="a Linear is no block"):
        folded_weights(nn.Linear(1, 1))


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_logits_that_are_not_finite_agree_with_nothing(value):
    """NaN differs from NaN by NaN, which is larger than no tolerance."""
    arch = extreme(GLYPHS, largest=False, resolution=16)
    network = Supernet(GLYPHS).extract(arch).eval()
    network[-1].linear.bias.data[0] = value
    model = export_onnx(network, arch_blocks(GLYPHS, arch))
    with pytest.raises(ExportMismatch, match="not finite"):
        check_onnx(model, network, [torch.randn(1, 3, 16, 16)])


def test_logits_of_zero_are_compared_as_they_are():
    arch = extreme(GLYPHS, largest=False, resolution=16)
    network = Supernet(GLYPHS).extract(arch).eval()
    for tensor in (network[-1].linear.weight, network[-1].linear.bias):
        tensor.data.zero_()
    model = export_onnx(network, arch_blocks(GLYPHS, arch))
    assert check_onnx(model, network, [torch.randn(1, 3, 16, 16)]) == 0.0
