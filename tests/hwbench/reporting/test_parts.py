"""Rows of parts say what a subnet costs, as whatever else says it."""

import numpy as np
import pytest

from compofa.network import arch_blocks
from compofa.spaces.layout import decode, encode
from compofa.spaces.registry import get_family
from compofa.spaces.space import get_space
from hwbench.reporting.parts import HEAD, STEM, Parts


@pytest.mark.parametrize("name", ["glyphs", "resnet50d", "proxyless-mobile"])
def test_a_row_names_the_blocks_of_the_network_in_order(name):
    family = get_family(name)
    space = get_space("ofa", family)
    rng = np.random.default_rng(0)
    archs = [space.sample(rng, resolution) for resolution in family.resolutions[:3] for _ in range(5)]
    parts = Parts(family)
    rows = parts.rows(encode(family, archs))
    for arch, row in zip(archs, rows, strict=True):
        named = [parts.parts[number - 1] for number in row if number]
        assert tuple(part.block for part in named) == arch_blocks(family, arch)
        assert {part.resolution for part in named} == {arch.resolution}
        assert named[0].place in (STEM, "unit 1") and named[-1].place == HEAD


def test_choices_are_named_as_in_the_subnets_text():
    family = get_family("glyphs")
    genotypes = encode(family, [get_space("ofa", family).sample(np.random.default_rng(1), 24)])
    parts = Parts(family)
    (row,) = parts.rows(genotypes)
    chosen = [p for p in (parts.parts[n - 1] for n in row if n) if p.place.startswith("unit")]
    words = {}
    for part in chosen:
        words.setdefault(part.place, []).append(part.choice)
    assert "-".join("_".join(of_unit) for of_unit in words.values()) == str(decode(family, genotypes)[0])[4:]


def test_heat_maps_hold_each_choice_at_each_resolution():
    family = get_family("glyphs")
    parts = Parts(family)
    for unit in range(5):
        for numbers in parts.heat(unit).values():
            assert np.shape(numbers) == (9, len(family.resolutions))
            shown = [[parts.parts[n - 1] for n in row] for row in numbers]
            assert [row[0].choice for row in shown] == [f"k{k}e{e}" for e in (3, 4, 6) for k in (3, 5, 7)]
            assert [part.resolution for part in shown[0]] == list(family.resolutions)
