import numpy as np
import pytest
import torch
from torch import nn

from compofa.arch import InvalidArch, extreme
from compofa.families import GLYPHS, get_family
from compofa.layers import ElasticDepthwise
from compofa.spaces import get_space
from compofa.supernet import Supernet


def scrambled(family=GLYPHS, seed=0, **options):
    """A supernet in which no two channels are alike and no BN or matrix is at its initial value."""
    torch.manual_seed(seed)
    net = Supernet(family, **options)
    with torch.no_grad():
        for name, tensor in net.state_dict().items():
            if name.endswith("running_var") or ("bn.weight" in name):
                tensor.uniform_(0.5, 1.5)
            elif "bn" in name and tensor.ndim == 1:
                tensor.normal_(0, 0.1)
            elif "matrices" in name:
                tensor.add_(0.05 * torch.randn_like(tensor))
    return net.eval()


@pytest.mark.parametrize(("name", "params"), [("imagenet-w1.0", 7_678_880), ("imagenet-w1.2", 10_715_752)])
def test_parameters_are_the_reference_supernets(name, params):
    assert sum(p.numel() for p in Supernet(get_family(name)).parameters()) == params


@pytest.mark.parametrize("kernel_transform", [True, False])
@torch.no_grad()
def test_forward_and_extract_agree(kernel_transform):
    net = scrambled(kernel_transform=kernel_transform)
    space = get_space("ofa", GLYPHS)
    rng = np.random.default_rng(0)
    for arch in [extreme(GLYPHS, True), extreme(GLYPHS, False), *(space.sample(rng) for _ in range(20))]:
        x = torch.randn(2, 3, arch.resolution, arch.resolution)
        logits = net(x, arch)
        assert logits.std() > 1e-3
        torch.testing.assert_close(logits, net.extract(arch).eval()(x), rtol=1e-5, atol=1e-5)


def test_a_subnet_trains_only_its_own_weights():
    net = scrambled().train()
    arch = extreme(GLYPHS, largest=False)
    net(torch.randn(4, 3, 16, 16), arch).sum().backward()
    block = net.units[0][0]
    hidden = block.hidden(3)
    assert block.expand_weight.grad[:hidden].abs().sum() > 0
    assert block.expand_weight.grad[hidden:].abs().sum() == 0
    assert net.units[0][3].expand_weight.grad is None


def test_smaller_kernels_are_the_centre_until_matrices_are_learned():
    conv = ElasticDepthwise(8, (3, 5, 7), 1, kernel_transform=True)
    nn.init.normal_(conv.weight)
    torch.testing.assert_close(conv.active_weight(5, 3), conv.weight[:5, :, 2:5, 2:5])
    # a smaller kernel goes through both matrices, one after the other
    with torch.no_grad():
        conv.matrices["5"].mul_(2)
        conv.matrices["3"].mul_(3)
    torch.testing.assert_close(conv.active_weight(8, 3), 6 * conv.weight[:, :, 2:5, 2:5])
    torch.testing.assert_close(conv.active_weight(8, 5), 2 * conv.weight[:, :, 1:6, 1:6])
    assert sum(p.numel() for p in conv.matrices.values()) == 706


@torch.no_grad()
def test_sorting_keeps_the_largest_subnet_and_orders_importance():
    net = scrambled().double()  # so that the order of summation does not show
    x, arch = torch.randn(2, 3, 32, 32, dtype=torch.float64), extreme(GLYPHS, largest=True)
    before = net(x, arch)
    net.sort_hidden()
    torch.testing.assert_close(net(x, arch), before)
    importance = net.units[2][1].project_weight.abs().sum((0, 2, 3))
    assert (importance.diff() <= 0).all()


@torch.no_grad()
def test_sorting_keeps_what_was_trained_before():
    net = scrambled()
    narrow = get_space("ofa", GLYPHS).sample(np.random.default_rng(1))
    narrow = type(narrow)(32, tuple(tuple((k, 4) for k, _ in unit) for unit in narrow.units))
    x = torch.randn(2, 3, 32, 32)
    no_se = net.units[0][1]
    before = no_se(torch.ones(1, 8, 8, 8), 5, 4)
    net.sort_hidden(keep_expands=(4,))
    torch.testing.assert_close(no_se(torch.ones(1, 8, 8, 8), 5, 4), before, rtol=1e-4, atol=1e-5)
    assert net(x, narrow).isfinite().all()


def test_a_foreign_subnet_is_refused():
    with pytest.raises(InvalidArch, match="resolution"):
        scrambled()(torch.zeros(1, 3, 32, 32), extreme(GLYPHS, True, 33))
