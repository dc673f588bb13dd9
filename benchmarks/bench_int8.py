"""What int8 gains and loses on glyphs: ``python benchmarks/bench_int8.py --folder FOLDER``.

Two tables are built and validated on this machine, in fp32 and in int8. Subnets of CompOFA's space near a frontier,
and random ones, are quantised with training images and classify the test images (some seconds each). What is in the
folder already is used again; ``int8.accuracy.jsonl`` there goes into ``hwbench pareto --accuracy``. Printed are:

- how well each table predicts whole networks, beside how far a second measurement is off;
- the latency in int8 over that in fp32;
- the accuracy lost;
- the frontiers and their hypervolumes from one reference point.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

import hwbench
from compofa.accuracy import Accuracies, Header, append
from compofa.evaluate import make_evaluator
from compofa.spaces.arch import Arch
from compofa.spaces.layout import encode
from hwbench import build_lut, shipped, validate
from hwbench.frontiers.cloud import Cloud
from hwbench.int8_accuracy import correct_in_int8

SPACE = "compofa"
PRECISIONS = ("fp32", "int8")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--folder", type=Path, required=True, help="for tables and accuracies")
    parser.add_argument("--subnets", type=int, default=120, help="near the frontiers, to evaluate in int8")
    parser.add_argument(
        "--random", type=int, default=40, help="random ones, which tell what is lost on average"
    )
    args = parser.parse_args()
    args.folder.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    tables = {precision: table(args.folder, precision) for precision in PRECISIONS}
    measured = Accuracies.load(shipped.accuracies("glyphs", SPACE))
    archs = list(measured.correct)
    latency = {p: latencies(path, archs) for p, path in tables.items()}
    ratio = latency["int8"] / latency["fp32"]
    print(
        f"int8 takes {np.median(ratio):.3f} of the time in fp32 ({ratio.min():.3f} to {ratio.max():.3f} of "
        f"{len(archs)} subnets, predicted by both tables)"
    )
    exact = np.array([measured.accuracy(arch) for arch in archs])
    near = near_frontiers(archs, latency, exact, args.subnets)
    some = np.random.default_rng(0).permutation(len(archs))[: args.random].tolist()
    rounded = in_int8(args.folder, measured.header, [archs[i] for i in dict.fromkeys([*some, *near])])
    report_loss(exact, rounded, archs, some)
    report_frontiers(archs, latency, exact, rounded)


def table(folder: Path, precision: str) -> Path:
    """A validated table of glyphs; prints what validating found."""
    path, scores = folder / f"{precision}.jsonl", folder / f"{precision}.scores.json"
    if not path.exists():
        build_lut.main(["--precision", precision, "--space", SPACE, "--out", str(path)])
    if not scores.exists():
        csv = folder / f"{precision}.measured.csv"
        validate.main(["--lut", str(path), "--space", SPACE, "--subnets", "100", "--csv", str(csv)])
        scores.write_text(json.dumps({"load": os.getloadavg()[0]}) + "\n", encoding="utf-8")
        print(f"{precision}: load average {os.getloadavg()[0]:.1f}")
    return path


def latencies(path: Path, archs: Sequence[Arch]) -> np.ndarray:
    model = hwbench.open_table(path)
    return np.array([model.latency_ms(hwbench.network(arch)) for arch in archs])


# --- accuracy ---


def near_frontiers(
    archs: Sequence[Arch], latency: dict[str, np.ndarray], accuracy: np.ndarray, count: int
) -> list[int]:
    """Those on the frontiers in both latencies, then those on the frontiers of the others, and so on."""
    found: dict[int, None] = {}
    left = {p: np.arange(len(archs)) for p in latency}
    while len(found) < min(count, len(archs)):
        for precision, ms in latency.items():
            rest = left[precision]
            front = cloud([archs[i] for i in rest.tolist()], ms[rest], accuracy[rest]).frontier().archs()
            on_it = {archs.index(arch) for arch in front}
            found |= dict.fromkeys(sorted(on_it))
            left[precision] = np.array([i for i in rest if i not in on_it])
    return list(found)[:count]


def in_int8(folder: Path, header: Header, archs: Sequence[Arch]) -> dict[Arch, float]:
    """Accuracies, measured where they are not in the folder yet."""
    path = folder / "int8.accuracy.jsonl"
    there = Accuracies.load(path).correct if path.exists() else {}
    evaluator = make_evaluator(shipped.supernet("glyphs", shipped.recipe_of(SPACE)))
    todo = [arch for arch in archs if arch not in there]
    append(
        path, replace(header, precision="int8"), ((arch, correct_in_int8(evaluator, arch)) for arch in todo)
    )
    found = Accuracies.load(path)
    return {arch: found.accuracy(arch) for arch in archs}


def report_loss(
    exact: np.ndarray, rounded: dict[Arch, float], archs: Sequence[Arch], some: Sequence[int]
) -> None:
    lost = 100 * np.array([exact[i] - rounded[archs[i]] for i in some])
    print(
        f"accuracy lost by {len(lost)} random subnets: {lost.mean():.2f} points on average, {lost.min():.2f} to "
        f"{lost.max():.2f}, standard error {lost.std(ddof=1) / len(lost) ** 0.5:.2f}"
    )


# --- frontiers ---


def cloud(archs: Sequence[Arch], latency_ms: np.ndarray, accuracy: np.ndarray) -> Cloud:
    family = hwbench.get_family("glyphs")
    return Cloud(family, encode(family, list(archs)), latency_ms, accuracy)


def report_frontiers(
    archs: Sequence[Arch], latency: dict[str, np.ndarray], exact: np.ndarray, rounded: dict[Arch, float]
) -> None:
    known = [i for i, arch in enumerate(archs) if arch in rounded]
    int8 = cloud(
        [archs[i] for i in known], latency["int8"][known], np.array([rounded[archs[i]] for i in known])
    )
    clouds = {"fp32": cloud(archs, latency["fp32"], exact), "int8": int8}
    worst = (max(float(ms.max()) for ms in latency.values()), float(exact.min()))
    volumes = {}
    for precision, one in clouds.items():
        front, volumes[precision] = one.frontier(), one.hypervolume(worst)
        print(
            f"{precision}: frontier of {len(front)} of {len(one)} subnets, {front.cost.min():.3f} to "
            f"{front.cost.max():.3f} ms, {100 * front.accuracy.min():.1f} to {100 * front.accuracy.max():.1f} %, "
            f"hypervolume {volumes[precision]:.5f} ms x accuracy"
        )
        for ms, accuracy in front.points:
            print(f"    {ms:.4f} ms {100 * accuracy:.2f} %")
    print(
        f"hypervolume of int8 over fp32, from ({worst[0]:.3f} ms, {100 * worst[1]:.1f} %): "
        f"{volumes['int8'] / volumes['fp32']:.3f}"
    )


if __name__ == "__main__":
    main()
