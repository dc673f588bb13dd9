"""A golden set is what was frozen, whole and without leaks, or it is refused."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from compofa.network import arch_blocks
from compofa.spaces.arch import Arch
from compofa.spaces.registry import FAMILIES
from compofa.spaces.space import get_space, spaces_of
from hwbench.gating.golden import (
    MANIFEST,
    MIN_SUBNETS,
    GoldenSet,
    building_key,
    check_halves,
    load,
    probes,
    read_manifest,
)

SHIPPED = Path(__file__).parents[2] / "golden"


def change_manifest(folder: Path, change) -> None:
    content = json.loads((folder / MANIFEST).read_text())
    change(content)
    (folder / MANIFEST).write_text(json.dumps(content))


def test_shipped_sets_cover_several_resolutions_and_widths() -> None:
    sets = [load(SHIPPED, entry) for entry in read_manifest(SHIPPED).values()]
    assert {golden.table.family.name for golden in sets} == {"glyphs", "imagenet-w1.0", "imagenet-w1.2"}
    for golden in sets:
        assert golden.table.origin == "measured"
        assert len(golden.table.header.resolutions) >= 2
        for half in (golden.training, golden.test):
            assert {arch.resolution for arch in half.archs} == set(golden.table.header.resolutions)
            assert half.first_ms != half.second_ms  # so that the repeatability is known
        assert golden.entry.about["measured_with"][0].startswith("hwbench build_lut --backend onnxruntime")
    assert sum(path.stat().st_size for path in SHIPPED.iterdir()) < 500_000


@pytest.mark.parametrize("suffix", ["jsonl", "train.json", "test.json"])
def test_a_changed_file_is_refused_by_name(folder: Path, suffix: str) -> None:
    (entry,) = read_manifest(folder).values()
    path = folder / f"imagenet-w1.2.{suffix}"
    path.write_bytes(path.read_bytes().replace(b"5", b"6", 1))
    with pytest.raises(ValueError, match=rf"imagenet-w1\.2\.{suffix} is not the file that was frozen"):
        load(folder, entry)
    path.unlink()
    with pytest.raises(FileNotFoundError):
        load(folder, entry)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda c: c.update(format="x"), "not a manifest"),
        (lambda c: c.update(schema=2), "schema 2"),
        (lambda c: c.update(sets=[]), "not a manifest of golden sets, or a damaged one"),
        (lambda c: c["sets"].update({"../x": {}}), "cannot be called '../x'"),
        (lambda c: c["sets"]["imagenet-w1.2"].pop("limits"), "it lacks 'limits'"),
        (lambda c: c["sets"]["imagenet-w1.2"]["limits"].update(speed=1), "damaged one"),
        (lambda c: c["sets"]["imagenet-w1.2"].update(files={"a": "b"}), "must have the files"),
        *(
            (
                lambda c, v=value: c["sets"]["imagenet-w1.2"]["limits"].update(mape_pct=v),
                "mape_pct in limits is from 0",
            )
            for value in (-1, 101, 1e308, True, None, "5", [5], 10**400)
        ),
        (
            lambda c: c["sets"]["imagenet-w1.2"]["limits"].update(spearman=-2),
            "spearman in limits is from -1 to 1",
        ),
        (
            lambda c: c["sets"]["imagenet-w1.2"]["margins"].update(spearman=-0.1),
            "spearman in margins is from 0 to 1",
        ),
        (
            lambda c: c["sets"]["imagenet-w1.2"]["margins"].update(bias_pct=-0.1),
            "bias_pct in margins is from 0 to",
        ),
    ],
)
def test_a_broken_manifest_is_refused(folder: Path, change, says: str) -> None:
    change_manifest(folder, change)
    with pytest.raises(ValueError, match=rf"golden\.json: .*{says}"):
        read_manifest(folder)


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b"[]", b"3"])
def test_what_is_no_manifest_is_refused(folder: Path, content: bytes) -> None:
    (folder / MANIFEST).write_bytes(content)
    with pytest.raises(ValueError, match=r"golden\.json"):
        read_manifest(folder)


def test_the_digest_covers_files_and_limits(folder: Path) -> None:
    (entry,) = read_manifest(folder).values()
    file = next(iter(entry.files))
    assert entry.digest != replace(entry, limits=replace(entry.limits, mape_pct=99)).digest
    assert entry.digest != replace(entry, files={**entry.files, file: "0"}).digest


# --- halves ---


def test_halves_that_share_a_subnet_are_refused(golden: GoldenSet) -> None:
    test = golden.test
    arch = golden.training.archs[0]
    turned = replace(arch, units=tuple((unit[0], *reversed(unit[1:])) for unit in arch.units))
    leaking = replace(test, archs=(turned, *test.archs[1:]))
    with pytest.raises(ValueError, match="1 subnets of the test half are made of the same blocks"):
        check_halves(golden.training, leaking)


def test_halves_that_are_too_small_are_refused(golden: GoldenSet) -> None:
    few = MIN_SUBNETS - 1
    small = replace(
        golden.test,
        archs=golden.test.archs[:few],
        first_ms=golden.test.first_ms[:few],
        second_ms=golden.test.second_ms[:few],
    )
    with pytest.raises(ValueError, match="the test half has 19 subnets, fewer than 20"):
        check_halves(golden.training, small)


def test_microseconds_are_taken_for_what_they_are(golden: GoldenSet) -> None:
    first, second = (
        tuple(1000 * ms for ms in times) for times in (golden.test.first_ms, golden.test.second_ms)
    )
    with pytest.raises(ValueError, match="are both in milliseconds"):
        check_halves(golden.training, replace(golden.test, first_ms=first, second_ms=second))


@given(seed=st.integers(0, 2**32), family=st.sampled_from(sorted(FAMILIES)))
def test_the_key_is_equal_exactly_when_the_blocks_are(seed: int, family: str) -> None:
    rng = np.random.default_rng(seed)
    space = get_space("ofa", FAMILIES[family])
    arch = space.sample(rng)

    def blocks(arch: Arch) -> Counter:
        return Counter(arch_blocks(space.family, arch))

    shuffled = replace(
        arch,
        units=tuple((unit[0], *(unit[1:][i] for i in rng.permutation(len(unit) - 1))) for unit in arch.units),
    )
    other = space.sample(rng, arch.resolution)
    assert building_key(shuffled) == building_key(arch)
    assert blocks(shuffled) == blocks(arch)
    if other.resolution == arch.resolution:
        assert (building_key(other) == building_key(arch)) == (blocks(other) == blocks(arch))


@pytest.mark.parametrize(
    ("name", "family"),
    [(space.name, family) for family in sorted(FAMILIES) for space in spaces_of(FAMILIES[family])],
)
def test_probes_have_every_block_of_their_space(name: str, family: str) -> None:
    space = get_space(name, FAMILIES[family])
    resolutions = space.family.resolutions[:2]
    found = probes(space, resolutions)
    assert all(space.contains(arch) for arch in found)
    assert {block for arch in found for block in space.blocks(arch)} == set(space.all_blocks(resolutions))
    assert len(found) <= (27 if "resnet" in family else 9) * len(resolutions)
