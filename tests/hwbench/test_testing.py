"""The rules for backends hold for ours, name what breaks each, and whatever a plug-in does, a command survives it."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from importlib.metadata import EntryPoint
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar

import pytest
from commands import build_lut, validate

from backends import registry
from backends.base import Backend, Batch, Measurement, Network, Option, Settings, Target
from backends.chained import CPU_TIMINGS, Timings
from backends.fpga.backend import FpgaBackend
from backends.measuring.timing import TimingSettings
from backends.onnxruntime_cpu import OnnxRuntimeBackend
from backends.torch_backend import TorchBackend
from compofa.blocks import Block
from compofa.blocks.operations import unknown
from compofa.errors import InputError
from compofa.spaces.registry import GLYPHS
from compofa.spaces.space import get_space
from hwbench.rules import IN_TIME, NOTHING_ON_STDOUT, RuleBroken
from hwbench.testing import ANSWERS, BackendConformance, broken_rules
from lut.table import Table

FEW = TimingSettings(rounds=3, max_warmup_ms=2.0, round_ms=0.5)


class TestOnnxRuntime(BackendConformance):
    def make(self, settings: Settings) -> Backend:
        single = replace(FEW, rotation=1)
        return OnnxRuntimeBackend(settings, block_timing=replace(FEW, rotation=24), network_timing=single)


class TestTorch(BackendConformance):
    def make(self, settings: Settings) -> Backend:
        timings = (
            replace(one, rounds=3, max_warmup_ms=2.0) for one in (CPU_TIMINGS.blocks, CPU_TIMINGS.networks)
        )
        return TorchBackend(settings, Timings(*timings))


class TestFpga(BackendConformance):
    settings = Settings("int8")

    def make(self, settings: Settings) -> Backend:
        return FpgaBackend(settings)


# --- backends that break a rule ---


class Honest(Backend):
    """A model of a machine that does a multiply-accumulate in a nanosecond."""

    name = "mine"
    origin = "modelled"
    options = (Option("mode", "how", "plain", choices=("plain", "odd")),)

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        if settings.precision != "fp32" or settings.batch < 1:
            raise InputError(f"fp32 and a batch of 1 or more, not {settings.precision} and {settings.batch}")

    @classmethod
    def probe(cls) -> str | None:
        return None

    @property
    def target(self) -> Target:
        details = (("mode", self.option("mode")),)
        return Target("mine", "board", batch=self.settings.batch, details=details)

    def block_latencies(self, blocks: Sequence[Block]) -> list[Measurement]:
        return [self.answer(1e-6 + 1e-6 * self.macs(block)) for block in blocks]

    def network_latencies(self, networks: Sequence[Network]) -> list[Measurement]:
        return [self.answer(1e-3 + 1e-6 * sum(map(self.macs, blocks))) for blocks in networks]

    def macs(self, block: Block) -> int:
        for operation in block.operations:
            if type(operation).__name__.startswith("Unknown"):
                raise unknown("my board", operation)
        return block.macs

    def answer(self, ms: float) -> Measurement:
        return Measurement("modelled", ms, ms, ms)


def kit(kind: type[Backend]) -> BackendConformance:
    class Kit(BackendConformance):
        limit_s: ClassVar[float] = 0.5 if kind is Hangs else 300.0

        def make(self, settings: Settings) -> Backend:
            return kind(settings)

    return Kit()


def test_an_honest_backend_breaks_no_rule() -> None:
    assert broken_rules(kit(Honest)) == {}


def answering(**given: Any) -> type[Backend]:
    """Answers with measurements in which some fields are changed."""

    class Odd(Honest):
        def answer(self, ms: float) -> Measurement:
            return replace(super().answer(ms), **given)

    return Odd


class TooFew(Honest):
    def block_latencies(self, blocks: Sequence[Block]) -> list[Measurement]:
        return super().block_latencies(blocks)[1:]


class Raises(Honest):
    def block_latencies(self, blocks: Sequence[Block]) -> list[Measurement]:
        raise ZeroDivisionError("division by zero")


class Ends(Honest):
    def block_latencies(self, blocks: Sequence[Block]) -> list[Measurement]:
        raise SystemExit(0)


class Prints(Honest):
    def block_latencies(self, blocks: Sequence[Block]) -> list[Measurement]:
        print("noise")
        os.write(1, b"more noise")
        return super().block_latencies(blocks)


class Hangs(Honest):
    def block_latencies(self, blocks: Sequence[Block]) -> list[Measurement]:
        time.sleep(600)
        return super().block_latencies(blocks)


class Unsorted(Honest):
    def block_latencies(self, blocks: Sequence[Block]) -> list[Measurement]:
        return sorted(super().block_latencies(blocks), key=lambda one: one.latency_ms)


class UnsortedNetworks(Honest):
    def network_latencies(self, networks: Sequence[Network]) -> list[Measurement]:
        return super().network_latencies(networks)[::-1]


class Forgets(Honest):
    def as_they_come(self, blocks: Sequence[Block]) -> Iterator[Batch]:
        yield self._attempt(blocks[1:])


class Dreams(Honest):
    """Blocks that have nothing to do with networks."""

    def network_latencies(self, networks: Sequence[Network]) -> list[Measurement]:
        return [
            replace(one, latency_ms=1e3 * one.latency_ms, high_ms=1e9)
            for one in super().network_latencies(networks)
        ]


class Drifts(Honest):
    asked = 0

    @property
    def target(self) -> Target:
        type(self).asked += 1
        return Target("mine", f"board {self.asked}")


class NotJson(Honest):
    @property
    def target(self) -> Target:
        return Target("mine", "board", details=(("clock", len),))  # type: ignore[arg-type]


class KnowsAll(Honest):
    def macs(self, block: Block) -> int:
        return block.macs


class TakesAnyOption(Honest):
    @classmethod
    def _check_options(cls, given: Any) -> None:
        pass


class TakesAnyPrecision(Honest):
    def __init__(self, settings: Settings) -> None:
        super().__init__(replace(settings, precision="fp32"))


class BareError(Honest):
    def __init__(self, settings: Settings) -> None:
        if settings.batch < 1:
            raise ValueError("no batch")
        super().__init__(settings)


class ForgetsItsOptions(Honest):
    def option(self, name: str) -> str:
        return str(id(self))


class Clears(Honest):
    def block_latencies(self, blocks: Sequence[Block]) -> list[Measurement]:
        found = super().block_latencies(blocks)
        blocks.clear()  # type: ignore[attr-defined]
        return found


class ClosesOnce(Honest):
    closed = False

    def close(self) -> None:
        assert not self.closed, "closed already"
        self.closed = True


@pytest.mark.parametrize(
    ("kind", "rule", "what"),
    [
        (answering(latency_ms=float("nan")), ANSWERS, "latency_ms is nan, no positive number"),
        (answering(latency_ms=-1.0), ANSWERS, "latency_ms is -1.0, no positive number"),
        (answering(high_ms=float("inf")), ANSWERS, "high_ms is inf"),
        (answering(low_ms=1e9, high_ms=2e9), ANSWERS, "lies outside its own interval"),
        (answering(origin="guessed"), ANSWERS, "the origin of a latency is 'guessed', none of measured"),
        (answering(origin="measured"), ANSWERS, "the origin is 'measured', but the backend's 'modelled'"),
        (TooFew, ANSWERS, "asked for 3, it gave"),
        (Raises, "there is one answer for each block", "ZeroDivisionError: division by zero"),
        (Ends, "there is one answer for each block", "SystemExit"),
        (Prints, NOTHING_ON_STDOUT, "noise\\nmore noise"),
        (Hangs, IN_TIME, "had not ended after 0.5 s"),
        (Unsorted, "there is one answer for each block, in the order", "take"),
        (UnsortedNetworks, "there is one answer for each network, in the order", "take"),
        (Forgets, "as_they_come() gives each block once", "asked for 2 blocks, it gave 1 entries and 0 failures"),
        (Dreams, "the latencies of blocks add up to about", "ms as a network"),
        (Drifts, "the target is the same before and after", "and became"),
        (NotJson, "the target is one that a table can keep", "not JSON serializable"),
        (KnowsAll, "a block with an operation that the backend does not know", "it was accepted"),
        (TakesAnyOption, "an option that there is not is refused", "it was accepted"),
        (TakesAnyPrecision, "a precision that there is not is refused", "it was accepted"),
        (BareError, "a batch of no images is refused", "a bare ValueError: no batch"),
        (ForgetsItsOptions, "the options that a target tells make a backend", "mode of backend mine is one of"),
        (Clears, "what it is given stays as it is", "a list was changed"),
        (ClosesOnce, "close(), where there is one, may be called twice", "closed already"),
    ],
)  # fmt: skip
def test_what_breaks_a_rule_is_named(kind: type[Backend], rule: str, what: str) -> None:
    broken = broken_rules(kit(kind))
    (found,) = (said for name, said in broken.items() if name.startswith(rule))
    assert what in found
    assert not any("\n" in name for name in broken)


def test_a_kit_that_makes_nothing_says_what_to_do() -> None:
    with pytest.raises(RuleBroken, match="say in make"):
        BackendConformance().test_probe()


def test_the_backend_of_the_page_breaks_no_rule(monkeypatch: pytest.MonkeyPatch) -> None:
    """docs/backends.md, with a board whose SDK finds large models slow."""
    page = (Path(__file__).parents[2] / "docs" / "backends.md").read_text()
    backend, test = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    sdk: Any = ModuleType("my_sdk")
    sdk.name, sdk.__version__ = lambda: "My Board", "1.0"
    sdk.time = lambda model, port: [1e-6 * len(model) * factor for factor in (1.01, 0.99, 1.0)]
    board: Any = ModuleType("my_board")
    monkeypatch.setitem(sys.modules, "my_sdk", sdk)
    monkeypatch.setitem(sys.modules, "my_board", board)
    exec(compile(backend, "docs/backends.md", "exec"), vars(board))
    names: dict[str, Any] = {"__name__": "test_my_board"}
    exec(compile(test, "docs/backends.md", "exec"), names)
    assert broken_rules(names["TestMyBoard"]()) == {}


# --- a command that is given such a backend ---

SMALLEST = GLYPHS.resolutions[0]
BLOCKS = get_space("compofa", GLYPHS).all_blocks((SMALLEST,))
WHAT = ["--space", "compofa", "--resolutions", str(SMALLEST)]


@pytest.fixture
def install(monkeypatch: pytest.MonkeyPatch) -> Callable[[type[Backend]], None]:
    """Registers a plug-in."""

    def write(kind: type[Backend]) -> None:
        module: Any = ModuleType("my_board")
        module.Mine = kind
        monkeypatch.setitem(sys.modules, "my_board", module)
        points = [EntryPoint("mine", "my_board:Mine", registry.GROUP)]
        monkeypatch.setattr(registry, "entry_points", lambda group: points)

    return write


@pytest.fixture
def honest(install: Callable[[type[Backend]], None], tmp_path: Path) -> Path:
    """A finished table of the plug-in while it was honest."""
    install(Honest)
    path = tmp_path / "honest.jsonl"
    assert build_lut.main(["--backend", "mine", *WHAT, "--out", str(path)]) == 0
    return path


class NanReference(Honest):
    @property
    def reference(self) -> dict[str, Any]:
        return {"latency_ms": float("nan")}


class LongReasons(Honest):
    def as_they_come(self, blocks: Sequence[Block]) -> Iterator[Batch]:
        yield Batch([], dict.fromkeys(blocks, "out\nof memory"))


@pytest.mark.parametrize(
    ("kind", "says"),
    [
        (answering(latency_ms=float("nan")), "latency_ms is nan, no positive number of milliseconds"),
        (answering(latency_ms=-1.0), "latency_ms is -1.0, no positive number of milliseconds"),
        (answering(latency_ms=float("inf")), "latency_ms is inf, no positive number of milliseconds"),
        (answering(details=(("power", {1}),)), "details of a latency cannot be kept as JSON"),
        (TooFew, "asked for 32 latencies, it gave 31"),
        (Raises, "block_latencies failed: ZeroDivisionError: division by zero"),
        (Ends, "block_latencies tried to end the process (0)"),
        (Forgets, f"as_they_come left out 1 of {len(BLOCKS)} blocks"),
        (NotJson, "its target cannot be kept as JSON"),
        (NanReference, "its reference cannot be kept as JSON"),
    ],
)
def test_a_build_survives_it_with_one_line(
    kind: type[Backend],
    says: str,
    install: Callable[[type[Backend]], None],
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    install(kind)
    assert build_lut.main(["--backend", "mine", *WHAT, "--out", str(tmp_path / "t.jsonl")]) == 1
    shown = capfd.readouterr()
    assert shown.out == ""
    (line,) = [line for line in shown.err.splitlines() if not line.startswith("modelling blocks ")]
    assert line.startswith("hwbench build_lut: error: plug-in mine (my_board:Mine): ") and says in line


def test_reasons_of_several_lines_are_one(
    install: Callable[[type[Backend]], None], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    install(LongReasons)
    assert build_lut.main(["--backend", "mine", *WHAT, "--out", str(tmp_path / "t.jsonl")]) == 1
    assert capsys.readouterr().err.count(": out of memory\n") == len(BLOCKS)


def test_what_it_prints_is_not_in_the_answer(
    install: Callable[[type[Backend]], None], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    install(Prints)
    assert build_lut.main(["--backend", "mine", *WHAT, "--out", str(tmp_path / "t.jsonl"), "--json"]) == 0
    shown = capfd.readouterr()
    assert json.loads(shown.out)["entries"] == len(BLOCKS) and "more noise" in shown.err


@pytest.mark.parametrize(
    ("network", "says"),
    [
        (lambda self, networks: [], "latencies, it gave 0"),
        (lambda self, networks: [self.answer(float("nan"))] * len(networks), "latency_ms is nan"),
        (lambda self, networks: [self.answer(-1.0)] * len(networks), "latency_ms is -1.0"),
        (lambda self, networks: [self.answer(float("inf"))] * len(networks), "latency_ms is inf"),
        (lambda self, networks: 1 / 0, "network_latencies failed: ZeroDivisionError"),
        (lambda self, networks: sys.exit(0), "network_latencies tried to end the process"),
    ],
)
def test_a_validation_survives_it_with_one_line(
    network: Any,
    says: str,
    honest: Path,
    install: Callable[[type[Backend]], None],
    capfd: pytest.CaptureFixture[str],
) -> None:
    install(type("Odd", (Honest,), {"network_latencies": network}))
    capfd.readouterr()
    assert validate.main(["--lut", str(honest), "--subnets", "10"]) == 1
    shown = capfd.readouterr()
    line = shown.err.splitlines()[-1]
    assert shown.out == "" and shown.err.count("error") == 1
    assert line.startswith("hwbench validate: error: plug-in mine (my_board:Mine): ") and says in line


HANGING = '''
import time
from backends.base import Backend, Measurement, Target


class Mine(Backend):
    """Hangs in its second batch, deaf to what it can catch itself."""

    name = "mine"
    asked = 0

    @classmethod
    def probe(cls):
        return None

    @property
    def target(self):
        return Target("mine", "board")

    def block_latencies(self, blocks):
        self.asked += 1
        if self.asked == 2:
            open("hangs", "w").close()
            while True:
                try:
                    time.sleep(600)
                except Exception:
                    pass
        return [Measurement("measured", 1.0, 1.0, 1.0)] * len(blocks)

    def network_latencies(self, networks):
        return []
'''


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_one_that_hangs_is_ended_with_what_was_measured_kept(number: int, code: int, tmp_path: Path) -> None:
    """An installed plug-in, in a process of its own."""
    (tmp_path / "my_board.py").write_text(HANGING)
    information = tmp_path / "my_board-1.dist-info"
    information.mkdir()
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: my-board\nVersion: 1\n")
    (information / "entry_points.txt").write_text("[hwbench.backends]\nmine = my_board:Mine\n")
    root = Path(__file__).parents[2]
    process = subprocess.Popen(
        [sys.executable, "-m", "hwbench.build_lut", "--backend", "mine", *WHAT, "--out", "t.jsonl"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": os.pathsep.join((str(root), str(tmp_path)))},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    while process.poll() is None and not (tmp_path / "hangs").exists():
        time.sleep(0.02)
    process.send_signal(number)
    out, errors = process.communicate(timeout=120)
    assert (process.returncode, out) == (code, "")
    said = f"interrupted: 32 of {len(BLOCKS)} blocks are in t.jsonl; the same command goes on from there"
    assert errors.splitlines()[-1] == f"hwbench build_lut: {said}"
    assert len(Table.load(tmp_path / "t.jsonl").entries) == 32
