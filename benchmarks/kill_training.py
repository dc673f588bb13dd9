"""Kill `hwbench train` and `hwbench evaluate` at random moments, go on, and compare with a run that nobody disturbed.

    python benchmarks/kill_training.py --kills 10 --interrupts 10

Each of the two commands is ended that many times by SIGKILL and by SIGINT, in random order, and then left to finish.
Wanted: weights equal bit for bit, every accuracy that was on the disk still there and the same, none measured twice.
"""

from __future__ import annotations

import argparse
import json
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import psutil

RECIPE = """
family = "glyphs"
data = "digits"
batch_size = 16
distill = 1.0
images_per_epoch = {images}
kernel_transform = false
"""
STAGE = """
[[stage]]
name = "{name}"
epochs = 1
base_lr = 0.08
lr_images = 2048
warmup_epochs = 0
subnets_per_step = 2
depths = [2, 3, 4]
expands = [3, 4, 6]
kernels = [3, 5, 7]
space = "compofa"
sort_hidden = true
"""


class Disturbed:
    """A command that is ended again and again before it is left to finish.

    Args:
        command: what is run.
        begun: whether the work has begun, so that it is not the start of Python that is killed; it gets how much had
            been done before.
        done: how much of the work is on the disk.
    """

    def __init__(self, command: list[str], begun: Callable[[int], bool], done: Callable[[], int]) -> None:
        self.command, self.begun, self.done = command, begun, done
        self.in_the_middle: dict[str, int] = {}

    def end_once(self, number: signal.Signals, after_s: float) -> None:
        """Run it, and end it some time after it began to work.

        Raises:
            SystemExit: it lost something, ended otherwise than it should, or was done before.
        """
        before = self.done()
        run = subprocess.Popen(self.command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        while run.poll() is None and not self.begun(before):
            time.sleep(0.005)
        time.sleep(after_s)
        children = psutil.Process(run.pid).children(recursive=True) if run.poll() is None else []
        run.send_signal(number)
        error = run.communicate()[1]
        wanted = {signal.SIGKILL: -signal.SIGKILL, signal.SIGINT: 130}[number]
        if run.returncode != wanted:
            raise SystemExit(
                f"after {number.name} exit code {run.returncode}, not {wanted} (0: give it more to do): {error}"
            )
        self.in_the_middle[number.name] = self.in_the_middle.get(number.name, 0) + 1
        if left := psutil.wait_procs(children, timeout=30)[1]:
            raise SystemExit(f"after {number.name} {len(left)} processes live on")
        if "Traceback" in error:
            raise SystemExit(f"a traceback after {number.name}: {error}")
        if self.done() < before:
            raise SystemExit(f"{before} were on the disk, and after {number.name} {self.done()}")

    def finish(self) -> None:
        subprocess.run(self.command, check=True, stdout=subprocess.DEVNULL)


def hwbench(command: str, *options: object) -> list[str]:
    return [sys.executable, "-m", f"hwbench.{command}", *map(str, options)]


def write_recipe(folder: Path, steps: int) -> Path:
    path = folder / "tiny.toml"
    stages = (STAGE.format(name=name) for name in ("one", "two"))
    path.write_text(RECIPE.format(images=16 * steps) + "".join(stages))
    return path


def kill_training(
    folder: Path, signals: list[signal.Signals], rng: random.Random, steps: int
) -> dict[str, int]:
    """Train two stages of `steps` steps, ended by `signals` on the way; how many came in the middle, by name."""
    from compofa.checkpoint import load_supernet

    teacher = folder / "teacher"
    quick = ("--recipe", "digits-teacher", "--epoch-scale", 0.001, "--threads", 1)
    subprocess.run(hwbench("train", *quick, "--out", teacher), check=True, stdout=subprocess.DEVNULL)
    options: tuple[object, ...] = (
        "--recipe",
        write_recipe(folder, steps),
        "--teacher",
        teacher / "supernet.safetensors",
        "--threads",
        1,
    )
    options += ("--checkpoint-every", 1)
    subprocess.run(
        hwbench("train", *options, "--out", folder / "whole"), check=True, stdout=subprocess.DEVNULL
    )
    out = folder / "run"
    train = Disturbed(
        hwbench("train", *options, "--out", out),
        lambda before: is_locked(out / "log.jsonl"),
        lambda: steps_on_disk(out),
    )
    for number in signals:
        train.end_once(number, rng.uniform(0, 1.5))
    train.finish()
    results = [
        load_supernet(path / "supernet.safetensors")[0].state_dict() for path in (out, folder / "whole")
    ]
    different = [name for name, value in results[0].items() if not value.equal(results[1][name])]
    if different:
        raise SystemExit(
            f"{len(different)} tensors differ from the uninterrupted run's, such as {different[0]}"
        )
    return train.in_the_middle


def steps_on_disk(out: Path) -> int:
    """Steps that a run in `out` need not take again."""
    from compofa.training.state import State

    state = State.load(out)
    return state.progress.stage * 1_000_000 + state.progress.step if state else 0


def is_locked(path: Path) -> bool:
    """Whether a process has the file open for adding to it. Trying to lock it could get in that process's way."""
    if not path.exists():
        return False
    inode = str(path.stat().st_ino)
    held = (line.split() for line in Path("/proc/locks").read_text().splitlines())
    return any("FLOCK" in words and words[5].split(":")[-1] == inode for words in held)


def lines_in(path: Path) -> int:
    """Whole lines."""
    return path.read_bytes().count(b"\n") if path.exists() else 0


def kill_evaluation(
    folder: Path, supernet: Path, signals: list[signal.Signals], rng: random.Random, subnets: int
) -> dict[str, int]:
    """Evaluate `subnets`, ended by `signals` on the way; how many came in the middle, by name."""
    options = ("--supernet", supernet, "--space", "compofa", "--sample", subnets, "--workers", 2)
    whole, out = folder / "whole.jsonl", folder / "accuracies.jsonl"
    subprocess.run(hwbench("evaluate", *options, "--out", whole), check=True, stdout=subprocess.DEVNULL)
    evaluate = Disturbed(
        hwbench("evaluate", *options, "--out", out),
        lambda before: lines_in(out) > max(before, 1),
        lambda: lines_in(out),
    )
    for number in signals:
        before = out.read_bytes() if out.exists() else b""
        evaluate.end_once(number, rng.uniform(0, 1.0))
        after = out.read_bytes() if out.exists() else b""
        if not after.startswith(before[: before.rfind(b"\n") + 1]):
            raise SystemExit("what had been measured was changed")
    evaluate.finish()
    lines = out.read_text().splitlines()
    if sorted(lines) != sorted(whole.read_text().splitlines()):
        raise SystemExit("the accuracies differ from the uninterrupted run's")
    if len({json.loads(line)["arch"] for line in lines[1:]}) != subnets:
        raise SystemExit("a subnet was measured twice")
    return evaluate.in_the_middle


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--interrupts", type=int, default=10)
    parser.add_argument("--steps", type=int, default=200, help="of each of two stages")
    parser.add_argument("--subnets", type=int, default=400)
    parser.add_argument("--train-only", action="store_true")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    rng = random.Random(args.seed)
    signals = [signal.SIGKILL] * args.kills + [signal.SIGINT] * args.interrupts
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        rng.shuffle(signals)
        print(
            "train   ",
            kill_training(folder, signals, rng, args.steps),
            "in the middle; weights equal",
            flush=True,
        )
        if args.train_only:
            return
        rng.shuffle(signals)
        supernet = folder / "whole" / "supernet.safetensors"
        print(
            "evaluate",
            kill_evaluation(folder, supernet, signals, rng, args.subnets),
            "in the middle; lines equal",
        )


if __name__ == "__main__":
    main()
