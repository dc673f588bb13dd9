"""The GPU as a device, with torch.cuda at its boundary simulated: streams, graphs and events that only note what is
asked of them. What a real one found wrong (an H100, November 2026) is held here."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from backends.machine.gpu import Gpu
from backends.machine.gpu_clocks import GpuMonitor


class Cuda:
    """What is asked of torch.cuda, and on which stream."""

    def __init__(self) -> None:
        self.default = self.current = self.Stream()
        self.replayed_on: list[object] = []
        self.recorded_on: list[object] = []

    class Stream:
        def __init__(self, *_: object) -> None:
            self.cuda_stream = id(self)

        def synchronize(self) -> None:
            pass

    @contextmanager
    def stream(self, stream: object) -> Iterator[None]:
        before, self.current = self.current, stream
        yield
        self.current = before

    @contextmanager
    def graph(self, graph: object, pool: object, stream: object) -> Iterator[None]:
        yield

    def CUDAGraph(self) -> Any:
        return SimpleNamespace(replay=lambda: self.replayed_on.append(self.current))

    def Event(self, enable_timing: bool = False) -> Any:
        return SimpleNamespace(
            record=lambda: self.recorded_on.append(self.current),
            synchronize=lambda: None,
            query=lambda: True,
            elapsed_time=lambda end: 2.0,
        )

    def graph_pool_handle(self) -> object:
        return object()

    def get_device_properties(self, index: int) -> Any:
        return SimpleNamespace(total_memory=80e9, uuid="0", name="simulated", major=9, minor=0)


@pytest.fixture
def cuda(monkeypatch: pytest.MonkeyPatch) -> Cuda:
    simulated = Cuda()
    monkeypatch.setattr(torch, "cuda", simulated)
    return simulated


class Work:
    """Something that reads its weights when it runs."""

    def __init__(self) -> None:
        self.weights = torch.ones(3)

    def run(self) -> torch.Tensor:
        return self.weights + 1


def test_a_captured_graph_holds_what_it_reads(cuda: Cuda) -> None:
    """It knows addresses only; memory that was given back meanwhile would be an illegal access."""
    work = Work()
    weights = weakref.ref(work.weights)
    replay = Gpu(monitor=GpuMonitor()).capture(work.run)
    del work
    gc.collect()
    assert weights() is not None
    del replay
    gc.collect()
    assert weights() is None


def test_work_runs_on_the_stream_whose_events_time_it_whoever_asks(cuda: Cuda) -> None:
    gpu = Gpu(monitor=GpuMonitor())
    replay = gpu.capture(Work().run)
    cuda.replayed_on.clear()
    assert cuda.current is cuda.default
    assert gpu.case(replay)(2).seconds == pytest.approx(1e-3)
    gpu.begin(replay)(1).wait()
    assert set(cuda.replayed_on) == {gpu.stream} and len(cuda.replayed_on) == 3
    assert set(cuda.recorded_on) == {gpu.stream}


def test_clocks_are_read_now_and_then(cuda: Cuda) -> None:
    """NVML takes a millisecond to answer."""
    seconds = iter([0.0, 0.01, 0.02, 0.06, 0.07])
    monitor = GpuMonitor()
    looks: list[int] = []
    monitor.sample = lambda: looks.append(1)  # type: ignore[method-assign]
    gpu = Gpu(monitor=monitor, clock=lambda: next(seconds))
    for _ in range(5):
        gpu.sample()
    assert len(looks) == 2
