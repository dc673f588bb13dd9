"""What comes with the package: trained supernets, measured accuracies, a reference lookup table."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

from compofa.errors import InputError

ACCURACY_FAMILIES = ("glyphs",)
"""Families with shipped accuracies."""
PREDICTED_FAMILIES = (*ACCURACY_FAMILIES, "imagenet-w1.0")
"""Families with a shipped accuracy predictor, all of OFA's supernet."""


def artefact(name: str) -> Path:
    """The file of an artefact.

    Raises:
        ValueError: the package lacks it.
    """
    path = Path(str(files("hwbench.artefacts") / name))
    if not path.is_file():
        raise InputError(f"hwbench does not ship {name}")
    return path


def supernet(family: str, recipe: str) -> Path:
    """The supernet of `family` that recipe `ofa` or `compofa` trained."""
    return artefact(f"{family}-{recipe}.safetensors")


def recipe_of(space: str) -> str:
    """The recipe whose supernet stands for `space`: CompOFA's own space has its own supernet, any wider one
    needs OFA's."""
    return "compofa" if space == "compofa" else "ofa"


def accuracies(family: str, space: str) -> Path:
    """Measured accuracies for `space`, in the supernet trained for it."""
    if family not in ACCURACY_FAMILIES:
        raise InputError(
            f"no accuracies are shipped for family {family}: give measured ones with --accuracy FILE"
        )
    return artefact(f"{family}-{recipe_of(space)}.accuracy.jsonl")


def predictor(family: str) -> Path:
    """The accuracy predictor of the OFA supernet of `family`.

    Raises:
        InputError: none is shipped.
    """
    if family not in PREDICTED_FAMILIES:
        raise InputError(
            f"no accuracies are shipped for family {family}: give measured ones with --accuracy FILE"
        )
    return artefact(f"{family}-ofa.predictor.safetensors")


REFERENCE_TABLES = {
    "glyphs": "glyphs-reference.jsonl",
    "h100-fp16-b1": "h100-fp16-b1.jsonl",
    "h100-fp16-b64": "h100-fp16-b64.jsonl",
}
"""By their names: of an x86-64 core, and of ``imagenet-w1.0`` at 224 px on an NVIDIA H100, at batch 1 and 64."""


def reference_table(name: str) -> Path:
    """A table measured on the machine that its header names, with its calibration, for those who have not built one.

    Raises:
        InputError: there is none of that name.
    """
    if name not in REFERENCE_TABLES:
        raise InputError(f"no reference table is called {name!r}; there are {', '.join(REFERENCE_TABLES)}")
    return artefact(REFERENCE_TABLES[name])


def kernels() -> Path:
    """A table of kernels, measured on the machine that its header names."""
    return artefact("kernels-reference.jsonl.gz")


def accuracies_of(family: str, supernet_sha256: str) -> Path:
    """The shipped accuracies that were measured in the supernet of that hash.

    Raises:
        InputError: none were.
    """
    from compofa.accuracy import Accuracies

    for recipe in ("ofa", "compofa") if family in ACCURACY_FAMILIES else ():
        path = artefact(f"{family}-{recipe}.accuracy.jsonl")
        if Accuracies.load(path).header.supernet_sha256 == supernet_sha256:
            return path
    raise InputError("no accuracies of this supernet are shipped")
