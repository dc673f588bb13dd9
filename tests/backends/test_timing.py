from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.timing import (
    Case,
    Sentinel,
    Timing,
    TimingSettings,
    host_timed,
    summarise,
    time_interleaved,
    timer_overhead_s,
)

MS = 1e-3


@dataclass
class Device:
    """A simulated device: work takes its time, times `speed(now)`; reading the clock takes time too."""

    slowdown: Callable[[float], float] = lambda now: 1.0
    read_s: float = 50e-9
    now: float = 0.0
    log: list[tuple[str, int]] = field(default_factory=list)

    def clock(self) -> float:
        self.now += self.read_s
        return self.now

    def case(self, name: str, ms: float, first_ms: float = 0.0) -> Case:
        state = {"extra": first_ms}

        def work() -> None:
            self.now += (ms + state.pop("extra", 0.0)) * MS * self.slowdown(self.now)

        timed = host_timed(work, self.clock)

        def case(repeats: int) -> float:
            self.log.append((name, repeats))
            return timed(repeats)

        return case


def measure(device: Device, times_ms: list[float], **settings: Any) -> Timing:
    cases = [device.case(str(i), ms) for i, ms in enumerate(times_ms)]
    sentinel = Sentinel(device.case("sentinel", 0.1))
    return time_interleaved(cases, TimingSettings(**settings), sentinel=sentinel, clock=device.clock)


@given(st.lists(st.floats(1e-3, 20.0), min_size=1, max_size=5))
def test_a_steady_device_is_measured_right(times_ms: list[float]) -> None:
    timing = measure(Device(), times_ms, rounds=3, max_rounds=6)
    assert timing.rounds_ms.shape == (len(times_ms), 3)
    np.testing.assert_allclose(np.median(timing.rounds_ms, axis=1), times_ms, rtol=0.01)
    assert timing.steady and timing.discarded == 0


def test_inner_loops_are_long_and_hide_the_clock() -> None:
    device = Device(read_s=1e-4)
    timing = measure(device, [0.01], inner_ms=1.0)
    assert device.log[-4][1] * 0.01 >= 10  # 1 % of an inner loop is at least the clock's 0.1 ms
    np.testing.assert_allclose(timing.rounds_ms, 0.01, rtol=0.0101)


def test_a_slow_first_run_is_left_out() -> None:
    device = Device()
    cases = [device.case("cold", 1.0, first_ms=500.0)]
    timing = time_interleaved(cases, sentinel=Sentinel(device.case("sentinel", 0.1)), clock=device.clock)
    np.testing.assert_allclose(timing.rounds_ms, 1.0, rtol=0.01)


def test_drift_hits_all_cases_alike() -> None:
    """A device that slows down all the time: alone in turn, the last case would look slowest."""
    device = Device(slowdown=lambda now: 1 + now / 10)
    timing = measure(device, [1.0] * 8, drift_limit=10.0)
    medians = np.median(timing.rounds_ms, axis=1)
    assert medians.max() / medians.min() < 1.02


def test_rounds_of_a_slow_spell_are_done_again() -> None:
    spell = lambda now: 1.5 if 0.1 < now < 0.2 else 1.0  # noqa: E731
    timing = measure(Device(slowdown=spell), [2.0, 3.0, 5.0])
    assert timing.discarded > 0 and timing.steady
    np.testing.assert_allclose(timing.rounds_ms, [[2.0] * 9, [3.0] * 9, [5.0] * 9], rtol=0.01)


def test_endless_drift_is_put_up_with_and_marked() -> None:
    timing = measure(Device(slowdown=lambda now: 1 + 100 * now), [1.0], rounds=4, max_rounds=6)
    assert not timing.steady
    assert timing.rounds_ms.shape == (1, 4)
    assert all(m.noisy for m in summarise(timing.rounds_ms, steady=False))


def test_a_sentinel_remembers_the_usual_speed() -> None:
    """Cases timed during a slow spell after many at the usual speed are marked, though it never ends."""
    device = Device(slowdown=lambda now: 1.0 if now < 2.0 else 1.5)
    sentinel = Sentinel(device.case("sentinel", 0.1))
    settings = TimingSettings(rounds=5, max_rounds=8)
    while device.now < 1.9:
        assert time_interleaved(
            [device.case("a", 1.0)], settings, sentinel=sentinel, clock=device.clock
        ).steady
    device.now = 2.0
    late = time_interleaved([device.case("b", 1.0)], settings, sentinel=sentinel, clock=device.clock)
    assert not late.steady


