import pytest
from hypothesis import given
from hypothesis import strategies as st

from compofa.blocks import ACTIVATIONS, Block, check_chain, make_divisible


@st.composite
def mbconvs(draw):
    channels = draw(st.integers(1, 6)) * 8
    shortcut = draw(st.booleans())
    return Block(
        "mbconv",
        (channels, draw(st.integers(1, 20)), draw(st.integers(1, 20))),
        channels if shortcut else draw(st.integers(1, 6)) * 8,
        hidden_channels=channels * draw(st.sampled_from([1, 3, 4, 6])),
        kernel=draw(st.sampled_from([3, 5, 7])),
        stride=1 if shortcut else draw(st.sampled_from([1, 2])),
        se=draw(st.booleans()),
        act=draw(st.sampled_from(ACTIVATIONS)),
        shortcut=shortcut,
    )


@pytest.mark.parametrize(
    ("value", "expected"), [(16 * 1.2, 24), (24 * 1.2, 32), (112 * 1.2, 136), (72 / 4, 24), (4, 8), (20, 24)]
)
def test_make_divisible_rounds_as_published(value, expected):
    assert make_divisible(value) == expected


@given(st.floats(1, 5000))
def test_make_divisible_is_a_multiple_of_8_and_at_least_90_percent(value):
    width = make_divisible(value)
    assert width % 8 == 0
    assert width >= 0.9 * value
    assert width - value < 12


@given(mbconvs())
def test_dict_round_trip(block):
    assert Block.from_dict(block.to_dict()) == block


@given(mbconvs())
def test_params_and_macs_are_those_of_the_torch_module(block):
    import torch

    from compofa.supernet.static import StaticBlock

    module = StaticBlock(block).eval()
    assert sum(p.numel() for p in module.parameters()) == block.params
    macs = 0

    def count(conv, inputs, output):
        nonlocal macs
        macs += conv.weight.numel() * output.shape[2] * output.shape[3]

    for child in module.modules():
        if isinstance(child, torch.nn.Conv2d):
            child.register_forward_hook(count)
    with torch.no_grad():
        out = module(torch.zeros(1, *block.in_shape))
    assert tuple(out.shape[1:]) == block.out_shape
    assert macs == block.macs


@pytest.mark.parametrize(
    "fields",
    [
        {"kind": "blur"},
        {"kind": "conv", "act": "gelu"},
        {"kind": "conv", "kernel": 4},
        {"kind": "conv", "out_channels": 0},
        {"kind": "conv", "in_shape": [3, 8]},
        {"kind": "conv", "se": True},
        {"kind": "mbconv"},
        {"kind": "mbconv", "hidden_channels": 16, "shortcut": True, "stride": 2},
        {"kind": "conv", "colour": "red"},
    ],
)
def test_contradictory_blocks_are_refused(fields):
    with pytest.raises(ValueError, match=r"block|mbconv|kernels|activation"):
        Block.from_dict({"in_shape": [8, 8, 8], "out_channels": 8, **fields})


def test_a_chain_must_fit():
    a = Block("conv", (3, 8, 8), 8)
    with pytest.raises(ValueError, match="cannot follow"):
        check_chain((a, a))
