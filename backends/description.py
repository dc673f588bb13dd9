"""Targets described in TOML files: found by name or path, read into frozen dataclasses, every field checked.

Standard library only.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import MISSING, asdict, fields
from importlib.resources import files
from pathlib import Path
from typing import Any, TypeVar

from compofa.errors import InputError
from compofa.files import parse_toml, read_text, reading

T = TypeVar("T")

TYPES: dict[str, tuple[type, ...]] = {
    "int": (int,),
    "float": (int, float),
    "bool": (bool,),
    "str": (str,),
    "dict[str, float]": (dict,),
    "tuple[str, ...]": (list,),
}
"""As a field declares it -> what TOML may hold."""


def target_names(package: str) -> tuple[str, ...]:
    """The targets whose files lie in `package`."""
    found = (Path(str(entry)).name for entry in files(package).iterdir())
    return tuple(sorted(name.removesuffix(".toml") for name in found if name.endswith(".toml")))


def load_target(package: str, name: str, parse: Callable[[str, dict[str, Any]], T]) -> T:
    """What `parse` makes of the name and the content of a target's file.

    Args:
        package: where the targets lie that are known by name.
        name: of one of them, or the path of a .toml file.
        parse: from the file's name without its suffix, and its content.

    Raises:
        OSError: the file cannot be read.
        ValueError: there is no such target, or its description is wrong; says what and where.
    """
    if name.endswith(".toml"):
        path = Path(name)
    elif name in target_names(package):
        path = Path(str(files(package) / f"{name}.toml"))
    else:
        there = ", ".join(target_names(package))
        raise InputError(f"unknown target {name!r}; there are {there}, or give the path of a .toml file")
    content = read_text(path)
    with reading(path.name if name != str(path) else path, "a description of a target"):
        return parse(path.stem, parse_toml(content))


def parse_table(kind: type[T], section: str, content: Any) -> T:
    """An object of the dataclass `kind` from a TOML table, its fields checked.

    Args:
        kind: the dataclass.
        section: the table's name, for messages; empty for the top level.
        content: of the table.

    Raises:
        ValueError: a field is missing, unknown, of the wrong type, or refused by `kind`.
    """
    if not isinstance(content, dict):
        raise InputError(f"the table [{section}] is missing")
    where = f" in [{section}]" if section else ""
    known = {field.name: field for field in fields(kind)}  # type: ignore[arg-type]
    if unknown := content.keys() - known.keys():
        raise InputError(f"unknown field {sorted(unknown)[0]}{where}; there are {', '.join(known)}")
    for name, field in known.items():
        if name not in content and field.default is MISSING:
            raise InputError(f"the field {name}{where} is missing")
        if name in content and not _fits(content[name], str(field.type)):
            raise InputError(f"{name}{where} must be of type {field.type}, not {content[name]!r}")
    return kind(**content)


def _fits(value: object, declared: str) -> bool:
    allowed = TYPES.get(declared)
    if allowed is None:
        return True
    return isinstance(value, allowed) and (bool in allowed or not isinstance(value, bool))


def digest(target: Any) -> str:
    """Short hash of everything in the dataclass `target` that decides a latency: all but its `name` and
    `device`, which are labels."""
    content = {**asdict(target), "name": "", "device": ""}
    return hashlib.sha256(repr(sorted(content.items())).encode()).hexdigest()[:12]
