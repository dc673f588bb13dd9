from __future__ import annotations

import time

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
import torch.nn.functional as F

from compofa.blocks import Block
from compofa.graph import network_to_onnx, random_weights, weight_shapes
from compofa.network import arch_blocks
from compofa.spaces.arch import extreme
from compofa.spaces.family import Family
from compofa.spaces.registry import FAMILIES
from compofa.supernet.static import StaticBlock

KINDS = [
    Block("conv", (3, 17, 17), 8, kernel=3, stride=2, act="hswish"),
    Block("conv", (16, 5, 7), 24, act="relu"),
    Block("conv", (16, 5, 5), 16),
    Block("pool", (24, 5, 7), 24),
    Block("mix", (24, 1, 1), 40, act="hswish"),
    Block("conv", (8, 9, 9), 8, kernel=3, act="relu", shortcut=True),
    Block("mbconv", (8, 9, 9), 8, 24, kernel=5, act="relu6", shortcut=True),
    Block("maxpool", (8, 12, 12), 8, kernel=3, stride=2),
    Block("bottleneck", (16, 8, 8), 16, 8, kernel=3, act="relu"),
    Block("bottleneck", (16, 8, 8), 24, 8, kernel=3, act="relu"),
    Block("bottleneck", (16, 8, 8), 16, 8, kernel=3, stride=2, act="relu"),
    Block("linear", (40, 1, 1), 62),
    Block("mbconv", (16, 9, 9), 16, hidden_channels=16, kernel=3, act="relu", shortcut=True),
    *(
        Block(
            "mbconv",
            (16, 9, 10),
            16 if stride == 1 else 24,
            hidden_channels=48,
            kernel=kernel,
            stride=stride,
            se=se,
            act=act,
            shortcut=stride == 1 and se,
        )
        for kernel in (3, 5, 7)
        for stride in (1, 2)
        for se in (False, True)
        for act in ("relu", "hswish")
    ),
]


def run(model: onnx.ModelProto, x: np.ndarray) -> np.ndarray:
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(["y"], {"x": x})[0]


