"""Built engines on disk: building takes time, and the same graph is asked for again and again.

An engine runs only where the library, its version and the compute capability are those that it was built for, so
each file says for which, and for which graph. A file of another graph, GPU or version, or a damaged one, is not used.

A file is a line of JSON, and the plan behind it. With the plan it keeps a sample of the right output, so that
whoever runs the engine can tell whether it computes what the model says.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import re
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from compofa.errors import InputError
from compofa.files import parse_json, whole_files, write_atomically

FORMAT = "hwbench-engine-2"
SUFFIX = ".engine"


@dataclass(frozen=True)
class Identity:
    """What an engine runs on.

    Args:
        library: ``tensorrt`` or ``tensorrt-rtx``.
        version: the library's.
        capability: compute capability, such as ``8.9``.
        gpu: the device's name; empty where an engine is for every GPU of the compute capability.
    """

    library: str
    version: str
    capability: str
    gpu: str = ""

    @property
    def folder(self) -> str:
        """The name of the folder that holds its engines."""
        gpu = re.sub(r"[^A-Za-z0-9]+", "-", self.gpu).strip("-").lower()
        return "-".join(
            filter(None, (self.library, self.version, f"sm{self.capability.replace('.', '')}", gpu))
        )

    def __str__(self) -> str:
        return f"{self.library} {self.version} on {self.gpu or f'compute capability {self.capability}'}"


@dataclass(frozen=True)
class Engine:
    """What is kept of one graph.

    Args:
        plan: as the library serialises it; empty where it refused the graph.
        expected: some values of the right output, as :func:`backends.tensorrt.outputs.sample` takes them.
        checked: the device that was found to compute them; empty while none was.
        refused: the library's words, where it refused.
    """

    plan: bytes
    expected: NDArray[np.float32]
    checked: str = ""
    refused: str = ""


def graph_hash(model: bytes, *, tf32: bool) -> str:
    """Of a serialised ONNX model and what else goes into its engine."""
    return hashlib.sha256(model + (b"tf32" if tf32 else b"")).hexdigest()


@dataclass(frozen=True)
class Engines:
    """The engines of one identity in a folder.

    Args:
        folder: made when something is stored; may hold the engines of others, too.
        identity: of the library and GPU at hand, or to come.
    """

    folder: Path
    identity: Identity

    def path(self, graph: str) -> Path:
        """Where the engine of a graph is kept."""
        return self.home / f"{graph[:32]}{SUFFIX}"

    def kernels(self, graph: str) -> Path:
        """Where the kernels are kept that TensorRT-RTX compiled on the device for an engine."""
        return self.home / f"{graph[:32]}.kernels"

    @property
    def timing_cache(self) -> Path:
        """TensorRT's measurements of its kernels, shared by all builds."""
        return self.home / "timing.cache"

    @property
    def home(self) -> Path:
        """The folder of this identity."""
        return self.folder / self.identity.folder

    def load(self, graph: str) -> Engine | None:
        """What is kept of `graph`; None if there is nothing that can be trusted."""
        try:
            content = self.path(graph).read_bytes()
        except OSError:
            return None
        head, newline, plan = content.partition(b"\n")
        try:
            fields = parse_json(head)
            expected = np.frombuffer(base64.b64decode(fields["expected"], validate=True), "<f4")
            engine = Engine(plan, expected, fields["checked"], fields["refused"])
        except (InputError, ValueError, KeyError, TypeError):  # damaged
            return None
        return engine if newline and head == self._head(graph, engine) else None

    def store(self, graph: str, engine: Engine) -> None:
        """Keep an engine; a reader sees the old file or the whole new one.

        Raises:
            OSError: it cannot be written.
        """
        self.keep(self.path(graph), self._head(graph, engine) + b"\n" + engine.plan)

    def keep(self, path: Path, content: bytes) -> None:
        """Write one of the files of this folder.

        Raises:
            OSError: it cannot be written.
        """
        self.home.mkdir(parents=True, exist_ok=True)
        write_atomically(path, content)

    def mark_checked(self, graph: str, engine: Engine, device: str) -> Engine:
        """Keep that `device` computes what it should.

        Raises:
            OSError: it cannot be written.
        """
        checked = replace(engine, checked=device)
        self.store(graph, checked)
        return checked

    def _head(self, graph: str, engine: Engine) -> bytes:
        expected = np.ascontiguousarray(engine.expected, dtype="<f4")
        fields = {
            "format": FORMAT,
            "graph": graph,
            **asdict(self.identity),
            "plan_bytes": len(engine.plan),
            "checked": engine.checked,
            "refused": engine.refused,
            "expected": base64.b64encode(expected.tobytes()).decode(),
        }
        digest = hashlib.sha256(json.dumps(fields).encode() + engine.plan).hexdigest()
        return json.dumps({**fields, "sha256": digest}).encode()

    # --- what cannot be used ---

    def warning(self) -> str | None:
        """What a user must know of the engines in the folder; None if all are of use."""
        said = []
        damaged = self.damaged()
        if damaged:
            said.append(f"{damaged} of the engines in {self.home} are cut or damaged")
        others = self.others()
        if others and not whole_files(self.home, f"*{SUFFIX}"):
            said.append(
                f"{self.folder} holds engines for {', '.join(others)}, none for {self.identity.folder}"
            )
        return f"{'; '.join(said)}: they are built anew" if said else None

    def others(self) -> list[str]:
        """The folders of other identities that hold engines."""
        found = {path.parent.name for path in whole_files(self.folder, f"*/*{SUFFIX}")}
        return sorted(found - {self.identity.folder})

    def damaged(self) -> int:
        """How many of this identity's files are not as long as they say, or are another identity's."""
        return sum(not self._sound(path) for path in whole_files(self.home, f"*{SUFFIX}"))

    def _sound(self, path: Path) -> bool:
        with contextlib.suppress(OSError, InputError, KeyError, TypeError), path.open("rb") as file:
            head = file.readline(1_000_000)
            fields = parse_json(head)
            same = all(fields[name] == value for name, value in asdict(self.identity).items())
            long = path.stat().st_size == len(head) + fields["plan_bytes"]
            return bool(fields["format"] == FORMAT and same and long)
        return False
