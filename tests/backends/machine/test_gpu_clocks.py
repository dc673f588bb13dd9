"""What a GPU's clocks did is told, and a GPU that was held back is not believed."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.machine.gpu_clocks import HELD_BACK, IDLE, GpuMonitor, Sample, verdict

FAST = Sample(sm_clock_mhz=1980.0, memory_clock_mhz=3201.0, temperature_c=50.0)


def test_a_gpu_at_its_clocks_is_believed() -> None:
    found = verdict([FAST] * 5)
    assert not found.throttled
    assert dict(found.details) == {
        "sm_clock_mhz": 1980.0,
        "sm_clock_spread_pct": 0.0,
        "memory_clock_mhz": 3201.0,
        "temperature_c": 50.0,
    }


@pytest.mark.parametrize("bit", HELD_BACK)
@given(others=st.integers(0, 5))
def test_one_reason_in_any_sample_is_enough(bit: int, others: int) -> None:
    found = verdict([FAST] * others + [Sample(1980.0, 3201.0, 50.0, reasons=bit)])
    assert found.throttled
    assert dict(found.details)["held_back"] == HELD_BACK[bit]


def test_clocks_that_somebody_set_are_no_throttling() -> None:
    assert not verdict([Sample(1200.0, 3201.0, 50.0, reasons=0x02)] * 3).throttled


def test_a_clock_that_wanders_is_told() -> None:
    found = verdict([FAST, Sample(1700.0, 3201.0, 60.0), FAST])
    assert found.throttled
    assert dict(found.details)["held_back"] == "clock not steady"
    assert dict(found.details)["temperature_c"] == 60.0


def test_samples_between_two_pieces_of_work_do_not_count() -> None:
    found = verdict([FAST, Sample(345.0, 3201.0, 50.0, reasons=IDLE), FAST])
    assert not found.throttled and dict(found.details)["sm_clock_mhz"] == 1980.0


def test_without_nvml_the_clocks_are_unknown() -> None:
    monitor = GpuMonitor()
    monitor.sample()
    assert monitor.take() == [] and monitor.driver is None
    assert verdict([]).details == (("clocks", "unknown"),)


# --- the real nvidia-ml-py, on a library that stands in for the driver's ---

NVML = """
typedef void *dev;
int nvmlInitWithFlags(unsigned f) { return 0; }
int nvmlInit_v2(void) { return 0; }
int nvmlSystemGetDriverVersion(char *v, unsigned n) { __builtin_strcpy(v, "580.1"); return 0; }
int nvmlDeviceGetHandleByUUID(const char *uuid, dev *d) {
    if (__builtin_strcmp(uuid, "GPU-1234")) return 6;
    *d = (dev)7; return 0;
}
int nvmlDeviceGetClockInfo(dev d, int type, unsigned *mhz) { *mhz = type == 1 ? 1980 : type == 2 ? 3201 : 0; return 0; }
int nvmlDeviceGetTemperature(dev d, int sensor, unsigned *c) { *c = 51; return 0; }
int nvmlDeviceGetTemperatureV(dev d, void *t) { ((int *)t)[2] = 51; return 0; }
int nvmlDeviceGetCurrentClocksEventReasons(dev d, unsigned long long *r) { *r = 4; return 0; }
"""
ASKS = """
from backends.machine.gpu_clocks import open_monitor, verdict
monitor = open_monitor("1234")
monitor.sample()
print(monitor.driver, dict(verdict(monitor.take()).details))
print(open_monitor("9").driver)
"""


def test_readings_go_through_nvml(tmp_path: Path) -> None:
    pytest.importorskip("pynvml", reason="nvidia-ml-py is not installed")
    if not (compiler := shutil.which("cc")):
        pytest.skip("no C compiler")
    (tmp_path / "nvml.c").write_text(NVML)
    library = tmp_path / "libnvidia-ml.so.1"
    subprocess.run([compiler, "-shared", "-fPIC", "-o", str(library), str(tmp_path / "nvml.c")], check=True)
    done = subprocess.run(
        [sys.executable, "-c", ASKS],
        cwd=Path(__file__).parents[3],
        env={"LD_LIBRARY_PATH": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    first, second = done.stdout.splitlines()
    assert first.startswith("580.1 {'sm_clock_mhz': 1980.0"), done.stderr
    assert "'memory_clock_mhz': 3201.0" in first and "'temperature_c': 51" in first
    assert "'held_back': 'power cap'" in first
    assert second == "None"
