"""Images made ahead by worker processes, and what happens where they cannot be read."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from multiprocessing import active_children
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from compofa.data import Augmentation, Augmenter, ImageData, Pixels, load_data, photographs
from compofa.data.base import NORMALISATIONS, Indices
from compofa.data.decode import decode, decode_varied
from compofa.data.loading import BatchSpec, default_workers, load
from compofa.data.part import Part
from compofa.errors import InputError, RunFailed
from compofa.recipe import Recipe
from compofa.training import feed
from compofa.training.trainer import Trainer

ROOT = Path(__file__).parents[2]
REFERENCE = Augmentation(0.08, 4 / 3, 32 / 255, 0.5)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two classes of twelve JPEGs of 200 x 150 pixels, smooth as photographs are."""
    path = tmp_path_factory.mktemp("photographs")
    for n in range(24):
        coarse = np.random.default_rng(n).integers(0, 256, (6, 8, 3), dtype=np.uint8)
        image = Image.fromarray(coarse).resize((200, 150), Image.Resampling.BICUBIC)
        for split in ("train", "val"):
            where = path / split / ("ant" if n % 2 else "bee") / f"{n}.jpg"
            where.parent.mkdir(parents=True, exist_ok=True)
            image.save(where, quality=92)
    return path


def specs(batches: int) -> list[BatchSpec]:
    return [
        BatchSpec([n, n + 8, 23 - n], 32 + 8 * (n % 2), Augmenter(REFERENCE, 1, n)) for n in range(batches)
    ]


STOPS_IN_THE_MIDDLE = """
import sys
from compofa.data import load_data
from compofa.data.loading import BatchSpec, load
batches = load(load_data(sys.argv[1], "val"), [BatchSpec([n], 32) for n in range(9)], 1)
next(batches)
"""


def test_a_program_that_stops_in_the_middle_ends(folder):
    """Its workers ignore SIGTERM, which multiprocessing sends them at the end, to wait for them then."""
    command = [sys.executable, "-c", STOPS_IN_THE_MIDDLE, f"imagefolder:{folder}"]
    done = subprocess.run(
        command, env=os.environ | {"PYTHONPATH": str(ROOT)}, timeout=60, capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_workers_make_what_one_process_makes_in_the_same_order(folder):
    data = load_data(f"imagefolder:{folder}", "train")
    alone = list(load(data, specs(7), 0))
    before = torch.random.get_rng_state()
    together = list(load(data, specs(7), 2))
    assert torch.equal(torch.random.get_rng_state(), before)
    for one, other in zip(alone, together, strict=True):
        assert one.images.dtype == torch.uint8 and torch.equal(one.images, other.images)
        assert torch.equal(one.labels, other.labels)


def test_a_signal_to_all_processes_is_left_to_the_parent(folder):
    data = load_data(f"imagefolder:{folder}", "train")
    with closing(load(data, specs(9), workers=1)) as batches:
        next(batches)
        (worker,) = active_children()
        os.kill(worker.pid, signal.SIGTERM)
        assert len(list(batches)) == 8
    worker.join(20)
    assert worker.exitcode == 0


def test_processes_that_read_leave_a_core_and_share_the_machine(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(96)), raising=False)
    assert default_workers() == 95
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "8")
    assert default_workers() == 11
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0})
    assert default_workers() == 1


class Bad(ImageData):
    """Of which the second batch is what is wrong."""

    name, class_names = "bad", ("a", "b")

    def __len__(self) -> int:
        return 2

    def pixels(self, indices: Indices, resolution: int, augmenter: Augmenter | None = None) -> Pixels:
        if indices[0] == 1:
            raise InputError("x.png cannot be read as an image: why not")
        if indices[0] == 2:
            os.kill(os.getpid(), signal.SIGKILL)
        return Pixels(torch.zeros(1, 3, 2, 2), torch.zeros(1))


def test_what_goes_wrong_in_a_worker_is_said_in_one_line():
    batches = load(Bad(), [BatchSpec([0], 2), BatchSpec([1], 2)], 1)
    assert len(next(batches).labels) == 1
    with pytest.raises(InputError, match=r"^x\.png cannot be read as an image: why not$"):
        next(batches)
    assert not active_children()  # at once, whoever still holds the error and its frames
    with pytest.raises(RunFailed, match="a process that reads images ended"):
        list(load(Bad(), [BatchSpec([2], 2)], 1))


# --- augmentation ---


def test_crops_have_the_area_and_the_shape_that_were_asked_for():
    rng = np.random.default_rng(0)
    boxes = np.array([REFERENCE.crop((400, 300), rng) for _ in range(800)])
    width, height = boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1]
    area, ratio = width * height / (400 * 300), width / height
    assert 0.08 <= area.min() < 0.11 and 0.9 < area.max() <= 1
    assert 0.75 <= ratio.min() < 0.77 and 1.31 < ratio.max() <= 4 / 3 + 1e-9
    assert boxes.min() >= 0 and boxes[:, 2].max() <= 400 and boxes[:, 3].max() <= 300


def test_where_no_crop_fits_the_middle_is_taken():
    for size, side in (((3000, 100), 400 / 3), ((100, 3000), 100)):
        left, top, right, bottom = Augmentation(0.9, 4 / 3).crop(size, np.random.default_rng(0))
        assert right - left == pytest.approx(side)
        assert (left + right, top + bottom) == pytest.approx(size)


