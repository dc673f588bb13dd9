"""Images in tar shards, against the same images in a folder. The shards are written by the library `webdataset`."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from commands import train
from PIL import Image

from compofa.data import Augmentation, Augmenter, absolute_name, is_there, load_data
from compofa.data.shards import ShardData
from compofa.errors import InputError, Unavailable
from compofa.recipe import Recipe
from compofa.spaces.registry import get_family
from compofa.training.feed import Feed
from compofa.training.schedule import Schedule
from compofa.training.state import Cost
from compofa.world import World

webdataset = pytest.importorskip("webdataset")

CLASSES = ("ant", "bee")
IMAGES = 21
VARIED = Augmenter(Augmentation(0.3, 4 / 3, 0.1, 0.5), 3, 5)


def encoded(n: int, suffix: str) -> bytes:
    """An image of one colour, which says its number."""
    content = io.BytesIO()
    Image.new("RGB", (20 + n, 30), (10 * n, 255 - 10 * n, 40)).save(
        content, {"jpg": "JPEG", "png": "PNG"}[suffix]
    )
    return content.getvalue()


def write(folder: Path, pattern: str, images: int, broken: tuple[int, ...] = ()) -> None:
    """The same images as shards of five and as a folder, where their order is the same."""
    split = "train" if "train" in pattern else "val"
    with webdataset.ShardWriter(str(folder / pattern), maxcount=5, verbose=0) as shards:
        for n in range(images):
            label, suffix = n * 2 // images, ("jpg", "png")[n % 2]
            content = encoded(n, suffix)[: 60 if n in broken else None]
            shards.write({"__key__": f"{n:03}", suffix: content, "cls": label, "json": {"n": n}})
            path = folder / split / CLASSES[label] / f"{n:03}.{suffix}"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("images")
    write(path, "x-train-%03d.tar", IMAGES)
    write(path, "x-validation-%03d.tar", 6)
    return path


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch) -> Path:
    """Where indices are kept: one for each test."""
    monkeypatch.setenv("HWBENCH_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def shards(folder: Path, split: str = "train", **options) -> ShardData:
    data = load_data(f"webdataset:{folder}/x-SPLIT-*.tar", split, **options)
    assert isinstance(data, ShardData)
    return data


@pytest.mark.parametrize("augmenter", [None, VARIED])
@pytest.mark.parametrize("split", ["train", "test"])
def test_shards_hold_the_images_and_labels_of_the_folder(folder, split, augmenter):
    found, wanted = shards(folder, split), load_data(f"imagefolder:{folder}", split)
    assert (len(found), found.class_names) == (len(wanted), ("0", "1"))
    every = range(len(wanted))
    one, other = found.pixels(every, 24, augmenter), wanted.pixels(every, 24, augmenter)
    assert torch.equal(one.images, other.images) and torch.equal(one.labels, other.labels)


@pytest.mark.parametrize(("processes", "workers"), [(1, 0), (2, 2), (3, 1)])
def test_an_epoch_reads_every_image_once_whoever_reads_it(folder, processes, workers):
    data = shards(folder)
    recipe = Recipe.load("digits-teacher")
    recipe = Recipe(**{**vars(recipe), "batch_size": 7, "epoch_scale": 1 / 180})
    schedule = Schedule(recipe, get_family(recipe.family), len(data))
    batches = []
    for rank in range(processes):
        feed = Feed(schedule, data, Cost(), World(rank, processes), workers, torch.device("cpu"))
        batches.append([pixels.images for _, pixels in feed.steps(0, 0)])
    read = [image for mine in batches for batch in mine for image in batch]
    # red says the number, but for what colour distortion and JPEG leave of it
    alone = data.pixels(range(len(data)), 16).images.float().mean((2, 3))[:, 0]
    numbers = Counter(int((alone - image.float().mean((1, 2))[0]).abs().argmin()) for image in read)
    assert numbers == Counter(range(IMAGES))


def test_an_image_that_is_broken_is_named_and_counted(tmp_path):
    write(tmp_path, "x-train-%03d.tar", 8, broken=(2, 7))
    data = shards(tmp_path)
    found = data.pixels([2, 4, 7], 16, VARIED)
    assert found.broken == ("002", "007")
    assert found.labels.tolist() == data.labels[[3, 4, 0]].tolist()
    with pytest.raises(InputError, match=r"002 in .*x-train-000\.tar cannot be read as an image"):
        data.pixels([2], 16)


def test_the_index_is_kept_until_a_shard_changes(folder, tmp_path, home, monkeypatch):
    first = shards(folder)
    (kept,) = (home / "data").iterdir()
    with monkeypatch.context() as patch:
        patch.setattr("compofa.data.shard_index._samples", None)
        again = shards(folder)
    assert list(again.files) == list(first.files) and again.identity == first.identity
    assert torch.equal(again.pixels([20], 8).images, first.pixels([20], 8).images)
    kept.write_bytes(kept.read_bytes()[:-30])
    assert list(shards(folder).files) == list(first.files)
    write(tmp_path, "x-train-%03d.tar", 8)
    assert len(shards(tmp_path)) == 8
    write(tmp_path, "x-train-%03d.tar", 9)
    assert len(shards(tmp_path)) == 9


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:700])


def compressed(path: Path) -> None:
    import gzip

    path.write_bytes(gzip.compress(path.read_bytes()))


def without(member: str) -> Callable[[Path], None]:
    def rewrite(path: Path) -> None:
        with webdataset.TarWriter(str(path)) as tar:
            sample = {"__key__": "a", "jpg": encoded(1, "jpg"), "cls": 0}
            del sample[member]
            tar.write(sample)

    return rewrite


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda path: path.unlink(), r"1 shards of .* are missing, such as .*x-train-000001\.tar"),
        (lambda path: path.write_bytes(b"hello" * 999), r"000001\.tar is no tar file that can be read"),
        (cut, r"000001\.tar is no tar file that can be read"),
        (compressed, r"compressed ones cannot"),
        (without("cls"), r"000001\.tar: sample a has no member \.cls"),
        (without("jpg"), r"000001\.tar: sample a has 0 images, not one"),
    ],
)
def test_damaged_shards_are_named(tmp_path, damage, message):
    write(tmp_path, "x-train-%06d.tar", 12)
    damage(tmp_path / "x-train-000001.tar")
    with pytest.raises(InputError, match=message):
        load_data(f"webdataset:{tmp_path}/x-SPLIT-{{000000..000002}}.tar", "train")


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("x-train-000.tar", "with the word SPLIT"),
        ("pipe:cat SPLIT", "with the word SPLIT"),
        ("https://host/SPLIT.tar", "with the word SPLIT"),
        ("none-SPLIT-{0..2}.tar", "no shards none-SPLIT.* with train for SPLIT"),
        ("x-SPLIT-{0..2.tar", "x-train"),
    ],
)
def test_patterns_that_name_nothing_are_refused(pattern, message):
    with pytest.raises(InputError, match=message):
        load_data(f"webdataset:{pattern}", "train")


def test_classes_must_be_those_of_training(folder):
    assert shards(folder, "test", class_names=("0", "1")).class_names == ("0", "1")
    with pytest.raises(InputError, match="lacks the class '2'"):
        shards(folder, "test", class_names=("0", "1", "2"))


def test_classes_that_are_numbers_are_in_their_order(tmp_path):
    with webdataset.ShardWriter(str(tmp_path / "x-train-%03d.tar"), verbose=0) as writer:
        for n in (10, 9, 2):
            writer.write({"__key__": str(n), "png": encoded(n, "png"), "cls": n})
    data = shards(tmp_path)
    assert data.class_names == ("2", "9", "10")
    assert data.labels.tolist() == [2, 1, 0]


def test_a_name_means_the_same_from_everywhere(folder, monkeypatch):
    monkeypatch.chdir(folder)
    name = absolute_name("webdataset:x-SPLIT-{000..001}.tar")
    assert name == f"webdataset:{folder.resolve()}/x-SPLIT-{{000..001}}.tar"
    assert is_there(name) and not is_there(f"webdataset:{folder}/y-SPLIT.tar")


def test_without_the_library_it_is_said_how_to_get_it(folder, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "webdataset.shardlists", None)
    with pytest.raises(Unavailable, match=r"pip install hwbench\[webdataset\]"):
        shards(folder)


def test_dry_run_counts_the_images(folder, tmp_path, capsys):
    arguments = ["--recipe", "digits-teacher", "--data", f"webdataset:{folder}/x-SPLIT-*.tar", "--dry-run"]
    assert train.main([*arguments, "--out", str(tmp_path / "run"), "--threads", "1"]) == 0
    assert f"on {IMAGES} images of webdataset:x-SPLIT-*.tar train" in capsys.readouterr().out
    assert not (tmp_path / "run").exists()
