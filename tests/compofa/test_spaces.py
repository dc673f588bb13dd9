import numpy as np
import pytest
from cut_families import cut
from hypothesis import given, settings
from hypothesis import strategies as st

from compofa.blocks import check_chain
from compofa.errors import InputError
from compofa.network import arch_blocks
from compofa.spaces.layout import decode
from compofa.spaces.registry import FAMILIES, GLYPHS, get_family
from compofa.spaces.space import SPACES, get_space, spaces_of

spaces = st.sampled_from([space for family in FAMILIES.values() for space in spaces_of(family)])


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


def test_enumeration_is_whole_and_distinct():
    space = get_space("compofa", GLYPHS)
    archs = list(space.enumerate())
    assert len(archs) == len(set(archs)) == 243 * len(GLYPHS.resolutions)
    assert all(map(space.contains, archs))
    assert decode(GLYPHS, space.enumerate_genotypes()) == archs


def test_a_small_elastic_space_has_the_size_it_says():
    family = cut(GLYPHS, units=1, depths=(2, 3), kernel=(3, 5), expand=(3, 4))
    space = get_space("ofa", family)
    assert len(set(space.enumerate([16]))) == space.size() == 4**2 + 4**3


def test_every_block_of_a_small_space_is_listed_and_none_else():
    space = get_space("compofa", GLYPHS)
    used = {block for arch in space.enumerate([32]) for block in space.blocks(arch)}
    assert used == set(space.all_blocks([32]))


def test_unknown_names_list_those_there_are():
    with pytest.raises(ValueError, match="ofa, compofa, compofa-elastic"):
        get_space("nas", GLYPHS)
    with pytest.raises(ValueError, match=r"imagenet-w1\.0, imagenet-w1\.2"):
        get_family("resnet")


# --- families with other choices ---


@pytest.mark.parametrize(
    ("depths", "expands", "coupled"),
    [
        ((2, 3, 4), (3, 4, 6), ((2, 3), (3, 4), (4, 6))),
        ((1, 2), (2, 8), ((1, 2), (2, 8))),
        ((3,), (5,), ((3, 5),)),
        ((1, 2, 3, 5), (2, 3, 4, 6), ((1, 2), (2, 3), (3, 4), (5, 6))),
    ],
)
def test_the_coupling_is_of_the_familys_own_choices(depths, expands, coupled):
    family = cut(GLYPHS, depths=depths, expand=expands)
    for name in ("compofa", "compofa-elastic"):
        space = get_space(name, family)
        arch = space.sample(np.random.default_rng(0))
        assert all((len(unit), e) in coupled for unit in arch.units for _, e in unit)
        assert get_space("ofa", family).contains(arch)
    assert get_space("compofa", family).size() == len(depths) ** len(family.elastic_units)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"depths": (2, 3)}, r"2 depths \(2, 3\) and 3 expand ratios \(3, 4, 6\)"),
        ({"kernel": (3,)}, r"fixes the kernel of unit 2 to 5, which is not among the kernels \(3,\)"),
    ],
)
def test_a_rule_that_the_family_has_no_choices_for_is_refused(changes, message):
    family = cut(GLYPHS, **changes)
    with pytest.raises(InputError, match=message):
        get_space("compofa", family)
    assert get_space("ofa", family).size() > 0


def test_widths_are_not_coupled():
    with pytest.raises(InputError, match="says nothing of widths, which family resnet50d has to choose, too"):
        get_space("compofa-elastic", get_family("resnet50d"))


# --- blocks that cannot run ---

TINY = cut(GLYPHS, units=2, resolutions=(16, 20), depths=(1, 2), kernel=(3, 5), expand=(3, 4))
WIDE = cut(FAMILIES["glyphs-resnet"], units=3, resolutions=(16, 20), depths=(1, 2), expand=(0.2, 0.35))


@given(
    name=st.sampled_from([*SPACES, "wide"]),
    seed=st.integers(0, 2**32),
    share=st.sampled_from([0, 0.1, 0.3, 0.6]),
)
@settings(max_examples=20, deadline=None)
def test_a_space_without_some_blocks_is_what_is_left_of_it(name, seed, share):
    family = WIDE if name == "wide" else TINY
    whole, rng = get_space("ofa" if name == "wide" else name, family), np.random.default_rng(seed)
    space = whole.without(b for b in whole.all_blocks() if rng.random() < share)
    left = [a for a in whole.enumerate() if space.forbidden.isdisjoint(arch_blocks(family, a))]
    assert list(space.enumerate()) == left
    decoded = decode(family, space.enumerate_genotypes())
    assert len(decoded) == len(left) and set(decoded) == set(left)
    assert [a for a in whole.enumerate() if space.contains(a)] == left
    assert space.count() == len(left) and whole.count() == whole.size() * len(family.resolutions)
    assert list(space.resolutions) == sorted({a.resolution for a in left})
    assert set(space.all_blocks()) == {b for a in left for b in arch_blocks(family, a)}
    if left:
        drawn = {space.sample(rng) for _ in range(20)}
        assert drawn <= set(left)
    else:
        with pytest.raises(InputError, match="can run"):
            space.sample(rng, family.resolutions[0])
