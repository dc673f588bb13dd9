"""What a network is made of: blocks, each of which is its operations."""

from compofa.blocks.block import ACTIVATIONS, Block, check_chain, check_kind, total_macs, total_params
from compofa.blocks.kinds import KINDS, make_divisible

__all__ = [
    "ACTIVATIONS",
    "KINDS",
    "Block",
    "check_chain",
    "check_kind",
    "make_divisible",
    "total_macs",
    "total_params",
]
