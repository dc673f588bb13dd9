"""Limits that the device keeps: `search --confidence` and `specialize --confidence` on made-up devices."""

from __future__ import annotations

import csv
import json
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pytest
from commands import search, specialize

import hwbench
from backends.base import Measurement, Target
from compofa.errors import InputError
from compofa.network import arch_blocks
from compofa.spaces.registry import GLYPHS
from compofa.spaces.space import get_space
from hwbench import shipped
from hwbench.specializing.keeping import keep
from hwbench.validating import pace
from lut import store
from lut.calibration import Calibration, calibration_path
from lut.table import Table

COMPOFA = get_space("compofa", GLYPHS)


def validated(path: Path, count: int = 40, noise: float = 0.01) -> Path:
    """A table of CompOFA's blocks, and networks that take as long as it says, give or take the noise."""
    target = Target("none", path.stem)
    with store.Writer(path, store.Header(target, "glyphs", "compofa", GLYPHS.resolutions, "2026")) as writer:
        times = ((block, 0.01 + block.macs / 1e6) for block in COMPOFA.all_blocks())
        writer.append((block, Measurement("modelled", ms, ms, ms, cycles=1)) for block, ms in times)
    if count:
        table, rng = Table.load(path), np.random.default_rng(0)
        archs = tuple({COMPOFA.sample(rng): None for _ in range(2 * count)})[:count]
        true_ms = np.array([table.latency_ms(arch_blocks(GLYPHS, arch)) for arch in archs])
        first, second = (tuple((true_ms * rng.lognormal(0, noise, count)).tolist()) for _ in range(2))
        Calibration(table, archs, first, second).save(calibration_path(path))
    return path


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("promises")
    return {
        "a": validated(folder / "a.jsonl"),
        "b": validated(folder / "b.jsonl", noise=0.02),
        "few": validated(folder / "few.jsonl", 12),
        "bare": validated(folder / "bare.jsonl", 0),
        "wild": validated(folder / "wild.jsonl", 40, noise=0.3),
    }


@pytest.fixture(scope="module")
def found(files):
    return hwbench.search(files["a"], space="compofa", latency_ms=2, confidence=0.8)


