"""A device that runs compiled networks: this machine, or a board over TVM's RPC. Imports TVM: child processes only."""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import version
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backends.base import BackendUnavailable
from backends.machine.clocks import Case, Reading, reading
from backends.tvm.address import Address
from backends.tvm.crew import Beat
from backends.tvm.errors import first_line
from backends.tvm.library import timed_library
from backends.tvm.target import TvmTarget
from compofa.errors import InputError

BIG_CORES = 1
"""TVM's name for threads on the fastest cores first."""


class Device:
    """A device, with a session of its own.

    Args:
        target: what it is compiled for.
        address: where it is.
        threads: that a run uses, on the fastest cores.
        beat: told when the device is asked and when it has answered.

    Raises:
        BackendUnavailable: it cannot be reached.
        ValueError: its TVM is of another version; the compiler for the target is not there.
    """

    def __init__(self, target: TvmTarget, address: Address, threads: int, beat: Beat | None = None) -> None:
        self._names = map(str, count())
        timed = timed_library(target)
        self._session = _open(address, beat or Beat())
        self._timed = self._load(timed)
        found, expected = self._timed["runtime_version"](), _runtime_version()
        if found != expected:
            packages = " ".join(f"{name}=={version(name)}" for name in ("apache-tvm", "apache-tvm-ffi"))
            raise InputError(
                f"the board at {address} runs TVM runtime {found}, this machine {expected}: install the same "
                f"there (pip install {packages})"
            )
        self._session.get_function("runtime.config_threadpool")(BIG_CORES, threads)
        self._by_cpu = threads == 1

    def load(self, path: Path, x: NDArray[np.float32]) -> Program:
        """The compiled network at `path`, with the input `x` bound."""
        return Program(self._load(path), self._session.cpu(), x, self._timed["timed"], self._by_cpu)

    def load_function(self, path: Path) -> tuple[Any, Any]:
        """The library at `path` and the processor it is to run on."""
        return self._load(path), self._session.cpu()

    def _load(self, path: Path) -> Any:
        # Under a new name each time: a copy has code and weights of its own, as the blocks of a network have.
        name = f"{next(self._names)}.so"
        self._session.upload(str(path), name)
        module = self._session.load_module(name)
        self._session.remove(name)
        return module


class Program:
    """A network on a device, with its input."""

    def __init__(
        self, module: Any, cpu: Any, x: NDArray[np.float32], timed: Callable[..., Any], by_cpu: bool
    ) -> None:
        import tvm

        self._machine = tvm.relax.VirtualMachine(module, cpu)
        self._x = tvm.runtime.tensor(x, cpu)
        self._machine.save_function("main", "run", self._x, include_return=False)
        self._timed, self._by_cpu = timed, by_cpu

    def case(self) -> Case:
        """For the timing loop, by the device's own clocks: what the network between here and there takes does
        not count."""

        def case(repeats: int) -> Reading:
            said = str(self._timed(self._machine.module, "run", repeats, int(self._by_cpu)))
            wall_s, cpu_s, switches = map(float, said.split())
            return reading(wall_s, cpu_s, self._by_cpu, switches == 0, repeats)

        return case

    def output(self) -> NDArray[np.float32]:
        """What the network computes from its input."""
        self._machine.set_input("main", self._x)
        self._machine.invoke_stateful("main")
        found: NDArray[np.float32] = self._machine.get_outputs("main").numpy()
        return found


def _open(address: Address, beat: Beat) -> Any:
    from tvm import rpc

    if not address.host:
        return rpc.LocalSession()
    with beat.asking():
        address.check_reachable()
        return _connect(address)


def _connect(address: Address) -> Any:
    from tvm import rpc

    try:
        if address.key:
            return rpc.connect_tracker(address.host, address.port).request(address.key)
        return rpc.connect(address.host, address.port)
    except Exception as error:
        raise BackendUnavailable(f"no session with {address}: {first_line(error)}") from error


def _runtime_version() -> str:
    """Of the TVM that is loaded here, as the C interface tells it."""
    import ctypes

    import tvm_ffi

    class _Version(ctypes.Structure):
        _fields_ = [(name, ctypes.c_uint32) for name in ("major", "minor", "patch")]

    found = _Version()
    tvm_ffi.LIB.TVMFFIGetVersion(ctypes.byref(found))
    return f"{found.major}.{found.minor}.{found.patch}"
