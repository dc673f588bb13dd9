"""Supernets on disk: a safetensors file whose metadata says what it is, or a state dict that somebody published."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from torch import Tensor

from compofa.errors import InputError, RunFailed
from compofa.files import file_sha256, parse_json, replacing
from compofa.identity import SupernetIdentity
from compofa.published import differing, load_published, unsound
from compofa.spaces.family import Family
from compofa.spaces.registry import family_fields, family_name, get_family
from compofa.supernet import Supernet

SCHEMA = 2
OLD_NAMES = 1
"""Schema of version 0.1.0, whose elastic blocks had names of their own (:func:`_renamed`)."""
METADATA = "hwbench_supernet"
CHECKSUM = "hwbench_sha256"
"""Of the metadata and all tensors. Files of version 0.1.0 have none."""
MAX_CLASSES = 1_000_000


class OpenSupernet(NamedTuple):
    """A supernet and what its file says of it."""

    supernet: Supernet
    identity: SupernetIdentity


# --- writing ---


def save_supernet(supernet: Supernet, path: Path, provenance: dict[str, Any]) -> None:
    """Write `supernet` with JSON-ready `provenance` (recipe, cost); the file appears whole or not at all.

    Raises:
        RunFailed: a weight is not finite.
        OSError: it cannot be written.
    """
    from safetensors.torch import save_file

    state = {name: value.detach().cpu().contiguous() for name, value in supernet.state_dict().items()}
    if words := unsound(state):
        raise RunFailed(f"{path} is not written: {words}")
    header = json.dumps(
        {
            "schema": SCHEMA,
            **family_fields(supernet.family.name),
            "classes": supernet.family.classes,
            "kernel_transform": supernet.kernel_transform,
            "provenance": provenance,
        }
    )
    with replacing(path) as beside:
        save_file(state, beside, metadata={METADATA: header, CHECKSUM: _checksum(header, state)})


def _checksum(header: str, state: Mapping[str, Tensor]) -> str:
    digest = hashlib.sha256(header.encode())
    for name in sorted(state):
        value = state[name]
        digest.update(f"{name} {value.dtype} {list(value.shape)}".encode())
        digest.update(value.contiguous().numpy().tobytes())
    return digest.hexdigest()


# --- reading ---


def open_supernet(
    path: Path, family: str | None = None, kernel_transform: bool | None = None
) -> OpenSupernet:
    """The supernet in `path`, whoever wrote it.

    Args:
        path: written by :func:`save_supernet`, or a published state dict (:mod:`compofa.published`).
        family: whose supernet a published one is; for our own, whose it must be.
        kernel_transform: as in the file unless given. Matrices the file lacks start as the identity,
            which leaves every subnet's function as it was.

    Raises:
        InputError: it is no supernet of that family, or damaged.
        OSError: it cannot be read.
    """
    metadata = _metadata(path)
    if METADATA in metadata:
        return _open_ours(path, metadata, family, kernel_transform)
    if family is None:
        raise InputError(
            f"{path} is not a supernet that hwbench wrote; if it is a published state dict, say of which family:"
            " --family imagenet-w1.0"
        )
    supernet = load_published(get_family(family), path, kernel_transform)
    return OpenSupernet(supernet, SupernetIdentity(file_sha256(path), family, supernet.family.classes))


def load_supernet(path: Path, kernel_transform: bool | None = None) -> tuple[Supernet, dict[str, Any]]:
    """The supernet in `path`, which :func:`save_supernet` wrote, and its provenance; see :func:`open_supernet`."""
    supernet, _ = open_supernet(path, None, kernel_transform)
    return supernet, parse_json(_metadata(path)[METADATA])["provenance"]


def _open_ours(
    path: Path, metadata: dict[str, str], wanted: str | None, kernel_transform: bool | None
) -> OpenSupernet:
    header, family = _read_header(path, metadata[METADATA])
    if wanted is not None and wanted != family.name:
        raise InputError(f"{path} is a supernet of {family.name}, not of {wanted}")
    state = _tensors(path)
    if CHECKSUM in metadata and metadata[CHECKSUM] != _checksum(metadata[METADATA], state):
        raise InputError(
            f"{path} is damaged: its content does not have the checksum that it was written with"
        )
    if words := unsound(state):
        raise InputError(f"{path} is of no use: {words}")
    if header["schema"] == OLD_NAMES:
        state = {_renamed(name): value for name, value in state.items()}
    supernet = Supernet(family, header["kernel_transform"] if kernel_transform is None else kernel_transform)
    own = supernet.state_dict()
    # Matrices may be more or fewer than in the file.
    state = {name: value for name, value in state.items() if name in own or ".matrices." not in name}
    given = {**{name: value for name, value in own.items() if ".matrices." in name}, **state}
    if words := differing(own, given):
        raise InputError(f"{path} does not fit {family.name} of {family.classes} classes: {words}")
    supernet.load_state_dict(given)
    return OpenSupernet(supernet, _identity(file_sha256(path), header))


_RENAMED = {
    "expand_weight": "expand.conv.weight",
    "expand_bn": "expand.bn",
    "depthwise.weight": "depthwise.conv.weight",
    "depthwise_bn": "depthwise.bn",
    "project_weight": "project.conv.weight",
    "project_bn": "project.bn",
}


def _renamed(name: str) -> str:
    """The name of a tensor that version 0.1.0 called `name`."""
    parts = name.split(".", 3)
    if parts[0] != "units" or len(parts) < 4:
        return name
    for old, new in _RENAMED.items():
        if parts[3] == old or parts[3].startswith(f"{old}."):
            parts[3] = new + parts[3].removeprefix(old)
            break
    return ".".join(parts)


def _read_header(path: Path, text: str) -> tuple[dict[str, Any], Family]:
    """What the metadata says, and the family with the classes of the file."""
    try:
        header = parse_json(text)
        if header.get("schema") not in (SCHEMA, OLD_NAMES):
            raise InputError(
                f"it has schema {header.get('schema')}, this version reads {OLD_NAMES} and {SCHEMA}"
            )
        classes, provenance = header["classes"], header["provenance"]
        if type(classes) is not int or not 1 <= classes <= MAX_CLASSES:
            raise InputError(f"classes is {classes!r}")
        if type(header["kernel_transform"]) is not bool or not isinstance(provenance, dict):
            raise InputError("its kernel_transform or provenance is of the wrong type")
        return header, replace(get_family(family_name(header)), classes=classes)
    except (InputError, KeyError, TypeError, AttributeError) as error:
        reason = f"{error} is missing" if isinstance(error, KeyError) else error
        raise InputError(f"{path} is not a supernet that this version reads: {reason}") from error


def _identity(sha256: str, header: dict[str, Any]) -> SupernetIdentity:
    """Provenance is for people and may hold anything: what is not of the right type is unknown."""
    provenance = header["provenance"]
    recipe = provenance.get("recipe")
    recipe = recipe if isinstance(recipe, dict) else {}
    texts = {
        "recipe": recipe.get("name"),
        "data": provenance.get("data"),
        "data_source": provenance.get("data_source") or recipe.get("data"),
        "teacher_sha256": provenance.get("teacher_sha256"),
        "precision": provenance.get("precision"),
        "normalisation": provenance.get(
            "normalisation", "plain"
        ),  # as in version 0.1.0, which does not say it
    }
    names = provenance.get("class_names")
    sound = isinstance(names, list) and len(names) == header["classes"]
    return SupernetIdentity(
        sha256=sha256,
        family=header["family"],
        classes=header["classes"],
        class_names=tuple(map(str, names)) if sound else None,
        **{name: text if isinstance(text, str) else None for name, text in texts.items()},
    )


def _metadata(path: Path) -> dict[str, str]:
    """The metadata of a safetensors file; empty if `path` is none."""
    from safetensors import SafetensorError, safe_open

    with open(path, "rb"):  # what the operating system has to say is its own
        pass
    try:
        with safe_open(path, framework="pt") as file:
            return file.metadata() or {}
    except (SafetensorError, OSError):
        return {}


def _tensors(path: Path) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except SafetensorError as error:
        raise InputError(f"{path} is damaged: {error}") from error
