import shutil

import numpy as np
import pytest
import torch
from PIL import Image

from compofa import glyphs
from compofa.data import Augmentation, Augmenter, absolute_name, is_there, load_data
from compofa.data.decode import decode, decode_varied
from compofa.errors import InputError


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


@pytest.mark.parametrize(
    "damage", [lambda content: content[:-9], lambda content: b"x", lambda content: _flip(content)]
)
def test_a_damaged_cache_is_rendered_anew(tmp_path, monkeypatch, damage):
    monkeypatch.setenv("HWBENCH_HOME", str(tmp_path))
    images, _ = glyphs.load("test", 3)
    (cache,) = (tmp_path / "data").iterdir()
    cache.write_bytes(damage(cache.read_bytes()))
    np.testing.assert_array_equal(glyphs.load("test", 3)[0], images)


def _flip(content):
    damaged = bytearray(content)
    damaged[2000] ^= 1
    return bytes(damaged)


@pytest.mark.parametrize("resolution", [16, 24, 32])
def test_digits_come_at_any_resolution(resolution):
    train, test = load_data("digits", "train"), load_data("digits", "test")
    assert (len(train), len(test), train.classes) == (1437, 360, 10)
    x, y = test.batch(range(8), resolution)
    assert x.shape == (8, 3, resolution, resolution)
    assert x.is_contiguous(memory_format=torch.channels_last)
    assert y.dtype == torch.int64
    torch.testing.assert_close(x, test.batch(range(8), resolution)[0])


PLAIN = Augmentation()


def test_augmentation_is_of_seed_epoch_and_image_alone():
    data = load_data("digits", "train")
    one, two, other, later = (
        data.batch(range(8), 16, Augmenter(PLAIN, *of))[0] for of in ((0, 0), (0, 0), (1, 0), (0, 1))
    )
    assert torch.equal(one, two)
    assert not any(torch.equal(a, b) for a, b in ((one, other), (one, later), (other, later)))


def test_a_share_of_a_batch_is_that_part_of_the_whole():
    data = load_data("digits", "train")
    whole, labels = data.batch(range(7), 16, Augmenter(PLAIN, 3, 5))
    for rank in range(3):
        share = slice(rank, None, 3)
        x, y = data.batch(range(7)[share], 16, Augmenter(PLAIN, 3, 5))
        assert torch.equal(x, whole[share])
        assert torch.equal(y, labels[share])


# --- folders of images ---


def save_image(path, size=(60, 40), seed=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 255, (size[1], size[0], 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)


@pytest.fixture
def folder(tmp_path):
    """Two classes of two images, for training and for testing."""
    for split in ("train", "val"):
        for n, name in enumerate(("ant", "bee", "ant", "bee")):
            save_image(tmp_path / split / name / f"{n}.png", seed=n)
    return tmp_path


def test_imagefolder(folder):
    data = load_data(f"imagefolder:{folder}", "test")
    x, y = data.batch([0, 3], 24)
    assert (len(data), data.class_names, x.shape, y.tolist()) == (4, ("ant", "bee"), (2, 3, 24, 24), [0, 1])
    assert torch.equal(x, data.batch([0, 3], 24)[0])
    train = load_data(f"imagefolder:{folder}", "train")
    assert not torch.equal(*(train.batch([0], 24, Augmenter(PLAIN, 0, epoch))[0] for epoch in (0, 1)))
    whole = train.batch([0, 1, 2, 3], 24, Augmenter(PLAIN, 0, 0))[0]
    assert torch.equal(train.batch([1, 3], 24, Augmenter(PLAIN, 0, 0))[0], whole[1::2])


def test_a_folder_is_the_same_wherever_it_lies(folder, tmp_path_factory):
    moved = tmp_path_factory.mktemp("m") / "moved"
    before = load_data(f"imagefolder:{folder}", "train").identity
    shutil.copytree(folder, moved)
    assert load_data(f"imagefolder:{moved}", "train").identity == before
    save_image(moved / "train" / "ant" / "new.png")
    assert load_data(f"imagefolder:{moved}", "train").identity != before


def test_labels_are_those_of_the_given_names(folder):
    data = load_data(f"imagefolder:{folder}", "test", ("bee", "ant"))
    assert data.class_names == ("bee", "ant")
    expected = {
        file.split("/")[0]: label for file, label in zip(data.files, data.labels.tolist(), strict=True)
    }
    assert expected == {"bee": 0, "ant": 1}


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (("ant", "cat"), "val lacks the class 'cat' and has the class 'bee', which training did not have"),
        (("ant", "bee", "cat"), "val lacks the class 'cat'"),
        (("ant",), "val has the class 'bee', which training did not have"),
        (tuple("abcdef"), r"val lacks 6 classes \('a', 'b', 'c' ...\) and has 2 classes"),
    ],
)
def test_a_split_of_other_classes_is_refused_by_name(folder, names, words):
    with pytest.raises(InputError, match=words):
        load_data(f"imagefolder:{folder}", "test", names)


