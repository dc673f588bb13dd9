import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from compofa.spaces.arch import InvalidArch, extreme
from compofa.spaces.layout import decode, encode
from compofa.spaces.registry import FAMILIES, GLYPHS
from compofa.spaces.space import get_space


@given(st.sampled_from(list(FAMILIES.values())), st.integers(0, 2**32))
def test_genotypes_decode_to_the_subnets_that_they_encode(family, seed):
    rng = np.random.default_rng(seed)
    archs = [get_space("ofa", family).sample(rng) for _ in range(3)]
    assert decode(family, encode(family, archs)) == archs


def test_broken_genotypes_are_refused():
    row = encode(GLYPHS, [extreme(GLYPHS, largest=True)])
    for column, value in ((0, 99), (1, 0), (1, 99), (0, -1)):
        broken = row.copy()
        broken[0, column] = value
        with pytest.raises(InvalidArch):
            decode(GLYPHS, broken)
