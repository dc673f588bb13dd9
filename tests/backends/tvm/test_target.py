"""Every target that comes with the package is sound; a wrong description is one line that says what."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from backends.tvm.target import TvmTarget, host_mcpu, load_target, parse_target, target_names


def description(**changes: Any) -> dict[str, Any]:
    """A small valid target, with fields changed; None removes one."""
    content = {
        "device": "test",
        "triple": "aarch64-linux-gnu",
        "mcpu": "cortex-a72",
        "features": ["+neon"],
        "cores": 4,
        "compiler": "aarch64-linux-gnu-g++",
        "install": "apt install g++-aarch64-linux-gnu",
    }
    return {name: value for name, value in {**content, **changes}.items() if value is not None}


def test_the_boards_of_the_readme_are_there() -> None:
    found = {name: load_target(name) for name in target_names()}
    assert {"host", "raspberry-pi4", "raspberry-pi5", "cortex-a53"} <= set(found)
    assert [found[name].mcpu for name in ("raspberry-pi4", "raspberry-pi5", "cortex-a53")] == [
        "cortex-a72",
        "cortex-a76",
        "cortex-a53",
    ]
    assert any("android" in target.triple for target in found.values())
    assert [target.name for target in found.values() if target.is_host] == ["host"]
    assert len({target.digest for target in found.values()}) == len(found)


def test_the_host_is_filled_in() -> None:
    host = load_target("host")
    assert (
        host.mcpu
        and host.device
        and host.settings(2)
        == {
            "kind": "llvm",
            "mcpu": host.mcpu,
            "num-cores": 2,
        }
    )


def test_a_board_says_what_to_compile_for() -> None:
    assert load_target("raspberry-pi4").settings(1) == {
        "kind": "llvm",
        "mcpu": "cortex-a72",
        "num-cores": 1,
        "mtriple": "aarch64-linux-gnu",
        "mattr": ["+neon"],
    }


V3 = "avx2 bmi1 bmi2 f16c fma movbe sse4_2 ssse3 popcnt"


@pytest.mark.parametrize(
    ("text", "machine", "mcpu"),
    [
        (f"flags\t: fpu {V3} avx512f avx512bw avx512cd avx512dq avx512vl\n", "x86_64", "x86-64-v4"),
        (f"flags\t: fpu {V3} avx512f\n", "x86_64", "x86-64-v3"),
        ("flags\t: sse4_2 ssse3 popcnt\n", "x86_64", "x86-64-v2"),
        ("flags\t: avx2 bmi1 bmi2 f16c fma movbe\n", "x86_64", "x86-64"),
        ("", "x86_64", "x86-64"),
        ("CPU part\t: 0xd03\nCPU part\t: 0xd08\n", "aarch64", "cortex-a72"),
        ("CPU part\t: 0xfff\n", "aarch64", "generic"),
        ("", "riscv64", "generic"),
    ],
)
def test_the_host_processor_is_told_by_what_it_can_do(
    text: str, machine: str, mcpu: str, tmp_path: Path
) -> None:
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text(text)
    assert host_mcpu(cpuinfo, machine) == mcpu


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"cores": 0}, "cores must be at least 1, not 0"),
        ({"cores": "4"}, "cores must be of type int, not '4'"),
        ({"mcpu": ""}, "a triple needs device and mcpu"),
        ({"features": ["neon"]}, r"features are such as \+neon or -sve, not 'neon'"),
        ({"features": [3]}, "features are such as"),
        ({"features": "+neon"}, "features must be of type"),
        ({"compiler": " "}, "the compiler is missing"),
        ({"compiler": None}, "the field compiler is missing"),
        ({"mpcu": "cortex-a53"}, "unknown field mpcu; there are name, device, triple"),
    ],
)
def test_a_wrong_description_says_what_is_wrong(changes: dict[str, Any], says: str) -> None:
    parse_target("t", description())
    with pytest.raises(ValueError, match=says):
        parse_target("t", description(**changes))


def test_an_unknown_target_lists_those_there_are() -> None:
    with pytest.raises(
        ValueError, match=r"unknown target 'pi4'; there are cortex-a53, host, .*or give the path"
    ):
        load_target("pi4")


def test_a_missing_compiler_is_named_with_its_package() -> None:
    target: TvmTarget = replace(load_target("cortex-a53"), compiler="no-such-g++")
    with pytest.raises(ValueError, match=r"needs the compiler no-such-g\+\+, .*apt install g\+\+-aarch64"):
        target.check_compiler()


def test_the_digest_tells_targets_apart_by_what_decides_the_code() -> None:
    target = load_target("cortex-a53")
    assert replace(target, device="another label").digest == target.digest
    assert replace(target, features=()).digest != target.digest
