"""Costs that follow from networks alone, held against the networks themselves; and what all costs have in common."""

from __future__ import annotations

import numpy as np
import pytest

from compofa.blocks import total_macs, total_params
from compofa.spaces.layout import encode
from compofa.spaces.registry import family_names, get_family
from compofa.spaces.space import get_space
from lut.calibration import load_model
from lut.costs import BYTES, COUNTED, CostModel, macs, memory_mb, params, peak_memory


@pytest.mark.parametrize("name", family_names())
def test_counted_costs_are_those_of_the_network(name: str) -> None:
    family = get_family(name)
    space, rng = get_space("ofa", family), np.random.default_rng(0)
    archs = [space.sample(rng) for _ in range(10)]
    networks = [space.blocks(arch) for arch in archs]
    genotypes = encode(family, archs)
    np.testing.assert_allclose(macs(family).predict(genotypes), [total_macs(n) / 1e6 for n in networks])
    np.testing.assert_allclose(params(family).predict(genotypes), [total_params(n) / 1e6 for n in networks])
    for precision, batch in (("fp32", 1), ("int8", 8)):
        expected = [max(memory_mb(block, precision, batch) for block in network) for network in networks]
        np.testing.assert_allclose(peak_memory(family, precision, batch).predict(genotypes), expected)
    hungriest = max(block.peak_activations for block in networks[0])
    assert peak_memory(family).predict(genotypes[:1])[0] == pytest.approx(hungriest * BYTES["fp32"] / 1e6)


def all_costs() -> list[CostModel]:
    from hwbench import shipped

    family = get_family("glyphs")
    return [load_model(shipped.reference_table("glyphs")), *(make(family) for make in COUNTED.values())]


@pytest.mark.parametrize("cost", all_costs(), ids=lambda cost: cost.name)
def test_every_cost_keeps_the_protocol(cost: CostModel) -> None:
    space = get_space("compofa", cost.family)
    genotypes = space.enumerate_genotypes()
    found = cost.predict(genotypes)
    assert found.shape == (len(genotypes),) and (found > 0).all() and np.isfinite(found).all()
    lookup = cost.as_lookup()
    if lookup is not None:
        np.testing.assert_allclose(lookup.predict(genotypes), found)
    assert cost.resolutions_in(space) == cost.family.resolutions
    assert cost.failures_in(space) == {} and cost.unknown_in(space) is None
    assert cost.unit in cost.label and cost.name.endswith(cost.unit.lower())
    assert cost.provenance and cost.of and isinstance(cost.describe(None), dict)
