"""A subnet out of a supernet, ready to ship: chosen by a limit or given, recalibrated, tested, exported, measured."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from compofa.errors import InputError
from compofa.files import replacing_folder
from compofa.spaces.arch import Arch
from hwbench.evaluating import check_precision
from hwbench.extras import need
from hwbench.inputs.costs import Given, Source, open_sources
from hwbench.inputs.idle import refuse_idle
from hwbench.inputs.trust import insist, note_classes
from hwbench.specializing import RECHECKED, TRIES
from hwbench.specializing.card import card_text, limit_of
from hwbench.specializing.device import open_device
from hwbench.specializing.exporting import export, predicted, versions
from hwbench.specializing.keeping import said_of, take_kept
from hwbench.telling import note
from lut.model import LatencyModel

if TYPE_CHECKING:
    from compofa.supernet import Supernet
    from hwbench.searching.run import SearchResult

BATCH = 1
"""Images that the exported model takes at once."""


@dataclass(frozen=True)
class Specialized:
    """A subnet that was cut out.

    Args:
        folder: with ``model.onnx``, ``weights.safetensors``, ``card.json`` and ``README.md``.
        card: what ``card.json`` holds.
    """

    folder: Path
    card: dict[str, Any]

    @property
    def arch(self) -> Arch:
        """The subnet."""
        return Arch.parse(self.card["arch"])

    @property
    def accuracy(self) -> float:
        """Measured on the test images, a fraction."""
        return float(self.card["accuracy"]["measured"])

    @property
    def met(self) -> bool | None:
        """Whether the latency that was asked for is kept; None if none was, or it was not measured on its target."""
        return self.card["limit"] and bool(self.card["limit"]["met"])

    def __repr__(self) -> str:
        return card_text(self.card)

    _repr_markdown_ = __repr__


def specialize(
    supernet: str | Path,
    out: str | Path,
    *,
    arch: Arch | str | None = None,
    latency_ms: float | None = None,
    cost: Given | Mapping[str, Given] | None = None,
    confidence: float | None = None,
    recheck: int = RECHECKED,
    tries: int = TRIES,
    space: str | None = None,
    family: str | None = None,
    accuracy: str | Path | None = None,
    max_macs: float | None = None,
    max_params: float | None = None,
    max_memory_mb: float | None = None,
    data: str | None = None,
    precision: str = "fp32",
    measure: bool = True,
    seed: int = 0,
    force: bool = False,
) -> Specialized:
    """Cut a subnet out of a supernet, recalibrate its batch normalisation, test, export and measure it.

    >>> import hwbench, tempfile
    >>> smallest = "r16-k3e3_k3e3-k3e3_k3e3-k3e3_k3e3-k3e3_k3e3-k3e3_k3e3"
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     trained = hwbench.train("digits-teacher", out=f"{folder}/run", epoch_scale=0.002)
    ...     made = hwbench.specialize(trained.path, f"{folder}/subnet", arch=smallest, measure=False)
    ...     sorted(file.name for file in made.folder.iterdir())
    ['README.md', 'card.json', 'model.onnx', 'weights.safetensors']

    Args:
        supernet: a file that training wrote, or a published state dict.
        out: an empty folder, or one that is made.
        arch: the subnet; or give `latency_ms`.
        latency_ms: limit in milliseconds: the most accurate subnet within it is searched.
        cost: a table, calibrated or not; None for the best one of the family here.
        confidence: with which the device keeps `latency_ms`, such as 0.95; None: the limit holds for predictions.
        recheck: with a confidence: so many of the calibration's networks are measured again first, so that the promise
            is of this hour.
        tries: with a confidence: so many subnets are measured at most, for the most accurate one whose own measurement
            promises the limit.
        space: that is searched (default: that of the recipe that trained the supernet).
        family: of a published state dict.
        accuracy: accuracies of this supernet to search by (default: the shipped ones, of a shipped supernet).
        max_macs: most MACs, in millions.
        max_params: most parameters, in millions.
        max_memory_mb: most memory for activations at once, in MB.
        data: calibrates and tests (default: what the supernet was trained on).
        precision: ``int8``: the exported model is quantised with the images that recalibrate batch normalisation, and
            its accuracy is that in int8; a limit is then searched in a table in int8.
        measure: the latency, on the table's target or, without a table, with ONNX Runtime on this machine.
        seed: of the search and the measuring.
        force: go on with what is not to be trusted or does not belong together.

    Raises:
        InputError: what was given does not belong together, or is broken; says how.
        Infeasible: no subnet is as fast; names the fastest.
    """
    need("torch", "cutting out a subnet")
    from compofa.network import arch_blocks
    from compofa.opened import open_with_data

    if (arch is None) == (latency_ms is None):
        raise InputError("give either an arch (--arch ARCH) or a limit (--latency-ms L)")
    limits = {"max_macs": max_macs, "max_params": max_params, "max_memory_mb": max_memory_mb}
    if arch is not None:
        of_search = {"confidence": confidence, "accuracy": accuracy, **limits}
        refuse_idle(of_search, "is of a search: give a limit in place of the arch, or leave it out")
    folder = Path(out)
    check_precision(precision, elsewhere=False)
    check_folder(folder)
    opened = open_with_data(Path(supernet), data, family)
    identity, owner = opened.identity, opened.supernet.family
    searched = space or ("compofa" if (identity.recipe or "").rpartition("-")[2] == "compofa" else "ofa")
    sources = _sources(cost, owner.name, force)
    if arch is None and isinstance(sources, InputError):
        raise sources
    model = find_model(sources, opened.supernet, force, told=arch is not None)
    if model and precision == "int8":
        model = in_int8(model, needed=arch is None)
    device = open_device(model, seed, precision) if measure else None

    def take(one: Arch) -> dict[str, Any] | None:
        return device.measure(arch_blocks(owner, one)) if device else None

    if arch is not None:
        picked, chosen, kept = _check(arch, owner.name, searched), None, None
        taken = take(picked)
    else:
        assert not isinstance(sources, InputError)
        accuracies = accuracy or _accuracies(owner.name, identity.sha256, searched, Path(supernet))
        here = device is not None and device.is_the_tables_target
        found = _search(
            sources,
            latency_ms,
            identity.sha256,
            confidence=confidence,
            recheck=recheck if confidence and here else 0,
            space=searched,
            family=owner.name,
            accuracy=accuracies,
            seed=seed,
            force=force,
            **limits,
        )
        if found.promises and device and not here:
            note("the promise is the model's alone: nothing can be measured on its target here")
        # What another machine takes says nothing of what the target keeps.
        picked, taken, kept = take_kept(found, latency_ms or 0.0, take if here else _nothing, tries)
        taken = taken or take(picked)
        chosen = said_of(found, latency_ms, picked)
    with replacing_folder(folder) as beside:
        exported = export(beside, opened, picked, precision)
        latency = {
            "predicted": model and predicted(model, picked),
            "measured": None,
            **({taken["origin"]: taken} if taken else {}),
        }
        card = {
            "arch": str(picked),
            "family": owner.name,
            "precision": precision,
            "chosen": chosen,
            "supernet": {"recipe": identity.recipe, "sha256": identity.sha256},
            **exported,
            "latency": latency,
            "limit": limit_of(chosen, latency),
            "promise": kept,
            "versions": versions(),
        }
        (beside / "card.json").write_text(
            json.dumps(card, indent=2, allow_nan=False) + "\n", encoding="utf-8"
        )
        (beside / "README.md").write_text(card_text(card), encoding="utf-8")
    return Specialized(folder, card)


def _nothing(arch: Arch) -> None:
    """What a subnet takes on a target that is not here."""


def check_folder(path: Path) -> None:
    """Raise InputError unless `path` is an empty folder, or nothing yet, where a folder can be made."""
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise InputError(f"{path} is not an empty folder: choose another --out")
    parent = next(folder for folder in path.absolute().parents if folder.exists())
    if not (parent.is_dir() and os.access(parent, os.W_OK | os.X_OK)):
        raise InputError(f"cannot write {path}: {parent} is no folder that can be written to")


# --- which subnet ---


def _check(arch: Arch | str, family: str, space: str) -> Arch:
    from compofa.spaces.registry import get_family
    from compofa.spaces.space import get_space

    found = Arch.parse(arch) if isinstance(arch, str) else arch
    get_space(space, get_family(family)).check(found)
    return found


def _accuracies(family: str, sha256: str, space: str, supernet: Path) -> Path:
    """The shipped accuracies of a supernet.

    Raises:
        InputError: there are none of it; says how to measure them.
    """
    from hwbench import shipped
    from hwbench.searching.run import MEASURE_ITS_OWN

    try:
        return shipped.accuracies_of(family, sha256)
    except InputError as error:
        advice = MEASURE_ITS_OWN.replace("SPACE", space).replace("FILE", str(supernet))
        raise InputError(f"{error}: {advice}") from None


def _sources(
    cost: Given | Mapping[str, Given] | None, family: str, force: bool
) -> dict[str, Source] | InputError:
    """The one cost; where none was given, and there is none for the family, why."""
    from compofa.spaces.registry import get_family

    try:
        return open_sources(cost, get_family(family), force)
    except InputError as error:
        if cost is not None:
            raise
        return error


def _search(
    sources: dict[str, Source], latency_ms: float | None, sha256: str, **options: Any
) -> SearchResult:
    """The search within the limits."""
    from hwbench.searching.run import search

    return search(
        sources, latency_ms=() if latency_ms is None else latency_ms, supernet_sha256=sha256, **options
    )


def in_int8(model: LatencyModel, needed: bool) -> LatencyModel | None:
    """`model`, if it is of int8; None, and it is said, if not.

    Raises:
        InputError: it is not, and it is `needed`.
    """
    if model.target.precision == "int8":
        return model
    why = f"the table is in {model.target.precision}, the subnet in int8"
    if needed:
        raise InputError(f"{why}: give one in int8 (build_lut --precision int8)")
    note(f"no predicted latency: {why}")
    return None


def find_model(
    sources: dict[str, Source] | InputError, supernet: Supernet, force: bool, told: bool
) -> LatencyModel | None:
    """The latency model to predict with; None if there is none.

    Args:
        sources: the one cost, or why there is none.
        supernet: whose networks they are.
        force: take what is not to be trusted, too.
        told: whether to say what differs; a search has said so already.

    Raises:
        InputError: it is a model of whole subnets, or of another batch.
    """
    if isinstance(sources, InputError):
        note(f"no predicted latency: {sources}")
        return None
    if len(sources) != 1:
        raise InputError(f"one subnet for one target: give one cost, not {len(sources)}")
    (source,) = sources.values()
    model = source.cost
    if not isinstance(model, LatencyModel):
        raise InputError(f"{source} is no table: specialize measures on a table's target; give its file")
    if told:
        note_classes(model, supernet.family.classes)
    if model.target.batch != BATCH:
        insist(
            f"{source} is a table of batch {model.target.batch}, the exported model takes batch {BATCH}: give a table "
            f"of batch {BATCH}",
            force,
        )
    return model