def test_colours_change_as_much_as_was_asked_for():
    grey = Image.new("RGB", (4, 4), (100, 100, 100))
    values = [
        np.asarray(REFERENCE.recolour(grey, np.random.default_rng(seed)))[0, 0].tolist()
        for seed in range(300)
    ]
    assert all(len(set(value)) == 1 for value in values)  # saturation leaves grey grey
    assert 87 <= min(values)[0] < 89 and 111 < max(values)[0] <= 113
    red = Image.new("RGB", (4, 4), (200, 50, 50))
    spread = [
        int(np.ptp(np.asarray(Augmentation(saturation=0.5).recolour(red, np.random.default_rng(seed)))))
        for seed in range(300)
    ]
    assert 75 <= min(spread) < 90 and 190 < max(spread) <= 226
    assert Augmentation().recolour(red, np.random.default_rng(0)) is red


def test_images_are_varied_one_by_one(folder):
    """The same image at two places of a batch comes out the same, beside others or not; two are cropped differently."""
    data = load_data(f"imagefolder:{folder}", "train")
    x = data.pixels([3, 5, 3], 32, Augmenter(REFERENCE, 0, 0)).images
    assert torch.equal(x[0], x[2])
    assert torch.equal(x[1], data.pixels([5], 32, Augmenter(REFERENCE, 0, 0)).images[0])
    boxes = {REFERENCE.crop((200, 150), Augmenter(REFERENCE, 0, 0).rng(n)) for n in range(24)}
    assert len(boxes) == 24


def test_a_jpeg_that_is_decoded_to_a_part_shows_the_same(tmp_path):
    """Against the same picture as a PNG, of which all pixels are decoded."""
    coarse = np.random.default_rng(0).integers(0, 256, (9, 12, 3), dtype=np.uint8)
    image = Image.fromarray(coarse).resize((1200, 900), Image.Resampling.BICUBIC)
    image.save(tmp_path / "x.jpg", quality=95)
    image.save(tmp_path / "x.png")
    for seed in range(6):
        one, other = (
            decode_varied(tmp_path / name, 64, REFERENCE, np.random.default_rng(seed)).astype(int)
            for name in ("x.jpg", "x.png")
        )
        assert np.abs(one - other).mean() < 4


def test_a_photograph_is_normalised_as_imagenets_are(folder):
    data = load_data(f"imagefolder:{folder}", "test")
    raw = decode(data.folder / data.files[0], 32).astype(np.float64) / 255
    expected = (raw - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
    np.testing.assert_allclose(data.batch([0], 32)[0][0].permute(1, 2, 0), expected, atol=1e-5)
    plain = load_data(f"imagefolder:{folder}", "test", normalisation="plain")
    np.testing.assert_allclose(
        plain.batch([0], 32)[0][0].permute(1, 2, 0), (255 * raw - 127.5) / 64, atol=1e-5
    )
    assert set(NORMALISATIONS) == {"plain", "imagenet"}


def test_a_part_of_a_data_set_is_those_images():
    digits = load_data("digits", "test")
    part = Part(digits, [5, 2, 9])
    assert (len(part), part.classes, part.name) == (3, 10, "3 of digits-test")
    for one, other in zip(part.batch([0, 2], 16), digits.batch([5, 9], 16), strict=True):
        assert torch.equal(one, other)


# --- broken images ---


def broken(folder: Path, files: Sequence[str], path: Path) -> ImageData:
    """The training split with some files cut in two."""
    import shutil

    shutil.copytree(folder, path)
    for file in files:
        where = path / "train" / file
        where.write_bytes(where.read_bytes()[:300])
    return load_data(f"imagefolder:{path}", "train")


def test_in_training_another_image_stands_in_for_a_broken_one(folder, tmp_path):
    data = broken(folder, ["ant/1.jpg", "bee/22.jpg"], tmp_path / "data")
    first, last = data.files.index("ant/1.jpg"), data.files.index("bee/22.jpg")
    found = data.pixels([first, last, 3], 32, Augmenter(REFERENCE, 0, 0))
    assert found.broken == ("ant/1.jpg", "bee/22.jpg")
    after_last = (last + 1) % len(data)
    assert found.labels.tolist() == data.labels[[first + 1, after_last, 3]].tolist()
    whole = load_data(f"imagefolder:{folder}", "train")
    assert torch.equal(found.images[2], whole.pixels([3], 32, Augmenter(REFERENCE, 0, 0)).images[0])
    with pytest.raises(InputError, match=r"ant/1\.jpg cannot be read"):
        data.pixels([first], 32)


def test_a_folder_where_nothing_can_be_read_is_refused(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(photographs, "MOST_BROKEN", 5)
    names = [f"{'ant' if n % 2 else 'bee'}/{n}.jpg" for n in range(24)]
    data = broken(folder, names, tmp_path / "data")
    with pytest.raises(
        InputError, match=r"5 images one after the other cannot be read, such as: .*jpg cannot"
    ):
        data.pixels([0], 32, Augmenter(REFERENCE, 0, 0))


def test_training_counts_and_names_broken_images_and_ends_where_they_are_many(folder, tmp_path, monkeypatch):
    data = broken(folder, ["ant/1.jpg"], tmp_path / "data")
    recipe = replace(
        Recipe.load("digits-teacher"), data=f"imagefolder:{tmp_path}/data", batch_size=8, epoch_scale=3 / 540
    )
    trainer = Trainer(recipe, data, tmp_path / "run", data_workers=1)
    with pytest.warns(UserWarning, match=r"ant/1\.jpg cannot be read as an image: another takes its place"):
        trainer.run()
    assert (trainer.total_steps(), trainer.cost.broken) == (3, 1)  # one epoch
    assert 0 < trainer.cost.wait_s < trainer.cost.wall_s
    monkeypatch.setattr(feed, "MOST_BROKEN", 0)
    with pytest.raises(InputError, match=r"1 images of .* could not be read, the last one ant/1\.jpg"):
        Trainer(recipe, data, tmp_path / "another", data_workers=1).run()
