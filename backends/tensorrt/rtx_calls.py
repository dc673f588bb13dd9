"""The calls that TensorRT-RTX has and TensorRT lacks: building for GPUs that are not at hand, and the cache of the
kernels that it compiles on the device. Held against the library's own type information, as :mod:`.calls` is.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from backends.tensorrt import library
from compofa.errors import InputError

if TYPE_CHECKING:
    import tensorrt_rtx as trt
else:
    trt = library.load()


def capabilities() -> tuple[str, ...]:
    """The compute capabilities that engines can be built for, such as ``8.9``."""
    named = (name.removeprefix("SM") for name in trt.ComputeCapability.__members__ if name.startswith("SM"))
    return tuple(f"{digits[:-1]}.{digits[-1]}" for digits in named)


def check_capability(capability: str) -> None:
    """Raise InputError unless engines can be built for `capability`."""
    if capability not in capabilities():
        raise InputError(
            f"{library.used().name} {trt.__version__} builds no engines for compute capability {capability!r}; "
            f"it has {', '.join(capabilities())}"
        )


def build_for(config: Any, wanted: Sequence[str]) -> None:
    """Have a builder's `config` build one engine for all compute capabilities of `wanted`. One that the library does
    not list is asked for as that of the GPU at hand, so that the library itself says what it thinks of it."""
    listed = set(capabilities())
    rtx_config: trt.IBuilderConfig = config
    rtx_config.num_compute_capabilities = len(wanted)
    for index, capability in enumerate(wanted):
        name = f"SM{capability.replace('.', '')}" if capability in listed else "CURRENT"
        rtx_config.set_compute_capability(trt.ComputeCapability.__members__[name], index)


class Kernels:
    """A context of an engine, with the cache of the kernels that are compiled for it on the device.

    Args:
        engine: whose, as the library gave it.
        kept: by :meth:`serialize` of an earlier process; of another device, driver or version it is left out.
    """

    def __init__(self, engine: Any, kept: bytes = b"") -> None:
        rtx_engine: trt.ICudaEngine = engine
        config = rtx_engine.create_runtime_config()
        self.cache = config.create_runtime_cache()
        self.loaded = bool(kept) and bool(self.cache.deserialize(kept))
        config.set_runtime_cache(self.cache)
        self.context: Any = rtx_engine.create_execution_context(config)

    def serialize(self) -> bytes:
        """To be kept, once the engine has run."""
        return bytes(self.cache.serialize())
