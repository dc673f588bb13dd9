"""The reference: the same work on every machine and for every family, and what it takes on a target.

Its latency, with the machine at its quietest, is measured once for each target and kept, so that whatever is measured
there later, at whatever hour, is in the same milliseconds. It stands in the header of each table, too, and so travels
with it.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from backends.base import Network, Target
from backends.machine.host import machine_id
from backends.measuring.pairing import Pacer
from compofa.blocks import Block
from compofa.errors import InputError
from compofa.files import parse_json, read_text, write_atomically
from compofa.home import home

REFERENCE: Network = (Block("mbconv", (40, 20, 20), 40, 120, kernel=5, se=True, act="hswish", shortcut=True),)
"""0.2 ms on a fast core, with every operator of the families, and small enough for the core's own cache: so it tells
how fast the core is, and nothing else. A reference of four million weights, which come from the shared cache each time,
was tried. Beside a process that streams through memory it follows a network of its kind to 0.2 % where this one is off
by 3 %; but it follows others worse, and from one process to the next it is itself 6 to 18 % off, by where its weights
come to lie."""
READING_RUNS = 4
"""Of the reference in one reading; the first, which finds the caches as others left them, does not count."""

FORMAT = "hwbench-reference"
MEASURE_S = 1.5
CHECK_S = 0.3
QUIETEST = 10
"""Percentile of the readings that counts as the machine at its quietest."""
SLOWER, FASTER = 0.15, 0.04
"""A check that comes out further off than this, as a fraction, is spoken of. Slower is what other work makes of any
machine; faster means that what is kept is wrong."""


@dataclass(frozen=True)
class Reference:
    """What the reference takes on one target with the machine at its quietest.

    Args:
        latency_ms: of one run.
        low_ms, high_ms: the least and the largest of five estimates, one from each fifth of the readings.
        arithmetic_us: what plain arithmetic on one core took then: tells another clock frequency from another
            memory or library. 0 where that is not this machine.
        machine: which one, by :func:`backends.machine.host.machine_id`.
        taken: date and time in UTC, ISO 8601.
    """

    latency_ms: float
    low_ms: float
    high_ms: float
    arithmetic_us: float = 0.0
    machine: str = ""
    taken: str = ""

    def __post_init__(self) -> None:
        for ms in (self.latency_ms, self.low_ms, self.high_ms):
            if type(ms) not in (int, float) or not (math.isfinite(ms) and ms > 0):
                raise InputError(
                    f"the reference's latency must be a positive number of milliseconds, not {ms!r}"
                )

    def to_dict(self) -> dict[str, Any]:
        """The fields, JSON-ready."""
        return asdict(self)

    @classmethod
    def from_dict(cls, fields: Any) -> Reference:
        """What :meth:`to_dict` gave.

        Raises:
            InputError: it is something else.
        """
        try:
            return cls(**fields)
        except TypeError as error:
            raise InputError(f"not a reference: {error}") from None

    def compared(self, now: Reference) -> str | None:
        """What is to be said where the same target gives `now`; None if it is as it was."""
        change = now.latency_ms / self.latency_ms - 1
        if -FASTER <= change <= SLOWER:
            return None
        word = "slower" if change > 0 else "faster"
        said = (
            f"this machine is {abs(change):.0%} {word} than when its reference was measured ({self.taken[:10]}; "
            f"{self.latency_ms:.4g} ms then, {now.latency_ms:.4g} ms now)"
        )
        if self.arithmetic_us and now.arithmetic_us:
            clock = now.arithmetic_us / self.arithmetic_us - 1
            alike = abs(clock - change) < max(0.03, abs(change) / 3)
            said += (
                ", and its clock is, too"
                if alike
                else ", though its clock is not: other work, or another memory"
            )
        if change > 0:
            return f"{said}; latencies are told at the pace of then"
        return f"{said}; latencies come out too high by that: remove the file of the reference, and build tables anew"


@dataclass(frozen=True)
class Beside:
    """What cases are run beside.

    Args:
        pacer: the reference, ready to run.
        reference: what it takes.
    """

    pacer: Pacer
    reference: Reference

    @property
    def reference_ms(self) -> float:
        """What it takes with the machine at its quietest."""
        return self.reference.latency_ms


# --- measuring it ---


def at_quietest(pacer: Pacer, seconds: float, arithmetic_us: float = 0.0) -> Reference:
    """What the reference takes, from readings for about so many seconds."""
    count = max(20, math.ceil(seconds / pacer.reading_s))
    readings = 1e3 * np.array([pacer.read() for _ in range(count)])
    fifths = [float(np.percentile(part, QUIETEST)) for part in np.array_split(readings, 5)]
    return Reference(
        latency_ms=float(np.percentile(readings, QUIETEST)),
        low_ms=min(fifths),
        high_ms=max(fifths),
        arithmetic_us=arithmetic_us,
        machine=machine_id(),
        taken=datetime.now(UTC).isoformat(timespec="seconds"),
    )


# --- keeping it ---


def kept_path(target: Target) -> Path:
    """Where the reference of `target` on this machine is kept: ``references`` in :func:`compofa.home.home`."""
    key = json.dumps([target.to_dict(), machine_id()], sort_keys=True)
    return home() / "references" / f"{target.backend}-{hashlib.sha256(key.encode()).hexdigest()[:16]}.json"


def known_reference(target: Target, given: Reference | None, say: Callable[[str], None]) -> Reference | None:
    """The reference of `target`, from a table's header (`given`) or else as it is kept; None if there is none.
    A file that is torn, or of something else, is none; `say` is told."""
    path = kept_path(target)
    if given is None:
        return _load(path, target, say)
    if given.machine == machine_id() and not path.exists():  # it was lost
        keep(target, given, say)
    return given


def compare(target: Target, known: Reference, now: Reference, say: Callable[[str], None]) -> None:
    """Tell `say` if the machine has become another one."""
    if different := known.compared(now):
        say(f"{different} ({kept_path(target)})")


def _load(path: Path, target: Target, say: Callable[[str], None]) -> Reference | None:
    try:
        content = parse_json(read_text(path))
        if not isinstance(content, dict) or content.get("format") != FORMAT:
            raise InputError("not a reference of hwbench")
        if content.get("target") != target.to_dict():
            raise InputError("of another target")
        found = Reference.from_dict(content.get("reference"))
        if found.machine != machine_id():
            raise InputError("of another machine")
        return found
    except FileNotFoundError:
        return None
    except (OSError, InputError) as error:
        say(f"{path} cannot be used ({error}): the reference is measured anew")
        return None


def keep(target: Target, reference: Reference, say: Callable[[str], None]) -> None:
    """Keep it for later; where that cannot be done, `say` is told."""
    path = kept_path(target)
    content = {"format": FORMAT, "target": target.to_dict(), "reference": reference.to_dict()}
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, json.dumps(content, indent=1) + "\n")
    except OSError as error:
        say(f"the reference cannot be kept ({error}): what is measured later will be in other milliseconds")
