"""Families by name: those that come along, a TOML file of one's own, and those of plug-ins.

A plug-in names, in the entry-point group ``hwbench.families``, a :class:`~compofa.spaces.family.Family`, a path of a
TOML file, or a function without arguments that gives either.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from importlib.metadata import entry_points
from importlib.resources import files
from pathlib import Path
from typing import Any

from compofa.errors import InputError
from compofa.files import parse_toml, read_text
from compofa.spaces.family import Family
from compofa.spaces.making import check_family
from compofa.spaces.toml import parse_family

GROUP = "hwbench.families"
BUILT_IN = (
    "glyphs",
    "glyphs-proxyless",
    "glyphs-resnet",
    "imagenet-w1.0",
    "imagenet-w1.2",
    "proxyless-mobile",
    "proxyless-w1.3",
    "resnet50d",
)
_own: dict[str, Family] = {}
_documents: dict[str, dict[str, Any]] = {}
"""Of families of one's own: the TOML document that each came from."""


class _BuiltIn(Mapping[str, Family]):
    """The families that come along, read when they are asked for."""

    def __getitem__(self, name: str) -> Family:
        if name not in BUILT_IN:
            raise KeyError(name)
        return _built_in(name)

    def __iter__(self) -> Iterator[str]:
        return iter(BUILT_IN)

    def __len__(self) -> int:
        return len(BUILT_IN)


FAMILIES: Mapping[str, Family] = _BuiltIn()


@cache
def _built_in(name: str) -> Family:
    return parse_family(name, _document(name), _document)


def _document(name: str) -> dict[str, Any]:
    if name in BUILT_IN:
        return parse_toml((files("compofa.spaces") / "families" / f"{name}.toml").read_text(encoding="utf-8"))
    if name in _documents:
        return _documents[name]
    raise InputError(f"based_on: unknown family {name!r}; there are {', '.join(family_names())}")


def family_names() -> tuple[str, ...]:
    """Every family that there is, plug-ins' included."""
    return tuple(dict.fromkeys((*BUILT_IN, *_own, *(point.name for point in entry_points(group=GROUP)))))


def get_family(name: str) -> Family:
    """The family called `name`, or that a file ``*.toml`` describes.

    >>> import hwbench
    >>> hwbench.get_family("resnet50d").name
    'resnet50d'

    Raises:
        InputError: there is none, or it is not as it should be; the message lists those there are.
        OSError: the file cannot be read.
    """
    if name in BUILT_IN:
        return _built_in(name)
    if name in _own:
        return _own[name]
    if name.endswith(".toml"):
        return _from_file(Path(name))
    found = [point for point in entry_points(group=GROUP) if point.name == name]
    if not found:
        raise InputError(
            f"unknown family {name!r}; there are {', '.join(family_names())}, or give a .toml file"
        )
    if len(found) > 1:
        from_ = ", ".join(sorted(str(point.dist.name if point.dist else point.value) for point in found))
        raise InputError(f"two plug-ins have a family {name!r} ({from_}): remove one")
    return _register(_from_plugin(name, found[0]))


def _from_file(path: Path) -> Family:
    document = parse_toml(read_text(path))
    try:
        return define_family({"name": path.stem, **document})
    except InputError as error:
        raise InputError(f"{path}: {error}") from None


def define_family(document: Mapping[str, Any]) -> Family:
    """The family that a TOML document with a name describes; it is known by that name from then on.

    Raises:
        InputError: it is not as it should be, or there is another family of that name.
    """
    name = document.get("name")
    family = parse_family(name if isinstance(name, str) else "of the file", document, _document)
    if family.name in BUILT_IN and family != _built_in(family.name):
        raise InputError(f"family {family.name} comes along and is another: give yours a name of its own")
    _register(family)
    if family.name not in BUILT_IN:
        # Whole, so that the family can be told without the one that it is based on.
        base = document.get("based_on")
        _documents[family.name] = {**(_document(base) if base else {}), **document}
        _documents[family.name].pop("based_on", None)
    return family


def family_fields(name: str) -> dict[str, Any]:
    """What a file says of a family: its name, and its TOML document where it is one's own."""
    document = _documents.get(name)
    return {"family": name} if document is None else {"family": name, "family_definition": document}


def family_name(fields: Mapping[str, Any]) -> str:
    """The name of the family in what :func:`family_fields` gave; a definition beside it is known from then on.

    Raises:
        InputError: the definition is not as it should be, or there is another family of that name.
        KeyError: there is no name.
    """
    document = fields.get("family_definition")
    if document is not None:
        if not isinstance(document, dict):
            raise InputError("family_definition is no table")
        define_family(document)
    name = str(fields["family"])
    if name not in BUILT_IN and name not in _own and list(entry_points(group=GROUP, name=name)):
        get_family(name)  # whose blocks may be of kinds of its own
    return name


def _register(family: Family) -> Family:
    if family.name in _own and _own[family.name] != family:
        raise InputError(f"two families are called {family.name!r} and differ: give one of them another name")
    return _own.setdefault(family.name, family)


def _from_plugin(name: str, point: Any) -> Family:
    try:
        found = point.load()
        found = found() if callable(found) else found
        if isinstance(found, (str, Path)):
            found = parse_family(name, parse_toml(read_text(Path(found))), _document)
        if not isinstance(found, Family):
            raise InputError(f"it is a {type(found).__name__}, not a Family")
        check_family(found)
    except (Exception, SystemExit) as error:
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:300]
        raise InputError(
            f"the plug-in of family {name!r} ({point.value}) cannot be used: {reason}"
        ) from error
    if found.name != name:
        raise InputError(f"the plug-in of family {name!r} ({point.value}) gives one called {found.name!r}")
    return found


GLYPHS = FAMILIES["glyphs"]
"""The family that comes with trained supernets and measured accuracies."""
