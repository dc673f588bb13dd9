"""Backends of other packages, held to what :class:`backends.base.Backend` promises.

Whatever one of them does, the command that uses it ends in its own way: an exception that is none of hwbench's, and an
attempt to end the process, become one line with the plug-in's name; what it prints goes to stderr, since stdout is the
command's; it gets copies of what it may change; and an answer that cannot be a latency is refused.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from importlib.metadata import EntryPoint
from typing import Any

from backends.base import (
    Backend,
    BackendUnavailable,
    Batch,
    Measurement,
    Network,
    Option,
    Settings,
    Target,
    Verdict,
)
from compofa.blocks import Block
from compofa.errors import HwbenchError, RunFailed


class PluginFailed(RunFailed):
    """A plug-in broke its promise; the message names it."""


def load(point: EntryPoint) -> type[Backend]:
    """The backend that a plug-in registered as `point`, guarded.

    Raises:
        BackendUnavailable: it cannot be imported, or is no backend.
    """
    name = f"plug-in {point.name} ({point.value})"
    try:
        with guard(name, "its import"):
            kind = point.load()
    except PluginFailed as error:
        raise BackendUnavailable(str(error)) from error
    if not (isinstance(kind, type) and issubclass(kind, Backend)):
        raise BackendUnavailable(f"{name} is no subclass of Backend")
    options = getattr(kind, "options", None)
    if not isinstance(options, tuple) or not all(isinstance(option, Option) for option in options):
        raise BackendUnavailable(f"{name}: its options are no tuple of Option")
    return guarded(name, kind)


@contextlib.contextmanager
def guard(name: str, what: str) -> Iterator[None]:
    """Around code of the plug-in `name`; `what` says for people which."""
    try:
        with _stdout_to_stderr():
            yield
    except (HwbenchError, OSError):
        raise
    except SystemExit as error:
        raise PluginFailed(f"{name}: {what} tried to end the process ({error.code})") from error
    except Exception as error:
        if os.environ.get("HWBENCH_DEBUG") == "1":
            raise
        raise PluginFailed(
            f"{name}: {what} failed: {type(error).__name__}: {error} (HWBENCH_DEBUG=1 shows where)"
        ) from error


@contextlib.contextmanager
def _stdout_to_stderr() -> Iterator[None]:
    """What is printed, by Python or by a library in C, goes to stderr."""
    with contextlib.ExitStack() as stack:
        stack.enter_context(contextlib.redirect_stdout(sys.stderr))
        with contextlib.suppress(OSError, ValueError, AttributeError):  # no such descriptors: nothing to turn
            kept = os.dup(1)
            stack.callback(os.close, kept)
            sys.__stdout__.flush()  # type: ignore[union-attr]
            os.dup2(2, 1)
            stack.callback(os.dup2, kept, 1)
        yield


def guarded(name: str, kind: type[Backend]) -> type[Backend]:
    """A subclass of `kind`, the class of the plug-in `name`, that does as this module says."""

    class Guarded(kind):  # type: ignore[misc, valid-type]
        def __init__(self, settings: Settings) -> None:
            with guard(name, "making it"):
                super().__init__(replace(settings, options=dict(settings.options)))

        @classmethod
        def probe(cls) -> str | None:
            with guard(name, "probe"):
                reason = super().probe()
            return reason if reason is None else str(reason)

        @classmethod
        def options_of(cls, target: Target) -> dict[str, str]:
            with guard(name, "options_of"):
                return dict(super().options_of(target))

        @property
        def target(self) -> Target:
            with guard(name, "target"):
                found = super().target
                if not isinstance(found, Target):
                    raise PluginFailed(f"{name}: its target is a {type(found).__name__}, no Target")
                fields = found.to_dict()
            return Target.from_dict(_as_json(name, "target", fields))

        @property
        def caution(self) -> str | None:
            with guard(name, "caution"):
                found = super().caution
            return found if found is None else _line(found)

        @property
        def reference(self) -> dict[str, Any] | None:
            with guard(name, "reference"):
                found = super().reference
            return found if found is None else dict(_as_json(name, "reference", found))

        def use_reference(self, reference: Any) -> None:
            with guard(name, "use_reference"):
                super().use_reference(reference)

        def block_latencies(self, blocks: Sequence[Block]) -> list[Measurement]:
            with guard(name, "block_latencies"):
                found = super().block_latencies(list(blocks))
            return _checked(name, len(blocks), found)

        def network_latencies(self, networks: Sequence[Network]) -> list[Measurement]:
            with guard(name, "network_latencies"):
                found = super().network_latencies(list(networks))
            return _checked(name, len(networks), found)

        def as_they_come(self, blocks: Sequence[Block]) -> Iterator[Batch]:
            left = set(blocks)
            for batch in _guarded_steps(name, "as_they_come", super().as_they_come, list(blocks)):
                with guard(name, "as_they_come"):
                    mine = isinstance(batch, Batch) and _blocks_of(batch) <= set(blocks)
                if not mine:
                    raise PluginFailed(
                        f"{name}: as_they_come gave no batch of the blocks that were asked for"
                    )
                _checked(name, len(batch.entries), [measurement for _, measurement in batch.entries])
                left -= _blocks_of(batch)
                yield Batch(batch.entries, {block: _line(why) for block, why in batch.failures.items()})
            if left:
                raise PluginFailed(f"{name}: as_they_come left out {len(left)} of {len(blocks)} blocks")

        def verify(self, blocks: Sequence[Block], emulate: bool = False) -> Iterator[Verdict]:
            yield from _guarded_steps(name, "verify", super().verify, list(blocks), emulate)

    Guarded.__name__, Guarded.__qualname__ = kind.__name__, kind.__qualname__
    Guarded.__module__, Guarded.__doc__ = kind.__module__, kind.__doc__
    Guarded.__abstractmethods__ = kind.__abstractmethods__
    return Guarded


def _guarded_steps(
    name: str, what: str, begin: Callable[..., Iterator[Any]], *arguments: Any
) -> Iterator[Any]:
    """What an iterator of the plug-in gives; each of its steps is guarded, but not what is done between them."""
    with guard(name, what):
        steps = iter(begin(*arguments))
    while True:
        with guard(name, what):
            try:
                one = next(steps)
            except StopIteration:
                return
        yield one


def _as_json(name: str, what: str, value: Any) -> Any:
    """`value` as a table keeps it, which only text and numbers survive."""
    try:
        return json.loads(json.dumps(value, allow_nan=False))
    except (TypeError, ValueError) as error:
        raise PluginFailed(f"{name}: its {what} cannot be kept as JSON: {error}") from error


def _line(text: Any) -> str:
    return " ".join(str(text).split())


def _blocks_of(batch: Batch) -> set[Block]:
    return {*dict(batch.entries), *dict(batch.failures)}


def _checked(name: str, asked: int, found: Any) -> list[Measurement]:
    if not isinstance(found, (list, tuple)) or len(found) != asked:
        count = len(found) if isinstance(found, (list, tuple)) else f"a {type(found).__name__}"
        raise PluginFailed(f"{name}: asked for {asked} latencies, it gave {count}")
    for one in found:
        if what := trouble(one):
            raise PluginFailed(f"{name}: {what}")
    return list(found)


def trouble(one: Any) -> str | None:
    """What is wrong with an answer; None if it can be a latency."""
    if not isinstance(one, Measurement):
        return f"an answer is a {type(one).__name__}, no Measurement"
    if one.origin not in Measurement.ORIGINS:
        return f"the origin of a latency is {one.origin!r}, none of {', '.join(Measurement.ORIGINS)}"
    numbers: Mapping[str, Any] = {
        "latency_ms": one.latency_ms,
        "low_ms": one.low_ms,
        "high_ms": one.high_ms,
        **{f"rounds_ms[{i}]": ms for i, ms in enumerate(one.rounds_ms)},
    }
    for field, value in numbers.items():
        sound = isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value < math.inf
        if not sound or (value == 0 and field != "low_ms"):
            return f"{field} is {value!r}, no positive number of milliseconds"
    if not one.low_ms <= one.latency_ms <= one.high_ms:
        return f"the latency {one.latency_ms:g} ms lies outside its own interval, {one.low_ms:g} to {one.high_ms:g} ms"
    try:
        json.dumps([one.cycles, one.noisy, dict(one.details)], allow_nan=False)
    except (TypeError, ValueError) as error:
        return f"the details of a latency cannot be kept as JSON: {error}"
    return None
