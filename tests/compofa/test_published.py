"""Published supernets are read exactly, whatever they are wrapped in, and nothing in them is executed."""

from __future__ import annotations

import argparse
import os
import pickle
from collections import OrderedDict
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from compofa.checkpoint import open_supernet
from compofa.errors import InputError
from compofa.published import from_published, load_published, our_name
from compofa.spaces.arch import extreme
from compofa.spaces.registry import GLYPHS, get_family
from compofa.supernet import Supernet


def randomised(family=GLYPHS, **options):
    """A supernet in which no statistic and no matrix is at its initial value."""
    torch.manual_seed(0)
    net = Supernet(family, **options)
    for name, value in net.state_dict().items():
        if "running" in name or "matrices" in name:
            value.uniform_(0.5, 1.5)
    return net.eval()


@pytest.mark.parametrize("kernel_transform", [True, False])
@torch.no_grad()
def test_a_published_state_gives_the_same_logits(published_names, kernel_transform):
    family = get_family("imagenet-w1.0")
    net = randomised(family, kernel_transform=kernel_transform)
    state = published_names(net)
    assert len(state) == len(net.state_dict())
    assert "blocks.20.mobile_inverted_conv.depth_conv.se.fc.reduce.weight" in state
    newer = {name.replace(".mobile_inverted_conv.", ".conv."): value for name, value in state.items()}
    parallel = {f"module.{name}": value for name, value in state.items()}
    arch = extreme(family, largest=False)
    x = torch.randn(1, 3, 128, 128)
    for names in (state, newer, parallel):
        loaded = from_published(family, names).eval()
        assert loaded.kernel_transform == kernel_transform
        assert torch.equal(loaded(x, arch), net(x, arch))


def test_matrices_are_the_identity_where_the_state_has_none_and_are_wanted(published_names):
    state = published_names(randomised(kernel_transform=False))
    loaded = from_published(GLYPHS, state, kernel_transform=True)
    assert loaded.kernel_transform
    assert torch.equal(loaded.units[0][0].depthwise.matrices["5"], torch.eye(25))
    without = from_published(GLYPHS, published_names(randomised()), kernel_transform=False)
    assert not hasattr(without.units[0][0].depthwise, "matrices")


def test_another_number_of_classes_is_the_states(published_names):
    state = published_names(randomised(replace(GLYPHS, classes=7)))
    assert from_published(GLYPHS, state).family.classes == 7


WRAPPINGS = {
    "state_dict.pth": lambda state, path: torch.save({"state_dict": state, "epoch": 3}, path),
    "model.pt": lambda state, path: torch.save({"model": OrderedDict(state)}, path),
    "plain": lambda state, path: torch.save(state, path),
    "legacy.pth": lambda state, path: torch.save(state, path, _use_new_zipfile_serialization=False),
    "x.safetensors": lambda state, path: save_file({n: v.clone() for n, v in state.items()}, path),
}


@pytest.mark.parametrize("name", WRAPPINGS)
def test_it_may_be_wrapped_as_people_do(published_names, tmp_path, name):
    net = randomised()
    state = {n: v for n, v in published_names(net).items() if not n.endswith("num_batches_tracked")}
    WRAPPINGS[name](state, tmp_path / name)
    loaded, identity = open_supernet(tmp_path / name, "glyphs")
    assert (identity.family, identity.classes, identity.class_names, len(identity.sha256)) == (
        "glyphs",
        62,
        None,
        64,
    )
    expected = net.state_dict()
    for n, value in loaded.state_dict().items():
        assert torch.equal(value, expected[n]), n


def test_without_a_family_it_is_asked_for(published_names, tmp_path):
    torch.save(published_names(randomised()), tmp_path / "x.pth")
    with pytest.raises(InputError, match=r"not a supernet that hwbench wrote.*--family"):
        open_supernet(tmp_path / "x.pth")


def _nan(state):
    state["classifier.linear.bias"][3] = float("nan")


def _negative(state):
    state["first_conv.bn.running_var"][0] = -1.0


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (_nan, "tail.3.linear.bias is not finite"),
        (_negative, "negative variance"),
        (lambda state: state.pop("first_conv.conv.weight"), "it lacks head.0.conv.weight"),
        (lambda state: state.update({"fc.weight": torch.ones(2)}), "unknown tensor 'fc.weight'"),
        (lambda state: state.update({"blocks.x.y": torch.ones(2)}), "unknown tensor"),
        (lambda state: state.update({"blocks.3": torch.ones(2)}), "unknown tensor"),
        (lambda state: state.update({"lr": 0.1}), "'lr' is no plain tensor"),
        (lambda state: state.clear(), "no state dict"),
    ],
)
def test_what_does_not_fit_is_said_in_one_line(published_names, tmp_path, damage, words):
    state = {n: v.clone() for n, v in published_names(randomised()).items()}
    damage(state)
    torch.save(state, tmp_path / "x.pth")
    with pytest.raises(InputError, match=words) as caught:
        load_published(GLYPHS, tmp_path / "x.pth")
    assert "x.pth" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_published_state_of_another_width_is_refused(published_names):
    state = published_names(randomised(get_family("imagenet-w1.2")))
    with pytest.raises(InputError, match=r"not of a imagenet-w1\.0 supernet"):
        from_published(get_family("imagenet-w1.0"), state)
    with pytest.raises(InputError, match="unknown tensor"):
        our_name(GLYPHS, "fc.weight")


class Harmful:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (self.path,)


def test_a_pickled_object_is_named_and_not_made(tmp_path):
    torch.save({"state_dict": {}, "args": argparse.Namespace(lr=1)}, tmp_path / "namespace.pth")
    with pytest.raises(InputError, match=r"argparse\.Namespace.*save the state dict alone"):
        load_published(GLYPHS, tmp_path / "namespace.pth")
    done = tmp_path / "done"
    torch.save({"x": Harmful(str(done))}, tmp_path / "harmful.pth")
    (tmp_path / "plain.pkl").write_bytes(pickle.dumps(Harmful(str(done))))
    for name in ("harmful.pth", "plain.pkl"):
        with pytest.raises(InputError, match=name):
            load_published(GLYPHS, tmp_path / name)
    assert not done.exists()


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"hello", b"\x80\x02}.", b"\0" * 64, b"[" * 5000])
def test_what_is_no_checkpoint_is_refused(tmp_path, content):
    (tmp_path / "x.pth").write_bytes(content)
    with pytest.raises(InputError, match=r"x\.pth"):
        load_published(GLYPHS, tmp_path / "x.pth")


def test_a_flipped_bit_in_a_tensor_is_seen(published_names, tmp_path):
    path = tmp_path / "x.pth"
    state = published_names(randomised())
    torch.save(state, path)
    content = path.read_bytes()
    weight = state["first_conv.conv.weight"].numpy().tobytes()
    at = content.index(weight)
    for offset in np.random.default_rng(0).integers(0, len(weight), 20):
        damaged = bytearray(content)
        damaged[at + offset] ^= 1
        path.write_bytes(damaged)
        with pytest.raises(InputError, match="damaged"):
            load_published(GLYPHS, path)
