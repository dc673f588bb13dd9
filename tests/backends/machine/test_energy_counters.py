"""The counters of energy: NVML's module as far as it goes without a driver, RAPL's files."""

from __future__ import annotations

from pathlib import Path

import pytest

from backends.machine.cuda_probe import cuda_reason
from backends.machine.energy_counters import NvmlCounter, open_nvml, open_rapl
from compofa.errors import Unavailable


def test_the_call_is_there_in_nvidias_module() -> None:
    pynvml = pytest.importorskip("pynvml")
    asked = []

    class Nvml:
        def nvmlDeviceGetTotalEnergyConsumption(self, handle: object) -> int:
            asked.append(handle)
            return 12345

    assert callable(pynvml.nvmlDeviceGetTotalEnergyConsumption)
    assert issubclass(pynvml.NVMLError_LibraryNotFound, pynvml.NVMLError)
    assert NvmlCounter(Nvml(), "handle").read_mj() == 12345 and asked == ["handle"]


@pytest.mark.skipif(cuda_reason() is None, reason="there is a GPU here")
def test_without_a_driver_it_is_unavailable() -> None:
    pytest.importorskip("pynvml")
    with pytest.raises(Unavailable, match=r"NVML tells no energy of GPU x: NVML Shared Library Not Found"):
        open_nvml("x")


def package(root: Path, name: str, uj: int, range_uj: int = 999_999) -> Path:
    folder = root / name
    folder.mkdir()
    (folder / "energy_uj").write_text(f"{uj}\n")
    (folder / "max_energy_range_uj").write_text(f"{range_uj}\n")
    return folder / "energy_uj"


def test_packages_count_together_and_their_parts_do_not_count_twice(tmp_path: Path) -> None:
    one, other = package(tmp_path, "intel-rapl:0", 500_000), package(tmp_path, "intel-rapl:1", 7_000)
    cores = package(tmp_path, "intel-rapl:0:0", 1)
    counter = open_rapl(tmp_path)
    assert counter.read_mj() == 0
    one.write_text("510000\n")
    other.write_text("9500\n")
    cores.write_text("9000\n")
    assert counter.read_mj() == 12.5


def test_a_counter_that_starts_again_goes_on(tmp_path: Path) -> None:
    file = package(tmp_path, "intel-rapl:0", 999_000)
    counter = open_rapl(tmp_path)
    for uj in (999_900, 100, 1_000):
        file.write_text(str(uj))
        last = counter.read_mj()
    assert last == 2.0


def test_no_rapl_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match=r"there is no RAPL below"):
        open_rapl(tmp_path)


def test_what_only_root_may_read_says_so(tmp_path: Path) -> None:
    file = package(tmp_path, "intel-rapl:0", 1)
    file.unlink()
    file.mkdir()  # what root cannot read either
    with pytest.raises(Unavailable, match=r"cannot be read \(.*chmod a\+r"):
        open_rapl(tmp_path)
