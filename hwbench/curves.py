"""How training went: curves of the loss, the learning rate and the accuracy on the way, from a run's log."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from compofa.errors import InputError, Unavailable
from compofa.files import ClosedAtEnd, parse_json, read_bounded

Entry = dict[str, Any]


def read_log(path: Path) -> list[Entry]:
    """The entries of a log, in order; a torn last line is passed over.

    Raises:
        InputError: it is no log of a run; names the line.
        OSError: it cannot be read.
    """
    content = read_bounded(path)
    entries = []
    for number, line in enumerate(content[: content.rfind(b"\n") + 1].splitlines(), start=1):
        try:
            entry = parse_json(line)
            entries.append({**entry, "stage": str(entry["stage"]), "images": float(entry["images"])})
        except (InputError, KeyError, TypeError, ValueError) as error:
            raise InputError(f"{path}, line {number}: no entry of a run's log: {error}") from error
    if not entries:
        raise InputError(f"{path} has no entries: nothing has been trained")
    return entries


def draw_curves(path: Path, entries: Sequence[Entry], title: str) -> None:
    """Loss, learning rate and, where some was measured on the way, accuracy, over the images read.

    Args:
        path: the picture.
        entries: of the log.
        title: above all.
    """
    from matplotlib.figure import Figure

    from hwbench.plots import save

    steps = [entry for entry in entries if "loss" in entry]
    validated = [entry for entry in entries if "accuracy" in entry]
    rows = 3 if validated else 2
    figure = Figure(figsize=(7, 1 + 2 * rows), layout="constrained")
    axes = figure.subplots(rows, 1, sharex=True)
    figure.suptitle(title, fontsize=10)
    for axis, key, label in zip(axes, ("loss", "lr"), ("loss", "learning rate"), strict=False):
        for stage in dict.fromkeys(entry["stage"] for entry in steps):
            of_stage = [entry for entry in steps if entry["stage"] == stage]
            axis.plot([e["images"] for e in of_stage], [e[key] for e in of_stage], lw=1, label=stage)
        axis.set_ylabel(label)
    if validated:
        for name, style in (("largest", "-"), ("smallest", "--")):
            images = [entry["images"] for entry in validated]
            axes[2].plot(
                images, [100 * e["accuracy"][name] for e in validated], style, marker=".", label=name
            )
        axes[2].set_ylabel("accuracy, measured (%)")
        axes[2].legend(fontsize=7)
    axes[0].legend(fontsize=7)
    axes[-1].set_xlabel("images read")
    save(figure, path)


class TensorBoard(ClosedAtEnd):
    """The same curves for TensorBoard.

    Args:
        folder: where its files go.

    Raises:
        Unavailable: it is not installed.
    """

    def __init__(self, folder: Path) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise Unavailable(f"TensorBoard is not installed ({error}): pip install tensorboard") from error
        self._writer = SummaryWriter(str(folder))

    def write(self, entry: Entry) -> None:
        """Add an entry of the log."""
        values: Entry = {name: entry[name] for name in ("loss", "lr") if name in entry}
        values |= {f"accuracy/{name}": value for name, value in entry.get("accuracy", {}).items()}
        for name, value in values.items():
            self._writer.add_scalar(name, value, int(entry["images"]))

    def close(self) -> None:
        self._writer.close()
