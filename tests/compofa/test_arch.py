import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from compofa.blocks import total_params
from compofa.network import arch_blocks
from compofa.spaces.arch import Arch, InvalidArch, extreme
from compofa.spaces.registry import FAMILIES, GLYPHS, get_family
from compofa.spaces.space import get_space


@given(st.sampled_from(list(FAMILIES.values())), st.integers(0, 2**32))
def test_a_subnets_text_reads_back(family, seed):
    arch = get_space("ofa", family).sample(np.random.default_rng(seed))
    assert Arch.parse(str(arch)) == arch


@pytest.mark.parametrize(("name", "params"), [("imagenet-w1.0", 7_664_760), ("imagenet-w1.2", 10_701_632)])
def test_largest_subnet_has_the_published_parameters(name, params):
    family = get_family(name)
    # the published supernets' 7,678,880 and 10,715,752 less 20 x 706 for the kernel matrices
    assert total_params(arch_blocks(family, extreme(family, largest=True))) == params


@pytest.mark.parametrize(
    "text",
    [
        "",
        "hello",
        "r32",
        "r32-k3e3",
        "r15-k3e3_k3e3-k3e3_k3e3-k3e3_k3e3-k3e3_k3e3-k3e3_k3e3",
        "r32-k4e3_k3e3-k3e3_k3e3-k3e3_k3e3-k3e3_k3e3-k3e3_k3e3",
        "r32-k3e5_k3e3-k3e3_k3e3-k3e3_k3e3-k3e3_k3e3-k3e3_k3e3",
        "r32-k3e3-k3e3_k3e3-k3e3_k3e3-k3e3_k3e3-k3e3_k3e3",
    ],
)
def test_what_is_no_subnet_is_refused(text):
    with pytest.raises(InvalidArch):
        arch_blocks(GLYPHS, Arch.parse(text))
