import numpy as np
import pytest
import torch
from PIL import Image

from compofa import glyphs
from compofa.data import load_data


def test_no_face_of_the_test_split_is_trained_on():
    assert not set(glyphs.FACES["train"]) & set(glyphs.FACES["test"])
    assert len(glyphs.FACES["train"]) == 13
    assert len(glyphs.FACES["test"]) == 9


@pytest.mark.parametrize("face", [*glyphs.FACES["train"], *glyphs.FACES["test"]])
def test_every_face_draws_every_character(face):
    rng = np.random.default_rng(0)
    for character in glyphs.CLASSES:
        mask = np.asarray(glyphs._glyph_mask(character, face, rng, 72))
        assert (mask > 128).sum() > 20, character


def test_an_image_depends_on_split_seed_and_index_alone():
    image, label = glyphs.render("train", 0, 7)
    again, _ = glyphs.render("train", 0, 7)
    assert image.shape == (glyphs.SIDE, glyphs.SIDE, 3)
    assert 0 <= label < 62
    np.testing.assert_array_equal(image, again)
    for split, seed, index in (("test", 0, 7), ("train", 1, 7), ("train", 0, 8)):
        assert not np.array_equal(image, glyphs.render(split, seed, index)[0])


def test_load_renders_once_and_then_reads_the_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("HWBENCH_HOME", str(tmp_path))
    images, labels = glyphs.load("test", 12)
    np.testing.assert_array_equal(images[5], glyphs.render("test", 0, 5)[0])
    monkeypatch.setattr(glyphs, "ProcessPoolExecutor", None)
    again, again_labels = glyphs.load("test", 12)
    np.testing.assert_array_equal(images, again)
    np.testing.assert_array_equal(labels, again_labels)


@pytest.mark.parametrize("resolution", [16, 24, 32])
def test_digits_come_at_any_resolution(resolution):
    train, test = load_data("digits", "train"), load_data("digits", "test")
    assert (len(train), len(test), train.classes) == (1437, 360, 10)
    x, y = test.batch(range(8), resolution)
    assert x.shape == (8, 3, resolution, resolution)
    assert x.is_contiguous(memory_format=torch.channels_last)
    assert y.dtype == torch.int64
    torch.testing.assert_close(x, test.batch(range(8), resolution)[0])


def test_augmentation_is_of_the_generator_alone():
    data = load_data("digits", "train")
    one, two, other = (data.batch(range(8), 16, np.random.default_rng(s))[0] for s in (0, 0, 1))
    assert torch.equal(one, two)
    assert not torch.equal(one, other)


def test_imagefolder(tmp_path):
    rng = np.random.default_rng(0)
    for split in ("train", "val"):
        for name in ("ant", "bee"):
            (tmp_path / split / name).mkdir(parents=True)
            for i in range(2):
                pixels = rng.integers(0, 255, (40, 60, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(tmp_path / split / name / f"{i}.png")
    data = load_data(f"imagefolder:{tmp_path}", "test")
    x, y = data.batch([0, 3], 24)
    assert (len(data), data.classes, x.shape, y.tolist()) == (4, 2, (2, 3, 24, 24), [0, 1])
    assert torch.equal(x, data.batch([0, 3], 24)[0])
    train = load_data(f"imagefolder:{tmp_path}", "train")
    assert not torch.equal(*(train.batch([0], 24, np.random.default_rng(s))[0] for s in (0, 1)))


def test_unknown_data_and_empty_folders_are_refused(tmp_path):
    with pytest.raises(ValueError, match="glyphs, digits, imagefolder"):
        load_data("mnist", "train")
    with pytest.raises(ValueError, match="PATH/train"):
        load_data(f"imagefolder:{tmp_path}", "train")
    (tmp_path / "train").mkdir()
    with pytest.raises(ValueError, match="no images"):
        load_data(f"imagefolder:{tmp_path}", "train")