def test_cases_take_turns_in_random_order() -> None:
    device = Device()
    measure(device, [0.1] * 6, rounds=1, max_rounds=1, inner_ms=0.0, rotation=3, round_ms=1.0)
    names = [name for name, _ in device.log][-63:-3]  # the only round, less the sentinel after it
    turns = [names[i : i + 3] for i in range(0, 60, 3)]
    first, second = {*turns[0]}, {*turns[10]}
    assert first | second == set("012345")
    assert all({*turn} == first for turn in turns[:10]) and all({*turn} == second for turn in turns[10:])
    assert len({tuple(turn) for turn in turns}) > 2


def test_the_seed_decides_the_order() -> None:
    def order(seed: int) -> list[tuple[str, int]]:
        device = Device()
        cases = [device.case(str(i), 1.0) for i in range(5)]
        sentinel = Sentinel(device.case("sentinel", 0.1))
        time_interleaved(cases, sentinel=sentinel, clock=device.clock, seed=seed)
        return device.log

    assert order(1) == order(1) != order(2)


def test_timing_s_is_all_the_time_the_loop_took() -> None:
    device = Device()
    assert measure(device, [1.0, 2.0]).timing_s == pytest.approx(device.now, abs=0.001)


def test_the_summary_is_a_median_with_its_interval() -> None:
    rng = np.random.default_rng(0)
    quiet, loud = rng.normal(10, 0.1, 15), rng.normal(10, 3, 15)
    first, second = summarise(np.array([quiet, loud]))
    assert first.latency_ms == np.median(quiet) and first.origin == "measured"
    assert first.low_ms < first.latency_ms < first.high_ms < 10.3
    assert first.rounds_ms == tuple(quiet)
    assert not first.noisy and second.noisy


def test_one_spike_moves_no_median() -> None:
    spiked = np.full((1, 9), 1.0)
    spiked[0, 4] = 50.0
    (found,) = summarise(spiked)
    assert found.latency_ms == 1.0 and not found.noisy


def test_intervals_hold_the_truth_about_as_often_as_they_say() -> None:
    rounds = np.random.default_rng(1).normal(5, 1, (400, 15))
    held = np.mean([m.low_ms <= 5 <= m.high_ms for m in summarise(rounds)])
    assert 0.88 <= held <= 0.99


def test_nothing_gives_nothing() -> None:
    assert summarise(np.empty((0, 9))) == []


def test_overhead_of_a_clock_is_the_time_between_two_readings() -> None:
    assert timer_overhead_s(Device(read_s=2e-6).clock) == pytest.approx(2e-6)
    assert timer_overhead_s(lambda: 0.0) == 0.0


def test_the_host_is_a_device_too() -> None:
    settings = TimingSettings(rounds=2, max_rounds=2, inner_ms=0.5, max_warmup_ms=5)
    timing = time_interleaved(
        [host_timed(lambda: sum(range(100))), host_timed(lambda: sum(range(4000)))], settings
    )
    short, long = np.median(timing.rounds_ms, axis=1)
    assert 0 < short < long


@pytest.mark.parametrize("wrong", [{"rounds": 0}, {"rounds": 5, "max_rounds": 4}, {"rotation": 0}])
def test_settings_that_cannot_be_are_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=r"rounds|rotation"):
        TimingSettings(**wrong)


def test_cases_of_a_group_take_turns() -> None:
    """A device whose speed wanders within a round: cases timed together keep their ratio, however far it goes."""
    device = Device(slowdown=lambda now: 1.5 + np.sin(now * 40))
    cases = [device.case(str(i), ms) for i, ms in enumerate([0.4, 0.2] * 6)]
    settings = TimingSettings(rounds=5, max_rounds=5, inner_ms=0.0, round_ms=4.0, drift_limit=100.0)
    sentinel = Sentinel(device.case("sentinel", 0.1))
    groups = [(i, i + 1) for i in range(0, len(cases), 2)]
    timing = time_interleaved(cases, settings, sentinel=sentinel, clock=device.clock, groups=groups)
    ratio = timing.rounds_ms[::2] / timing.rounds_ms[1::2]
    np.testing.assert_allclose(ratio, 2.0, rtol=0.1)
    assert np.ptp(timing.rounds_ms[::2]) > 0.4  # it did wander
    names = [name for name, repeats in device.log if name != "sentinel"][-40:]
    assert {int(a) // 2 == int(b) // 2 for a, b in zip(names[::2], names[1::2], strict=True)} == {True}
