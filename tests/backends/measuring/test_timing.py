"""The loop and the pairing: what work takes comes out in runs of the reference, whatever the machine's pace does."""

from __future__ import annotations

import gc
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.machine.clocks import Reading
from backends.measuring.pairing import Pacer
from backends.measuring.timing import Timing, TimingSettings, time_beside

Device = Callable[..., Any]


def measure(device: Any, times_ms: list[float], **settings: Any) -> Timing:
    cases = [device.case(str(i), ms) for i, ms in enumerate(times_ms)]
    return time_beside(device.pacer(), cases, TimingSettings(**settings), clock=device.clock)


@given(st.lists(st.floats(1e-3, 20.0), min_size=1, max_size=5))
def test_a_steady_device_is_measured_right(simulated: Device, times_ms: list[float]) -> None:
    timing = measure(simulated(), times_ms, rounds=3)
    assert timing.ratios.shape == (len(times_ms), 3)
    expected = np.repeat(np.array(times_ms)[:, None] / 0.2, 3, axis=1)
    np.testing.assert_allclose(timing.ratios, expected, rtol=1e-6)
    assert (timing.paired.left_out == 0).all() and timing.paired.pace == pytest.approx(1)


@given(swing=st.floats(0.1, 0.8), period_s=st.floats(0.5, 5), phase=st.floats(0, 6))
def test_the_pace_of_the_machine_cancels(
    simulated: Device, swing: float, period_s: float, phase: float
) -> None:
    """A machine that slows down and speeds up: times by themselves are off by as much, ratios by a fiftieth of it."""
    device = simulated(slowdown=lambda now: 1 + swing / 2 + swing / 2 * np.sin(phase + now * 6.28 / period_s))
    timing = measure(device, [1.0, 3.0], rotation=1, round_ms=16.0)
    np.testing.assert_allclose(np.median(timing.ratios, axis=1), [5.0, 15.0], rtol=0.02)
    assert timing.paired.pace >= 1


def test_the_noise_of_single_readings_does_not_reach_the_ratios(simulated: Device) -> None:
    rng = np.random.default_rng(0)
    device = simulated()
    noisy = Pacer(device.case("reference", 0.2, jitter=lambda: rng.normal(1, 0.05)), runs=4)
    settings = TimingSettings(rotation=1, round_ms=16.0)
    timing = time_beside(noisy, [device.case("a", 1.0)], settings, clock=device.clock)
    assert np.abs(timing.ratios / 5 - 1).max() < 0.02


def test_a_slow_first_run_is_left_out(simulated: Device) -> None:
    device = simulated()
    timing = time_beside(device.pacer(), [device.case("cold", 1.0, first_ms=500.0)], clock=device.clock)
    np.testing.assert_allclose(timing.ratios, 5.0, rtol=0.01)


def test_disturbed_runs_are_left_out_and_counted(simulated: Device) -> None:
    """Every seventh run or so is held up for twenty seconds, as by SIGSTOP: the clock goes on, the ratios do not."""
    runs = iter(range(10**9))
    device = simulated(disturbed=lambda now: 20.0 if next(runs) % 7 == 6 else 0.0)
    timing = measure(device, [1.0, 2.0], rotation=1, round_ms=20.0)
    np.testing.assert_allclose(np.nanmedian(timing.ratios, axis=1), [5.0, 10.0], rtol=1e-6)
    assert np.nanmax(timing.ratios) < 10.001
    assert (timing.paired.left_out > 0.05).all() and not timing.paired.forced.any()


def test_where_no_run_is_clean_all_count(simulated: Device) -> None:
    """In processor time the wait itself does not count: what is crowded is a little off, not lost."""
    device = simulated(disturbed=lambda now: 1e-9)
    timing = measure(device, [1.0], rounds=5)
    np.testing.assert_allclose(timing.ratios, 5.0, rtol=1e-3)
    assert timing.paired.forced.all() and timing.paired.left_out[0] == 1


