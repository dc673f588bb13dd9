from __future__ import annotations

import subprocess
import sys
from importlib.metadata import EntryPoint

import pytest

from backends import registry
from backends.onnxruntime_cpu import OnnxRuntimeBackend


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
