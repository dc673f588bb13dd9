"""What OFA's tables call a block: ``expanded_conv-input:112x112x24-output:56x56x32-expand:144-kernel:3-...``."""

from __future__ import annotations

from collections.abc import Sequence

from compofa.blocks import Block, check_kind
from compofa.errors import InputError
from compofa.spaces.family import Family
from compofa.spaces.space import get_space

KINDS = {"pool": "AvgPool2D", "mix": "Conv_2", "linear": "Logits", "pool_linear": "Logits"}
"""What the layout calls some kinds of blocks; of convolutions and inverted residuals it says more."""


def ofa_key(block: Block, proxyless: bool = False) -> str:
    """The name of `block` in an OFA table.

    The 1x1 convolution before the pool is told from the stem by its kernel.

    Args:
        block: of a network of MobileNetV3's kind, or of ProxylessNAS's.
        proxyless: in ProxylessNAS's table, where ``expand`` is the ratio and nothing is said of SE and activations.
    """
    check_kind("OFA's layout of tables", block, ("conv", "mbconv", *KINDS))
    kind = KINDS.get(block.kind)
    kind = kind or ("expanded_conv" if block.kind == "mbconv" else "Conv" if block.kernel > 1 else "Conv_1")
    output = str(block.out_channels) if kind == "Logits" else _shape(block.out_shape)
    key = f"{kind}-input:{_shape(block.in_shape)}-output:{output}"
    if block.kind != "mbconv":
        return key
    expand = f"{block.hidden_channels / block.in_shape[0]:g}" if proxyless else f"{block.hidden_channels}"
    key = f"{key}-expand:{expand}-kernel:{block.kernel}-stride:{block.stride}-idskip:{block.shortcut:d}"
    return key if proxyless else f"{key}-se:{block.se:d}-hs:{block.act == 'hswish':d}"


def keys_of(family: Family, resolutions: Sequence[int] | None = None) -> dict[str, Block]:
    """Every block of `family`, by its name in an OFA table; none where the layout has no place for some.

    Raises:
        InputError: two blocks have one name.
    """
    found: dict[str, Block] = {}
    for block in get_space("ofa", family).all_blocks(resolutions):
        try:
            key = ofa_key(block, family.published == "proxyless")
        except InputError:
            return {}
        if found.setdefault(key, block) != block:
            raise InputError(
                f"OFA's layout of tables tells {block} and {found[key]} of {family.name} not apart"
            )
    return found


def _shape(shape: tuple[int, int, int]) -> str:
    channels, height, width = shape
    return f"{height}x{width}x{channels}"
