"""Supernets on disk: a safetensors file whose metadata says what it is."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import Tensor

from compofa.errors import InputError
from compofa.families import get_family
from compofa.files import replacing
from compofa.supernet import Supernet

SCHEMA = 1


def save_supernet(supernet: Supernet, path: Path, provenance: dict[str, Any]) -> None:
    """Write `supernet` with JSON-ready `provenance` (recipe, cost); the file appears whole or not at all."""
    from safetensors.torch import save_file

    header = {
        "schema": SCHEMA,
        "family": supernet.family.name,
        "classes": supernet.family.classes,
        "kernel_transform": supernet.kernel_transform,
        "provenance": provenance,
    }
    state = {name: value.detach().cpu().contiguous() for name, value in supernet.state_dict().items()}
    with replacing(path) as beside:
        save_file(state, beside, metadata={"hwbench_supernet": json.dumps(header)})


def load_supernet(path: Path, kernel_transform: bool | None = None) -> tuple[Supernet, dict[str, Any]]:
    """The supernet in `path` and its provenance.

    Args:
        path: written by :func:`save_supernet`.
        kernel_transform: as in the file unless given. Matrices the file lacks start as the identity,
            which leaves every subnet's function as it was.

    Raises:
        ValueError: the file is no supernet of a known family.
        OSError: it cannot be read.
    """
    header, state = _read(path)
    family = replace(get_family(header["family"]), classes=header["classes"])
    supernet = Supernet(family, header["kernel_transform"] if kernel_transform is None else kernel_transform)
    missing, unexpected = supernet.load_state_dict(state, strict=False)
    missing = [name for name in missing if ".matrices." not in name]
    unexpected = [name for name in unexpected if ".matrices." not in name]
    if missing or unexpected:
        raise InputError(f"{path} does not fit {family.name}: {(missing + unexpected)[0]} and others differ")
    return supernet, header["provenance"]


def _read(path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            header = json.loads(metadata["hwbench_supernet"])
            state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dict
    except (SafetensorError, KeyError, json.JSONDecodeError) as error:
        raise InputError(f"{path} is not a supernet that hwbench wrote: {error}") from error
    if header.get("schema") != SCHEMA:
        raise InputError(f"{path} has schema {header.get('schema')}, this version reads {SCHEMA}")
    return header, state
