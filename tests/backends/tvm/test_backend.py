"""The backend end to end on this machine: compiled, checked against ONNX Runtime, timed, kept on disk."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from backends import registry
from backends.base import BackendUnavailable, Settings
from backends.measuring.timing import TimingSettings
from backends.tvm import backend as backend_module
from backends.tvm import library
from backends.tvm.address import Address
from backends.tvm.backend import TvmBackend
from backends.tvm.library import Recipe, find, prune
from backends.tvm.measuring import WrongNumbers, check
from backends.tvm.target import load_target
from compofa.blocks import Block
from lut.paths import default_path

QUICK = TimingSettings(rounds=3, rotation=4, max_warmup_ms=5.0)
SMALL = Block("linear", (8, 1, 1), 8)
LARGE = Block("mbconv", (40, 14, 14), 40, 240, kernel=5, act="hswish", se=True, shortcut=True)


@pytest.fixture(scope="module")
def backend() -> Iterator[TvmBackend]:
    some = TvmBackend(Settings(), block_timing=QUICK, network_timing=QUICK)
    yield some
    for name in ("boards", "_compilers"):
        if name in vars(some):
            vars(some)[name].close()


@pytest.mark.needs_tvm
def test_blocks_and_networks_are_measured(backend: TvmBackend) -> None:
    small, large = backend.block_latencies([SMALL, LARGE])
    assert 0 < small.latency_ms < large.latency_ms
    assert (large.origin, len(large.rounds_ms)) == ("measured", 3)
    assert dict(large.details)["tuning_trials"] == 0
    assert backend.timing_s > 0
    (network,) = backend.network_latencies([(LARGE, LARGE)])
    assert network.latency_ms > large.latency_ms / 2
    assert backend.block_latencies([]) == [] == backend.network_latencies([])
    found = find(backend.recipe, (LARGE,))
    assert found is not None and found.trials == 0
    before = found.path.stat().st_ino
    backend.block_latencies([LARGE])
    assert found.path.stat().st_ino == before, "compiled again"


@pytest.mark.needs_tvm
def test_the_target_says_what_decides_the_speed(backend: TvmBackend) -> None:
    target = backend.target
    details = dict(target.details)
    assert (target.backend, details["target"], details["tune"]) == ("tvm", "host", "0")
    assert details["mcpu"] == load_target("host").mcpu
    assert dict(target.versions).keys() == {"apache-tvm"}
    assert TvmBackend.options_of(target) == {"target": "host", "tune": "0"}
    assert backend.chosen_options == {}
    tuned = TvmBackend(Settings(options={"tune": "64"}))
    assert tuned.chosen_options == {"tune": "64"}
    assert default_path(tuned.target, "glyphs") != default_path(target, "glyphs")


@pytest.mark.needs_tvm
def test_a_library_is_of_its_graph_target_version_and_trials(monkeypatch: pytest.MonkeyPatch) -> None:
    host = Recipe(load_target("host"))
    others = [Recipe(load_target("cortex-a53")), Recipe(host.target, 2), Recipe(host.target, trials=8)]
    graph = host.graph((SMALL,))
    assert graph == host.graph((SMALL,))
    keys = {host.key(graph), host.key(host.graph((LARGE,))), *(other.key(graph) for other in others)}
    monkeypatch.setattr(library, "tvm_version", lambda: "0.28.0")
    keys.add(host.key(graph))
    assert len(keys) == 6


def test_the_least_recently_used_libraries_go_first(tmp_path: Path) -> None:
    for i in range(4):
        (tmp_path / f"{i}.so").write_bytes(b"x" * 100)
        (tmp_path / f"{i}.json").write_text("{}")
        os.utime(tmp_path / f"{i}.so", (i, i))
    os.utime(tmp_path / "0.so", (9, 9))
    prune(tmp_path, max_bytes=250)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["0.json", "0.so", "3.json", "3.so"]


def test_numbers_that_differ_are_refused() -> None:
    right = np.linspace(-2, 1, 12, dtype=np.float32).reshape(1, 12)
    assert check((SMALL,), right, right + np.float32(1e-4)) == pytest.approx(5e-5, rel=0.01)
    with pytest.raises(WrongNumbers, match=r"linear-8x1x1-8-k1-s1: .* differs from ONNX Runtime's by 0.0025"):
        check((SMALL,), right, right + np.float32(5e-3))
    with pytest.raises(WrongNumbers, match="a network of 3 blocks"):
        check((SMALL, SMALL, SMALL), right, right * np.float32("nan"))
    with pytest.raises(WrongNumbers, match="shape"):
        check((SMALL,), right, right[0])


@pytest.mark.needs_tvm
@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (Settings(precision="int8"), "no precision 'int8'; it has fp32"),
        (Settings(threads=0), "threads 1 to 64"),
        (
            Settings(threads=5, options={"target": "raspberry-pi4"}),
            "threads 1 to 4, the cores of raspberry-pi4",
        ),
        (Settings(options={"target": "pi"}), "unknown target 'pi'; there are cortex-a53"),
        (Settings(options={"tune": "-1"}), "--tune is a whole number, at least 0, not '-1'"),
        (Settings(options={"timeout": "0"}), "--timeout is a whole number, at least 1"),
        (Settings(options={"rpc": "board"}), "--rpc is HOST:PORT, not 'board'"),
        (Settings(options={"rpc": "board:99999"}), "--rpc is HOST:PORT"),
        (Settings(options={"key": "rpi4"}), "give --rpc HOST:PORT of the tracker, too"),
        (Settings(options={"trials": "3"}), "no option trials; it has target, rpc, key, tune"),
    ],
)
def test_what_it_cannot_do_is_refused(settings: Settings, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TvmBackend(settings)


@pytest.mark.needs_tvm
def test_a_board_is_asked_for_only_when_it_is_needed() -> None:
    some = TvmBackend(Settings(options={"target": "host", "rpc": "127.0.0.1:1"}))
    with pytest.raises(BackendUnavailable, match="cannot reach the RPC server at 127"):
        some.block_latencies([SMALL])
    arm = TvmBackend(Settings(options={"target": _file_of_an_arm_target()}))
    with pytest.raises(ValueError, match=r"runs on a board: give --rpc HOST:PORT .* --emulate"):
        arm.block_latencies([SMALL])


def _file_of_an_arm_target() -> str:
    """With a compiler that is there."""
    path = Path(os.environ["HWBENCH_HOME"]) / "arm.toml"
    fields = {
        "device": "d",
        "triple": "aarch64-linux-gnu",
        "mcpu": "cortex-a53",
        "compiler": "g++",
        "install": "",
    }
    lines = [f"{name} = {json.dumps(value)}" for name, value in fields.items()]
    path.write_text("\n".join([*lines, "cores = 4", "features = []"]))
    return str(path)


def test_a_tuning_database_of_another_target_is_refused(tmp_path: Path) -> None:
    from backends.tvm.tuning import check_database, read_trials

    folder = tmp_path / "db"
    host = Recipe(load_target("host"), trials=4, database=folder)
    check_database(folder, host)
    check_database(folder, host)
    other = replace(host, database=tmp_path / "other")
    check_database(other.database, other)
    # What is tuned by one database is not looked up by another; untuned, both are the same.
    assert host.key(b"graph") != other.key(b"graph")
    assert replace(host, trials=0).key(b"graph") == replace(other, trials=0).key(b"graph")
    with pytest.raises(ValueError, match=r"is of another target: mcpu .*, not cortex-a53"):
        check_database(folder, Recipe(load_target("cortex-a53"), trials=4, database=folder))
    (folder / "trials.jsonl").write_text('{"operator":"a","trials":16}\n{"operator":"a","trials":8}\n{"opera')
    assert read_trials(folder) == {"a": 24}
    (folder / "target.json").write_text("{")
    with pytest.raises(ValueError, match=r"target.json: not JSON"):
        check_database(folder, host)
    (folder / "target.json").unlink()
    with pytest.raises(ValueError, match="no tuning database of hwbench"):
        check_database(folder, host)


def test_addresses() -> None:
    assert str(Address.parse("pi.local:9090", "rpi4")) == "pi.local:9090 (key rpi4)"
    assert Address.parse("", "") == Address()


def test_without_tvm_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backend_module, "find_spec", lambda name: None if name == "tvm" else object())
    reason = registry.available()["tvm"]
    assert reason is not None and reason.startswith(
        "apache-tvm cannot be imported; install with: pip install"
    )
    with pytest.raises(
        BackendUnavailable, match=r"apache-tvm==0\.27\.0\.post1 apache-tvm-ffi==0\.1\.14\.post1"
    ):
        TvmBackend(Settings())
