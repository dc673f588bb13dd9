from __future__ import annotations

import subprocess
import sys
import uuid
from collections.abc import Callable
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from backends import registry
from backends.base import CannotRun, Settings
from backends.onnxruntime_cpu import OnnxRuntimeBackend
from backends.plugin import PluginFailed
from compofa.spaces.registry import GLYPHS
from compofa.spaces.space import get_space


def test_backends_are_found_by_name() -> None:
    assert "onnxruntime" in registry.names()
    assert registry.load("onnxruntime") is OnnxRuntimeBackend
    assert registry.available()["onnxruntime"] is None


def test_an_unknown_name_lists_those_there_are() -> None:
    with pytest.raises(ValueError, match=r"unknown backend 'abacus'; there are .*onnxruntime"):
        registry.load("abacus")


def test_a_broken_plug_in_hides_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    broken = [
        EntryPoint("gone", "no_such_module:Backend", registry.GROUP),
        EntryPoint("odd", "json:loads", ""),
    ]
    monkeypatch.setattr(registry, "entry_points", lambda group: broken)
    found = registry.available()
    assert found["onnxruntime"] is None
    assert "no_such_module" in (found["gone"] or "")
    assert "no subclass of Backend" in (found["odd"] or "")


def test_listing_backends_imports_no_sdk() -> None:
    code = "import sys, backends.registry as r; r.available(); print(*sys.modules)"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert not {"onnx", "onnxruntime", "torch"} & set(out.split())


# --- plug-ins that do what they like ---

PLUGIN = """
from backends.base import Backend, Measurement, Option, Target
{before}
class Mine(Backend):
    name = "mine"
    options = {options}
    @classmethod
    def probe(cls):
        {probe}
        return None
    def __init__(self, settings):
        {init}
        super().__init__(settings)
    @property
    def target(self):
        return {target}
    def block_latencies(self, blocks):
        {blocks}
        return [Measurement("measured", 1.0, 0.9, 1.1) for _ in blocks]
    def network_latencies(self, networks):
        return self.block_latencies(networks)
    def verify(self, blocks, emulate=False):
        {verify}
        yield 1
"""
GOOD = {
    "before": "", "options": "()", "probe": "pass", "init": "pass", "target": "Target('mine', 'board')",
    "blocks": "pass", "verify": "pass",
}  # fmt: skip
BLOCKS = get_space("compofa", GLYPHS).all_blocks((16,))[:4]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Registers a plug-in whose class does what is given, at the named place."""

    def write(**what: str) -> None:
        module = f"plugin_{uuid.uuid4().hex}"
        (tmp_path / f"{module}.py").write_text(PLUGIN.format(**{**GOOD, **what}))
        monkeypatch.syspath_prepend(str(tmp_path))
        point = EntryPoint("mine", f"{module}:Mine", registry.GROUP)
        monkeypatch.setattr(registry, "entry_points", lambda group: [point])

    return write


def test_a_plug_in_that_keeps_its_promises_works(install: Callable[..., None]) -> None:
    install()
    backend = registry.load("mine")(Settings())
    (batch,) = backend.as_they_come(BLOCKS)
    assert [block for block, _ in batch.entries] == list(BLOCKS)
    assert registry.available()["mine"] is None


@pytest.mark.parametrize(
    "what",
    [
        {"before": "1 / 0"},
        {"before": "raise SystemExit(5)"},
        {"before": "import no_such_module"},
        {"before": "print('noise'); raise OSError('x')", "probe": "1 / 0"},
        {"options": "['x']"},
        {"options": "None"},
        {"probe": "raise SystemExit('x')"},
        {"probe": "raise ValueError('x')"},
    ],
)
def test_what_cannot_be_loaded_is_listed_as_broken(
    what: dict[str, str], install: Callable[..., None], capfd: pytest.CaptureFixture[str]
) -> None:
    install(**what)
    found = registry.available()
    assert found["onnxruntime"] is None
    assert "broken: " in (found["mine"] or "")
    assert capfd.readouterr().out == ""


RUBBISH = [
    "return []",
    "return None",
    "return 5",
    "return [1.0 for _ in blocks]",
    "return [Measurement('measured', 1.0, 0.9, 1.1)] * (len(blocks) + 1)",
    "return [Measurement('guessed', 1.0, 0.9, 1.1) for _ in blocks]",
    *(
        f"return [Measurement('measured', {numbers}) for _ in blocks]"
        for numbers in (
            "float('nan'), 1.0, 1.0", "-1.0, -1.0, -1.0", "0.0, 0.0, 0.0", "float('inf'), 1.0, 1.0", "'1', '1', '1'",
            "True, True, True", "5.0, 1.0, 2.0", "1.0, 0.9, float('nan')", "1.0, 1.0, 1.0, (float('nan'),)",
        )
    ),
    "raise ZeroDivisionError",
    "raise SystemExit(0)",
    "blocks.clear()\n        return []",
]  # fmt: skip


@pytest.mark.parametrize("blocks", RUBBISH)
def test_rubbish_is_one_line_with_the_name(blocks: str, install: Callable[..., None]) -> None:
    install(blocks=blocks)
    backend = registry.load("mine")(Settings())
    before = list(BLOCKS)
    for call in (
        lambda: backend.block_latencies(before),
        lambda: backend.network_latencies([tuple(before)] * 3),
        lambda: list(backend.as_they_come(before)),
    ):
        with pytest.raises(PluginFailed, match=r"^plug-in mine \(plugin_.*:Mine\): "):
            call()
    assert before == list(BLOCKS)


@pytest.mark.parametrize("what", [{"init": "1 / 0"}, {"init": "raise SystemExit"}, {"target": "'board'"}])
def test_a_plug_in_that_cannot_be_made_is_one_line(
    what: dict[str, str], install: Callable[..., None]
) -> None:
    install(**what)
    with pytest.raises(PluginFailed, match="plug-in mine"):
        _ = registry.load("mine")(Settings()).target


def test_a_plug_in_changes_nothing_of_ours(install: Callable[..., None]) -> None:
    install(init="settings.options.update(x='1')", options="(Option('x', 'help'),)")
    settings = Settings()
    registry.load("mine")(settings)
    assert settings.options == {}


def test_stdout_is_not_the_plug_ins(install: Callable[..., None], capfd: pytest.CaptureFixture[str]) -> None:
    noise = "import os; print('noise'); os.write(1, b'more noise')"
    install(before=noise, probe=noise, init=noise, blocks=noise, verify=noise)
    backend = registry.load("mine")(Settings())
    list(backend.as_they_come(BLOCKS))
    list(backend.verify(BLOCKS))
    print("ours")
    shown = capfd.readouterr()
    assert shown.out == "ours\n"
    assert shown.err.count("more noise") >= 4


def test_what_a_plug_in_says_on_purpose_is_left_as_it_is(install: Callable[..., None]) -> None:
    install(blocks="from backends.base import CannotRun; raise CannotRun('does not fit')")
    with pytest.raises(CannotRun, match=r"^does not fit$"):
        registry.load("mine")(Settings()).network_latencies([BLOCKS])
