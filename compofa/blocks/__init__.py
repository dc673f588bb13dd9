"""What a network is made of: blocks, each of which is its operations."""

from compofa.blocks.block import (
    ACTIVATIONS,
    Block,
    check_chain,
    check_kind,
    check_operations,
    total_macs,
    total_params,
)
from compofa.blocks.kinds import KINDS, make_divisible, register_kind

__all__ = [
    "ACTIVATIONS",
    "KINDS",
    "Block",
    "check_chain",
    "check_kind",
    "check_operations",
    "make_divisible",
    "register_kind",
    "total_macs",
    "total_params",
]
