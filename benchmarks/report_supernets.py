"""What the two shipped supernets cost to train and how accurate their subnets are, from the shipped files."""

from __future__ import annotations

import numpy as np

from compofa.accuracy import Accuracies
from compofa.checkpoint import load_supernet
from compofa.spaces.arch import Arch, extreme
from compofa.spaces.registry import GLYPHS
from compofa.spaces.space import get_space
from hwbench import shipped

RECIPES = ("ofa", "compofa")


def spread(values: list[float]) -> str:
    """Lowest, mean and highest, in per cent."""
    low, mean, high = min(values), sum(values) / len(values), max(values)
    return f"{100 * low:.2f} | {100 * mean:.2f} | {100 * high:.2f}"


def main() -> None:
    """Print the tables of docs/results.md."""
    print(
        "| recipe | images | image-subnet passes | teacher passes | processor seconds |\n|---|---|---|---|---|"
    )
    seconds = {}
    for recipe in RECIPES:
        cost = load_supernet(shipped.supernet("glyphs", recipe))[1]["cost"]
        seconds[recipe] = cost["cpu_s"]
        numbers = (cost[name] for name in ("images", "subnet_passes", "teacher_passes", "cpu_s"))
        print(f"| {recipe} | " + " | ".join(f"{number:,.0f}" for number in numbers) + " |")
    print(f"\ncompofa / ofa in processor seconds: {seconds['compofa'] / seconds['ofa']:.3f}\n")

    tables = {recipe: Accuracies.load(shipped.accuracies("glyphs", recipe)) for recipe in RECIPES}
    compofa = get_space("compofa", GLYPHS)
    print("| subnets | supernet | lowest % | mean % | highest % |\n|---|---|---|---|---|")
    for resolution in GLYPHS.resolutions:
        archs = list(compofa.enumerate([resolution]))
        for recipe in RECIPES:
            print(
                f"| CompOFA's 243 at {resolution} px | {recipe} | {spread(values(tables[recipe], archs))} |"
            )
    everything = list(compofa.enumerate())
    for recipe in RECIPES:
        print(f"| CompOFA's 243, all resolutions | {recipe} | {spread(values(tables[recipe], everything))} |")
    others = [arch for arch in tables["ofa"].correct if not compofa.contains(arch)]
    print(f"| {len(others):,} others of OFA's | ofa | {spread(values(tables['ofa'], others))} |")

    gain = np.array(values(tables["compofa"], everything)) - np.array(values(tables["ofa"], everything))
    print(
        f"\nthe same subnet, compofa less ofa: mean {100 * gain.mean():+.2f}, better in {100 * (gain > 0).mean():.0f} %"
    )
    print(f"standard error of one accuracy at 75 %: {100 * tables['ofa'].standard_error(0.75):.2f} points")
    for recipe in RECIPES:
        small, large = (values(tables[recipe], [extremes(r)[i] for r in GLYPHS.resolutions]) for i in (0, 1))
        gaps = ", ".join(f"{100 * (b - a):+.1f}" for a, b in zip(small, large, strict=True))
        print(f"{recipe}: CompOFA's largest less smallest at {GLYPHS.resolutions} px: {gaps} points")
    smallest, largest = extreme(GLYPHS, False), extreme(GLYPHS, True)
    print(f"smallest and largest subnet of the family: {smallest}, {largest}")
    for arch in (smallest, largest):
        if arch in tables["ofa"].correct:
            print(f"  {arch}: {100 * tables['ofa'].accuracy(arch):.2f} %")


def values(table: Accuracies, archs: list[Arch]) -> list[float]:
    """Accuracies of `archs`, fractions."""
    return [table.accuracy(arch) for arch in archs]


def extremes(resolution: int) -> tuple[Arch, Arch]:
    """CompOFA's smallest and largest subnet at a resolution."""
    archs = list(get_space("compofa", GLYPHS).enumerate([resolution]))
    size = [sum(map(len, arch.units)) for arch in archs]
    return archs[int(np.argmin(size))], archs[int(np.argmax(size))]


if __name__ == "__main__":
    main()
