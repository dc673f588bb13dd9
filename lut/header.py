"""What the numbers of a table are of: target, family, machine. The first line of a table's file."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from typing import Any

from backends.base import Target
from compofa.errors import InputError
from compofa.spaces.registry import family_fields, family_name

FORMAT = "hwbench-table"
SCHEMA = 1
MOST_CLASSES = 2**24
"""Anything larger is damage."""


@dataclass(frozen=True)
class Header:
    """What the numbers of a table are of.

    Args:
        target: where and how the blocks were measured.
        family: name of the family whose blocks they are.
        space: the space that the first build was asked for; a later build may add the blocks of another.
        resolutions: in pixels, likewise of the first build.
        created: date and time in UTC, ISO 8601.
        host: the machine, as text to read; not compared.
        classes: of the family with another number of classes than its own; None for its own.
    """

    target: Target
    family: str
    space: str
    resolutions: tuple[int, ...]
    created: str
    host: dict[str, Any] = field(default_factory=dict)
    classes: int | None = None

    def to_dict(self) -> dict[str, Any]:
        """The fields as JSON-ready values; :meth:`from_dict` reads them back."""
        return {
            "format": FORMAT,
            "schema": SCHEMA,
            **family_fields(self.family),
            "space": self.space,
            "resolutions": list(self.resolutions),
            "created": self.created,
            "target": self.target.to_dict(),
            "host": self.host,
            **({} if self.classes is None else {"classes": self.classes}),
        }

    @classmethod
    def from_dict(cls, fields: Any) -> Header:
        """The header that :meth:`to_dict` wrote.

        Raises:
            ValueError: it is no header of a table, or of a schema that this version does not read.
        """
        if not isinstance(fields, dict) or fields.get("format") != FORMAT:
            raise InputError("not a hwbench table")
        if fields.get("schema") != SCHEMA:
            raise InputError(
                f"schema {fields.get('schema')!r}; this version of hwbench reads schema {SCHEMA}"
            )
        try:
            return cls(
                target=Target.from_dict(fields["target"]),
                family=family_name(fields),
                space=str(fields["space"]),
                resolutions=tuple(int(r) for r in fields["resolutions"]),
                created=str(fields["created"]),
                host=dict(fields["host"]),
                classes=_classes(fields.get("classes")),
            )
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise InputError(f"broken header: {error}") from error

    @property
    def family_name(self) -> str:
        """The family, with its classes where they are not its own."""
        return self.family if self.classes is None else f"{self.family} with {self.classes} classes"

    @property
    def digest(self) -> str:
        """Short hash that tells this table from any other. It covers the header only, so it stays the same
        while the table grows."""
        return hashlib.sha256(
            json.dumps(self.to_dict(), separators=(",", ":"), allow_nan=False).encode() + b"\n"
        ).hexdigest()[:16]

    def differences(self, other: Header) -> list[str]:
        """How target and family of `other` differ from this table's, for a message; empty if they do not."""
        mine, its = self.family_name, other.family_name
        return ([] if mine == its else [f"family {mine}, not {its}"]) + target_differences(
            self.target, other.target
        )


def _classes(value: Any) -> int | None:
    if value is not None and (type(value) is not int or not 1 <= value <= MOST_CLASSES):
        raise InputError(f"{value!r} is no number of classes")
    return value


def target_differences(recorded: Target, present: Target) -> list[str]:
    """The fields in which two targets differ, as ``threads 1, not 2``; empty if they are equal."""
    old, new = _flat(recorded.to_dict()), _flat(present.to_dict())
    differing = [key for key in dict.fromkeys((*old, *new)) if old.get(key) != new.get(key)]
    found = [f"{key[1]} {old.get(key, 'unset')}, not {new.get(key, 'unset')}" for key in differing]
    if ("details", "timing") in differing:
        found.append("timed by another method: build the older one anew with build_lut")
    return found


def _flat(fields: dict[str, Any]) -> dict[tuple[str, str], Any]:
    """`fields` with the packages of ``versions`` and the settings of ``details`` one by one. A setting may be called
    as a field is: torch's ``device`` is ``cuda`` on GPUs of any name."""
    nested = {place: fields.pop(place) for place in ("versions", "details")}
    return {
        (place, name): value
        for place, some in {"target": fields, **nested}.items()
        for name, value in some.items()
    }