def test_a_limit_holds_for_the_bound(files, capsys, tmp_path) -> None:
    out = tmp_path / "f.csv"
    arguments = ["--space", "compofa", "--lut", str(files["a"]), "--latency-ms", "1.5", "--latency-ms", "2"]
    assert search.main([*arguments, "--confidence", "0.95", "--csv", str(out), "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["confidence"] == 0.95 and document["exact"]
    assert document["costs"]["promised_ms"] == "promised at 0.95 (ms)"
    (target,) = document["targets"].values()
    assert target["confidence"] == 0.95 and target["pace"] == 1
    for row, limit in zip(document["results"], (1.5, 2), strict=True):
        assert 1.005 * row["latency_ms"] < row["promised_ms"] <= min(limit, 1.05 * row["latency_ms"])
    assert csv.DictReader(out.open()).fieldnames == [
        "arch", "accuracy", "accuracy_is", "latency_ms", "promised_ms"
    ]  # fmt: skip
    assert search.main([*arguments, "--confidence", "0.95"]) == 0
    text = capsys.readouterr().out
    assert "kept by the device, as it was when it was validated" in text and "promised at 0.95 (ms)" in text


def test_more_confidence_costs_more(files) -> None:
    """And no promise at all is what it was."""
    best = {
        confidence: hwbench.search(files["a"], space="compofa", latency_ms=2, confidence=confidence).best[0]
        for confidence in (None, 0.6, 0.95)
    }
    assert best[None].accuracy >= best[0.6].accuracy >= best[0.95].accuracy
    shares = [best[c].costs["promised_ms"] / best[c].latency_ms for c in (0.6, 0.95)]
    assert 1 < shares[0] < shares[1] - 0.005
    assert "promised_ms" not in best[None].costs


def test_each_of_several_targets_keeps_its_own(files, capsys) -> None:
    arguments = [f"--{kind}={value}" for kind, value in (("lut", files["a"]), ("lut", files["b"]))]
    limits = ["--latency-ms", "a=2", "--latency-ms", "b=1.8", "--max-macs", "3", "--confidence", "0.9"]
    assert search.main(["--space", "compofa", *arguments, *limits, "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)["results"]
    assert row["promised_ms"]["a"] <= 2 and row["promised_ms"]["b"] <= 1.8 and row["macs_m"] <= 3
    slack = {name: row["promised_ms"][name] / row["latency_ms"][name] - 1 for name in ("a", "b")}
    assert 0 < 1.3 * slack["a"] < slack["b"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--lut", "{a}", "--confidence", "0"], "'0' is not a number between 0 and 1"),
        (["--lut", "{a}", "--confidence", "1"], "'1' is not a number between 0 and 1"),
        (["--lut", "{a}", "--confidence", "95"], "'95' is not a number between 0 and 1"),
        (["--lut", "{a}", "--confidence", "nan"], "is not a number between 0 and 1"),
        (["--lut", "{a}", "--confidence", "0.99"], "needs 99 measured networks or more, not 40: run"),
        (["--lut", "{few}", "--confidence", "0.95"], "validate --subnets 19 or more"),
        (["--lut", "{bare}", "--confidence", "0.9"], "was never validated, so nobody knows what its device keeps"),
        (["--lut", "{bare}", "--confidence", "0.9"], "run hwbench validate --lut"),
        (["--lut", "{wild}", "--confidence", "0.9"], "promises nothing"),
        (["--lut", "{a}", "--recheck", "5"], "--recheck has no effect without --confidence: give that, too"),
        (["--lut", "{a}", "--recheck", "1", "--confidence", "0.9"], "--recheck must be 2 to 40"),
        (["--lut", "{a}", "--recheck", "41", "--confidence", "0.9"], "--recheck must be 2 to 40"),
        (["--cost", "macs", "--confidence", "0.9"], "are of latencies, not of macs"),
    ],
)  # fmt: skip
def test_bad_input_is_one_line(files, capsys, arguments, message: str) -> None:
    given = [argument.format(**files) for argument in arguments]
    assert search.main(["--space", "compofa", *given]) == 2
    (line,) = [line for line in capsys.readouterr().err.splitlines() if "error" in line]
    assert message in line


def test_what_tells_no_error_promises_nothing(found) -> None:
    with pytest.raises(InputError, match="tells no error that a promise could rest on"):
        hwbench.search("macs", space="compofa", confidence=0.9)
    (promise,) = found.promises.values()
    with pytest.raises(InputError, match="is a promise already"):
        hwbench.search(promise, space="compofa", confidence=0.9)
    again = hwbench.search(promise, space="compofa", latency_ms=2)  # a cost like any other
    assert again.best[0].costs["promised_ms"] <= 2


@dataclass
class SlowBackend:
    """A backend on a table's target, where every network takes so many times what the table says."""

    table: Table
    factor: float
    scatter: float = 0.0
    rng: np.random.Generator = field(default_factory=lambda: np.random.default_rng(0))

    @property
    def target(self) -> Target:
        return self.table.target

    def use_reference(self, reference) -> None:
        assert reference is None

    def network_latencies(self, networks) -> list[Measurement]:
        factors = self.factor * self.rng.lognormal(0, self.scatter, len(networks))
        times = [factor * self.table.latency_ms(b) for factor, b in zip(factors, networks, strict=True)]
        return [Measurement("measured", ms, ms, ms) for ms in times]


def test_a_recheck_finds_the_pace(files, monkeypatch) -> None:
    """And the search then allows for it."""
    table = Table.load(files["a"])
    monkeypatch.setattr(pace, "open_backend", lambda target, seed: SlowBackend(table, 1.1))
    found = hwbench.search(files["a"], space="compofa", latency_ms=2, confidence=0.9, recheck=8)
    (promise,) = found.promises.values()
    assert promise.bound.pace == pytest.approx(1.1, abs=0.01)
    (best,) = found.best
    assert best.costs["promised_ms"] <= 2 and 1.1 * best.latency_ms <= 2
    assert "now (+" in search.promise_text(found.to_dict())


def measures(table: Table, misses: int):
    """What measures networks: so many take 2.001 ms, the next ones what the table says."""
    measured: list[float] = []

    def measure(arch):
        right = table.latency_ms(arch_blocks(GLYPHS, arch))
        measured.append(2.001 if len(measured) < misses else right)
        return {"latency_ms": measured[-1], "origin": "measured"}

    return measure


def test_a_busy_machine_promises_less_or_nothing(files, monkeypatch) -> None:
    def margin(scatter: float, force: bool = False) -> float:
        table = Table.load(files["a"])
        monkeypatch.setattr(pace, "open_backend", lambda target, seed: SlowBackend(table, 1.0, scatter))
        options = {"latency_ms": 2, "confidence": 0.9, "recheck": 12, "force": force}
        found = hwbench.search(files["a"], space="compofa", **options)
        (promise,) = found.promises.values()
        return promise.bound.margin

    assert margin(0.05) > 2 * margin(0.0)
    with pytest.raises(InputError, match=r"scatter by \d+ % around their pace.*too busy for a promise"):
        margin(0.3)
    assert margin(0.3, force=True) > 0.2


@pytest.mark.parametrize(("misses", "tries"), [(0, 5), (1, 5), (9, 3), (1, 1), (0, 1)])
def test_subnets_are_measured_until_the_best_is_kept(files, found, misses: int, tries: int) -> None:
    (promise,) = found.promises.values()
    one, tried, after = keep(found, promise, 2.0, measures(Table.load(files["a"]), misses), tries)
    assert len(tried) <= tries and len({attempt.arch for attempt in tried}) == len(tried)
    assert tried[0].arch == found.best[0].arch and tried[0].promised_before_ms <= 2
    assert (one.latency_ms <= 2) == (misses < tries)
    assert one.promised_ms <= 2 or misses >= tries - 1
    assert len(after.bound.now) == len(tried)
    for attempt in tried[1:]:
        assert attempt.predicted_ms < attempt.promised_before_ms


def test_a_limit_that_the_device_keeps_with_room_is_filled(files, found) -> None:
    """The device is 5 % faster than its validation: the next subnet is slower than the one that was promised first."""
    (promise,) = found.promises.values()
    table = Table.load(files["a"])

    def measure(arch):
        return {"latency_ms": 0.95 * table.latency_ms(arch_blocks(GLYPHS, arch)), "origin": "measured"}

    one, tried, _ = keep(found, promise, 2.0, measure, 5)
    assert one.predicted_ms > 1.02 * tried[0].predicted_ms and one.promised_ms <= 2


def test_the_next_one_keeps_the_other_limits_too(files) -> None:
    found = hwbench.search(files["a"], space="compofa", latency_ms=2, max_macs=0.9, confidence=0.8)
    (promise,) = found.promises.values()
    _, tried, _ = keep(found, promise, 1.5, measures(Table.load(files["a"]), 9), 3)
    assert len(tried) == 3
    best = max(found.frontier, key=lambda s: s.accuracy * (s.costs["promised_ms"] <= 1.5))
    assert best.accuracy > max(s.accuracy for s in found.frontier if s.arch in {one.arch for one in tried})
    for attempt in tried:
        assert sum(block.macs for block in arch_blocks(GLYPHS, attempt.arch)) <= 0.9e6


def test_what_cannot_be_measured_is_taken_as_promised(found) -> None:
    (promise,) = found.promises.values()
    one, tried, _ = keep(found, promise, 2.0, lambda arch: None, 3)
    assert tried == [one] and one.arch == found.best[0].arch and one.latency_ms is None
    assert one.promised_ms == one.promised_before_ms <= 2


def test_a_try_that_is_stopped_stops_all(found) -> None:
    """Ctrl-C in the middle of one is no miss."""
    (promise,) = found.promises.values()

    def measure(arch):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        keep(found, promise, 2.0, measure, 3)


def test_a_card_says_what_was_promised(tmp_path, files, capsys) -> None:
    supernet = shipped.supernet("glyphs", "compofa")
    arguments = ["--supernet", str(supernet), "--lut", str(files["a"]), "--latency-ms", "1.2", "--no-latency"]
    out = tmp_path / "out"
    assert specialize.main([*arguments, "--confidence", "0.9", "--out", str(out), "--json"]) == 0
    card = json.loads(capsys.readouterr().out)
    promise = card["promise"]
    assert promise["confidence"] == 0.9 and promise["promised_ms"] <= 1.2 and len(promise["tries"]) == 1
    assert promise["kept"] and promise["rests_on"] == "the model's errors on 40 networks"
    assert promise["tries"][0]["arch"] == card["arch"] and promise["tries"][0]["latency_ms"] is None
    assert card["chosen"]["predicted_latency_ms"] < promise["promised_ms"]
    assert "| promise | within 1." in (out / "README.md").read_text()


def test_what_another_machine_takes_promises_nothing_of_the_target(tmp_path, capsys) -> None:
    """Nor does it say how fast the target is now."""
    table = Table.load(shipped.reference_table("glyphs"))
    elsewhere = replace(table.target, device="A slower phone")
    lut = tmp_path / "phone.jsonl"
    with store.Writer(lut, replace(table.header, target=elsewhere)) as writer:
        writer.append((b, slower(m, 3)) for b, m in table.entries.items())
    there = Calibration.load(calibration_path(shipped.reference_table("glyphs")), table)
    times = (tuple(3 * ms for ms in passes) for passes in (there.first_ms, there.second_ms))
    Calibration(Table.load(lut), there.archs, *times).save(calibration_path(lut))
    out = tmp_path / "out"
    arguments = [
        "--supernet",
        str(shipped.supernet("glyphs", "compofa")),
        "--lut",
        str(lut),
        "--out",
        str(out),
    ]
    assert specialize.main([*arguments, "--latency-ms", "0.6", "--confidence", "0.9", "--json"]) == 0
    said = capsys.readouterr()
    card = json.loads(said.out)
    assert "nothing can be measured on its target here" in said.err
    assert card["latency"]["measured"] and not card["latency"]["measured"]["is_the_tables_target"]
    assert card["promise"]["pace"] == 1 and card["promise"]["tries"][0]["latency_ms"] is None
    assert card["chosen"]["predicted_latency_ms"] < card["promise"]["promised_ms"] <= 0.6


def slower(m: Measurement, times: float) -> Measurement:
    return replace(m, latency_ms=times * m.latency_ms, low_ms=times * m.low_ms, high_ms=times * m.high_ms)


def test_specialize_refuses_a_promise_of_no_limit(tmp_path, files, capsys) -> None:
    arguments = [
        "--supernet",
        str(files["a"]),
        "--arch",
        "r16",
        "--confidence",
        "0.9",
        "--out",
        str(tmp_path / "o"),
    ]
    assert specialize.main(arguments) == 2
    assert "--confidence has no effect beside --arch" in capsys.readouterr().err
