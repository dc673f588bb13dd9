"""Hardware-aware neural architecture search. Commands are run as ``python -m hwbench.NAME``; in Python, the names of
:data:`__all__` are loaded when they are first used.

Errors are one tree: ``HwbenchError``, of which ``InputError`` (what was given is wrong), ``RunFailed`` (it could not be
done) and ``Unavailable`` (what it needs is not here) are kinds.
"""

from __future__ import annotations

import sys
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

_HOME = Path(__file__).resolve().parent.parent
_FILES = {"compofa": "errors.py", "backends": "base.py", "lut": "table.py"}
"""The packages that this one stands on, and a file of each."""


def _foreign() -> str | None:
    """What is wrong if one of :data:`_FILES` is not ours: ``python -m`` looks into the working directory first, and
    these are names that others use, too."""
    for name, file in _FILES.items():
        spec = find_spec(name)
        folder = Path(spec.origin).resolve().parent if spec and spec.origin else None
        if folder != _HOME / name or not (folder / file).is_file():
            where = spec and (spec.origin or next(iter(spec.submodule_search_locations or ()), None))
            return (
                f"{where or 'nothing'} is found for the package {name!r} of hwbench in {_HOME}: rename it or work in "
                "another folder if it is yours, install hwbench in an environment of its own if not"
            )
    return None


if str(_HOME) not in sys.path:
    # An editable install is found by a finder of its own, which comes after all folders: there, an empty folder of one
    # of the names in the working directory would count as the package.
    sys.path.append(str(_HOME))
if _found := _foreign():
    if sys.argv[:1] == ["-m"] or Path(sys.argv[0] if sys.argv else "").stem == "hwbench":
        print(f"hwbench: error: {_found}", file=sys.stderr)
        raise SystemExit(2)
    raise ImportError(_found, name=__name__)

_PUBLIC = {
    "Arch": "compofa.spaces.arch",
    "Block": "compofa.blocks",
    "CostModel": "lut.costs",
    "Family": "compofa.spaces.family",
    "HwbenchError": "compofa.errors",
    "InputError": "compofa.errors",
    "Network": "hwbench.api",
    "RunFailed": "compofa.errors",
    "Unavailable": "compofa.errors",
    "build_table": "hwbench.building",
    "couplings": "hwbench.frontiers.couplings",
    "doctor": "hwbench.examining",
    "evaluate": "hwbench.evaluating",
    "families": "hwbench.api",
    "fit": "hwbench.fitting.latency",
    "get_family": "compofa.spaces.registry",
    "get_space": "compofa.spaces.space",
    "network": "hwbench.api",
    "open_table": "hwbench.api",
    "pareto": "hwbench.frontiers.compare",
    "profile": "hwbench.profiling.run",
    "reference_table": "hwbench.api",
    "search": "hwbench.searching.run",
    "showing": "hwbench.telling",
    "specialize": "hwbench.specializing.run",
    "train": "hwbench.training_runs",
    "validate": "hwbench.validating.run",
}
"""Where each public name lives."""

__all__ = tuple(_PUBLIC)


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module 'hwbench' has no attribute {name!r}; it has {', '.join(_PUBLIC)}")
    found = getattr(import_module(_PUBLIC[name]), name)
    globals()[name] = found
    return found


class _Package(ModuleType):
    """Some public names are those of commands, too: importing such a command's module, as ``hwbench search`` does, must
    not put the module in the place of the function."""

    def __setattr__(self, name: str, value: Any) -> None:
        if not (name in _PUBLIC and isinstance(value, ModuleType)):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package


def __dir__() -> list[str]:
    return sorted({*globals(), *_PUBLIC})
