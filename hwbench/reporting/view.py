"""What a page shows of gathered groups, as JSON-ready values. Costs of subnets are not among them: the page adds them
up from the costs of parts, on whatever axis its reader asks for."""

from __future__ import annotations

import base64
import shlex
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hwbench.reporting import agreement
from hwbench.reporting.groups import Device, Group, SpaceSubnets
from hwbench.reporting.parts import Part, Parts
from hwbench.validating.run import assess
from lut.costs import memory_mb

DIGITS = 7
"""Significant ones of a number in the page."""


def view(group: Group, number: int) -> dict[str, Any]:
    """All that the page shows of a group, the `number`-th from 1."""
    parts = Parts(group.family)
    rows = [parts.rows(space.genotypes) for space in group.spaces]
    units = range(len(parts.layout.units))
    heat = [{"unit": f"unit {unit + 1}", **parts.heat(unit)} for unit in units]
    part_ms = [_part_ms(device, parts) for device in group.devices]
    return {
        "id": f"group-{number}",
        "name": group.name,
        "family": group.family.name,
        "precision": group.precision,
        "batch": group.batch,
        "resolutions": list(group.family.resolutions),
        "notes": group.notes,
        "parts": [_part(part, group) for part in parts.parts],
        "heat": heat,
        "devices": [_device(device, ms) for device, ms in zip(group.devices, part_ms, strict=True)],
        "spaces": [_space(space, row) for space, row in zip(group.spaces, rows, strict=True)],
        "agreement": agreement.compare(
            [_latencies(device, ms, rows) for device, ms in zip(group.devices, part_ms, strict=True)],
            np.concatenate([space.accuracy for space in group.spaces]) if group.spaces else np.empty(0),
        ),
    }


def _rounded(value: float) -> float | None:
    """JSON has no NaN: null stands for what is not known."""
    return float(f"{value:.{DIGITS}g}") if np.isfinite(value) else None


def _part(part: Part, group: Group) -> dict[str, Any]:
    block = part.block
    return {
        "place": part.place,
        "choice": part.choice,
        "resolution": part.resolution,
        "block": str(block),
        "macs": block.macs,
        "params": block.params,
        "mb": _rounded(memory_mb(block, group.precision, group.batch)),
    }


def _part_ms(device: Device, parts: Parts) -> NDArray[np.float64]:
    """What each part adds to a network on a device, shape (1 + parts,), NaN where that is not known."""
    known = [device.model.block_ms(part.block, part.resolution) for part in parts.parts]
    return np.array([0.0, *known])


def _latencies(
    device: Device, part_ms: NDArray[np.float64], rows: Sequence[NDArray[np.intp]]
) -> NDArray[np.float64]:
    """Of all subnets of all spaces, shape (n,); NaN where a block is not known."""
    call_ms = device.model.coefficients.get("call", 0.0)
    return np.concatenate([call_ms + part_ms[row].sum(axis=1) for row in rows] or [np.empty(0)])


def _device(device: Device, part_ms: NDArray[np.float64]) -> dict[str, Any]:
    model, header = device.model, device.model.table.header
    return {
        "name": device.name,
        "file": str(device.path),
        "lut": shlex.quote(str(device.path)),
        "target": str(model.target),
        "settings": dict(model.target.details),
        "origin": model.table.origin,
        "blocks": model.table.origins,
        "provenance": model.provenance,
        "caution": model.caution,
        "created": header.created,
        "digest": header.digest,
        "call_ms": model.coefficients.get("call", 0.0),
        "terms": {name: _rounded(value) for name, value in model.coefficients.items()},
        "part_ms": [_rounded(value) for value in part_ms[1:].tolist()],
        "failures": len(model.table.failures),
        "trust": _trust(device),
    }


def _trust(device: Device) -> dict[str, Any] | None:
    """Predicted against measured networks; None if none were measured."""
    found = device.calibration
    if found is None:
        return None
    return {
        **assess(found),
        "networks": len(found.archs),
        "archs": [str(arch) for arch in found.archs],
        "measured_ms": [_rounded(ms) for ms in found.measured_ms.tolist()],
        "raw_ms": [_rounded(ms) for ms in found.raw_ms.tolist()],
        "held_out_ms": [_rounded(ms) for ms in found.held_out_ms.tolist()],
    }


def _space(space: SpaceSubnets, rows: NDArray[np.intp]) -> dict[str, Any]:
    return {
        "name": space.space.name,
        "file": str(space.file),
        "of": space.of.to_dict(),
        "origin": str(space.of),
        "images": space.of.images,
        "measured": space.measured,
        "predicted": len(space.accuracy) - space.measured,
        "complete": space.complete,
        "error": space.error,
        "supernet": shlex.quote(str(space.supernet)) if space.supernet else None,
        "archs": [str(arch) for arch in _archs(space)],
        "accuracy": [round(value, 6) for value in space.accuracy.tolist()],
        "columns": rows.shape[1],
        "rows": base64.b64encode(rows.astype("<u2").tobytes()).decode("ascii"),
    }


def _archs(space: SpaceSubnets) -> Sequence[Any]:
    from compofa.spaces.layout import decode

    return decode(space.space.family, space.genotypes)
