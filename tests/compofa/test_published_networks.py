"""OFA's published networks: their MACs and parameters, and what is no such network."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from compofa.arch import Arch, arch_blocks
from compofa.blocks import Block, total_macs, total_params
from compofa.errors import InputError
from compofa.families import get_family
from compofa.published_networks import published_network

PUBLISHED = Path(__file__).parents[3] / "shared" / "data" / "ofa_published_nets.jsonl"
MISPRINTED = {"note10_lat-8ms_top1-71.4_finetune-25"}
"""79M published; its blocks at its stated 160 px have 75.8 M."""


@pytest.mark.skipif(not PUBLISHED.is_file(), reason="the published networks are not at hand")
def test_every_published_network_has_the_published_macs_and_parameters() -> None:
    nets = [json.loads(line) for line in PUBLISHED.read_text().splitlines()]
    assert len(nets) == 33
    for net in nets:
        blocks = published_network(net["config"], net["image_size"])
        macs = float(net["published"]["macs"].removesuffix("M"))
        if net["name"] not in MISPRINTED:
            assert total_macs(blocks) / 1e6 == pytest.approx(macs, rel=0.01, abs=0.5), net["name"]
        assert total_params(blocks) / 1e6 == pytest.approx(net["published"]["params_m"], abs=0.1)


def config_of(blocks: tuple[Block, ...]) -> dict[str, Any]:
    """The blocks of a MobileNetV3 in OFA's layout."""
    stem, *inner, expand, _, mix, linear = blocks
    acts = {"relu": "relu", "hswish": "h_swish"}

    def conv(block: Block, use_bn: bool = True) -> dict[str, Any]:
        return {
            "name": "ConvLayer", "kernel_size": block.kernel, "stride": block.stride, "groups": 1, "bias": False,
            "in_channels": block.in_shape[0], "out_channels": block.out_channels, "use_bn": use_bn,
            "act_func": acts[block.act],
        }  # fmt: skip

    def inverted(block: Block) -> dict[str, Any]:
        layer = {
            "name": "MBInvertedConvLayer", "in_channels": block.in_shape[0], "out_channels": block.out_channels,
            "kernel_size": block.kernel, "stride": block.stride, "expand_ratio": 6,
            "mid_channels": block.hidden_channels, "act_func": acts[block.act], "use_se": block.se,
        }  # fmt: skip
        shortcut = {"name": "IdentityLayer"} if block.shortcut else None
        return {"name": "MobileInvertedResidualBlock", "mobile_inverted_conv": layer, "shortcut": shortcut}

    return {
        "name": "MobileNetV3",
        "first_conv": conv(stem),
        "blocks": [inverted(block) for block in inner],
        "final_expand_layer": conv(expand),
        "feature_mix_layer": conv(mix, use_bn=False),
        "classifier": {
            "name": "LinearLayer", "in_features": linear.in_shape[0], "out_features": linear.out_channels,
            "bias": True, "use_bn": False,
        },
    }  # fmt: skip


ARCH = Arch.parse("r24-k3e3_k3e3-k5e4_k5e4_k5e4-k3e3_k3e3-k3e6_k3e6_k3e6_k3e6-k5e3_k5e3")


def test_a_subnet_of_a_family_comes_back_as_its_blocks() -> None:
    blocks = arch_blocks(get_family("glyphs"), ARCH)
    assert published_network(config_of(blocks), 24) == blocks


def broken(change: Any) -> dict[str, Any]:
    config = copy.deepcopy(config_of(arch_blocks(get_family("glyphs"), ARCH)))
    change(config)
    return config


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ([], "not a net.config"),
        ({}, "not a net.config"),
        ({"name": "ResNets"}, "'ResNets' are not read"),
        (broken(lambda c: c["blocks"][1].update(name="Bottleneck")), "unknown block 'Bottleneck'"),
        (broken(lambda c: c["blocks"][1]["mobile_inverted_conv"].update(name="X")), "unknown layer 'X'"),
        (broken(lambda c: c["blocks"][1]["mobile_inverted_conv"].update(act_func="tanh")), "activation 'tanh'"),
        (broken(lambda c: c["blocks"][1]["mobile_inverted_conv"].update(in_channels=99)), "takes 99 channels"),
        (broken(lambda c: c["blocks"][1].update(shortcut={"name": "AvgPool"})), "unknown shortcut 'AvgPool'"),
        (broken(lambda c: c["first_conv"].update(groups=2)), "groups 2 is not built"),
        (broken(lambda c: c["classifier"].update(in_features=7)), "classifier is no LinearLayer"),
        (broken(lambda c: c["blocks"][1]["mobile_inverted_conv"].update(kernel_size=4)), "kernels are odd"),
        (broken(lambda c: c.pop("classifier")), "not a net.config"),
    ],
)  # fmt: skip
def test_what_cannot_be_built_is_named(config: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        published_network(config, 32)
