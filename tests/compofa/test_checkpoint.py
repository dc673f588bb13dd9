"""Supernets on disk: what they say of themselves, and that damage is seen."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from compofa.checkpoint import CHECKSUM, METADATA, load_supernet, open_supernet, save_supernet
from compofa.errors import InputError, RunFailed
from compofa.identity import SupernetIdentity, differences
from compofa.spaces.arch import extreme
from compofa.spaces.registry import GLYPHS
from compofa.supernet import Supernet

SMALL = replace(GLYPHS, classes=2)


@pytest.fixture
def saved(tmp_path):
    """An untrained supernet's file."""
    torch.manual_seed(0)
    provenance = {
        "recipe": {"name": "r", "data": "digits"},
        "data": "digits-train",
        "class_names": ["cat", "dog"],
        "teacher_sha256": "f" * 64,
        "precision": "fp32",
    }
    save_supernet(Supernet(SMALL, kernel_transform=False), tmp_path / "s.safetensors", provenance)
    return tmp_path / "s.safetensors"


def rewritten(path, change_header=lambda header: None, change_state=lambda state: None, checksum=False):
    """The file again, without its checksum or with the one of before, after changes."""
    with safe_open(path, "pt") as file:
        metadata = file.metadata()
    header, state = json.loads(metadata[METADATA]), load_file(path)
    change_header(header)
    change_state(state)
    kept = {CHECKSUM: metadata[CHECKSUM]} if checksum else {}
    save_file(state, path, metadata={METADATA: json.dumps(header), **kept})


def test_round_trip(saved):
    loaded, provenance = load_supernet(saved)
    torch.manual_seed(0)
    net = Supernet(SMALL, kernel_transform=False)
    assert provenance["recipe"]["name"] == "r"
    state = loaded.state_dict()
    assert all(torch.equal(value, state[name]) for name, value in net.state_dict().items())
    # with matrices, which start as the identity: the same function
    with_matrices, _ = load_supernet(saved, kernel_transform=True)
    x, arch = torch.randn(1, 3, 16, 16), extreme(GLYPHS, largest=False)
    torch.testing.assert_close(with_matrices.eval()(x, arch), net.eval()(x, arch), rtol=1e-5, atol=1e-5)


def test_it_says_what_it_is(saved):
    _, identity = open_supernet(saved)
    assert identity == SupernetIdentity(
        identity.sha256, "glyphs", 2, ("cat", "dog"), "r", "digits-train", "digits", "f" * 64, "fp32", "plain"
    )
    assert differences(identity, replace(identity, classes=3, class_names=None)) == ["classes: 2, not 3"]


def test_an_old_file_says_less(saved):
    def forget(header):
        header["provenance"] = {"recipe": {"name": "r", "data": "digits"}, "data": "digits-train"}

    rewritten(saved, forget)
    _, identity = open_supernet(saved)
    assert (identity.recipe, identity.data_source, identity.class_names) == ("r", "digits", None)


def test_every_flipped_bit_is_seen(saved):
    content = saved.read_bytes()
    rng = np.random.default_rng(0)
    begin = int.from_bytes(content[:8], "little") + 8
    places = [*rng.integers(0, begin, 150), *rng.integers(begin, len(content), 50)]
    for place in places:
        damaged = bytearray(content)
        damaged[place] ^= 1 << rng.integers(8)
        saved.write_bytes(damaged)
        with pytest.raises(InputError):
            open_supernet(saved)


@pytest.mark.parametrize("size", [0, 5, 1000, -1])
def test_a_cut_file_is_refused(saved, size):
    saved.write_bytes(saved.read_bytes()[:size])
    with pytest.raises(InputError, match=r"s\.safetensors"):
        open_supernet(saved)


def set_to(**fields):
    return lambda header: header.update(fields)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (set_to(schema=3), "schema 3, this version reads 1 and 2"),
        (set_to(family="resnet"), "unknown family"),
        (set_to(family=[1]), "not a supernet that this version reads"),
        (set_to(classes="2"), "classes is '2'"),
        (set_to(classes=10**30), "classes is 1000"),
        (set_to(classes=3), "does not fit glyphs of 3 classes"),
        (set_to(family="imagenet-w1.0"), "does not fit imagenet-w1.0"),
        (set_to(kernel_transform=1), "wrong type"),
        (set_to(provenance=[]), "wrong type"),
        (lambda header: header.pop("classes"), "'classes' is missing"),
    ],
)
def test_a_header_that_is_not_sound_is_refused(saved, change, words):
    rewritten(saved, change)
    with pytest.raises(InputError, match=words):
        open_supernet(saved)


def test_provenance_may_be_anything(saved):
    rewritten(saved, set_to(provenance={"recipe": 3, "class_names": ["a"], "precision": [1]}))
    identity = open_supernet(saved)[1]
    assert (identity.recipe, identity.class_names, identity.precision) == (None, None, None)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_what_is_not_finite_is_neither_written_nor_read(saved, tmp_path, value):
    net = Supernet(SMALL)
    net.tail[0].bn.running_mean[0] = value
    with pytest.raises(RunFailed, match="is not finite"):
        save_supernet(net, tmp_path / "x.safetensors", {})
    assert not (tmp_path / "x.safetensors").exists()
    rewritten(saved, change_state=lambda state: state["tail.3.linear.bias"].fill_(value))
    with pytest.raises(InputError, match=r"tail\.3\.linear\.bias is not finite"):
        open_supernet(saved)


def test_tensors_that_are_missing_or_of_another_shape_are_named(saved):
    rewritten(saved, change_state=lambda state: state.pop("tail.3.linear.weight"))
    with pytest.raises(InputError, match=r"tail\.3\.linear\.weight"):
        open_supernet(saved)
    rewritten(saved, change_state=lambda state: state.update({"tail.3.linear.weight": torch.ones(2, 3)}))
    with pytest.raises(InputError, match=r"weight has the shape \[2, 3\], not \[2, 192\]"):
        open_supernet(saved)


def test_another_content_under_the_same_checksum_is_refused(saved):
    rewritten(saved, change_state=lambda state: state["tail.3.linear.bias"].add_(1e-6), checksum=True)
    with pytest.raises(InputError, match="damaged"):
        open_supernet(saved)


@pytest.mark.parametrize("content", [b"", b"hello", b"\0" * 100])
def test_a_file_that_is_no_supernet_is_refused(tmp_path, content):
    (tmp_path / "x.safetensors").write_bytes(content)
    with pytest.raises(InputError, match="not a supernet"):
        load_supernet(tmp_path / "x.safetensors")


def test_our_own_of_another_family_is_refused(saved):
    with pytest.raises(InputError, match=r"of glyphs, not of imagenet-w1\.0"):
        open_supernet(saved, "imagenet-w1.0")
