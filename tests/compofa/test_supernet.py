import numpy as np
import pytest
import torch
from torch import nn

from compofa.blocks import Block
from compofa.errors import InputError
from compofa.spaces.arch import InvalidArch, extreme
from compofa.spaces.registry import GLYPHS, get_family
from compofa.spaces.space import get_space
from compofa.supernet import Supernet
from compofa.supernet.elastic import ElasticBlock


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


@pytest.mark.parametrize(
    ("name", "params"),
    [
        ("imagenet-w1.0", 7_678_880),
        ("imagenet-w1.2", 10_715_752),
        ("proxyless-w1.3", 7_956_882),
        ("resnet50d", 48_105_992),
    ],
)
def test_parameters_are_the_reference_supernets(name, params):
    assert sum(p.numel() for p in Supernet(get_family(name)).parameters()) == params


@pytest.mark.parametrize("kernel_transform", [True, False])
@pytest.mark.parametrize("name", ["glyphs", "glyphs-proxyless", "glyphs-resnet"])
@torch.no_grad()
def test_forward_and_extract_agree(name, kernel_transform):
    family = get_family(name)
    net = scrambled(family, kernel_transform=kernel_transform)
    space = get_space("ofa", family)
    rng = np.random.default_rng(0)
    for arch in [extreme(family, True), extreme(family, False), *(space.sample(rng) for _ in range(20))]:
        x = torch.randn(2, 3, arch.resolution, arch.resolution)
        logits = net(x, arch)
        assert logits.std() > 1e-3
        torch.testing.assert_close(logits, net.extract(arch).eval()(x), rtol=1e-5, atol=1e-5)


def test_a_subnet_trains_only_its_own_weights():
    net = scrambled().train()
    arch = extreme(GLYPHS, largest=False)
    net(torch.randn(4, 3, 16, 16), arch).sum().backward()
    gradient, hidden = net.units[0][0].expand.conv.weight.grad, 24
    assert gradient[:hidden].abs().sum() > 0
    assert gradient[hidden:].abs().sum() == 0
    assert net.units[0][3].expand.conv.weight.grad is None


def test_smaller_kernels_are_the_centre_until_matrices_are_learned():
    whole, five, three = (Block("mbconv", (8, 8, 8), 8, 32, kernel) for kernel in (7, 5, 3))
    narrow = Block("mbconv", (8, 8, 8), 8, 24, 3)
    block = ElasticBlock(whole, (five, three, narrow))
    weight = block.depthwise.conv.weight

    def active(smaller):
        return block.active_kernel(next(op for op in smaller.operations if op.name == "depthwise"))

    torch.testing.assert_close(active(narrow), weight[:24, :, 2:5, 2:5])
    # a smaller kernel goes through both matrices, one after the other
    with torch.no_grad():
        block.depthwise.matrices["5"].mul_(2)
        block.depthwise.matrices["3"].mul_(3)
    torch.testing.assert_close(active(three), 6 * weight[:, :, 2:5, 2:5])
    torch.testing.assert_close(active(five), 2 * weight[:, :, 1:6, 1:6])
    assert sum(p.numel() for p in block.depthwise.matrices.values()) == 706
    with pytest.raises(InputError, match="made of different operations"):
        ElasticBlock(whole, (Block("mbconv", (8, 8, 8), 8, 8, 3),))  # ratio 1 has no expand convolution


@pytest.mark.parametrize("name", ["glyphs-proxyless", "glyphs-resnet", "glyphs"])
@torch.no_grad()
def test_sorting_keeps_the_largest_subnet_and_orders_importance(name):
    family = get_family(name)
    net = scrambled(family).double()  # so that the order of summation does not show
    x, arch = torch.randn(2, 3, 32, 32, dtype=torch.float64), extreme(family, largest=True)
    before = net(x, arch)
    net.sort_hidden()
    torch.testing.assert_close(net(x, arch), before)
    if name == "glyphs-resnet":
        last = net.units[3][1].expand.conv.weight
        middle = net.units[3][1].spatial.conv.weight
        assert all((w.abs().sum((0, 2, 3)).diff() <= 0).all() for w in (last, middle))
        return
    importance = net.units[2][1].project.conv.weight.abs().sum((0, 2, 3))
    assert (importance.diff() <= 0).all()


@torch.no_grad()
def test_sorting_keeps_what_was_trained_before():
    net = scrambled()
    narrow = get_space("ofa", GLYPHS).sample(np.random.default_rng(1))
    narrow = type(narrow)(32, tuple(tuple((k, 4) for k, _ in unit) for unit in narrow.units))
    x = torch.randn(2, 3, 32, 32)
    no_se = net.units[0][1]
    block = Block("mbconv", (8, 8, 8), 8, 32, 5, act="relu", shortcut=True)
    before = no_se(torch.ones(1, 8, 8, 8), block)
    net.sort_hidden(keep_expands=(4,))
    torch.testing.assert_close(no_se(torch.ones(1, 8, 8, 8), block), before, rtol=1e-4, atol=1e-5)
    assert net(x, narrow).isfinite().all()


def test_a_foreign_subnet_is_refused():
    with pytest.raises(InvalidArch, match="total stride of 16"):
        scrambled()(torch.zeros(1, 3, 32, 32), extreme(GLYPHS, True, 12))


def test_norms_go_by_their_own_mode() -> None:
    """As training's validation and synchronised BN set it, module by module."""
    net = scrambled().eval()
    x, arch = torch.randn(8, 3, 32, 32), extreme(GLYPHS, largest=False)
    by_running = net(x, arch)
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.train()
    by_batch = net(x, arch)
    assert (by_batch - by_running).abs().max() > 1e-3
    torch.testing.assert_close(net(x, arch), by_batch)
