"""Which of the two libraries is used."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from backends.tensorrt import library
from compofa.errors import Unavailable

ROOT = Path(__file__).parents[3]


def found(*installed: str, runtime: str = "auto", monkeypatch: pytest.MonkeyPatch) -> str:
    """What `runtime` finds where only these are installed."""
    with monkeypatch.context() as patch:
        for name, known in (("TENSORRT", library.TENSORRT), ("RTX", library.RTX)):
            module = "json" if known.runtime in installed else "no_such_module"
            patch.setattr(library, name, replace(known, module=module))
            patch.setitem(library.LIBRARIES, known.runtime, getattr(library, name))
        return library.find(runtime).name


@pytest.mark.parametrize(
    ("installed", "runtime", "name"),
    [
        (("tensorrt", "rtx"), "auto", "tensorrt"),
        (("rtx",), "auto", "tensorrt-rtx"),
        (("tensorrt",), "auto", "tensorrt"),
        (("tensorrt", "rtx"), "rtx", "tensorrt-rtx"),
        (("tensorrt", "rtx"), "tensorrt", "tensorrt"),
    ],
)
def test_the_one_asked_for_or_the_one_there_is(
    monkeypatch: pytest.MonkeyPatch, installed: tuple[str, ...], runtime: str, name: str
) -> None:
    assert found(*installed, runtime=runtime, monkeypatch=monkeypatch) == name


@pytest.mark.parametrize(
    ("installed", "runtime", "says"),
    [
        (
            (),
            "auto",
            r"neither tensorrt nor tensorrt-rtx can be imported; .* pip install 'hwbench\[tensorrt\]'",
        ),
        (("tensorrt",), "rtx", r"^tensorrt-rtx cannot be imported; .* pip install 'hwbench\[tensorrt\]'"),
        (("rtx",), "tensorrt", r"^tensorrt cannot be imported; install with: pip install tensorrt"),
    ],
)
def test_one_that_is_not_there_is_unavailable(
    monkeypatch: pytest.MonkeyPatch, installed: tuple[str, ...], runtime: str, says: str
) -> None:
    with pytest.raises(Unavailable, match=says):
        found(*installed, runtime=runtime, monkeypatch=monkeypatch)


def python(source: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", source], cwd=ROOT, capture_output=True, text=True, timeout=60
    )


def test_a_process_uses_one() -> None:
    done = python(
        "from backends.tensorrt import library as l\n"
        "l.use(l.RTX); l.use(l.RTX)\n"
        "try: l.use(l.TENSORRT)\n"
        "except RuntimeError as error: print(error)\n"
    )
    assert done.stdout == "this process uses tensorrt-rtx already; tensorrt needs one of its own\n"


def test_one_that_cannot_be_loaded_is_unavailable(tmp_path: Path) -> None:
    (tmp_path / "tensorrt_rtx.py").write_text("raise OSError('libtensorrt_rtx.so.1: file too short')")
    done = python(
        f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n"
        "from backends.tensorrt import library as l\n"
        "from compofa.errors import Unavailable\n"
        "l.use(l.RTX)\n"
        "try: l.load()\n"
        "except Unavailable as error: print(error)\n"
    )
    assert done.stdout.startswith("tensorrt-rtx cannot be loaded (libtensorrt_rtx.so.1: file too short); ")
