"""Checks that every backend must pass; the author of one runs them with pytest.

    from hwbench.testing import BackendConformance

    class TestMine(BackendConformance):
        def make(self, settings):
            return MyBackend(settings)

Each method is a rule; what breaks one is a :class:`RuleBroken` that names it. :func:`broken_rules` runs them without
pytest. The idea is scikit-learn's (``check_estimator``) and optuna's (``optuna.testing``).
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar
from unittest import mock

from backends.base import Backend, Measurement, Network, Option, Settings, Target
from backends.plugin import trouble
from compofa.blocks import KINDS, Block
from compofa.blocks.kinds import Kind
from compofa.blocks.operations import Listing, Operation, Shape
from compofa.errors import HwbenchError
from hwbench.rules import RuleBroken, expect, rule


class BackendConformance:
    """The rules; a subclass says in :meth:`make` how its backend is made. Two backends measure in all: one for most
    of the rules, and another that must be of the same target.

    Attributes:
        settings: to run with; a precision that the backend has.
        small, large: blocks that it can run; the large one clearly takes longer.
        sum_within: between the sum of blocks and the latency of their network there is at most this factor.
        limit_s: in which every rule is checked, on systems that have an alarm (not on Windows).
    """

    settings: ClassVar[Settings] = Settings()
    small: ClassVar[Block] = Block("mbconv", (8, 8, 8), 8, 24, kernel=3, act="relu", shortcut=True)
    large: ClassVar[Block] = Block("mbconv", (40, 28, 28), 40, 240, kernel=5, act="hswish", shortcut=True)
    sum_within: ClassVar[float] = 4.0
    limit_s: ClassVar[float] = 300.0
    _made: ClassVar[Backend | None] = None

    def make(self, settings: Settings) -> Backend:
        """Your backend, ready to be asked.

        Raises:
            InputError: it cannot do what `settings` ask for.
        """
        raise NotImplementedError("say in make(settings) how your backend is made")

    @property
    def backend(self) -> Backend:
        """One for all rules: making it may take long."""
        kind = type(self)
        if kind._made is None:
            kind._made = self.make(kind.settings)
        return kind._made

    @classmethod
    def teardown_class(cls) -> None:
        """pytest calls it after the last rule."""
        made, cls._made = cls._made, None
        if close := getattr(made, "close", None):
            close()

    # --- what it says of itself ---

    @rule("probe() gives None, or in one line why the backend cannot run here")
    def test_probe(self) -> None:
        reason = type(self.backend).probe()
        expect(reason is None or _is_line(reason), f"it gave {reason!r}")

    @rule("options are a tuple of Option, each with a name of Python and a help")
    def test_options(self) -> None:
        options: Any = type(self.backend).options
        expect(isinstance(options, tuple), f"options is {options!r}")
        for one in options:
            expect(isinstance(one, Option) and one.name.isidentifier() and bool(one.help), f"one is {one!r}")

    @rule("the target is one that a table can keep: a Target that comes back from JSON as it was")
    def test_target_in_json(self) -> None:
        target = self.backend.target
        expect(isinstance(target, Target), f"target is {target!r}")
        back = Target.from_dict(json.loads(json.dumps(target.to_dict())))
        expect(back == target, f"{target!r} came back as {back!r}")
        asked = (self.settings.precision, self.settings.batch)
        said = (target.precision, target.batch)
        expect(said == asked, f"precision and batch are {asked}, but the target says {said}")
        expect(bool(target.device.strip()), "the device has no name")

    @rule(
        "the target is the same before and after measuring, and of every backend made with the same settings"
    )
    def test_target_is_stable(self) -> None:
        before = self.backend.target
        self.backend.block_latencies([self.small])
        after = self.backend.target
        expect(after == before, f"it was {before!r} and became {after!r}")
        with self._another(self.settings) as other:
            expect(other.target == before, f"one is {before!r}, the other {other.target!r}")

    @rule("the options that a target tells make a backend of that target")
    def test_options_of_the_target(self) -> None:
        chosen = self.backend.chosen_options
        with self._another(replace(self.settings, options={**self.settings.options, **chosen})) as other:
            expect(other.target == self.backend.target, f"with {chosen} it is {other.target!r}")

    @rule("the caution is None or one line, the reference None or JSON that use_reference() takes")
    def test_caution_and_reference(self) -> None:
        caution, reference = self.backend.caution, self.backend.reference
        expect(caution is None or _is_line(caution), f"the caution is {caution!r}")
        with self._another(self.settings) as other:
            other.use_reference(json.loads(json.dumps(reference)))

    # --- what it refuses ---

    @rule("an option that there is not is refused with an InputError that names it")
    def test_unknown_option(self) -> None:
        options = {**self.settings.options, "no_such_option": "1"}
        self._refused("no_such_option", lambda: self.make(replace(self.settings, options=options)))

    @rule("a precision that there is not is refused with an InputError that names it")
    def test_unknown_precision(self) -> None:
        self._refused("fp1000", lambda: self.make(replace(self.settings, precision="fp1000")))

    @rule("a batch of no images is refused with an InputError")
    def test_no_batch(self) -> None:
        self._refused("", lambda: self.make(replace(self.settings, batch=0)))

    @rule(
        "a block with an operation that the backend does not know is refused with an error that names either"
    )
    def test_unknown_block(self) -> None:
        with mock.patch.dict(KINDS, {UNKNOWN: Kind(_unknown, frozenset())}):
            block = Block(UNKNOWN, (8, 1, 1), 8)
            for call in (
                lambda: self.backend.block_latencies([block]),
                lambda: self.backend.network_latencies([(block,)]),
            ):
                self._refused("unknown", call, HwbenchError)

    # --- what it answers ---

    @rule("asked for nothing, it gives nothing")
    def test_nothing(self) -> None:
        found = self.backend.block_latencies([]), self.backend.network_latencies([])
        expect(all(list(answers) == [] for answers in found), f"it gave {found!r}")

    @rule("there is one answer for each block, in the order of the blocks, whatever that is")
    def test_blocks_in_order(self) -> None:
        one, two, again = self._blocks([self.small, self.large, self.small])
        expect(
            one.latency_ms < two.latency_ms > again.latency_ms,
            f"{self.small}, {self.large} and {self.small} again take {_ms(one, two, again)}",
        )
        two, one = self._blocks([self.large, self.small])
        expect(one.latency_ms < two.latency_ms, f"{self.large} and {self.small} take {_ms(two, one)}")

    @rule("there is one answer for each network, in the order of the networks")
    def test_networks_in_order(self) -> None:
        short, long = self._networks([(self.small,), (self.large, self.large)])
        expect(
            short.latency_ms < long.latency_ms,
            f"{self.small} alone and two of {self.large} take {_ms(short, long)}",
        )

    @rule("as_they_come() gives each block once, in batches, as an entry or a failure")
    def test_as_they_come(self) -> None:
        asked = [self.large, self.small]
        batches = list(self.backend.as_they_come(asked))
        found = [block for batch in batches for block, _ in batch.entries]
        failed = [block for batch in batches for block in batch.failures]
        expect(
            sorted(map(str, found + failed)) == sorted(map(str, asked)),
            f"asked for {len(asked)} blocks, it gave {len(found)} entries and {len(failed)} failures",
        )
        _check(
            [measurement for batch in batches for _, measurement in batch.entries], len(found), self.backend
        )

    @rule("the latencies of blocks add up to about that of their network")
    def test_blocks_add_up(self) -> None:
        network = (self.large,) * 4
        total = sum(one.latency_ms for one in self._blocks(network))
        (whole,) = self._networks([network])
        expect(
            1 / self.sum_within < total / whole.latency_ms < self.sum_within,
            f"four of {self.large} take {total:g} ms one by one, {whole.latency_ms:g} ms as a network",
        )

    @rule("what it is given stays as it is")
    def test_arguments_stay(self) -> None:
        blocks, networks = [self.small], [(self.small,)]
        self.backend.block_latencies(blocks)
        self.backend.network_latencies(networks)
        expect(blocks == [self.small] and networks == [(self.small,)], "a list was changed")

    @rule("close(), where there is one, may be called twice")
    def test_close(self) -> None:
        with self._another(self.settings) as other:
            if close := getattr(other, "close", None):
                close()

    # --- what the rules are made of ---

    @contextlib.contextmanager
    def _another(self, settings: Settings) -> Iterator[Backend]:
        other = self.make(settings)
        try:
            yield other
        finally:
            if close := getattr(other, "close", None):
                close()

    def _refused(self, name: str, call: Callable[[], Any], kind: type[Exception] = ValueError) -> None:
        try:
            call()
        except kind as error:
            expect(isinstance(error, HwbenchError), f"it raised a bare {type(error).__name__}: {error}")
            expect(name in str(error).lower(), f"the error does not name it: {error}")
        else:
            expect(False, "it was accepted")

    def _blocks(self, blocks: Sequence[Block]) -> list[Measurement]:
        return _check(self.backend.block_latencies(blocks), len(blocks), self.backend)

    def _networks(self, networks: Sequence[Network]) -> list[Measurement]:
        return _check(self.backend.network_latencies(networks), len(networks), self.backend)


def broken_rules(kit: BackendConformance) -> dict[str, str]:
    """Each rule that the backend of `kit` breaks, and what it does instead; without pytest."""
    found: dict[str, str] = {}
    for name in dir(kit):
        if name.startswith("test_"):
            try:
                getattr(kit, name)()
            except RuleBroken as broken:
                found[broken.rule] = broken.what
    kit.teardown_class()
    return found


ANSWERS = (
    "answers are as many as was asked for, positive and finite, inside their own interval, of a known origin"
)


def _check(found: Any, asked: int, backend: Backend) -> list[Measurement]:
    """`found`, if these can be the answers."""
    if not isinstance(found, (list, tuple)) or len(found) != asked:
        raise RuleBroken(ANSWERS, f"asked for {asked}, it gave {found!r}"[:300])
    for one in found:
        if what := trouble(one):
            raise RuleBroken(ANSWERS, what)
        if one.origin != backend.origin:
            raise RuleBroken(ANSWERS, f"the origin is {one.origin!r}, but the backend's {backend.origin!r}")
    return list(found)


def _ms(*found: Measurement) -> str:
    return ", ".join(f"{one.latency_ms:g}" for one in found) + " ms"


def _is_line(text: Any) -> bool:
    return isinstance(text, str) and bool(text.strip()) and "\n" not in text


UNKNOWN = "unknown"


@dataclass(frozen=True)
class UnknownOperation(Operation):
    """What no backend knows."""

    @property
    def out_shape(self) -> Shape:
        return self.in_shapes[0]


def _unknown(block: Block, ops: Listing) -> None:
    ops.operations.append(UnknownOperation(UNKNOWN, (ops.input.name,), (ops.input.shape,)))
