"""OpenVINO on the host's processor: how its models are read and run, and the reference beside them.

One thread of its own is the calling one, which does all of the work (its processor time is that of the process), so
that it is timed as ONNX Runtime is. Plans in fp32: on processors with bfloat16 OpenVINO would compute in that.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backends.base import Measurement, Network, Settings, Target
from backends.kernels.runtime import Values
from backends.machine.clocks import Case, host_clocks
from backends.machine.host import check_threads, cpu_name, package_versions
from backends.measuring import METHOD
from backends.measuring.backend import PairedBackend
from compofa.blocks import Block
from compofa.errors import InputError
from compofa.graph import network_to_onnx

DEVICE = "CPU"


class OpenVinoBackend(PairedBackend):
    """OpenVINO's CPU plug-in, beside the reference. It times kernels of ONNX models (``hwbench profile``), not blocks:
    what a block alone reads and writes would change its layout twice, which it does not in a network.

    Args:
        settings: precision ``fp32``; `threads` of one run.
    """

    name = "openvino"

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        if settings.precision != "fp32":
            raise InputError(f"backend openvino runs models as they are, in fp32, not {settings.precision}")
        check_threads(settings.threads)
        self.clocks = host_clocks(settings.threads)

    @classmethod
    def probe(cls) -> str | None:
        if find_spec("openvino") is None:
            return "openvino cannot be imported; install with: pip install 'hwbench[openvino]'"
        return None

    @property
    def target(self) -> Target:
        return Target(
            backend=self.name,
            device=cpu_name(),
            precision="fp32",
            threads=self.settings.threads,
            versions=package_versions(["openvino"]),
            details=(("clock", self.clocks.name), ("device", DEVICE), ("timing", METHOD)),
        )

    def block_latencies(self, blocks: Sequence[Block]) -> list[Measurement]:
        raise InputError("backend openvino times the kernels of ONNX models (profile), not blocks")

    def network_latencies(self, networks: Sequence[Network]) -> list[Measurement]:
        raise InputError("backend openvino times ONNX models (profile), not subnets")

    def _reference_case(self, network: Network) -> Case:
        model = network_to_onnx(network, batch=1, seed=0)
        shape = [dim.dim_value for dim in model.graph.input[0].type.tensor_type.shape.dim]
        feeds = {model.graph.input[0].name: np.random.default_rng(0).standard_normal(shape, np.float32)}
        return self.clocks.case(small_run(model.SerializeToString(), feeds, self.settings.threads))


@cache
def core() -> Any:
    """OpenVINO's plug-ins, once in a process."""
    import openvino

    return openvino.Core()


def compiled_model(model: Any, threads: int) -> Any:
    """An ``openvino.Model``, ready to run in fp32.

    Raises:
        RuntimeError: OpenVINO cannot run it.
    """
    config = {
        "INFERENCE_NUM_THREADS": threads,
        "NUM_STREAMS": 1,
        "INFERENCE_PRECISION_HINT": "f32",
        "ENABLE_CPU_PINNING": False,  # where a thread runs is left to whoever started this process
    }
    return core().compile_model(model, DEVICE, config)


def read(path: Path) -> Any:
    """The ``openvino.Model`` of an ONNX file; what depends on shapes only is worked out.

    Raises:
        RuntimeError: OpenVINO does not understand it.
    """
    from openvino.passes import ConstantFolding, Manager

    model = core().read_model(str(path))
    passes = Manager()
    passes.register_pass(ConstantFolding())
    passes.run_passes(model)
    return model


def small_run(model: bytes, feeds: Values, threads: int) -> Callable[[], object]:
    """One run of a small ONNX model."""
    return bound_run(compiled_model(core().read_model(model), threads), feeds)


def bound_run(compiled: Any, feeds: Values, takes: Values | None = None) -> Callable[[], object]:
    """One run with inputs and outputs bound beforehand.

    Args:
        compiled: the model.
        feeds: what it reads, by name.
        takes: where it writes, by name; memory of its own for outputs that are not there.
    """
    import openvino

    request = compiled.create_infer_request()
    held: list[Any] = []
    for name, array in feeds.items():
        held.append(openvino.Tensor(array, shared_memory=True))
        request.set_tensor(name, held[-1])
    for name, array in (takes or {}).items():
        held.append(openvino.Tensor(array, shared_memory=True))
        request.set_tensor(name, held[-1])

    def once() -> object:
        request.infer(share_outputs=True)
        return held  # whoever runs it keeps the memory alive

    return once


def outputs_of(compiled: Any, feeds: Values) -> dict[str, NDArray[Any]]:
    """What one run gives, by the names of the outputs."""
    found = compiled(dict(feeds))
    return {output.get_any_name(): np.array(found[output]) for output in compiled.outputs}
