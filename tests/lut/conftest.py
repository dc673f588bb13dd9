"""A table of the whole glyphs family whose latencies are a known function of the block."""

from __future__ import annotations

import pytest

from backends.base import Measurement, Target
from compofa.blocks import Block
from compofa.spaces.registry import GLYPHS
from compofa.spaces.space import get_space
from lut.header import Header
from lut.table import Table


def true_ms(block: Block) -> float:
    """0.01 ms a block and 1 GMAC/s."""
    return 0.01 + block.macs / 1e6


@pytest.fixture(scope="session")
def table() -> Table:
    header = Header(Target("none", "nowhere"), "glyphs", "ofa", GLYPHS.resolutions, "2026")
    blocks = get_space("ofa", GLYPHS).all_blocks()
    return Table(
        header, {b: Measurement("modelled", true_ms(b), true_ms(b), true_ms(b), cycles=1) for b in blocks}
    )
