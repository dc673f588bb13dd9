"""Couplings: as many and as large as told, CompOFA's among them."""

from __future__ import annotations

import math

import pytest

from compofa.errors import InputError
from compofa.spaces.couplings import count_couplings, couplings
from compofa.spaces.layout import encode
from compofa.spaces.registry import GLYPHS, get_family
from compofa.spaces.space import Space, get_space

PROXYLESS = get_family("glyphs-proxyless")


@pytest.mark.parametrize("family", [GLYPHS, PROXYLESS], ids=lambda family: family.name)
@pytest.mark.parametrize("fixed", [False, True])
def test_there_are_as_many_as_told_and_none_twice(family, fixed: bool) -> None:
    found = list(couplings(family, fixed))
    assert len(found) == len(set(found)) == count_couplings(family, fixed)
    assert len({coupling.describe(family) for coupling in found}) == len(found)


@pytest.mark.parametrize("family", [GLYPHS, PROXYLESS], ids=lambda family: family.name)
def test_the_first_is_compofas_own(family) -> None:
    own, compofa = Space(family, next(couplings(family))), get_space("compofa", family)
    assert set(own.enumerate()) == set(compofa.enumerate())


def test_each_is_as_large_and_holds_what_it_says() -> None:
    whole = get_space("ofa", GLYPHS)
    every = list(couplings(GLYPHS))
    for coupling in every[:: math.ceil(len(every) / 12)]:
        space = Space(GLYPHS, coupling)
        archs = list(space.enumerate((GLYPHS.resolutions[0],)))
        assert len(set(archs)) == len(archs) == get_space("compofa", GLYPHS).size()
        assert all(whole.contains(arch) for arch in archs)
        assert len(space.enumerate_genotypes()) == len(archs) * len(GLYPHS.resolutions)
        axes = [axis.name for axis in GLYPHS.elastic_units[0].axes]
        for arch in archs[:20]:
            for unit, blocks, kernel in zip(
                GLYPHS.elastic_units, arch.units, coupling.fixed_values, strict=True
            ):
                ratio = unit.axis("expand").values[coupling.ranks[unit.depths.index(len(blocks))]]
                assert {tuple(block) for block in blocks} == {
                    tuple({"kernel": kernel, "expand": ratio}[name] for name in axes)
                }
        assert encode(GLYPHS, archs[:1]).shape[0] == 1


def test_a_family_that_cannot_be_coupled_is_refused() -> None:
    with pytest.raises(InputError, match="says nothing of widths"):
        next(couplings(get_family("glyphs-resnet")))
