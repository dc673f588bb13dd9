"""Networks in the layout of OFA's ``net.config``, written out from its code's own fields."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from compofa.blocks import Block

ACTIVATIONS = {"relu": "relu", "relu6": "relu6", "hswish": "h_swish", "none": None}


def config_of(blocks: Sequence[Block]) -> dict[str, Any]:
    """The network `blocks` as a configuration of MobileNetV3, ProxylessNAS or ResNet."""
    kinds = [block.kind for block in blocks]
    classifier = {
        "name": "LinearLayer", "in_features": blocks[-1].in_shape[0], "out_features": blocks[-1].out_channels,
        "bias": True, "use_bn": False,
    }  # fmt: skip
    if "maxpool" in kinds:
        stem = kinds.index("maxpool")
        return {
            "name": "ResNets",
            "input_stem": [_stem(block) for block in blocks[:stem]],
            "blocks": [_bottleneck(block) for block in blocks[stem + 1 : -2]],
            "classifier": classifier,
        }
    if "mix" in kinds:
        first, *inner, expand, _, mix, _ = blocks
        return {
            "name": "MobileNetV3",
            "first_conv": _conv(first),
            "blocks": [_inverted(block) for block in inner],
            "final_expand_layer": _conv(expand),
            "feature_mix_layer": _conv(mix, use_bn=False),
            "classifier": classifier,
        }
    first, *inner, last, _, _ = blocks
    return {
        "name": "ProxylessNASNets",
        "first_conv": _conv(first),
        "blocks": [_inverted(block) for block in inner],
        "feature_mix_layer": _conv(last),
        "classifier": classifier,
    }


def _conv(block: Block, use_bn: bool = True) -> dict[str, Any]:
    return {
        "name": "ConvLayer", "kernel_size": block.kernel, "stride": block.stride, "groups": 1, "bias": False,
        "in_channels": block.in_shape[0], "out_channels": block.out_channels, "use_bn": use_bn,
        "act_func": ACTIVATIONS[block.act],
    }  # fmt: skip


def _stem(block: Block) -> dict[str, Any]:
    return {"name": "ResidualBlock", "conv": _conv(block), "shortcut": {}} if block.shortcut else _conv(block)


def _inverted(block: Block) -> dict[str, Any]:
    layer = {
        "name": "MBInvertedConvLayer", "in_channels": block.in_shape[0], "out_channels": block.out_channels,
        "kernel_size": block.kernel, "stride": block.stride, "expand_ratio": 6,
        "mid_channels": block.hidden_channels, "act_func": ACTIVATIONS[block.act], "use_se": block.se,
    }  # fmt: skip
    shortcut = {"name": "IdentityLayer"} if block.shortcut else None
    return {"name": "MobileInvertedResidualBlock", "mobile_inverted_conv": layer, "shortcut": shortcut}


def _bottleneck(block: Block) -> dict[str, Any]:
    return {
        "name": "ResNetBottleneckBlock", "in_channels": block.in_shape[0], "out_channels": block.out_channels,
        "kernel_size": block.kernel, "stride": block.stride, "expand_ratio": 0.25,
        "mid_channels": block.hidden_channels, "act_func": ACTIVATIONS[block.act], "groups": 1,
        "downsample_mode": "avgpool_conv",
    }  # fmt: skip
