"""Every target that comes with the package is sound; a wrong description is one line that says what."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from backends.fpga.target import Dpu, load_target, parse_target, target_names

DPU_SIZES = ("b512", "b800", "b1024", "b1152", "b1600", "b2304", "b3136", "b4096")


def description(**changes: Any) -> dict[str, Any]:
    """A small valid target, with fields of the top level or of a table changed; None removes one."""
    content: dict[str, Any] = {
        "device": "test",
        "family": "systolic",
        "clock_mhz": 100,
        "precisions": {"int8": 1.0},
        "array": {"rows": 8, "columns": 8},
        "memory": {
            "input_bytes": 65536,
            "weight_bytes": 65536,
            "output_bytes": 65536,
            "bytes_per_cycle": 8,
        },
    }
    for path, value in changes.items():
        *tables, last = path.split("__")
        place = content
        for table in tables:
            place = place[table]
        if value is None:
            del place[last]
        else:
            place[last] = value
    return content


def test_the_presets_of_the_papers_and_boards_are_there() -> None:
    names = target_names()
    assert {f"dpu-{size}" for size in DPU_SIZES} <= set(names)
    assert {"zcu102-b4096", "zcu104-b4096", "kv260-b4096", "ultra96-b1600"} <= set(names)
    assert {"systolic-16x16", "systolic-32x32"} <= set(names)


@pytest.mark.parametrize("size", DPU_SIZES)
def test_a_dpu_is_named_after_its_operations_a_cycle(size: str) -> None:
    array = load_target(f"dpu-{size}").array
    assert isinstance(array, Dpu)
    assert 2 * array.pixels * array.inputs * array.outputs == int(size[1:])


def test_boards_have_the_cores_and_clocks_of_their_releases() -> None:
    found = {n: (load_target(n).cores, load_target(n).clock_mhz) for n in target_names() if "-b" in n}
    assert found["zcu102-b4096"] == (3, 281)
    assert found["zcu104-b4096"] == (2, 300)
    assert found["kv260-b4096"] == (1, 300)
    assert found["ultra96-b1600"] == (1, 287)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"array__rows": 0}, "rows must be above 0, not 0"),
        ({"array__rows": -3}, "rows must be above 0, not -3"),
        ({"array__rows": 2.5}, r"rows in \[array\] must be of type int, not 2.5"),
        ({"array__dataflow": "rs"}, "unknown dataflow 'rs'; there are os, ws, is"),
        ({"array__pixels": 8}, r"unknown field pixels in \[array\]; there are rows, columns, dataflow"),
        ({"array": None}, r"the table \[array\] is missing"),
        ({"memory__bytes_per_cycle": 0.0}, "bytes_per_cycle must be above 0"),
        ({"memory__burst_efficiency": 1.5}, "burst_efficiency is at most 1"),
        ({"memory__input_bytes": None}, r"input_bytes in \[memory\] is missing"),
        ({"clock_mhz": float("nan")}, "clock_mhz must be above 0"),
        ({"clock_mhz": "fast"}, "clock_mhz must be of type float, not 'fast'"),
        ({"clok": 3}, "unknown field clok"),
        ({"family": "gpu"}, "family must be one of dpu, systolic, streaming, not 'gpu'"),
        ({"precisions": {"fp32": 1.0}}, "precisions are such as int8"),
        ({"layer_cycles": -1}, "must not be negative"),
        ({"layer_cycles": 10**400}, "are at most 1e"),
        ({"memory__latency_cycles": 10**400}, "latency_cycles must not be negative, nor above"),
    ],
)
def test_a_wrong_description_says_what_is_wrong(changes: dict[str, Any], says: str) -> None:
    parse_target("t", description())
    with pytest.raises(ValueError, match=says):
        parse_target("t", description(**changes))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"efficiency": 0.5}, "a streaming target has no efficiency"),
        ({"layer_cycles": 1000}, "a streaming target has no layer_cycles"),
        ({"fuse": False}, "a streaming target has no fuse"),
        ({"precisions": {"int8": 1.0, "int4": 2.0}}, "takes as long in any precision"),
    ],
    ids=str,
)
def test_what_a_pipeline_has_not_is_refused(change: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        replace(load_target("streaming-100k"), **change)


def test_a_file_is_named_in_its_errors(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text("family = ")
    with pytest.raises(ValueError, match=r"mine.toml: not TOML: Invalid value"):
        load_target(str(path))
    with pytest.raises(ValueError, match="unknown target 'zcu999'; there are dpu-b1024, "):
        load_target("zcu999")


def test_a_precision_that_the_array_lacks_is_refused() -> None:
    target = load_target("zcu102-b4096")
    assert target.element_bytes("int8") == 1
    with pytest.raises(ValueError, match="target zcu102-b4096 cannot compute in int16; it has int8"):
        target.element_bytes("int16")


def test_the_digest_tells_targets_apart_by_what_decides_a_latency() -> None:
    target = load_target("kv260-b4096")
    assert replace(target, device="another label").digest == target.digest
    assert replace(target, clock_mhz=301).digest != target.digest
