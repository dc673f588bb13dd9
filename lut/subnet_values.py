"""Subnets that are single values: texts, dictionaries, JSON documents (:mod:`compofa.configs`)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from compofa.configs import SIDES, is_subnet, parse_config
from compofa.errors import InputError
from compofa.files import parse_json, read_bounded
from compofa.spaces.arch import Arch
from compofa.spaces.family import Family


def column_of_dictionaries(row: Sequence[str]) -> int | None:
    """Which cell of `row` is a dictionary that describes a subnet; None unless exactly one is."""
    found = [i for i, cell in enumerate(row) if cell.lstrip().startswith("{") and is_subnet(value_of(cell))]
    return found[0] if len(found) == 1 else None


def value_of(cell: str) -> Any:
    """What a cell says: the text of a subnet, or a dictionary as JSON or as Python writes it; None if neither."""
    if not cell.lstrip().startswith("{"):
        return cell
    as_json = (
        cell.replace("'", '"').replace("None", "null").replace("(", "[").replace(",)", "]").replace(")", "]")
    )
    try:
        return parse_json(as_json)
    except InputError:
        return None


def archs_of(path: Path, family: Family, lines: Sequence[int], values: Sequence[Any]) -> list[Arch]:
    """The subnets that `values` describe.

    Args:
        path: of the file, for messages.
        family: whose subnets they are.
        lines: of the file, on which each stands.
        values: as :func:`value_of` gives them.

    Raises:
        InputError: one is no subnet of `family`; names the line.
    """
    archs = []
    for line, value in zip(lines, values, strict=True):
        try:
            archs.append(parse_config(family, value))
            family.check_resolution(archs[-1].resolution)
        except InputError as error:
            raise InputError(f"{path}, line {line}: {error}") from error
    return archs


def values_of(path: Path, text: str) -> list[tuple[int, Any]]:
    """The values of a JSON file, each with its number, or of a file of JSON lines, each with its line."""
    try:
        document = parse_json(text)
    except InputError as error:
        lines = [(number, line) for number, line in enumerate(text.split("\n"), start=1) if line.strip()]
        if len(lines) < 2 or not _is_json(lines[0][1]):  # then they are lines of one document
            raise InputError(f"{path}: {error}") from error
        return [(number, _line(path, number, line)) for number, line in lines]
    values = document if isinstance(document, list) else [_with_side(path, document)]
    return list(enumerate(values, start=1))


def _line(path: Path, number: int, line: str) -> Any:
    try:
        return parse_json(line)
    except InputError as error:
        raise InputError(f"{path}, line {number}: {error}") from error


def _is_json(text: str) -> bool:
    try:
        parse_json(text)
    except InputError:
        return False
    return True


def _with_side(path: Path, value: Any) -> Any:
    """OFA keeps the side of a network's images in the ``run.config`` beside its ``net.config``."""
    beside = path.with_name("run.config")
    if isinstance(value, dict) and "blocks" in value and not value.keys() & set(SIDES) and beside.is_file():
        run = parse_json(read_bounded(beside))
        if isinstance(run, dict) and "image_size" in run:
            return {"config": value, "image_size": run["image_size"]}
    return value