@pytest.mark.parametrize("name", [".ipynb_checkpoints", "__MACOSX", "@eaDir", ".git"])
def test_a_folder_that_programs_leave_behind_is_no_class(folder, name):
    save_image(folder / "train" / name / "1.png")
    with pytest.raises(InputError, match=f"{name} is no class"):
        load_data(f"imagefolder:{folder}", "train")


def test_a_class_without_images_is_refused_by_name(folder):
    (folder / "train" / "cat").mkdir()
    (folder / "train" / "cat" / "notes.txt").write_text("none yet")
    (folder / "train" / "cat" / "._1.png").write_text("what macOS keeps beside 1.png")
    with pytest.raises(InputError, match="cat holds no images"):
        load_data(f"imagefolder:{folder}", "train")


def test_one_class_is_none(folder):
    shutil.rmtree(folder / "train" / "ant")
    with pytest.raises(InputError, match="two or more"):
        load_data(f"imagefolder:{folder}", "train")


def test_unknown_data_and_empty_folders_are_refused(tmp_path):
    with pytest.raises(InputError, match="glyphs, digits, imagefolder"):
        load_data("mnist", "train")
    with pytest.raises(InputError, match="PATH/train"):
        load_data(f"imagefolder:{tmp_path}", "train")
    (tmp_path / "train").mkdir()
    with pytest.raises(InputError, match="no images"):
        load_data(f"imagefolder:{tmp_path}", "train")
    with pytest.raises(InputError, match="digits lacks 62 classes"):
        load_data("digits", "train", [f"c{i}" for i in range(62)])


GREY = np.linspace(0, 255, 64 * 64).reshape(64, 64).astype(np.uint8)


def of_mode(mode):
    image = Image.fromarray(GREY)
    if mode == "I;16":
        return Image.fromarray(GREY.astype(np.uint16) << 8)
    if mode in ("RGBA", "LA"):
        image = image.convert(mode)
        image.putalpha(255)
        return image
    return image.convert(mode)


@pytest.mark.parametrize(
    ("mode", "suffix"),
    [
        ("L", "png"),
        ("I;16", "png"),
        ("RGBA", "png"),
        ("LA", "png"),
        ("P", "png"),
        ("CMYK", "jpg"),
        ("L", "jpg"),
    ],
)
def test_every_kind_of_image_is_the_same_picture(tmp_path, mode, suffix):
    of_mode(mode).save(tmp_path / f"x.{suffix}")
    x = decode(tmp_path / f"x.{suffix}", 56).astype(int)
    Image.fromarray(GREY).convert("RGB").save(tmp_path / "rgb.png")
    assert np.abs(x - decode(tmp_path / "rgb.png", 56)).max() <= 6


def test_what_is_transparent_is_white(tmp_path):
    Image.new("RGBA", (8, 8), (0, 0, 0, 0)).save(tmp_path / "x.png")
    assert (decode(tmp_path / "x.png", 8) == 255).all()


@pytest.mark.parametrize("size", [(1, 1), (1, 30), (300, 10), (2, 2)])
@pytest.mark.parametrize("seed", [None, 0, 1])
def test_tiny_and_narrow_images_come_at_any_resolution(tmp_path, size, seed):
    Image.new("RGB", size, (10, 200, 30)).save(tmp_path / "x.png")
    path, crop = tmp_path / "x.png", Augmentation(0.08, 4 / 3)
    x = decode(path, 16) if seed is None else decode_varied(path, 16, crop, np.random.default_rng(seed))
    assert (x == (10, 200, 30)).all()


@pytest.mark.parametrize("damage", ["cut", "text", "empty", "gone", "header"])
def test_a_broken_image_is_named(folder, damage):
    data = load_data(f"imagefolder:{folder}", "train")
    path = folder / "train" / "bee" / "1.png"
    content = path.read_bytes()
    damaged = {
        "cut": content[: len(content) // 2],
        "text": b"hello",
        "empty": b"",
        "header": content[:20] + b"\xff" * 9,
    }
    if damage == "gone":
        path.unlink()
    else:
        path.write_bytes(damaged[damage])
    with pytest.raises(InputError, match=r"bee/1\.png cannot be read as an image"):
        data.batch(range(4), 16)


def test_images_of_more_than_16_bits_are_refused_by_name(tmp_path):
    Image.fromarray(np.full((4, 4), 1.5, np.float32)).save(tmp_path / "x.tif")
    with pytest.raises(InputError, match=r"x\.tif has floating-point pixels"):
        decode(tmp_path / "x.tif", 4)
    Image.fromarray(np.full((4, 4), 2**20, np.int32)).save(tmp_path / "y.tif")
    with pytest.raises(InputError, match=r"y\.tif has more than 16 bits"):
        decode(tmp_path / "y.tif", 4)


def test_names_of_folders_mean_the_same_from_everywhere(folder, monkeypatch):
    monkeypatch.chdir(folder.parent)
    assert absolute_name(f"imagefolder:{folder.name}") == f"imagefolder:{folder}"
    assert absolute_name("digits") == "digits"
    assert (
        is_there("digits") and is_there(f"imagefolder:{folder}") and not is_there(f"imagefolder:{folder}/x")
    )
