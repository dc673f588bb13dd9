"""What accuracies are of, so that nobody joins those of one supernet with another, or of two data sets."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from compofa.errors import InputError
from compofa.identity import differences


@dataclass(frozen=True)
class AccuracyOrigin:
    """What a file says of its accuracies; None where it does not say, which is compared with nothing.

    Args:
        supernet: recipe that trained the supernet.
        supernet_sha256: of the supernet's file.
        data: test split.
        images: test images that each subnet classified.
        precision: that the subnets computed in.
        classes: that they tell apart.
        source: who measured them, where that was not hwbench.
    """

    supernet: str | None = None
    supernet_sha256: str | None = None
    data: str | None = None
    images: int | None = None
    precision: str | None = None
    classes: int | None = None
    source: str | None = None

    @classmethod
    def of(cls, header: object) -> AccuracyOrigin:
        """What the header of measured accuracies says."""
        return cls(**{field.name: getattr(header, field.name, None) for field in fields(cls)})

    @classmethod
    def from_dict(cls, values: object) -> AccuracyOrigin:
        """What :meth:`to_dict` wrote; fields that this version does not know are left out.

        Raises:
            InputError: a field is of another type.
        """
        if not isinstance(values, Mapping):
            raise InputError(f"{values!r} does not say what accuracies are of")
        for name, value in values.items():
            kind = int if name in ("images", "classes") else str
            if name in {field.name for field in fields(cls)} and type(value) is not kind:
                raise InputError(f"{name} of the accuracies is {value!r}")
        return cls(**{field.name: values.get(field.name) for field in fields(cls)})

    def to_dict(self) -> dict[str, Any]:
        """What is known, JSON-ready."""
        return {name: value for name, value in asdict(self).items() if value is not None}

    def differences(self, other: AccuracyOrigin, *names: str) -> list[str]:
        """In what the two differ, in words, where both are known; only in `names`, if given."""
        return differences(self, other, names)

    def __str__(self) -> str:
        if not (self.supernet or self.supernet_sha256):
            return "of a supernet that the file does not name"
        known = f"of supernet {self.supernet or ''}".rstrip()
        known += f" ({self.supernet_sha256[:12]})" if self.supernet_sha256 else ""
        return known + (f" on {self.data}" if self.data else "")
