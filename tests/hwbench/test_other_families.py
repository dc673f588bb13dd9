"""ProxylessNAS's and ResNet50D's kind from training to a deployed subnet, small."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from commands import build_lut, describe, evaluate, pareto, search, specialize, train

from compofa.blocks import total_macs
from compofa.checkpoint import open_supernet
from compofa.network import arch_blocks
from compofa.published import from_published, to_published
from compofa.spaces.arch import Arch
from compofa.spaces.registry import get_family
from compofa.spaces.space import get_space

RECIPE = """
family = "{family}"
data = "digits"
batch_size = 32
epoch_scale = 0.002
distill = 0.0

[[stage]]
name = "all"
epochs = 20
base_lr = 0.5
lr_images = 2048
warmup_epochs = 0
subnets_per_step = 2
depths = {depths}
sort_hidden = true
"""


@pytest.fixture(scope="module", params=["glyphs-proxyless", "glyphs-resnet"])
def trained(request, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    """A supernet, some steps old, and its folder."""
    folder = tmp_path_factory.mktemp("trained")
    family = get_family(request.param)
    (folder / "r.toml").write_text(RECIPE.format(family=family.name, depths=list(family.all_depths)))
    assert (
        train.main(["--recipe", str(folder / "r.toml"), "--out", str(folder / "run"), "--threads", "1"]) == 0
    )
    return family.name, folder / "run" / "supernet.safetensors"


def test_from_a_supernet_to_a_deployed_subnet(trained: tuple[str, Path], tmp_path: Path, capsys) -> None:
    name, supernet = trained
    family = get_family(name)
    lut, accuracies = tmp_path / "t.jsonl", tmp_path / "own.accuracy.jsonl"
    assert build_lut.main(["--backend", "fpga", "--family", name, "--out", str(lut)]) == 0
    assert (
        evaluate.main(
            ["--supernet", str(supernet), "--space", "ofa", "--sample", "3", "--out", str(accuracies)]
        )
        == 0
    )
    rows = [json.loads(line) for line in accuracies.read_text().splitlines()[1:]]
    archs = [Arch.parse(row["arch"]) for row in rows]
    assert len(set(archs)) == 3 and all(get_space("ofa", family).contains(arch) for arch in archs)
    capsys.readouterr()
    where = ["--lut", str(lut), "--out", str(tmp_path / "deployed")]
    assert specialize.main(["--supernet", str(supernet), "--arch", rows[0]["arch"], *where]) == 0
    assert (tmp_path / "deployed").is_dir() and list((tmp_path / "deployed").glob("*.onnx"))


def test_its_published_form_is_evaluated_alike(trained: tuple[str, Path], tmp_path: Path) -> None:
    name, supernet = trained
    opened = open_supernet(supernet).supernet
    (tmp_path / "archs").write_text(str(get_space("ofa", opened.family).sample(np.random.default_rng(0), 16)))
    counts = []
    for spelling in (None, "compofa"):
        path, given = supernet, []
        if spelling:
            path, given = tmp_path / f"{spelling}.pth", ["--family", name, "--data", "digits"]
            torch.save({"state_dict": to_published(opened, spelling)}, path)
        out = tmp_path / f"{spelling}.accuracy.jsonl"
        wanted = ["--space", "ofa", "--archs", str(tmp_path / "archs"), "--out", str(out)]
        assert evaluate.main(["--supernet", str(path), *given, *wanted]) == 0
        counts.append(json.loads(out.read_text().splitlines()[1])["correct"])
    assert counts[0] == counts[1]
    newer = from_published(get_family(name), to_published(opened, "once-for-all"))
    assert all(
        torch.equal(one, other) for one, other in zip(*(n.parameters() for n in (newer, opened)), strict=True)
    )


@pytest.mark.parametrize("name", ["proxyless-w1.3", "resnet50d"])
def test_published_families_are_searched_and_drawn_by_macs_and_memory(
    name: str, tmp_path: Path, capsys
) -> None:
    """With accuracies of one's own: what they are is not the question here."""
    family = get_family(name)
    lut, accuracies = tmp_path / "t.jsonl", tmp_path / "a.csv"
    assert (
        build_lut.main(["--backend", "fpga", "--family", name, "--resolutions", "160,224", "--out", str(lut)])
        == 0
    )
    space, rng = get_space("ofa", family), np.random.default_rng(0)
    with open(accuracies, "w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["arch", "accuracy"])
        for side in (160, 224):
            for _ in range(150):
                arch = space.sample(rng, side)
                macs = total_macs(arch_blocks(family, arch)) / 1e9
                rows.writerow([str(arch), f"{0.5 + 0.3 * macs / (1 + macs):.4f}"])
    capsys.readouterr()
    given = ["--family", name, "--lut", str(lut), "--accuracy", str(accuracies)]
    most = 0.4 if "proxyless" in name else 1.5
    assert search.main(["--space", "ofa", *given, "--max-macs", str(1000 * most), "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)["results"]
    found = arch_blocks(family, Arch.parse(row["arch"]))
    assert 0.8 * most < total_macs(found) / 1e9 <= most
    assert pareto.main(["--space", "ofa", *given, "--out", str(tmp_path / "p.png")]) == 0
    assert describe.main([row["arch"], "--family", name, "--lut", str(lut), "--json"]) == 0
