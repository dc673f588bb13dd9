"""Arrays over genotypes give what adding up blocks gives, a million times a second."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from compofa.spaces.layout import encode, layout
from compofa.spaces.registry import GLYPHS
from compofa.spaces.space import get_space
from lut.lookup import MissingEntry
from lut.table import Table


@given(seed=st.integers(0, 2**32), name=st.sampled_from(["ofa", "compofa", "compofa-elastic"]))
def test_the_arrays_give_the_sum_of_the_blocks(table: Table, seed: int, name: str) -> None:
    space = get_space(name, GLYPHS)
    rng = np.random.default_rng(seed)
    archs = [space.sample(rng) for _ in range(5)]
    expected = [table.latency_ms(space.blocks(arch)) for arch in archs]
    np.testing.assert_allclose(table.predict(encode(GLYPHS, archs)), expected, rtol=1e-12)


def test_every_subnet_of_compofa_is_answered_for(table: Table) -> None:
    genotypes = get_space("compofa", GLYPHS).enumerate_genotypes()
    latency = table.predict(genotypes)
    assert latency.shape == (243 * len(GLYPHS.resolutions),)
    assert (latency > 0).all()


def random_genotypes(count: int) -> np.ndarray:
    rng = np.random.default_rng(0)
    genotypes = rng.integers(0, 10, (count, 1 + layout(GLYPHS).slots), dtype=np.int16)
    genotypes[:, 0] = rng.integers(0, len(GLYPHS.resolutions), count)
    return genotypes


def test_chunks_join_without_a_seam(table: Table) -> None:
    genotypes = random_genotypes(10_000)
    one_by_one = np.concatenate([table.predict(genotypes[i : i + 7]) for i in range(0, 10_000, 7)])
    np.testing.assert_array_equal(table.predict(genotypes), one_by_one)
    assert table.predict(genotypes[:0]).shape == (0,)


def test_a_missing_entry_is_named_not_summed(table: Table) -> None:
    space = get_space("ofa", GLYPHS)
    arch = space.sample(np.random.default_rng(1), GLYPHS.resolutions[1])
    lost = space.blocks(arch)[5]
    partial = replace(table, entries={b: m for b, m in table.entries.items() if b != lost})
    with pytest.raises(MissingEntry, match=f"1 of the subnets.*at {GLYPHS.resolutions[1]} px, {lost}"):
        partial.predict(encode(GLYPHS, [arch]))


def test_a_resolution_that_is_not_in_the_table_is_named(table: Table) -> None:
    known = set(get_space("ofa", GLYPHS).all_blocks(GLYPHS.resolutions[1:3]))
    partial = replace(table, entries={b: m for b, m in table.entries.items() if b in known})
    genotypes = get_space("compofa", GLYPHS).enumerate_genotypes()
    lost = 243 * (len(GLYPHS.resolutions) - 2)
    with pytest.raises(MissingEntry, match=f"{lost} of the subnets.*at {GLYPHS.resolutions[0]} px"):
        partial.predict(genotypes)


@pytest.mark.parametrize(("column", "value"), [(0, -1), (0, len(GLYPHS.resolutions)), (3, -1), (3, 10)])
def test_what_is_no_genotype_is_refused(table: Table, column: int, value: int) -> None:
    genotypes = random_genotypes(3)
    genotypes[1, column] = value
    with pytest.raises(ValueError, match="out of range"):
        table.predict(genotypes)
    with pytest.raises(ValueError, match=r"shape \(n, 21\)"):
        table.predict(genotypes[:, :-1])
