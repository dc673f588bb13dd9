"""Which of NVIDIA's two libraries is used: TensorRT, or TensorRT-RTX, whose Python interface is nearly the same.

TensorRT chooses kernels by timing them on the GPU it builds on, so its engines are of that GPU. TensorRT-RTX builds
for a compute capability, on any machine, with a GPU or without; kernels are compiled on the device when first used.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from types import ModuleType

from compofa.errors import RunFailed, Unavailable


@dataclass(frozen=True)
class Library:
    """One of the two.

    Args:
        runtime: as ``--runtime`` names it.
        name: as targets and folders name it.
        module: that is imported.
        package: as it is installed.
        install: how to get it.
    """

    runtime: str
    name: str
    module: str
    package: str
    install: str

    @property
    def installed(self) -> bool:
        """Whether its module is there; nothing is loaded."""
        return find_spec(self.module) is not None

    @property
    def version(self) -> str:
        """Of the installed package; nothing is loaded.

        Raises:
            Unavailable: it is not installed.
        """
        try:
            return version(self.package)
        except PackageNotFoundError:
            raise Unavailable(f"{self.name} is not installed; install with: {self.install}") from None


TENSORRT = Library(
    "tensorrt",
    "tensorrt",
    "tensorrt",
    "tensorrt",
    "pip install tensorrt (it fetches the library from pypi.nvidia.com)",
)
RTX = Library("rtx", "tensorrt-rtx", "tensorrt_rtx", "tensorrt-rtx-cu13", "pip install 'hwbench[tensorrt]'")
LIBRARIES = {library.runtime: library for library in (TENSORRT, RTX)}
RUNTIMES = ("auto", *LIBRARIES)


def find(runtime: str) -> Library:
    """The library that ``--runtime`` names; ``auto`` is TensorRT where it is installed, which knows every GPU,
    and TensorRT-RTX elsewhere.

    Raises:
        Unavailable: it is not installed; says how to get it.
    """
    wanted = [LIBRARIES[runtime]] if runtime != "auto" else [TENSORRT, RTX]
    for library in wanted:
        if library.installed:
            return library
    names = " nor ".join(library.name for library in wanted)
    raise Unavailable(
        f"{'neither ' * (len(wanted) > 1)}{names} {'can' if len(wanted) > 1 else 'cannot'} be imported; "
        f"install with: {wanted[-1].install}"
    )


# --- the one of this process ---

_used: list[Library] = []


def use(library: Library) -> None:
    """Make `library` the one that :mod:`backends.tensorrt.calls` calls. Its classes are derived from the library's,
    so a process uses one, and its first choice stands.

    Raises:
        RunFailed: this process uses the other one.
    """
    if not _used:
        _used.append(library)
    if _used[0] != library:
        raise RunFailed(f"this process uses {_used[0].name} already; {library.name} needs one of its own")


def used() -> Library:
    """The library of this process; chosen as ``auto`` does if nobody chose.

    Raises:
        Unavailable: none is installed.
    """
    if not _used:
        use(find("auto"))
    return _used[0]


def load() -> ModuleType:
    """Import the library of this process.

    Raises:
        Unavailable: it is not installed, or cannot be loaded.
    """
    library = used()
    try:
        return importlib.import_module(library.module)
    except (ImportError, OSError, RuntimeError) as error:
        said = " ".join(str(error).split())
        raise Unavailable(
            f"{library.name} cannot be loaded ({said}); install with: {library.install}"
        ) from error
