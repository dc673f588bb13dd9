"""The folder of a run: its checkpoint, which a later run resumes, and its log."""

from __future__ import annotations

import io
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from compofa.errors import InputError, RunFailed
from compofa.files import AppendFile, parse_json, write_atomically
from compofa.published import read_tensors, unsound

STATE_FILE = "state.pt"
LOG_FILE = "log.jsonl"


@dataclass
class Cost:
    """What a run has spent, interruptions left out.

    Args:
        images: images read, by all processes.
        subnet_passes: forward and backward passes, images x subnets.
        teacher_passes: forward passes of the teacher, in images.
        cpu_s: processor seconds of this process, over all its threads.
        wall_s: seconds.
        wait_s: of them, spent waiting for images.
        broken: images that this process could not read, each time.
    """

    images: int = 0
    subnet_passes: int = 0
    teacher_passes: int = 0
    cpu_s: float = 0.0
    wall_s: float = 0.0
    wait_s: float = 0.0
    broken: int = 0


@dataclass
class Progress:
    """Where a run is: stage and the next step in it."""

    stage: int = 0
    step: int = 0


@dataclass
class State:
    """A run between two steps.

    Args:
        identity: what the run is, JSON-ready: a run that resumes it must say the same.
        supernet: the supernet's state dict.
        optimizer: the optimizer's; None between two stages.
        progress: where it is.
        cost: what it has spent.
        average: the moving average of the supernet's state dict, if one is kept.
        scaler: of fp16, what the gradients are scaled by.
    """

    identity: dict[str, Any]
    supernet: dict[str, Tensor]
    optimizer: dict[str, Any] | None
    progress: Progress
    cost: Cost
    average: dict[str, Tensor] | None = None
    scaler: dict[str, Any] | None = None

    def save(self, folder: Path) -> None:
        """Write the checkpoint in `folder`: whole, or the one before stays.

        Raises:
            RunFailed: a weight is not finite.
            OSError: it cannot be written (the disk is full).
        """
        if words := unsound(self.supernet):
            raise RunFailed(f"training diverged: {words}; {kept(folder)}")
        content = io.BytesIO()
        fields = {"progress": asdict(self.progress), "cost": asdict(self.cost)}
        identity = json.dumps(self.identity, sort_keys=True)
        tensors = {"supernet": self.supernet, "optimizer": self.optimizer, "average": self.average}
        tensors["scaler"] = self.scaler
        torch.save({"identity": identity, **tensors, **fields}, content)
        write_atomically(folder / STATE_FILE, content.getvalue())

    @classmethod
    def load(cls, folder: Path) -> State | None:
        """The checkpoint in `folder`; None if there is none.

        Raises:
            InputError: it is damaged, or no checkpoint.
            OSError: it cannot be read.
        """
        path = folder / STATE_FILE
        if not path.exists():
            return None
        content = read_tensors(path)
        try:
            state = cls(
                identity=parse_json(content["identity"]),
                supernet=content["supernet"],
                optimizer=content["optimizer"],
                progress=Progress(**content["progress"]),
                cost=Cost(**content["cost"]),
                average=content.get("average"),  # files of version 0.1.0 have neither
                scaler=content.get("scaler"),
            )
            numbers = (state.progress.stage, state.progress.step, state.cost.images)
            sound = all(type(number) is int and number >= 0 for number in numbers)
            words = unsound(state.supernet) if sound else "its progress is no whole number"
        except (InputError, KeyError, TypeError, AttributeError) as error:
            words = str(error)
        if words:
            raise InputError(f"{path} is no checkpoint that can be resumed: {words}; remove it to begin anew")
        return state


def kept(folder: Path) -> str:
    """What there is to go on from, in words."""
    if (folder / STATE_FILE).exists():
        return f"{folder / STATE_FILE} keeps the last good checkpoint"
    return "no checkpoint had been written yet"


class Log(AppendFile):
    """The log of a run, lines of JSON. Who has it open holds the folder's lock.

    Args:
        folder: of the run.
        images: that the run has read so far. What a killed run logged after its last checkpoint is dropped: those
            steps are taken, and logged, again.

    Raises:
        FileBusy: another process trains in the folder.
        OSError: it cannot be written.
    """

    def __init__(self, folder: Path, images: int) -> None:
        super().__init__(folder / LOG_FILE)
        lines = self.content.splitlines(keepends=True)
        whole = next((i for i, line in enumerate(lines) if not _logged_by(line, images)), len(lines))
        if whole < len(lines):
            self.content = b"".join(lines[:whole])
            self.append(b"")

    def write(self, entry: dict[str, Any]) -> None:
        """Add an entry."""
        self.append(json.dumps(entry).encode() + b"\n")


def _logged_by(line: bytes, images: int) -> bool:
    try:
        return bool(parse_json(line)["images"] <= images)
    except (InputError, KeyError, TypeError):
        return False