def reference(block: Block, x: torch.Tensor, weights: dict[str, torch.Tensor]) -> torch.Tensor:
    """The block as torch's own operators compute it."""
    act = {"none": lambda v: v, "relu": F.relu, "relu6": F.relu6, "hswish": F.hardswish}[block.act]

    def conv(layer: str, value: torch.Tensor, **kwargs: int) -> torch.Tensor:
        weight = weights[f"{layer}.weight"]
        return F.conv2d(value, weight, weights.get(f"{layer}.bias"), padding=weight.shape[-1] // 2, **kwargs)

    if block.kind == "pool":
        return x.mean((2, 3), keepdim=True)
    if block.kind == "linear":
        return F.linear(x.flatten(1), weights["linear.weight"], weights["linear.bias"])
    if block.kind == "maxpool":
        return F.max_pool2d(x, block.kernel, block.stride, block.kernel // 2)
    if block.kind in ("conv", "mix"):
        y = act(conv("conv", x, stride=block.stride))
        return x + y if block.shortcut else y
    if block.kind == "bottleneck":
        y = act(conv("spatial", act(conv("reduce", x)), stride=block.stride))
        shortcut = F.avg_pool2d(x, block.stride) if block.stride > 1 else x
        if block.in_shape[0] != block.out_channels or block.stride > 1:
            shortcut = conv("shortcut", shortcut)
        return act(conv("expand", y) + shortcut)
    y = act(conv("expand", x)) if block.expands else x
    y = act(conv("depthwise", y, stride=block.stride, groups=block.hidden_channels))
    if block.se:
        gate = conv("se.expand", F.relu(conv("se.reduce", y.mean((2, 3), keepdim=True))))
        y = y * F.relu6(gate + 3) / 6
    y = conv("project", y)
    return x + y if block.shortcut else y


@pytest.mark.parametrize("block", KINDS, ids=str)
def test_a_block_computes_what_torch_computes(block: Block) -> None:
    rng = np.random.default_rng(1)
    weights = random_weights(block, rng)
    x = rng.standard_normal((2, *block.in_shape), dtype=np.float32)
    model = network_to_onnx([block], batch=2, weights=[weights])
    onnx.checker.check_model(model, full_check=True)
    expected = reference(block, torch.from_numpy(x), {k: torch.from_numpy(v) for k, v in weights.items()})
    np.testing.assert_allclose(run(model, x), expected.numpy(), atol=1e-4, rtol=1e-4)


def test_a_chain_computes_its_blocks_in_turn() -> None:
    blocks = [KINDS[0], Block("mbconv", (8, 9, 9), 8, 24, kernel=5, act="relu", shortcut=True)]
    rng = np.random.default_rng(2)
    weights = [random_weights(block, rng) for block in blocks]
    x = rng.standard_normal((1, 3, 17, 17), dtype=np.float32)
    middle = run(network_to_onnx(blocks[:1], weights=weights[:1]), x)
    expected = run(network_to_onnx(blocks[1:], weights=weights[1:]), middle)
    np.testing.assert_allclose(run(network_to_onnx(blocks, weights=weights), x), expected, atol=1e-5)


@pytest.mark.parametrize("family", FAMILIES.values(), ids=lambda family: family.name)
@pytest.mark.parametrize("largest", [True, False])
def test_activations_of_random_networks_stay_of_order_one(family: Family, largest: bool) -> None:
    blocks = arch_blocks(family, extreme(family, largest, resolution=family.resolutions[0]))
    x = np.random.default_rng(0).standard_normal((1, *blocks[0].in_shape), dtype=np.float32)
    logits = run(network_to_onnx(blocks), x)
    assert logits.shape == (1, family.classes)
    assert 0.1 < logits.std() < 10


@pytest.mark.parametrize("block", KINDS, ids=str)
def test_folded_weights_count_as_the_blocks_parameters(block: Block) -> None:
    count = sum(int(np.prod(shape)) for shape in weight_shapes(block).values())
    module = StaticBlock(block)
    assert block.params == sum(parameter.numel() for parameter in module.parameters())
    norms = [part for part in module.modules() if isinstance(part, torch.nn.BatchNorm2d)]
    # folding keeps one number a channel of batch norm's two
    assert count == block.params - sum(norm.num_features for norm in norms)


def test_weights_follow_the_seed() -> None:
    assert network_to_onnx(KINDS[:1], seed=1) == network_to_onnx(KINDS[:1], seed=1)
    assert network_to_onnx(KINDS[:1], seed=1) != network_to_onnx(KINDS[:1], seed=2)


def test_the_largest_network_is_built_in_half_a_second() -> None:
    family = FAMILIES["imagenet-w1.0"]
    blocks = arch_blocks(family, extreme(family, largest=True))
    network_to_onnx(blocks)
    start = time.process_time()
    network_to_onnx(blocks)
    assert time.process_time() - start < 0.5


def test_bad_input_says_what_is_wrong() -> None:
    with pytest.raises(ValueError, match="at least one block"):
        network_to_onnx([])
    with pytest.raises(ValueError, match="cannot follow"):
        network_to_onnx([KINDS[0], KINDS[1]])
    with pytest.raises(ValueError, match="as many sets of weights"):
        network_to_onnx(KINDS[:1], weights=[])
    with pytest.raises(ValueError, match=r"conv\.weight"):
        network_to_onnx(KINDS[:1], weights=[{"conv.weight": np.zeros((8, 3, 3, 3), np.float32)}])


# --- precisions ---


def run_in(precision: str, blocks: tuple[Block, ...], seed: int = 3) -> np.ndarray:
    model = network_to_onnx(blocks, batch=2, seed=seed, precision=precision)
    onnx.checker.check_model(model, full_check=True)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    kind = {"tensor(float)": np.float32, "tensor(float16)": np.float16}[session.get_inputs()[0].type]
    x = np.random.default_rng(0).standard_normal((2, *blocks[0].in_shape)).astype(kind)
    return session.run(["y"], {"x": x})[0]


def small_network() -> tuple[Block, ...]:
    return (
        Block("conv", (3, 12, 12), 8, kernel=3, stride=2, act="hswish"),
        Block("mbconv", (8, 6, 6), 8, 24, kernel=5, se=True, act="hswish", shortcut=True),
        Block("pool", (8, 6, 6), 8),
        Block("mix", (8, 1, 1), 16, act="hswish"),
        Block("linear", (16, 1, 1), 10),
    )


@pytest.mark.parametrize(("precision", "off"), [("fp16", 5e-3), ("int8", 0.3)])
def test_lower_precisions_compute_nearly_the_same(precision: str, off: float) -> None:
    expected, found = run_in("fp32", small_network()), run_in(precision, small_network())
    assert found.dtype == np.float16
    assert 0 < np.linalg.norm(found - expected) / np.linalg.norm(expected) < off


def test_int8_quantises_every_convolution_and_the_classifier() -> None:
    model = network_to_onnx(small_network(), precision="int8")
    given = {output: node for node in model.graph.node for output in node.output}
    layers = [node for node in model.graph.node if node.op_type in ("Conv", "Gemm")]
    assert len(layers) == 8
    for node in layers:
        assert [given[name].op_type for name in node.input[:2]] == ["DequantizeLinear"] * 2, node.name
    (add,) = (node for node in model.graph.node if node.op_type == "Add")
    assert given[add.input[1]].op_type == "DequantizeLinear"


def test_int8_weights_use_the_whole_range_of_each_channel() -> None:
    model = network_to_onnx(small_network(), precision="int8")
    weights = [onnx.numpy_helper.to_array(t) for t in model.graph.initializer if t.name.endswith(".weight")]
    assert len(weights) == 8
    for array in weights:
        assert array.dtype == np.int8
        assert (np.abs(array).reshape(len(array), -1).max(axis=1) >= 126).all()


def test_an_unknown_precision_is_refused() -> None:
    with pytest.raises(ValueError, match="unknown precision 'fp8'; there are fp32, fp16, int8"):
        network_to_onnx(small_network(), precision="fp8")
