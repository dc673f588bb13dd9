"""A backend that measures beside the reference in this process."""

from __future__ import annotations

from abc import abstractmethod
from contextlib import AbstractContextManager, nullcontext
from functools import cached_property
from typing import Any

from backends.base import Backend, Network, Settings, Target
from backends.machine.clocks import Case, Clocks
from backends.measuring.pairing import Pacer
from backends.measuring.reference import (
    CHECK_S,
    MEASURE_S,
    READING_RUNS,
    REFERENCE,
    Beside,
    Reference,
    at_quietest,
    compare,
    keep,
    known_reference,
)
from backends.measuring.steadiness import arithmetic_us


class PairedBackend(Backend):
    """Has the reference, and knows what it takes.

    Args:
        settings: how to run.
    """

    timing_s: float
    clocks: Clocks

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self.timing_s = 0.0
        self._given_reference: Reference | None = None

    @abstractmethod
    def _reference_case(self, network: Network) -> Case:
        """The reference, ready to be timed on the target."""

    def _pacer(self) -> Pacer:
        return Pacer(self._reference_case(REFERENCE), READING_RUNS)

    def _at_work(self) -> AbstractContextManager[None]:
        """Around whatever runs on the device."""
        return nullcontext()

    @property
    def reference_target(self) -> Target:
        """Under which what the reference takes is kept."""
        return self.target

    @cached_property
    def beside(self) -> Beside:
        """The reference, made ready and looked at when it is needed first."""
        known = known_reference(self.reference_target, self._given_reference, self.say)
        with self._at_work():
            pacer = self._pacer()
            now = at_quietest(pacer, CHECK_S if known else MEASURE_S, arithmetic_us())
        if known:
            compare(self.reference_target, known, now, self.say)
        else:
            known = now
            keep(self.reference_target, now, self.say)
        return Beside(pacer, known)

    @property
    def reference(self) -> dict[str, Any] | None:
        return self.beside.reference.to_dict()

    def use_reference(self, reference: Any) -> None:
        self._given_reference = None if reference is None else Reference.from_dict(reference)
