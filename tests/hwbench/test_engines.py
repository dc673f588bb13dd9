"""``hwbench engines``: the engines of a table, built by the real TensorRT-RTX where there is no GPU."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from backends.measuring.differencing import Plan
from backends.tensorrt import ahead, library
from backends.tensorrt.build import Graph
from backends.tensorrt.worker import CannotKeep
from compofa.blocks import Block
from compofa.spaces.registry import get_family
from compofa.spaces.space import get_space
from hwbench import cli, engines

WHAT = ("--family", "glyphs", "--space", "compofa", "--resolutions", "16")
SMALL = Block("mbconv", (8, 6, 6), 8, 24, kernel=3, act="relu", shortcut=True)
WIDE = Block("mbconv", (8, 6, 6), 24, 48, kernel=5, se=True, act="hswish")


def run(folder: Path, capsys: pytest.CaptureFixture[str], *more: str) -> tuple[int, dict[str, Any], str]:
    """The exit code, the summary and what was said on stderr."""
    what = [] if "--resolutions" in more else WHAT
    code = engines.main([*what, "--out", str(folder), "--json", *more])
    out, err = capsys.readouterr()
    return code, json.loads(out) if out else {}, err


@pytest.mark.needs_rtx
def test_all_that_a_table_and_its_validation_ask_for_is_built_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, first, err = run(tmp_path, capsys, "--compute-capability", "8.9", "--subnets", "12")
    assert (code, first["refused"], first["failed"]) == (cli.OK, {}, {})
    assert first["built"] == first["graphs"] == first["blocks"] * 3 - _shared(first["blocks"]) + 12 + 1
    assert first["engines"] == str(tmp_path / f"tensorrt-rtx-{library.RTX.version}-sm89")
    assert len(list(Path(first["engines"]).glob("*.engine"))) == first["built"]

    code, second, err = run(tmp_path, capsys, "--compute-capability", "8.9", "--subnets", "12")
    assert (code, second["built"], second["found"], err) == (cli.OK, 0, first["built"], "")

    # What lies there is cut on the way: said, and built anew.
    cut = sorted(Path(first["engines"]).glob("*.engine"))[0]
    cut.write_bytes(cut.read_bytes()[:-10])
    code, third, err = run(tmp_path, capsys, "--compute-capability", "8.9", "--subnets", "12")
    assert (code, third["built"]) == (cli.OK, 1)
    assert err == f"warning: 1 of the engines in {first['engines']} are cut or damaged: they are built anew\n"


def _shared(blocks: int) -> int:
    """Networks that blocks of one shape share."""
    space = get_space("compofa", get_family("glyphs"))
    return 3 * blocks - len(Plan(space.all_blocks((16,))).networks)


@pytest.mark.needs_rtx
def test_what_a_gpu_refuses_is_named_with_the_librarys_words_and_not_tried_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for _ in range(2):
        code, found, err = run(tmp_path, capsys, "--compute-capability", "7.5", "--precision", "fp32")
        assert code == cli.FAILED
        assert list(found["refused"]) == ["linear-192x1x1-62-k1-s1"] and found["failed"] == {}
        assert "refused  linear-192x1x1-62-k1-s1: " in err and "FP32 GEMM is not supported" in err
        assert found["built"] + found["found"] == found["graphs"] - 2  # alone, and behind its neighbours
    assert found["built"] == 0


@pytest.mark.needs_rtx
@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (
            ["--compute-capability", "9.0"],
            r"no engines for compute capability '9.0'; it has 7.5, 8.0, 8.6, 8.9, 12.0",
        ),
        (["--compute-capability", "sm_89"], r"no engines for compute capability 'sm_89'; it has 7.5"),
        (
            ["--compute-capability", "8.9", "--precision", "fp8"],
            "no precision 'fp8'; there are fp16, fp32, tf32, int8",
        ),
        (["--compute-capability", "8.9", "--batch", "0"], "'0' is not a positive whole number"),
        (["--compute-capability", "8.9", "--resolutions", "17"], "has no resolution 17"),
        (["--compute-capability", "8.9", "--seed", "-1"], "'-1' is not a seed"),
        (["--compute-capability", "8.9", "--subnets", "1"], "--subnets must be"),
        ([], "--compute-capability"),
    ],
)
def test_what_is_not_there_is_said_with_what_is(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], says: str
) -> None:
    code, _, err = run(tmp_path, capsys, *arguments)
    assert code == cli.USAGE
    assert err.count("\n") == 1 and says in err
    assert not list(tmp_path.rglob("*.engine"))


@pytest.mark.needs_rtx
def test_a_folder_that_cannot_be_written_is_said_before_anything_is_built(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    code, _, err = run(tmp_path / "file" / "engines", capsys, "--compute-capability", "8.9")
    assert code == cli.USAGE
    assert err == f"hwbench engines: error: cannot keep engines in {tmp_path}/file/engines: Not a directory\n"


def test_without_the_library_it_is_unavailable(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from dataclasses import replace

    monkeypatch.setitem(library.LIBRARIES, "rtx", replace(library.RTX, module="no_such_module"))
    code, _, err = run(tmp_path, capsys, "--compute-capability", "8.9")
    assert code == cli.UNAVAILABLE
    assert "tensorrt-rtx cannot be imported; install with: pip install 'hwbench[tensorrt]'" in err


# --- several processes ---


def building(tmp_path: Path, trouble: str) -> tuple[str, ...]:
    """A building process that makes trouble for WIDE."""
    program = tmp_path / "trouble.py"
    program.write_text(
        "import os, sys, time\n"
        "from backends.tensorrt import build, library\n"
        "library.use(library.RTX)\n"
        "right = build.handle\n"
        "def handle(request, memory):\n"
        "    if request.graph.network[-1].out_channels == 24:\n"
        f"        {trouble}\n"
        "    return right(request, memory)\n"
        "build.handle = handle\n"
        "build.serve(sys.stdin, os.fdopen(int(sys.argv[1]), 'w'), None)\n"
    )
    return (sys.executable, str(program), "{answers}")


@pytest.mark.needs_rtx
@pytest.mark.parametrize(
    ("trouble", "says"),
    [
        ("print('Cask error', file=sys.stderr, flush=True); os.abort()", "was killed by SIGABRT: Cask error"),
        ("os._exit(7)", "ended with status 7"),
        ("raise MemoryError()", "MemoryError"),
        ("raise ValueError('no such kernel')", "no such kernel"),
    ],
)
def test_a_crash_costs_one_network(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, trouble: str, says: str
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
    graphs = [Graph(network, "fp16") for network in ((SMALL,), (SMALL, WIDE), (SMALL, SMALL), (WIDE,))]
    kept = ahead.engines_for("8.9", tmp_path / "engines")
    done: list[int] = []
    report = ahead.build_all(
        graphs, kept, processes=2, timeout_s=120, advance=done.append, command=building(tmp_path, trouble)
    )
    assert report.built == 2 and sum(done) == 4
    assert report.failed.keys() == {(SMALL, WIDE), (WIDE,)}
    assert all(says in reason for reason in report.failed.values())
    assert ahead.by_block(report.failed, [SMALL, WIDE]).keys() == {WIDE}


@pytest.mark.needs_rtx
def test_no_room_ends_the_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
    full = "import errno; raise OSError(errno.ENOSPC, 'No space left on device')"
    kept = ahead.engines_for("8.9", tmp_path / "engines")
    with pytest.raises(CannotKeep, match="engines: No space left on device; make room there, or choose"):
        ahead.build_all(
            [Graph((WIDE,), "fp16")],
            kept,
            processes=2,
            timeout_s=120,
            advance=lambda steps: None,
            command=building(tmp_path, full),
        )


@pytest.mark.needs_rtx
def test_interrupted_work_goes_on_from_there(tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "hwbench.engines",
        *WHAT,
        "--compute-capability",
        "8.6",
        "--out",
        str(tmp_path),
    ]
    process = subprocess.Popen(
        command,
        cwd=Path(__file__).parents[2],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
    )
    until = time.monotonic() + 300
    while not list(tmp_path.rglob("*.engine")) and time.monotonic() < until:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    kept = len(list(tmp_path.rglob("*.engine")))
    assert process.returncode == cli.INTERRUPTED, err
    assert "hwbench engines: interrupted: " in err and "the same command goes on from there" in err
    assert 0 < kept < 50