def test_a_clock_that_stands_still_gives_no_ratio() -> None:
    pacer = Pacer(lambda repeats: Reading(1e-3), runs=4)
    timing = time_beside(pacer, [lambda repeats: Reading(0.0, clean=False)], TimingSettings(rounds=2))
    assert np.isnan(timing.ratios).all()


def test_the_reference_is_read_as_often_as_pays(simulated: Device) -> None:
    device = simulated()
    measure(device, [0.1] * 10, round_ms=20.0, spacing_ms=4.0)
    of_reference = sum(0.2 * repeats for name, repeats in device.log if name == "reference")
    of_cases = sum(0.1 * repeats for name, repeats in device.log if name != "reference")
    assert 0.15 < of_reference / of_cases < 0.25
    slow = simulated()
    cases = [slow.case("a", 1.0)]
    settings = TimingSettings(round_ms=500.0, spacing_ms=4.0)
    time_beside(slow.pacer(10.0), cases, settings, clock=slow.clock)
    of_reference = sum(10.0 for name, _ in slow.log if name == "reference")
    assert of_reference < 0.5 * sum(1.0 for name, _ in slow.log if name != "reference")


def test_cases_take_turns_in_random_order(simulated: Device) -> None:
    device = simulated()
    measure(device, [0.1] * 6, rounds=1, rotation=3, round_ms=1.0, spacing_ms=1e6)
    names = [name for name, _ in device.log if name != "reference"][-60:]
    turns = [names[i : i + 3] for i in range(0, 60, 3)]
    first, second = {*turns[0]}, {*turns[10]}
    assert first | second == set("012345")
    assert all({*turn} == first for turn in turns[:10]) and all({*turn} == second for turn in turns[10:])
    assert len({tuple(turn) for turn in turns}) > 2


def test_the_seed_decides_the_order(simulated: Device) -> None:
    def order(seed: int) -> list[tuple[str, int]]:
        device = simulated()
        cases = [device.case(str(i), 1.0) for i in range(5)]
        time_beside(device.pacer(), cases, clock=device.clock, seed=seed)
        log: list[tuple[str, int]] = device.log
        return log

    assert order(1) == order(1) != order(2)


def test_timing_s_is_all_the_time_the_loop_took(simulated: Device) -> None:
    device = simulated()
    pacer = device.pacer()
    before = device.now
    timing = time_beside(pacer, [device.case("a", 1.0)], clock=device.clock)
    assert timing.timing_s == pytest.approx(device.now - before)


def test_inner_loops_are_as_long_as_the_clock_needs(simulated: Device) -> None:
    device = simulated()
    measure(device, [0.01], inner_ms=1.0)
    of_case = [repeats for name, repeats in device.log if name == "0"]
    assert of_case[-1] * 0.01 >= 1.0


def test_no_garbage_is_collected_meanwhile(simulated: Device) -> None:
    seen: list[bool] = []

    def case(repeats: int) -> Reading:
        seen.append(gc.isenabled())
        return Reading(1e-3)

    assert gc.isenabled()
    time_beside(simulated().pacer(), [case], TimingSettings(rounds=1))
    assert seen and not any(seen) and gc.isenabled()

    def broken(repeats: int) -> Reading:
        raise RuntimeError

    with pytest.raises(RuntimeError):
        time_beside(simulated().pacer(), [broken], TimingSettings(rounds=1))
    assert gc.isenabled()


@pytest.mark.parametrize("wrong", [{"rounds": 0}, {"rotation": 0}])
def test_settings_that_cannot_be_are_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=r"round|rotation"):
        TimingSettings(**wrong)


def test_cases_of_a_group_take_turns(simulated: Device) -> None:
    device = simulated()
    cases = [device.case(str(i), ms) for i, ms in enumerate([0.4, 0.2] * 6)]
    settings = TimingSettings(rounds=5, round_ms=4.0, spacing_ms=1e6)
    groups = [(i, i + 1) for i in range(0, len(cases), 2)]
    time_beside(device.pacer(), cases, settings, clock=device.clock, groups=groups)
    names = [name for name, _ in device.log if name != "reference"][-40:]
    assert {int(a) // 2 == int(b) // 2 for a, b in zip(names[::2], names[1::2], strict=True)} == {True}
