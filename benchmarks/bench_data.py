"""How fast photographs are read for training, and what memory their evaluation takes.

    python benchmarks/bench_data.py --train 2000 --val 5000 --keep /tmp/photographs

The photographs are generated, of ImageNet's usual size (500 x 375 pixels, about 110 KB). Printed are, all measured:
images a second of our loader beside torchvision's (where it is installed; same processes, same augmentation), the
share of a step of `imagenet-teacher` that is spent waiting for images, and the peak memory of `hwbench evaluate` at
224 px: of the largest subnet on a few images, and of the smallest on a fifth of the test images and on all of them.
"""

from __future__ import annotations

import argparse
import math
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import psutil
import torch
from PIL import Image

from compofa.checkpoint import save_supernet
from compofa.data import load_data
from compofa.data.loading import BatchSpec, default_workers, load
from compofa.recipe import Recipe
from compofa.spaces.arch import extreme
from compofa.spaces.registry import get_family
from compofa.supernet import Supernet
from compofa.training.schedule import Schedule
from compofa.training.trainer import Trainer

CLASSES = 10
SIZE = (500, 375)
FAMILY = "imagenet-w1.0"


def make_photograph(folder: Path, number: int) -> None:
    """Blobs of several sizes with noise on them, as photographs have: a JPEG of about 110 KB."""
    rng = np.random.default_rng(number)
    pixels = np.zeros((SIZE[1], SIZE[0], 3), np.float32)
    for cells, strength in ((4, 90), (16, 45), (60, 25), (190, 14)):
        coarse = Image.fromarray(rng.integers(0, 256, (cells * 3 // 4, cells, 3), dtype=np.uint8))
        pixels += strength * (np.asarray(coarse.resize(SIZE, Image.Resampling.BICUBIC), np.float32) / 128 - 1)
    pixels += 128 + rng.normal(0, 7, pixels.shape).astype(np.float32)
    path = folder / f"c{number % CLASSES}" / f"{number}.jpg"
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(path, quality=90)


def make_folder(folder: Path, train: int, val: int) -> None:
    splits = {"train": train, "val": val, "few/val": val // 5, "fewest/val": val // 25}
    for split, count in {**splits, "few/train": 10 * CLASSES, "fewest/train": 10 * CLASSES}.items():
        where = folder / split
        if not where.exists():
            with ProcessPoolExecutor() as pool:
                list(pool.map(partial(make_photograph, where), range(count), chunksize=50))


def ours_per_s(folder: Path, resolution: int, batch: int, workers: int) -> float:
    data = load_data(f"imagefolder:{folder}", "train")
    recipe = replace(Recipe.load("imagenet-teacher"), batch_size=batch)
    schedule = Schedule(recipe, get_family(FAMILY), len(data))
    draws = [schedule.draw(0, step) for step in range(len(data) // batch)]
    batches = load(data, (BatchSpec(d.indices, resolution, d.augmenter) for d in draws), workers)
    return rate(len(pixels.labels) for pixels in batches)


def torchvisions_per_s(folder: Path, resolution: int, batch: int, workers: int) -> float:
    # its operators, which no transform needs, do not load beside a build of torch for CPUs; it registers these two
    library = torch.library.Library("torchvision", "FRAGMENT")
    for operator in (
        "nms(Tensor a, Tensor b, float c) -> Tensor",
        "qnms(Tensor a, Tensor b, float c) -> Tensor",
    ):
        if not hasattr(torch.ops.torchvision, operator.split("(")[0]):
            library.define(operator)
    from torchvision import datasets, transforms

    transform = transforms.Compose(
        [
            transforms.RandomResizedCrop(resolution, scale=(0.08, 1.0)),
            transforms.RandomHorizontalFlip(),
            transforms.ColorJitter(brightness=32.0 / 255.0, saturation=0.5),
            transforms.ToTensor(),
            transforms.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]),
        ]
    )
    data = datasets.ImageFolder(str(folder / "train"), transform)
    loader = torch.utils.data.DataLoader(data, batch, shuffle=True, num_workers=workers)
    return rate(len(labels) for _, labels in loader)


def rate(counts: object) -> float:
    """Items a second, the first batch (the start of the processes) left out."""
    found = iter(counts)  # type: ignore[call-overload]
    next(found)
    begun = time.monotonic()
    return sum(found) / (time.monotonic() - begun)


def waiting_share(folder: Path, out: Path, batch: int, steps: int) -> tuple[float, float]:
    """(share of the time of a step that is waiting for images, images a second) of the teacher's training."""
    data = load_data(f"imagefolder:{folder}", "train")
    recipe = replace(
        Recipe.load("imagenet-teacher"), batch_size=batch, images_per_epoch=batch, epoch_scale=steps / 180
    )
    trainer = Trainer(recipe, data, out)
    first: list[tuple[float, float]] = []

    def note_first(entry: dict[str, float]) -> None:
        if not first:  # the start of the processes
            first.append((entry["wait_s"], entry["wall_s"]))

    trainer.run(note_first)
    wait, wall = trainer.cost.wait_s - first[0][0], trainer.cost.wall_s - first[0][1]
    return wait / wall, (trainer.cost.images - batch) / wall


def evaluation_mb(folder: Path, out: Path, supernet: Path, largest: bool) -> tuple[float, float]:
    """(peak memory of all processes in MB, seconds) of evaluating the largest or the smallest subnet at 224 px."""
    archs = out.with_suffix(".txt")
    archs.write_text(str(extreme(get_family(FAMILY), largest, 224)) + "\n", encoding="utf-8")
    command: list[str | Path] = [
        sys.executable,
        "-m",
        "hwbench.evaluate",
        "--supernet",
        supernet,
        "--archs",
        archs,
        "--space",
        "ofa",
    ]
    command += ["--data", f"imagefolder:{folder}", "--workers", "1", "--out", out]
    begun, peak = time.monotonic(), 0.0
    with subprocess.Popen(command) as run:
        while run.poll() is None:
            peak = max(peak, tree_mb(run.pid))
            time.sleep(0.2)
    if run.returncode:
        raise SystemExit("the evaluation failed")
    return peak, time.monotonic() - begun


def tree_mb(pid: int) -> float:
    """Memory of a process and its children; what several share counts once."""
    total = 0
    try:
        for process in (psutil.Process(pid), *psutil.Process(pid).children(recursive=True)):
            total += process.memory_full_info().pss
    except psutil.Error:  # one has just ended
        return 0.0
    return total / 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--train", type=int, default=2000, help="photographs")
    parser.add_argument("--val", type=int, default=5000, help="photographs")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--steps", type=int, default=20, help="of training")
    parser.add_argument("--workers", type=int, default=default_workers(), help="that read images")
    parser.add_argument("--keep", type=Path, help="folder of the photographs, to be used again")
    parser.add_argument("--only", choices=("loader", "step", "memory"))
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        temporary = Path(name)
        folder = args.keep or temporary / "photographs"
        make_folder(folder, args.train, args.val)
        size = math.fsum(path.stat().st_size for path in (folder / "train").rglob("*.jpg")) / args.train
        print(
            f"{args.train} + {args.val} photographs of {SIZE[0]} x {SIZE[1]}, {size / 1000:.0f} KB each",
            flush=True,
        )
        if args.only in (None, "loader"):
            for resolution in (128, 224):
                ours = ours_per_s(folder, resolution, args.batch, args.workers)
                words = f"{ours:.0f} images/s at {resolution} px by {args.workers} process(es)"
                if find_spec("torchvision"):
                    theirs = torchvisions_per_s(folder, resolution, args.batch, args.workers)
                    words += f", torchvision {theirs:.0f} ({ours / theirs:.2f} x)"
                print(words, flush=True)
        if args.only in (None, "step"):
            share, per_s = waiting_share(folder, temporary / "run", args.batch, args.steps)
            print(
                f"{100 * share:.1f} % of a step of the teacher is waiting for images; {per_s:.1f} images/s",
                flush=True,
            )
        if args.only in (None, "memory"):
            torch.manual_seed(0)
            supernet = temporary / "s.safetensors"
            names = [f"c{i}" for i in range(CLASSES)]
            save_supernet(
                Supernet(replace(get_family(FAMILY), classes=CLASSES)), supernet, {"class_names": names}
            )
            for n, (largest, part, share) in enumerate(
                ((True, "fewest", 25), (False, "few", 5), (False, ".", 1))
            ):
                which, count = "largest" if largest else "smallest", args.val // share
                peak, seconds = evaluation_mb(folder / part, temporary / f"{n}.jsonl", supernet, largest)
                words = f"{peak:.0f} MB to evaluate the {which} subnet on {count} images at 224 px"
                print(f"{words}, {seconds:.0f} s", flush=True)


if __name__ == "__main__":
    main()
