import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from compofa.blocks import check_chain
from compofa.families import FAMILIES, GLYPHS, get_family
from compofa.genotype import decode
from compofa.spaces import SPACES, get_space

families = st.sampled_from(list(FAMILIES.values()))
spaces = st.builds(get_space, st.sampled_from(SPACES), families)


@st.composite
def subnets(draw):
    space = draw(spaces)
    return space, space.sample(np.random.default_rng(draw(st.integers(0, 2**32))))


def test_sizes_are_the_papers():
    family = get_family("imagenet-w1.0")
    assert get_space("ofa", family).size() == (9**2 + 9**3 + 9**4) ** 5
    assert get_space("compofa", family).size() == 243
    assert get_space("compofa-elastic", family).size() == (3**2 + 3**3 + 3**4) ** 5


@given(subnets())
def test_samples_belong_to_their_space_and_to_ofas(drawn):
    space, arch = drawn
    assert space.contains(arch)
    assert get_space("ofa", space.family).contains(arch)


@given(subnets())
def test_blocks_form_a_chain_of_the_spaces_blocks(drawn):
    space, arch = drawn
    blocks = space.blocks(arch)
    check_chain(blocks)
    assert blocks[0].in_shape == (3, arch.resolution, arch.resolution)
    assert blocks[-1].out_shape == (space.family.classes, 1, 1)
    assert set(blocks) <= set(space.all_blocks([arch.resolution]))


@given(subnets(), st.integers(0, 2**32), st.floats(0, 1))
def test_mutants_stay_in_the_space(drawn, seed, probability):
    space, arch = drawn
    assert space.contains(space.mutate(arch, np.random.default_rng(seed), probability))


def test_mutation_changes_nothing_at_probability_0_and_much_at_1():
    space = get_space("ofa", GLYPHS)
    rng = np.random.default_rng(0)
    arch = space.sample(rng)
    assert space.mutate(arch, rng, 0.0) == arch
    assert all(space.mutate(arch, rng, 1.0) != arch for _ in range(20))


def test_enumeration_is_whole_and_distinct():
    space = get_space("compofa", GLYPHS)
    archs = list(space.enumerate())
    assert len(archs) == len(set(archs)) == 243 * len(GLYPHS.resolutions)
    assert all(map(space.contains, archs))
    assert decode(GLYPHS, space.enumerate_genotypes()) == archs


def test_a_small_elastic_space_has_the_size_it_says():
    family = dataclasses.replace(
        GLYPHS, units=GLYPHS.units[:1], depths=(2, 3), kernels=(3, 5), expands=(3, 4)
    )
    space = get_space("ofa", family)
    assert len(set(space.enumerate([16]))) == space.size() == 4**2 + 4**3


def test_every_block_of_a_small_space_is_listed_and_none_else():
    space = get_space("compofa", GLYPHS)
    used = {block for arch in space.enumerate([32]) for block in space.blocks(arch)}
    assert used == set(space.all_blocks([32]))


def test_unknown_names_list_those_there_are():
    with pytest.raises(ValueError, match="ofa, compofa, compofa-elastic"):
        get_space("nas", GLYPHS)
    with pytest.raises(ValueError, match=r"glyphs, imagenet-w1\.0"):
        get_family("resnet")
