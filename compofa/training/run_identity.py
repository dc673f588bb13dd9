"""What a run is: what one that goes on from its checkpoint must have in common with it, what its result says of it."""

from __future__ import annotations

from dataclasses import MISSING, asdict, fields
from pathlib import Path
from typing import Any

from compofa.data import ImageData, absolute_name
from compofa.errors import InputError
from compofa.identity import hash_names
from compofa.recipe import Recipe


def run_identity(
    recipe: Recipe,
    data: ImageData,
    teacher_sha256: str | None,
    amp: str | None,
    processes: int,
    micro_batch: int | None,
) -> dict[str, Any]:
    """What decides the result, but for the machine, JSON-ready. Where the images lie does not."""
    return {
        "recipe": {name: value for name, value in asdict(recipe).items() if name != "data"},
        "data": data.identity,
        "class names": hash_names(data.class_names)[:16],
        "teacher": teacher_sha256 and teacher_sha256[:16],
        "precision": amp or "fp32",
        "processes": processes,
        "micro batch": micro_batch or 0,
    }


def provenance(
    recipe: Recipe, data: ImageData, teacher_sha256: str | None, amp: str | None, processes: int
) -> dict[str, Any]:
    """What a supernet's file says of how it was trained, JSON-ready, but for the cost."""
    return {
        "recipe": asdict(recipe),
        "data": data.name,
        "data_source": absolute_name(recipe.data),
        "class_names": list(data.class_names),
        "normalisation": data.normalisation,
        "teacher_sha256": teacher_sha256,
        "precision": amp or "fp32",
        "processes": processes,
    }


def check_same_run(found: dict[str, Any], wanted: dict[str, Any], out: Path) -> None:
    """Raise InputError unless a run that is `wanted` may go on from the checkpoint of one that was `found` in `out`."""
    # a recipe of before says nothing of what came later, and trained by the defaults
    defaults = {field.name: field.default for field in fields(Recipe) if field.default is not MISSING}
    found = {**found, "recipe": {**defaults, **found.get("recipe", {})}}
    if words := identity_differences(found, wanted):
        more = f" and {len(words) - 4} more" if len(words) > 4 else ""
        raise InputError(
            f"{out} holds another run ({'; '.join(words[:4])}{more}): choose another --out, or empty it"
        )


def identity_differences(found: dict[str, Any], wanted: dict[str, Any]) -> list[str]:
    """Where two identities differ, in words, as far as both say it."""
    theirs, ours = dict(_leaves("", found)), dict(_leaves("", wanted))
    both = [name for name in theirs if name in ours]
    words = [f"{name}: {theirs[name]}, not {ours[name]}" for name in both if theirs[name] != ours[name]]
    stages = [len(identity.get("recipe", {}).get("stages", ())) for identity in (found, wanted)]
    return words if stages[0] == stages[1] else [f"stages: {stages[0]}, not {stages[1]}", *words]


def _leaves(name: str, value: Any) -> list[tuple[str, Any]]:
    if isinstance(value, dict) and value:
        return [leaf for key in value for leaf in _leaves(f"{name}.{key}".strip("."), value[key])]
    if isinstance(value, list | tuple) and value and isinstance(value[0], dict):
        return [leaf for i, item in enumerate(value) for leaf in _leaves(f"{name}[{i}]", item)]
    return [(name, list(value) if isinstance(value, tuple) else value)]
