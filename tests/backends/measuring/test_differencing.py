"""Differences of networks give back what blocks cost inside a network."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.base import Network
from backends.measuring.differencing import (
    SMALLEST,
    Plan,
    context_of,
    held_bytes,
    neighbour,
    parts,
    working_bytes,
)
from compofa.blocks import Block, check_chain
from compofa.spaces.registry import FAMILIES, get_family
from compofa.spaces.space import get_space

KEEPS = Block("mbconv", (16, 8, 8), 16, 64, kernel=5, se=True, act="hswish", shortcut=True)
SHRINKS = Block("mbconv", (16, 8, 8), 24, 64, kernel=3, stride=2, act="relu")
STEM = Block("conv", (3, 32, 32), 16, kernel=3, stride=2, act="hswish")
POOL = Block("pool", (96, 4, 4), 96)
CLASSIFIER = Block("linear", (128, 1, 1), 10)


@pytest.mark.parametrize("name", FAMILIES)
def test_the_two_networks_differ_by_copies_of_the_block_alone(name: str) -> None:
    family = get_family(name)
    for block in get_space("ofa", family).all_blocks(family.resolutions[:1]):
        context = context_of(block)
        check_chain(context.longer)
        check_chain(context.shorter)
        rest = list(context.longer)
        for other in context.shorter:
            rest.remove(other)
        assert rest == [block] * context.copies, block
        assert len(context.shorter) >= 1


def test_a_block_that_keeps_its_shape_follows_itself() -> None:
    context = context_of(KEEPS, copies=3)
    assert (context.longer, context.shorter) == ((KEEPS,) * 6, (KEEPS,) * 3)


@pytest.mark.parametrize("block", [SHRINKS, POOL, CLASSIFIER], ids=str)
def test_a_block_that_changes_the_shape_comes_after_neighbours(block: Block) -> None:
    context = context_of(block)
    assert context.longer == (*context.shorter, block)
    assert all(n.in_shape == n.out_shape == block.in_shape for n in context.shorter)


def test_the_stem_comes_before_neighbours() -> None:
    context = context_of(STEM)
    assert context.longer == (STEM, *context.shorter)
    assert all(n.in_shape == STEM.out_shape for n in context.shorter)


def time_ms(network: Network, call: float, border: float, each: dict[Block, float]) -> float:
    """A device on which a run, each hand-over and each block have their price."""
    return call + border * len(list(pairwise(network))) + sum(each[block] for block in network)


@given(
    call=st.floats(0, 10),
    border=st.floats(0, 1),
    costs=st.lists(st.floats(0.01, 5), min_size=5, max_size=5),
    copies=st.integers(1, 6),
)
def test_costs_are_the_block_and_its_border_but_not_the_call(
    call: float, border: float, costs: list[float], copies: int
) -> None:
    blocks = (KEEPS, SHRINKS, STEM, POOL, CLASSIFIER)
    plan = Plan(blocks, copies)
    each = dict(zip(blocks, costs, strict=True))
    each |= {n: 1.0 for network in plan.networks for n in network if n not in each}
    longer, shorter, alone = (
        np.array([[time_ms(network, call, border, each)] * 2 for network in networks])
        for networks in zip(*plan.triples, strict=True)
    )
    expected = np.array([[cost + border] * 2 for cost in costs])
    np.testing.assert_allclose(plan.costs(longer, shorter), expected, rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(alone, np.array([[call + cost] * 2 for cost in costs]))


def test_drift_from_round_to_round_cancels() -> None:
    """A device that is 30 % slower in one round: subtracting medians would mix the rounds."""
    speed = np.array([[1.0, 1.3, 1.0]])
    np.testing.assert_allclose(Plan((KEEPS,), copies=4).costs(8 * speed, 4 * speed), speed)


def test_a_cost_is_never_negative() -> None:
    assert (Plan((KEEPS,)).costs(np.zeros((1, 3)), np.ones((1, 3))) == SMALLEST).all()


def test_blocks_share_networks() -> None:
    other = Block("mbconv", (16, 8, 8), 24, 96, kernel=3, stride=2, act="relu")
    plan = Plan((SHRINKS, other))
    assert len(plan.networks) == 5  # the neighbours once, two with a block behind, two blocks alone
    neighbours = (neighbour((16, 8, 8)),) * 2
    assert plan.of(neighbours) == (SHRINKS, other)
    assert plan.of((SHRINKS,)) == (SHRINKS,)


@given(st.lists(st.integers(0, 50), max_size=20), st.integers(1, 100))
def test_parts_hold_everything_once_in_order_and_fit(sizes: list[int], limit: int) -> None:
    cuts = parts(sizes, limit)
    assert [size for cut in cuts for size in sizes[cut]] == sizes
    for cut in cuts:
        assert sum(sizes[cut]) <= limit or len(sizes[cut]) == 1


def test_memory_held_is_weights_input_and_output() -> None:
    values = CLASSIFIER.params + 3 * (128 + 10)
    assert held_bytes((CLASSIFIER,), batch=3, element_bytes=2) == 2 * values


def test_memory_at_work_is_that_of_the_largest_layer() -> None:
    network = (KEEPS, SHRINKS, Block("pool", (24, 4, 4), 24))
    assert working_bytes(network, batch=5, element_bytes=2) == 2 * 2 * 5 * 64 * 8 * 8
