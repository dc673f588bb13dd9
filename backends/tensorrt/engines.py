"""Built engines on disk: a build takes seconds to minutes, and the same graph is asked for again and again.

An engine runs only on the kind of GPU and with the version of TensorRT that it was built for, so each file says
for which, and for which graph. A file of another graph, GPU or version, or a damaged one, is not used.
"""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

FORMAT = "hwbench-engine"


@dataclass(frozen=True)
class Identity:
    """What an engine runs on.

    Args:
        tensorrt: its version.
        gpu: the device's name.
        capability: compute capability, such as ``9.0``.
    """

    tensorrt: str
    gpu: str
    capability: str


def graph_hash(model: bytes, *, tf32: bool) -> str:
    """Of a serialised ONNX model and what else goes into its engine."""
    return hashlib.sha256(model + (b"tf32" if tf32 else b"")).hexdigest()


@dataclass(frozen=True)
class Engines:
    """The engines of one identity in a folder, with TensorRT's timing cache.

    Args:
        folder: made when something is stored.
        identity: of the GPU and TensorRT at hand.
    """

    folder: Path
    identity: Identity

    def path(self, graph: str) -> Path:
        """Where the engine of a graph is kept."""
        return self._home / f"{graph[:32]}.engine"

    @property
    def timing_cache(self) -> Path:
        """TensorRT's measurements of its kernels, shared by all builds."""
        return self._home / "timing.cache"

    @property
    def _home(self) -> Path:
        mark = hashlib.sha256(json.dumps(asdict(self.identity)).encode()).hexdigest()[:8]
        return self.folder / f"tensorrt-{self.identity.tensorrt}-{mark}"

    def load(self, graph: str) -> bytes | None:
        """The plan built for `graph`; None if there is none that can be trusted."""
        try:
            content = self.path(graph).read_bytes()
        except OSError:
            return None
        head, newline, plan = content.partition(b"\n")
        return plan if newline and head == self._head(graph, plan) else None

    def store(self, graph: str, plan: bytes) -> None:
        """Keep a plan; a reader sees the old file or the whole new one.

        Raises:
            OSError: it cannot be written.
        """
        replace_file(self.path(graph), self._head(graph, plan) + b"\n" + plan)

    def _head(self, graph: str, plan: bytes) -> bytes:
        fields = {"format": FORMAT, "graph": graph, **asdict(self.identity)}
        return json.dumps({**fields, "plan": hashlib.sha256(plan).hexdigest()}).encode()


def replace_file(path: Path, content: bytes) -> None:
    """Write `path` at once.

    Raises:
        OSError: it cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    beside.write_bytes(content)
    os.replace(beside, path)
